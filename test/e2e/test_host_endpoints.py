"""Host endpoints, with real packets in both families: semantics.md 2.2 to 2.4."""
import contextlib
import json
import subprocess
import sys
import time

import pytest

import host_connections
from ears import PACKETS, Ear
from revocation import AT_MOST, watch

NODE = {4: {"host1": "172.31.0.1", "host2": "172.31.0.2"}, 6: {"host1": "fd31::1", "host2": "fd31::2"}}
FAMILIES = pytest.mark.parametrize("family", [4, 6])

# Serves UDP and TCP on some ports until its input closes; prints "+" when it listens.
SERVE = """
import selectors, socket, sys
family = socket.AF_INET6 if sys.argv[1] == "6" else socket.AF_INET
waits = selectors.DefaultSelector()
for port in sys.argv[2:]:
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        one = socket.socket(family, kind)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        one.bind(("", int(port)))
        if kind == socket.SOCK_STREAM:
            one.listen(16)
        waits.register(one, selectors.EVENT_READ)
waits.register(sys.stdin, selectors.EVENT_READ)
print("+", flush=True)
while True:
    for key, _ in waits.select():
        if key.fileobj is sys.stdin:
            sys.exit()
        if key.fileobj.type == socket.SOCK_STREAM:
            key.fileobj.accept()[0].close()
        else:
            data, peer = key.fileobj.recvfrom(100)
            try:
                key.fileobj.sendto(data, peer)
            except OSError:
                pass  # policy has come in between
"""
# One try each: a TCP connection, a UDP datagram and its echo. Prints the ports that answered.
ASK = """
import socket, sys
address, kind, bound, *ports = sys.argv[1:]
family = socket.AF_INET6 if ":" in address else socket.AF_INET
for port in ports:
    one = socket.socket(family, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
    one.settimeout(1.0)
    if int(bound):
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.bind(("", int(bound)))
    try:
        one.connect((address, int(port)))
        if kind == "udp":
            one.send(b"x")
            one.recv(10)
        print(port)
    except OSError:
        pass
    one.close()
"""
PORTS = ["22", "80", "81", "5473"]


@pytest.fixture(scope="module", params=["nftables", "ebpf", "by_rules"])
def dataplane(request):
    """The last as eBPF is on kernels that take no programs at their netfilter hooks."""
    return request.param


@pytest.fixture(scope="module")
def lab(make_lab, dataplane):
    with pytest.MonkeyPatch.context() as patch:
        if dataplane == "by_rules":
            patch.setenv("OCICAT_WITHOUT_NETFILTER", "1")
        lab = make_lab(2, "nftables" if dataplane == "nftables" else "ebpf")
    lab.together([lab.pod_words("shop/near", "host1", labels={"app": "near"}, listen="tcp/80,tcp/81"),
                  lab.pod_words("shop/far", "host2", labels={"app": "far"}, listen="tcp/80,tcp/81")])
    return lab


@pytest.fixture(scope="module", autouse=True)
def servers(lab):
    """Something listens on both hosts, in both families."""
    with contextlib.ExitStack() as stack:
        for host in lab.hosts:
            for family in "46":
                one = subprocess.Popen([lab.binary, "lab", "host", "exec", host, "--", sys.executable, "-c", SERVE,
                                        family, *PORTS], env=lab.environment, text=True, stdin=subprocess.PIPE,
                                       stdout=subprocess.PIPE)
                stack.callback(one.wait, 30)
                stack.callback(one.stdin.close)
                assert one.stdout.readline() == "+\n"
        yield


def open_ports(lab, who, address, kind="tcp", ports=PORTS, bound=0):
    """The ports that answer, asked from this one (0: any). `who` is a host or a pod."""
    run = lab.exec if "/" in who else lab.host_exec
    return run(who, sys.executable, "-c", ASK, address, kind, str(bound), *ports).stdout.split()


def host_endpoint(name, node="host1", labels=None, **spec):
    return {"apiVersion": "projectcalico.org/v3", "kind": "HostEndpoint",
            "metadata": {"name": name, "labels": {"host": node} if labels is None else labels},
            "spec": {"node": node, **spec}}


def policy(name, **spec):
    spec = {"selector": "has(host)", **spec}
    return {"apiVersion": "projectcalico.org/v3", "kind": "GlobalNetworkPolicy", "metadata": {"name": name},
            "spec": spec}


def configuration(**spec):
    return {"apiVersion": "projectcalico.org/v3", "kind": "FelixConfiguration", "metadata": {"name": "default"},
            "spec": spec}


def tcp(action, *ports, **rule):
    return {"action": action, "protocol": "TCP", "destination": {"ports": [int(port) for port in ports]}, **rule}


# What IPv6 needs to find its neighbours at all: Calico leaves that to policy, too.
NEIGHBOURS = policy("neighbours", order=1, types=["Ingress", "Egress"],
                    ingress=[{"action": "Allow", "protocol": "ICMPv6"}],
                    egress=[{"action": "Allow", "protocol": "ICMPv6"}])
EVERYTHING = [{"action": "Allow"}]


@FAMILIES
def test_without_host_endpoints_all_is_open(lab, family):
    assert open_ports(lab, "host1", NODE[family]["host2"]) == PORTS


@FAMILIES
def test_a_host_endpoint_without_policy_leaves_the_failsafe_ports(lab, family):
    with lab.applied(host_endpoint("edge", interfaceName="to-host2"), NEIGHBOURS):
        assert open_ports(lab, "host2", NODE[family]["host1"]) == ["22", "5473"]
        assert open_ports(lab, "host1", NODE[family]["host2"]) == ["5473"]
        assert open_ports(lab, "host2", NODE[family]["host1"], "udp", ["80"]) == []


@FAMILIES
def test_policy_opens_ports_in_either_direction(lab, family):
    rules = policy("rules", types=["Ingress", "Egress"], ingress=[tcp("Allow", 80)], egress=[tcp("Allow", 81)])
    with lab.applied(host_endpoint("edge", interfaceName="to-host2"), NEIGHBOURS, rules):
        assert open_ports(lab, "host2", NODE[family]["host1"]) == ["22", "80", "5473"]
        assert open_ports(lab, "host1", NODE[family]["host2"]) == ["81", "5473"]


@FAMILIES
def test_profiles_count_where_no_policy_does(lab, family):
    with lab.applied(host_endpoint("edge", interfaceName="to-host2", profiles=["projectcalico-default-allow"])):
        assert open_ports(lab, "host2", NODE[family]["host1"]) == PORTS


@FAMILIES
def test_failsafe_ports_are_what_the_configuration_says(lab, family):
    net = {4: "172.31.0.0/16", 6: "fd31::/64"}[family]
    with lab.applied(host_endpoint("edge", interfaceName="to-host2"), NEIGHBOURS,
                     configuration(failsafeInboundHostPorts=[{"protocol": "TCP", "port": 81, "net": net},
                                                             {"protocol": "TCP", "port": 80, "net": "192.0.2.0/24"}],
                                   failsafeOutboundHostPorts=[])):
        assert open_ports(lab, "host2", NODE[family]["host1"]) == ["81"]
        assert open_ports(lab, "host1", NODE[family]["host2"]) == []


@FAMILIES
def test_replies_of_failsafe_ports_pass_untracked_policy_as_well(lab, family):
    """It denies TCP in either direction, answers included."""
    deny = [{"action": "Deny", "protocol": "TCP"}]
    raw = policy("raw", doNotTrack=True, applyOnForward=True, types=["Ingress", "Egress"], ingress=deny, egress=deny)
    edge = host_endpoint("edge", interfaceName="to-host2", profiles=["projectcalico-default-allow"])
    with lab.applied(edge, raw):
        assert open_ports(lab, "host2", NODE[family]["host1"], ports=["22", "81"]) == ["22"]
        assert open_ports(lab, "host1", NODE[family]["host2"], ports=["5473", "81"]) == ["5473"]


@FAMILIES
def test_expected_addresses_find_the_interface(lab, family):
    links = json.loads(lab.host_exec("host1", "ip", "-j", "addr").stdout)
    address = NODE[family]["host1"]
    holders = {one["ifname"] for one in links for a in one["addr_info"] if a["local"] == address}
    with lab.applied(host_endpoint("edge", expectedIPs=[address]), NEIGHBOURS):
        state = lab.json("status")
        assert [one["status"] for one in state["agents"][0]["hostEndpoints"]] == ["up"], (state, holders)
        expected = ["22", "5473"] if "to-host2" in holders else PORTS
        assert open_ports(lab, "host2", address) == expected


@FAMILIES
def test_star_has_the_interfaces_that_no_other_has(lab, family):
    with lab.applied(host_endpoint("all", interfaceName="*"), NEIGHBOURS):
        assert open_ports(lab, "host2", NODE[family]["host1"]) == ["22", "5473"]
        assert open_ports(lab, "host1", {4: "127.0.0.1", 6: "::1"}[family]) == ["5473"]
        edge = host_endpoint("edge", labels={}, interfaceName="to-host2", profiles=["projectcalico-default-allow"])
        with lab.applied(edge):
            assert open_ports(lab, "host2", NODE[family]["host1"]) == PORTS


@FAMILIES
def test_a_host_always_reaches_its_own_workloads(lab, family):
    near = lab.address("shop/near", family)
    far = lab.address("shop/far", family)
    for interface in ("to-host2", "*"):
        with lab.applied(host_endpoint("edge", interfaceName=interface), NEIGHBOURS):
            assert open_ports(lab, "host1", near, ports=["80"]) == ["80"]
            assert open_ports(lab, "host1", far, ports=["80"]) == []


@FAMILIES
def test_forwarded_packets_meet_policy_that_applies_on_forward_only(lab, family):
    near, far = lab.address("shop/near", family), lab.address("shop/far", family)
    edge = host_endpoint("edge", interfaceName="to-host2")
    closed = policy("closed", types=["Ingress", "Egress"], ingress=[tcp("Deny", 80)], egress=[tcp("Deny", 80)])
    with lab.applied(edge, NEIGHBOURS, closed):
        assert open_ports(lab, "shop/far", near, ports=["80", "81"]) == ["80", "81"]
    forward = policy("forward", types=["Ingress"], applyOnForward=True, ingress=[tcp("Allow", 81)])
    with lab.applied(edge, NEIGHBOURS, forward):
        assert open_ports(lab, "shop/far", near, ports=["80", "81"]) == ["81"]
        assert open_ports(lab, "shop/near", far, ports=["80", "81"]) == ["80", "81"]


@FAMILIES
def test_forward_policy_knows_both_sides(lab, family):
    near = lab.address("shop/near", family)
    to_others = policy("forward", types=["Ingress"], applyOnForward=True, selector="has(host)",
                       ingress=[{"action": "Deny", "destination": {"selector": "app == 'near'"},
                                 "source": {"selector": "app == 'far'"}, "protocol": "TCP"},
                                {"action": "Allow"}])
    with lab.applied(host_endpoint("edge", interfaceName="to-host2"), NEIGHBOURS, to_others):
        assert open_ports(lab, "shop/far", near, ports=["80"]) == []
        assert open_ports(lab, "host2", near, ports=["80"]) == ["80"]


@FAMILIES
def test_forward_policy_of_star_is_asked_between_workloads_too(lab, family):
    lab.add_pod("shop/sibling", "host1", listen="tcp/80")
    near = lab.address("shop/near", family)
    forward = policy("forward", types=["Ingress"], applyOnForward=True, ingress=[tcp("Deny", 80), *EVERYTHING])
    try:
        with lab.applied(host_endpoint("all", interfaceName="*"), NEIGHBOURS, forward):
            assert open_ports(lab, "shop/sibling", near, ports=["80", "81"]) == ["81"]
    finally:
        lab.run("lab", "pod", "delete", "shop/sibling")


@FAMILIES
def test_a_workload_meets_its_own_policy_and_then_the_default_action_at_its_host(lab, family):
    address = NODE[family]["host1"]
    edge = host_endpoint("edge", interfaceName="to-host2")
    with lab.applied(edge, NEIGHBOURS):
        assert open_ports(lab, "shop/near", address) == []
    with lab.applied(edge, NEIGHBOURS, configuration(defaultEndpointToHostAction="Accept")):
        assert open_ports(lab, "shop/near", address) == PORTS
        no_80 = policy("no-80", selector="app == 'near'", types=["Egress"], egress=[tcp("Deny", 80), *EVERYTHING])
        with lab.applied(no_80):
            assert open_ports(lab, "shop/near", address) == ["22", "81", "5473"]


def translate(family, hook, priority, address, port, to):
    """Somebody else's table, that leads a port elsewhere."""
    ip = "ip6" if family == 6 else "ip"
    target = "[%s]:%s" % to if family == 6 else "%s:%s" % to
    return """table %s foreign {
  chain one { type nat hook %s priority %d;
    %s daddr %s tcp dport %s dnat to %s
  }
}""" % (ip, hook, priority, ip, address, port, target)


@contextlib.contextmanager
def foreign_table(lab, family, text):
    lab.host_exec("host1", "nft", "-f", "-", stdin=text)
    try:
        yield
    finally:
        lab.host_exec("host1", "nft", "delete", "table", "ip6" if family == 6 else "ip", "foreign")


@FAMILIES
def test_pre_dnat_policy_sees_what_was_asked_for(lab, family):
    address, near = NODE[family]["host1"], lab.address("shop/near", family)
    edge = host_endpoint("edge", interfaceName="to-host2", profiles=["projectcalico-default-allow"])
    with foreign_table(lab, family, translate(family, "prerouting", -100, address, 8080, (near, 80))):
        assert open_ports(lab, "host2", address, ports=["8080"]) == ["8080"]
        for port, answers in ((8080, []), (80, ["8080"])):
            early = policy("early", preDNAT=True, applyOnForward=True, types=["Ingress"], ingress=[tcp("Deny", port)])
            with lab.applied(edge, early):
                assert open_ports(lab, "host2", address, ports=["8080"]) == answers
        # What it allows is not asked about at the host endpoint again.
        early = policy("early", preDNAT=True, applyOnForward=True, types=["Ingress"], ingress=[tcp("Allow", 8080)])
        closed = policy("closed", applyOnForward=True, types=["Ingress"], ingress=[tcp("Deny", 80)])
        with lab.applied(edge, NEIGHBOURS, closed):
            assert open_ports(lab, "host2", address, ports=["8080"]) == []
        with lab.applied(edge, NEIGHBOURS, closed, early):
            assert open_ports(lab, "host2", address, ports=["8080"]) == ["8080"]


@FAMILIES
def test_policy_of_a_workload_sees_where_a_packet_has_been_led(lab, family):
    address, near = NODE[family]["host1"], lab.address("shop/near", family)
    with foreign_table(lab, family, translate(family, "prerouting", -100, address, 8080, (near, 80))):
        for port, answers in ((80, ["8080"]), (8080, [])):
            own = policy("own", selector="app == 'near'", types=["Ingress"], ingress=[tcp("Allow", port)])
            with lab.applied(own):
                assert open_ports(lab, "host2", address, ports=["8080"]) == answers


@FAMILIES
def test_what_a_host_sends_is_judged_where_it_leaves_after_translation(lab, family):
    asked = NODE[family]["host2"]
    edge = host_endpoint("edge", interfaceName="to-host2")
    with foreign_table(lab, family, translate(family, "output", -100, asked, 8080, (asked, 80))):
        assert open_ports(lab, "host1", asked, ports=["8080"]) == ["8080"]
        for port, answers in ((80, ["8080"]), (8080, [])):
            out = policy("out", types=["Egress"], egress=[tcp("Allow", port)])
            with lab.applied(edge, NEIGHBOURS, out):
                assert open_ports(lab, "host1", asked, ports=["8080"]) == answers


@contextlib.contextmanager
def elsewhere(lab):
    """An interface of host1 where packets for some addresses would go if nobody led them to another."""
    asked = {4: "198.51.100.7", 6: "fd51::7"}
    lab.host_exec("host1", "ip", "link", "add", "elsewhere", "type", "veth", "peer", "name", "beyond")
    try:
        for words in ("link set elsewhere up", "link set beyond up", "addr add 198.51.100.1/24 dev elsewhere",
                      "addr add fd51::1/64 dev elsewhere nodad"):
            lab.host_exec("host1", "ip", *words.split())
        yield asked
    finally:
        lab.host_exec("host1", "ip", "link", "del", "elsewhere")


@FAMILIES
def test_what_translation_leads_to_another_interface_is_judged_at_that_one(lab, family):
    """It has the source of the first one, to which host2 knows no way back: that is translated as well."""
    masquerade = "  chain two { type nat hook postrouting priority 100; oifname to-host2 masquerade; }\n}"
    with elsewhere(lab) as asked:
        rules = translate(family, "output", -100, asked[family], 8080, (NODE[family]["host2"], 80))
        with foreign_table(lab, family, rules.removesuffix("}") + masquerade):
            def is_open(interface, port):
                edge = host_endpoint("edge", interfaceName=interface)
                out = policy("out", types=["Egress"], egress=[tcp("Allow", port)])
                with lab.applied(edge, NEIGHBOURS, out):
                    return open_ports(lab, "host1", asked[family], ports=["8080"]) == ["8080"]

            assert is_open("to-host2", 80)
            assert not is_open("to-host2", 81)
            assert is_open("elsewhere", 81)


def tracked(lab, port):
    """The ends of connections to a port that host1 knows; marks come and go."""
    words = [line.split() for line in lab.host_exec("host1", "cat", "/proc/net/nf_conntrack").stdout.splitlines()]
    ends = ("src=", "dst=", "sport=", "dport=")
    return {tuple(word for word in line if word.startswith(ends))
            for line in words if "dport=" + port in line}


@FAMILIES
def test_untracked_policy_allows_without_a_connection_and_needs_both_directions(lab, family):
    address = NODE[family]["host1"]
    edge = host_endpoint("edge", interfaceName="to-host2")
    both = policy("both", doNotTrack=True, applyOnForward=True, types=["Ingress", "Egress"],
                  ingress=[tcp("Allow", 80)],
                  egress=[{"action": "Allow", "protocol": "TCP", "source": {"ports": [80]}}])
    with lab.applied(edge, NEIGHBOURS, both):
        assert open_ports(lab, "host2", address, ports=["80", "81"]) == ["80"]
    only_in = policy("only-in", doNotTrack=True, applyOnForward=True, types=["Ingress"], ingress=[tcp("Allow", 80)])
    with lab.applied(edge, NEIGHBOURS, only_in):
        assert open_ports(lab, "host2", address, ports=["80"]) == []
    deny = policy("deny", doNotTrack=True, applyOnForward=True, types=["Ingress"],
                  ingress=[tcp("Deny", 80), tcp("Deny", 22)])
    open_edge = host_endpoint("edge", interfaceName="to-host2", profiles=["projectcalico-default-allow"])
    with lab.applied(open_edge, deny):
        assert open_ports(lab, "host2", address) == ["22", "81", "5473"]


@contextlib.contextmanager
def kernel_tracks(lab, host):
    """A rule of somebody else's by which the kernel tracks connections."""
    lab.host_exec(host, "nft", "table inet others { chain c { type filter hook input priority 50; ct state new; }; }")
    try:
        yield
    finally:
        lab.host_exec(host, "nft", "delete table inet others")


@FAMILIES
def test_what_untracked_policy_allows_the_kernel_does_not_track(lab, family):
    """Neither what the host takes and answers nor what it sends and is answered; UDP and TCP."""
    here, there = NODE[family]["host1"], NODE[family]["host2"]
    edge = host_endpoint("edge", interfaceName="to-host2", profiles=["projectcalico-default-allow"])

    def new_entries():
        before = {port: tracked(lab, port) for port in ("80", "81")}
        for kind in ("tcp", "udp"):
            assert open_ports(lab, "host2", here, kind, ["80"]) == ["80"]
            assert open_ports(lab, "host1", there, kind, ["81"]) == ["81"]
        return {port: len(tracked(lab, port) - before[port]) for port in before}

    both = policy("both", doNotTrack=True, applyOnForward=True, types=["Ingress", "Egress"], **{
        way: [{"action": "Allow", "protocol": protocol, end: {"ports": [80, 81]}}
              for protocol in ("TCP", "UDP") for end in ("source", "destination")] for way in ("ingress", "egress")})
    with kernel_tracks(lab, "host1"), lab.applied(edge):
        assert new_entries() == {"80": 2, "81": 2}
        with lab.applied(both):
            assert new_entries() == {"80": 0, "81": 0}
        assert new_entries() == {"80": 2, "81": 2}


@FAMILIES
def test_untracked_policy_is_ignored_at_star_and_that_is_told(lab, family):
    deny = policy("deny", doNotTrack=True, applyOnForward=True, types=["Ingress"], ingress=[tcp("Deny", 80)])
    with lab.applied(host_endpoint("all", interfaceName="*", profiles=["projectcalico-default-allow"]), deny):
        assert open_ports(lab, "host2", NODE[family]["host1"]) == PORTS
        assert "doNotTrack" in lab.run("status").stdout


@FAMILIES
def test_what_host_endpoints_refuse_is_told_with_policy_and_reason(lab, family, eventually):
    address, peer = NODE[family]["host1"], NODE[family]["host2"]
    edge = host_endpoint("edge", interfaceName="to-host2", expectedIPs=[address])
    rules = policy("rules", types=["Ingress", "Egress"], ingress=[tcp("Deny", 80), *EVERYTHING],
                   egress=[tcp("Deny", 81), *EVERYTHING])
    through = policy("through", types=["Ingress"], applyOnForward=True, ingress=[tcp("Deny", 80), *EVERYTHING])
    raw = policy("raw", doNotTrack=True, applyOnForward=True, types=["Ingress"],
                 ingress=[{"action": "Deny", "protocol": "UDP", "destination": {"ports": [80]}}])
    near = lab.address("shop/near", family)
    with lab.applied(edge, rules, through, raw):
        assert open_ports(lab, "host2", address) == ["22", "81", "5473"]
        assert open_ports(lab, "host2", address, "udp", ["80", "81"]) == ["81"]
        assert open_ports(lab, "host1", peer, ports=["80", "81"]) == ["80"]
        assert open_ports(lab, "host2", near, ports=["80"]) == []

        def told(words, **wanted):
            flows = [flow for host in lab.json(*words, "--host", "host1")["hosts"] for flow in host["flows"]]
            return [flow for flow in flows if all(flow[key] == value for key, value in wanted.items())
                    and any(end.get("nameAggregated") == "edge" for end in (flow["source"], flow["destination"]))]

        def refused(traffic, reporter, by):
            return [flow for flow in told(["drops"], traffic=traffic, reporter=reporter, reason="policy")
                    if by in " ".join(flow["why"]) and flow["refused"] > 0]

        eventually(lambda: refused("tcp/80", "dst", "rules"), 30)
        eventually(lambda: refused("tcp/81", "src", "rules"), 30)
        eventually(lambda: refused("udp/80", "dst", "raw"), 30)
        eventually(lambda: told(["flows"], traffic="tcp/5473", reporter="dst", action="allow"), 30)
        drops = [flow for host in lab.json("drops", "--host", "host1")["hosts"] for flow in host["flows"]]
        assert any("through" in " ".join(flow["why"]) and flow["destination"]["nameAggregated"] == "near"
                   for flow in drops), drops


def begun(lab, traffic, reporter, by):
    """How many flows of this kind have begun at host1's edge, as they are told, by this rule."""
    return sum(flow["flows"] for host in lab.json("flows", "--host", "host1")["hosts"] for flow in host["flows"]
               if (flow["traffic"], flow["reporter"], flow["action"]) == (traffic, reporter, "allow")
               and any(end.get("nameAggregated") == "edge" for end in (flow["source"], flow["destination"]))
               and any("GlobalNetworkPolicy " + by in step for step in flow["why"]))


# One socket that asks often, and is answered.
ASK_OFTEN = """
import socket, sys
address, bound, port, times = sys.argv[1], *map(int, sys.argv[2:])
one = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
one.settimeout(5)
one.bind(("", bound))
one.connect((address, port))
for _ in range(times):
    one.send(b"x")
    one.recv(10)
"""


@FAMILIES
def test_what_untracked_policy_allows_is_told_once_as_it_begins(lab, family, eventually):
    """Each packet is judged by itself; what comes, what is answered, and what the host begins are told as flows are."""
    here, there = NODE[family]["host1"], NODE[family]["host2"]
    edge = host_endpoint("edge", interfaceName="to-host2", expectedIPs=[here])
    heard, asked = 80, 81
    rules = {way: [{"action": "Allow", "protocol": "UDP", end: {"ports": [port]}} for end, port in ends]
             for way, ends in (("ingress", (("destination", heard), ("source", asked))),
                               ("egress", (("source", heard), ("destination", asked))))}
    both = policy("both-%d" % family, doNotTrack=True, applyOnForward=True, types=["Ingress", "Egress"], **rules)
    with lab.applied(edge, NEIGHBOURS, both):
        for bound in (40000, 40001):
            lab.host_exec("host2", sys.executable, "-c", ASK_OFTEN, here, str(bound), str(heard), "20")
            lab.host_exec("host1", sys.executable, "-c", ASK_OFTEN, there, str(bound), str(asked), "20")
        eventually(lambda: begun(lab, "udp/%d" % heard, "dst", "both-%d, ingress[0]" % family) == 2, 30)
        eventually(lambda: begun(lab, "udp/%d" % asked, "src", "both-%d, egress[1]" % family) == 2, 30)


@FAMILIES
def test_what_pre_dnat_policy_allows_is_told_by_its_name_as_it_begins(lab, family, eventually):
    """Also where what was asked for is translated, to a port that policy says nothing of. Each connection is from a
    port of its own, below those that the kernel gives: the kernel may take it for another's of a minute ago."""
    address, port, asked = NODE[family]["host1"], "80", "8080"
    own = iter(range(20000 + 10 * family, 20006 + 10 * family))
    edge = host_endpoint("edge", interfaceName="to-host2", expectedIPs=[address])
    closed = policy("closed", types=["Ingress"], ingress=[tcp("Deny", port)])
    for allowed in (port, asked):
        name = "early-%s-%d" % (allowed, family)
        early = policy(name, preDNAT=True, applyOnForward=True, types=["Ingress"], ingress=[tcp("Allow", allowed)])
        with foreign_table(lab, family, translate(family, "prerouting", -100, address, asked, (address, port))), \
                lab.applied(edge, NEIGHBOURS, closed, early):
            for _ in range(3):
                assert open_ports(lab, "host2", address, ports=[allowed], bound=next(own)) == [allowed]
            eventually(lambda: begun(lab, "tcp/" + port, "dst", name + ", ingress[0]") == 3, 30)


def test_status_tells_how_host_endpoints_are(lab):
    with lab.applied(host_endpoint("a-edge", interfaceName="to-host2"),
                     host_endpoint("b-edge", interfaceName="to-host2"), host_endpoint("c-ghost", interfaceName="eth9"),
                     policy("open", types=["Ingress", "Egress"], ingress=EVERYTHING, egress=EVERYTHING)):
        node = lab.json("status")["agents"][0]
        assert {one["name"]: one["status"] for one in node["hostEndpoints"]} == {
            "a-edge": "up", "b-edge": "error", "c-ghost": "down"}


@FAMILIES
def test_open_connections_and_the_agent_survive_a_host_endpoint(lab, family):
    """The server is told of what the agent has done all along."""
    traffic = lab.start_traffic("shop/near", "stream", lab.address("shop/far", family), 80)
    with lab.applied(host_endpoint("edge", interfaceName="to-host2"),
                     host_endpoint("far", node="host2", interfaceName="to-host1")):
        lab.settle()
    report = traffic.stop()
    assert report["received"] == report["sent"], report


def test_open_connections_do_not_notice_an_agent_that_is_killed_and_comes_back(lab):
    with host_connections.undisturbed(lab, "shop/near"):
        for _ in range(3):
            lab.run("lab", "agent", "kill", "host1")
            lab.run("lab", "agent", "start", "host1")


def udp(action, port):
    return {"action": action, "protocol": "UDP", "destination": {"ports": [port]}}


def end_of(lab, flows, *documents):
    """Applies them while the flows are open. When the last packet of each that was answered was sent, counted from the
    moment that all is in force."""
    started = [lab.start_traffic(*words) for words in flows]
    with lab.applied(*documents):
        since = time.monotonic()
        watch()
        for flow in started:
            flow.end()
        reports = [flow.stop() for flow in started]
    assert all(report["sent"] > 10 for report in reports)
    return [report["answered"][-1] - since for report in reports]


@FAMILIES
def test_a_new_deny_ends_what_is_open_with_the_host_itself(lab, family):
    address = NODE[family]["host1"]
    edge = host_endpoint("edge", interfaceName="to-host2", profiles=["projectcalico-default-allow"])
    flows = [("shop/far", "udp", address, port) for port in (80, 81)]
    with lab.applied(edge):
        closed, open_ = end_of(lab, flows, policy("closed", order=1, types=["Ingress"],
                                                  ingress=[udp("Deny", 80), *EVERYTHING]))
    assert closed < AT_MOST < open_


@FAMILIES
def test_a_new_deny_ends_what_is_open_and_translated(lab, family):
    address, near = NODE[family]["host1"], lab.address("shop/near", family)
    edge = host_endpoint("edge", interfaceName="to-host2", profiles=["projectcalico-default-allow"])
    flows = [("shop/far", "stream", address, port) for port in (8080, 8081)]
    rules = "\n".join(translate(family, "prerouting", -100, address, 8080 + i, (near, 80)) for i in (0, 1))
    with foreign_table(lab, family, rules):
        early = policy("early", preDNAT=True, applyOnForward=True, types=["Ingress"], ingress=[tcp("Deny", 8080)])
        with lab.applied(edge, NEIGHBOURS):
            closed, open_ = end_of(lab, flows, early)
        assert closed < AT_MOST < open_
        own = policy("own", selector="app == 'near'", types=["Ingress"], ingress=[tcp("Deny", 80)])
        assert max(end_of(lab, flows, own)) < AT_MOST


@FAMILIES
def test_a_new_deny_ends_what_is_open_and_forwarded_whoever_began_it(lab, family):
    near, far = lab.address("shop/near", family), lab.address("shop/far", family)
    edge = host_endpoint("edge", interfaceName="to-host2")
    flows = [("shop/far", "stream", near, 80), ("shop/near", "stream", far, 80), ("shop/far", "stream", near, 81)]
    forward = policy("forward", applyOnForward=True, types=["Ingress", "Egress"],
                     ingress=[tcp("Deny", 80), *EVERYTHING], egress=[tcp("Deny", 80), *EVERYTHING])
    with lab.applied(edge, NEIGHBOURS):
        inward, outward, open_ = end_of(lab, flows, forward)
    assert inward < AT_MOST and outward < AT_MOST < open_


@FAMILIES
def test_a_host_endpoint_that_comes_ends_what_its_policy_denies(lab, family):
    flows = [("shop/far", "udp", NODE[family]["host1"], 80)]
    ended, = end_of(lab, flows, host_endpoint("edge", interfaceName="to-host2"), NEIGHBOURS)
    assert ended < AT_MOST


@FAMILIES
def test_where_connections_are_to_stay_a_new_deny_of_a_host_endpoint_is_for_new_ones(lab, family):
    address = NODE[family]["host1"]
    edge = host_endpoint("edge", interfaceName="to-host2", profiles=["projectcalico-default-allow"])
    stay = {"apiVersion": "ocicat.io/v1", "kind": "AgentConfiguration", "metadata": {"name": "default"},
            "spec": {"openConnections": "Stay"}}
    closed = policy("closed", order=1, types=["Ingress"], ingress=[udp("Deny", 80), *EVERYTHING])
    with lab.applied(edge, stay):
        stayed, = end_of(lab, [("shop/far", "udp", address, 80)], closed)
        assert stayed > AT_MOST
        with lab.applied(closed):
            assert not open_ports(lab, "shop/far", address, "udp", ["80"])


# A connection of the neighbour's own does not carry anything to whom policy forbids.
@FAMILIES
def test_an_icmp_error_is_forwarded_to_nobody_but_whom_its_connection_is_of(lab, family):
    behind, net, inside = {4: ("10.99.0.2", "10.99.0.0/24", "10.99.0.1/24"),
                           6: ("fd99::2", "fd99::/64", "fd99::1/64")}[family]
    near = "to-host2"
    host1, host2 = NODE[family]["host1"], NODE[family]["host2"]
    for words in ("link add behind type veth peer name ear", "link set behind up", "link set ear up",
                  f"addr add {inside} dev behind" + " nodad" * (family == 6),
                  f"neigh replace {behind} lladdr 02:00:00:00:00:99 dev behind nud permanent"):
        lab.host_exec("host1", "ip", *words.split())
    lab.host_exec("host2", "ip", "route", "add", net, "via", host1, "dev", "to-host1", "onlink")
    mac = json.loads(lab.host_exec("host1", "ip", "-j", "link", "show", near).stdout)[0]["address"]

    def packets(*words):
        lab.host_exec("host2", "env", f"WAY=to-host1 {mac}", sys.executable, PACKETS, *words)
    try:
        edge = host_endpoint("edge", interfaceName=near, profiles=["projectcalico-default-allow"])
        forward = policy("forward", applyOnForward=True, types=["Ingress"],
                         ingress=[{"action": "Deny", "destination": {"nets": [net]}}, *EVERYTHING])
        ear = Ear(lab, "host", "exec", "host1", "--", "find", by="ear", texts=["open", "refused", "smuggled"])
        packets("send", host2, behind, "9", "open")
        with lab.applied(edge, forward, NEIGHBOURS):
            packets("send", host2, behind, "10", "refused")
            packets("send", host2, host1, "9", "known")
            packets("error", host2, host1, behind, "smuggled")
        packets("send", host2, behind, "11", "last")  # of another flow: this one is judged by what is in force now
        assert ear.heard() == ["open", "last"]
    finally:
        lab.host_exec("host2", "ip", "route", "del", net)
        lab.host_exec("host1", "ip", "link", "del", "behind")


# Its interface has let it through, and knows of the connection.
@FAMILIES
def test_what_forward_policy_refuses_a_workload_neither_leaves_nor_comes_in_an_icmp_error(lab, family):
    near, host2 = lab.address("shop/near", family), NODE[family]["host2"]
    mac = json.loads(lab.host_exec("host1", "ip", "-j", "link", "show", "to-host2").stdout)[0]["address"]
    edge = host_endpoint("edge", interfaceName="to-host2", profiles=["projectcalico-default-allow"])
    forward = policy("forward", applyOnForward=True, types=["Egress"],
                     egress=[{"action": "Deny", "protocol": "UDP", "destination": {"ports": [9, 40000]}}, *EVERYTHING])

    def packets(*words):
        lab.exec("shop/near", sys.executable, PACKETS, *words)
    with lab.applied(edge, forward):
        outside = Ear(lab, "host", "exec", "host2", "--", "find", by="to-host1", texts=["refused", "leaves"])
        inside = Ear(lab, "exec", "shop/near", "--", "find", texts=["comes"])
        packets("send", near, host2, "9", "refused")
        packets("error", near, host2, host2, "leaves")
        packets("send", near, host2, "11", "last")
        assert outside.heard() == ["last"]
        packets("put", f"udp {near} {host2} 9 40000 refused")
        for words in (("error", host2, near, near, "comes"), ("send", host2, near, "11", "last")):
            lab.host_exec("host2", "env", f"WAY=to-host1 {mac}", sys.executable, PACKETS, *words)
        assert inside.heard() == ["last"]
