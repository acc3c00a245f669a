"""What fields of FelixConfiguration say, from the field to packets: the same with both datapaths, each time anew."""
import contextlib
import json
import sys

import pytest

from ears import PACKETS, Ear
from outside import MIRROR, Outside
from raw import Raw

FELIX = {"apiVersion": "projectcalico.org/v3", "kind": "FelixConfiguration", "metadata": {"name": "default"}}
HOST1 = {4: "172.31.0.1", 6: "fd31::1"}
HOST2 = {4: "172.31.0.2", 6: "fd31::2"}
ELSEWHERE = {4: "198.18.9.7", 6: "fd18:9::7"}  # reached by an interface of host1 of that name
FAMILIES = pytest.mark.parametrize("family", [4, 6])


@pytest.fixture(scope="module")
def lab(make_lab, dataplane):
    lab = make_lab(2, dataplane)
    lab.together([lab.pod_words("shop/near", "host1"), lab.pod_words("shop/far", "host2")])
    lab.host_exec("host1", "sh", "-c",
                  "ip link add elsewhere type veth peer name beyond && ip link set elsewhere up && "
                  "ip link set beyond up && ip route add 198.18.9.0/24 dev elsewhere && "
                  "ip route add fd18:9::/64 dev elsewhere && "
                  "ip route add 10.96.0.0/16 via 172.31.0.2 && ip route add fd96::/112 via fd31::2")
    lab.wait()
    return lab


def felix(lab, **spec):
    return lab.applied(dict(FELIX, spec=spec))


def put_into_host1(lab, host, by, into, source, target, port, text):
    """A datagram that comes in by an interface of host1, whose other end `by` is at that host."""
    link, = json.loads(lab.host_exec("host1", "ip", "-j", "link", "show", into).stdout)
    lab.host_exec(host, "env", f"WAY={by} {link['address']}", sys.executable, PACKETS, "send", source, target,
                  str(port), text)


def test_workloads_may_send_what_one_field_allows_and_no_more(lab):
    """Not even once it is allowed no longer; each step has ports of its own."""
    kinds = {"allowVXLANPacketsFromWorkloads": "udp {} 4789", "disableConntrackInvalidCheck": "tcp {} 83 RST",
             "allowIPIPPacketsFromWorkloads": "other 4"}
    raws = [Raw(lab, "shop/near", "shop/far", family) for family in (4, 6)]
    steps = ["none", *kinds]

    def text(kind, step, raw):
        return f"{kind}-in-{step}-{raw.family}"

    def say(step):
        for raw in raws:
            raw.say("client", *(f"{words.format(41000 + steps.index(step))} {text(kind, step, raw)}"
                                for kind, words in kinds.items()))
    with contextlib.ExitStack() as stack:
        for raw in raws:
            stack.enter_context(raw.listening(*(text(kind, step, raw) for kind in kinds for step in steps)))
        say("none")
        for field in kinds:
            with felix(lab, **{field: True}):
                say(field)
        for raw in raws:
            raw.say("client", "udp 40000 85 last")
            raw.say("server", "udp 85 40000 last")
            assert raw.heard()["server"] == [text(field, field, raw) for field in kinds]


@FAMILIES
def test_what_comes_in_by_an_interface_of_workloads_that_nobody_knows_is_refused(lab, family):
    near = lab.address("shop/near", family)
    ear = Ear(lab, "exec", "shop/near", "--", "find", texts=["before", "within", "other"])

    def send(port, text):
        put_into_host1(lab, "host1", "beyond", "elsewhere", ELSEWHERE[family], near, port, text)
    send(9, "before")
    with felix(lab, interfacePrefix="cali,else"):
        send(10, "within")
    with felix(lab, interfacePrefix="cali,tap"):
        send(11, "other")
    send(12, "last")
    assert ear.heard() == ["before", "other", "last"]


@FAMILIES
def test_hosts_are_inside_or_outside_of_the_pools_as_is_said(lab, family):
    """For natOutgoing: whom host2 sees."""
    near = lab.address("shop/near", family)
    pool = {"apiVersion": "projectcalico.org/v3", "kind": "IPPool", "metadata": {"name": "pods-ipv%d" % family},
            "spec": {"cidr": {4: "10.65.0.0/16", 6: "fd65::/112"}[family], "vxlanMode": "Never", "ipipMode": "Never"}}

    def with_nat(nat):
        lab.apply(dict(pool, spec={**pool["spec"], "natOutgoing": nat}))
        lab.wait()
    host2 = Outside(lab)
    host2.start(MIRROR, (lab.binary, "lab", "host", "exec", "host2", "--"))

    def seen():
        return host2.seen("shop/near", HOST2[family])[0]
    try:
        with_nat(True)
        assert seen() == HOST1[family]
        with felix(lab, natOutgoingExclusions="IPPoolsAndHostIPs"):
            assert seen() == near
        assert seen() == HOST1[family]
    finally:
        with_nat(False)
        host2.down()


@FAMILIES
def test_what_no_service_has_taken_goes_round_only_where_it_may(lab, family, eventually):
    """Host1's route to services leads to host2."""
    service = {4: "10.96.0.7", 6: "fd96::7"}[family]
    nets = {"apiVersion": "projectcalico.org/v3", "kind": "BGPConfiguration", "metadata": {"name": "default"},
            "spec": {"serviceClusterIPs": [{"cidr": "10.96.0.0/16"}, {"cidr": "fd96::/112"}]}}
    near, far = (lab.address(pod, family) for pod in ("shop/near", "shop/far"))

    def sends(port, text, target=service):
        lab.exec("shop/near", sys.executable, PACKETS, "send", near, target, str(port), text)
    told = Ear(lab, "exec", "shop/near", "--", "find", texts=["drop", "reject"])
    ear = Ear(lab, "host", "exec", "host2", "--", "find", by="to-host1", texts=["no-net", "drop", "reject", "disabled"])
    sends(9, "no-net")
    with lab.applied(nets):
        sends(10, "drop")
        for port, how in ((11, "Reject"), (12, "Disabled")):
            with felix(lab, serviceLoopPrevention=how):
                sends(port, how.lower())
        sends(13, "last", far)
    lab.exec("shop/far", sys.executable, PACKETS, "send", far, near, "13", "last")
    assert ear.heard() == ["no-net", "disabled", "last"]

    def dropped():
        return {(flow["reason"], flow["traffic"]) for host in lab.json("drops")["hosts"] for flow in host["flows"]
                if flow["source"]["nameAggregated"] == "near"}
    eventually(lambda: dropped() >= {("service", "udp/10"), ("service", "udp/11")}, 30)
    assert told.heard() == ["reject", "last"]


@FAMILIES
def test_what_is_denied_by_now_bears_the_second_bit_of_a_mask(lab, dataplane, family, eventually):
    """Others' bits stay. With eBPF connections are its own."""
    if dataplane != "nftables":
        pytest.skip("no connection of the kernel's is marked")
    raw = Raw(lab, "shop/near", "shop/far", family)
    port = 8600 + family
    no_more = {"apiVersion": "projectcalico.org/v3", "kind": "GlobalNetworkPolicy", "metadata": {"name": "no-more"},
               "spec": {"selector": "all()", "types": ["Egress"],
                        "egress": [{"action": "Deny", "protocol": "UDP", "destination": {"ports": [port]}},
                                   {"action": "Allow"}]}}
    lab.host_exec("host1", "nft", "add table inet marks; add counter inet marks denied; "
                  "add chain inet marks of { type filter hook prerouting priority 0; }; "
                  f"add rule inet marks of udp dport {port} ct mark 0 ct mark set 0x1; "
                  f"add rule inet marks of udp dport {port} ct mark 0x20000001 counter name denied")

    def is_marked():
        raw.say("client", f"udp 40000 {port} more")
        return "packets 0 " not in lab.host_exec("host1", "nft", "list", "counter", "inet", "marks", "denied").stdout
    try:
        with felix(lab, nftablesMarkMask=0xf0000000):
            raw.say("client", f"udp 40000 {port} first")
            raw.say("server", f"udp {port} 40000 answer")
            assert not is_marked()
            with lab.applied(no_more):
                eventually(is_marked, 30)
    finally:
        lab.host_exec("host1", "nft", "delete", "table", "inet", "marks")


def test_hosts_of_no_cluster_may_send_by_the_tunnel_where_they_are_listed(make_lab, dataplane, eventually):
    lab = make_lab(2, dataplane, network="vxlan")
    lab.wait()
    lab.host_exec("host1", "nft", "add table ip after; add counter ip after tunnelled; "
                  "add chain ip after in { type filter hook input priority 10; }; "
                  "add rule ip after in udp dport 4789 ip saddr 198.18.9.7 counter name tunnelled; "
                  "add counter ip after here; "
                  "add chain ip after here { type filter hook prerouting priority -400; }; "
                  "add rule ip after here udp dport 4789 ip saddr 198.18.9.7 counter name here")
    lab.host_exec("host1", "ip", "route", "add", "198.18.9.0/24", "via", HOST2[4])

    def counted(what, how="list"):
        return "packets 1 " in lab.host_exec("host1", "nft", how, "counter", "ip", "after", what).stdout

    def arrived():
        put_into_host1(lab, "host2", "to-host1", "to-host2", ELSEWHERE[4], HOST1[4], 4789, "tunnelled")
        eventually(lambda: counted("here", "reset"), 30)
        return counted("tunnelled", "reset")
    assert not arrived()
    with felix(lab, externalNodesList=["198.18.9.0/28"]):
        assert arrived()
    with felix(lab, externalNodesList=["198.18.9.8"]):
        assert not arrived()
