"""Packets between hosts in VXLAN, where a pool asks for it."""
import json

import pytest
from transfer import transfer

POLICY = {"apiVersion": "projectcalico.org/v3", "kind": "NetworkPolicy",
          "metadata": {"name": "web", "namespace": "shop"},
          "spec": {"selector": "app == 'web'", "types": ["Ingress"],
                   "ingress": [{"action": "Allow", "protocol": "TCP", "destination": {"ports": [80]},
                                "source": {"selector": "app == 'client'"}}]}}
# A host endpoint that lets nothing through, but what IPv6 needs to find its neighbours.
CLOSED = [{"apiVersion": "projectcalico.org/v3", "kind": "HostEndpoint",
           "metadata": {"name": "all", "labels": {"host": "yes"}}, "spec": {"node": "host1", "interfaceName": "*"}},
          {"apiVersion": "projectcalico.org/v3", "kind": "GlobalNetworkPolicy", "metadata": {"name": "neighbours"},
           "spec": {"selector": "has(host)", "types": ["Ingress", "Egress"],
                    "ingress": [{"action": "Allow", "protocol": "ICMPv6"}],
                    "egress": [{"action": "Allow", "protocol": "ICMPv6"}]}}]
COUNTER = ("add table inet watcher; add counter inet watcher {0}; "
           "add chain inet watcher {0} {{ type filter hook {1} priority 0; }}; "
           "add rule inet watcher {0} udp dport 4789 counter name {0}")


def pods(lab):
    lab.together([lab.pod_words("shop/client", "host1", {"app": "client"}, "tcp/80,udp/53"),
                  lab.pod_words("shop/same-rack", lab.hosts[-2], {"app": "web"}, "tcp/80,tcp/81,udp/53"),
                  lab.pod_words("shop/far", lab.hosts[-1], {"app": "web"}, "tcp/80,tcp/81,udp/53")])


def watch(lab):
    for host in lab.hosts:
        lab.host_exec(host, "nft", COUNTER.format("arrived", "prerouting"))


def arrived(lab, host):
    """How many VXLAN packets have come to the host since the last call."""
    text = lab.host_exec(host, "nft", "reset", "counter", "inet", "watcher", "arrived").stdout
    words = text.split()
    return int(words[words.index("packets") + 1])


def ping(lab, source, target, family, size=56):
    lab.exec(source, "ping", "-c", "3", "-i", "0.2", "-W", "10", "-s", str(size), "-M", "do",
             lab.address(target, family))


@pytest.fixture(scope="module")
def always(make_lab, dataplane):
    lab = make_lab(2, dataplane, network="vxlan")
    lab.together([lab.pod_words("shop/client", "host1", {"app": "client"}, "tcp/80,udp/53"),
                  lab.pod_words("shop/far", "host2", {"app": "web"}, "tcp/80,tcp/81,udp/53")])
    watch(lab)
    return lab


@pytest.fixture(scope="module")
def across(make_lab):
    # Racks are 1, 2, 1, 2: host1 and host3 share one.
    lab = make_lab(4, network="vxlan-cross-subnet", racks=2)
    pods(lab)
    watch(lab)
    return lab


@pytest.mark.parametrize("family", [4, 6])
def test_what_hosts_carry_for_pods_travels_in_vxlan(always, family):
    arrived(always, "host1"), arrived(always, "host2")
    ping(always, "shop/client", "shop/far", family)
    assert arrived(always, "host1") >= 3 and arrived(always, "host2") >= 3


@pytest.mark.parametrize("family", [4, 6])
def test_the_largest_packet_of_a_pod_fits_into_the_tunnel(always, family):
    mtu = int(always.exec("shop/client", "cat", "/sys/class/net/eth0/mtu").stdout)
    header = {4: 28, 6: 48}[family]
    ping(always, "shop/client", "shop/far", family, mtu - header)


def tunnel_address(lab, number, family):
    return lab.json("get", "node", "host%d" % number)["spec"]["ipv%dVXLANTunnelAddr" % family]


@pytest.mark.parametrize("family", [4, 6])
def test_a_host_has_an_address_of_the_pool_for_its_tunnel_and_reaches_far_pods_by_it(always, family):
    handle = {4: "vxlan-tunnel-addr-host%d", 6: "vxlan-v6-tunnel-addr-host%d"}[family]
    for number in (1, 2):
        own = tunnel_address(always, number, family)
        shown = always.run("ipam", "show", own).stdout
        assert handle % number in shown
    own, far = tunnel_address(always, 1, family), always.address("shop/far", family)
    route, = json.loads(always.host_exec("host1", "ip", "-j", "route", "get", far).stdout)
    assert (route["prefsrc"], route["dev"]) == (own, {4: "vxlan.calico", 6: "vxlan-v6.calico"}[family])
    arrived(always, "host2"), arrived(always, "host1")
    assert ", 3 received" in always.host_exec("host1", "ping", "-c", "3", "-i", "0.2", "-W", "5", far).stdout
    assert arrived(always, "host2") >= 3 and arrived(always, "host1") >= 3
    # And the other way round: a pod asks the far host itself.
    always.exec("shop/far", "ping", "-c", "1", "-W", "5", own)


def test_node_status_tells_of_tunnels_their_ends_and_routes(always):
    status, = always.json("node", "status", "host1")["nodes"]
    assert status["tunnels"] == [
        {"interface": name, "mtu": mtu, "address": tunnel_address(always, 1, family), "hosts": 1, "ends": 1}
        for name, mtu, family in (("vxlan.calico", 1450, 4), ("vxlan-v6.calico", 1430, 6))]
    assert status["routes"]["wanted"] == status["routes"]["ready"] > 0
    text = always.run("node", "status", "host1").stdout
    assert "tunnel vxlan.calico: MTU 1450, address " in text and "ends of 1 of 1 other hosts" in text
    assert "routes: %d, all in the kernel" % status["routes"]["wanted"] in text


def encapsulated(lab, host):
    """How many packets its programs have put into tunnels."""
    counters = lab.json("bpf", "counters", "--host", host)["counters"]
    return next(line["count"] for line in counters if line["counter"] == "encapsulated")


@pytest.mark.parametrize("family", [4, 6])
def test_a_large_transfer_arrives_whole(always, dataplane, family):
    # Large packets of IPv6 are summed up by the interface, past the stack: what programs have there are the answers.
    host, least = {4: ("host1", 100), 6: ("host2", 20)}[family]
    before = encapsulated(always, host) if dataplane == "ebpf" else 0
    transfer(always, "shop/client", "shop/far", family)
    if dataplane == "ebpf":
        assert encapsulated(always, host) - before > least


@pytest.mark.parametrize("family", [4, 6])
def test_programs_put_packets_of_both_families_into_tunnels(always, dataplane, family):
    if dataplane != "ebpf":
        pytest.skip("with nftables the interface does")
    ping(always, "shop/client", "shop/far", family)
    before = encapsulated(always, "host1")
    ping(always, "shop/client", "shop/far", family, 1000)
    # A new one: its first packet takes the stack, and so does the way to be learned.
    assert encapsulated(always, "host1") - before >= 1


def test_tunnels_of_the_cluster_pass_a_host_endpoint_that_lets_nothing_else_through(always):
    always.apply(*CLOSED)
    try:
        always.wait()
        for family in (4, 6):
            ping(always, "shop/client", "shop/far", family)
            ping(always, "shop/far", "shop/client", family)
        from_host = ["ping", "-c", "1", "-W", "1", "172.31.0.1"]
        assert ", 0 received" in always.host_exec("host2", *from_host, check=False).stdout
    finally:
        always.delete(*CLOSED)
        always.wait()
    assert ", 1 received" in always.host_exec("host2", *from_host).stdout


def test_policy_holds_in_the_overlay_as_the_matrix_says(always):
    always.apply(POLICY)
    always.wait()
    ports = "tcp/80,tcp/81,udp/53"
    cells = always.probe(ports)
    assert cells == always.matrix(ports)
    assert cells["shop/client", "shop/far", "tcp/80", 6] == "allow"
    assert cells["shop/client", "shop/far", "tcp/81", 4] == "deny"


def test_routes_says_where_packets_go_and_that_the_kernel_agrees(always):
    routes = {line["destination"]: line for line in
              json.loads(always.host_exec("host1", always.binary, "routes", "--node", "host1", "-o", "json").stdout)}
    own = routes[always.address("shop/client") + "/32"]
    assert (own["workloads"], own["state"]) == (["shop/client"], "ready")
    assert always.address("shop/far", 6) + "/128" not in routes, "its block stands for it"
    [far] = [line for line in routes.values() if "shop/far" in line.get("workloads", []) and ":" in line["destination"]]
    assert (far["tunnel"], far["interface"]) == ("vxlan", "vxlan-v6.calico")
    assert (far["node"], far["state"]) == ("host2", "ready")
    nowhere = [line for line in routes.values() if line.get("interface") == "blackhole"]
    assert [(line["node"], line["state"]) for line in nowhere] == [("host1", "ready")] * 2, "its own, of both families"


def test_an_agent_that_is_killed_and_comes_back_loses_no_packet(always):
    flows = [always.start_traffic("shop/client", "stream", always.address("shop/far", family), 80) for family in (4, 6)]
    always.run("lab", "agent", "kill", "host1")
    always.run("lab", "agent", "start", "host1")
    for flow in flows:
        report = flow.stop()
        assert report["sent"] > 10
        assert (report["missing"], report["outOfOrder"], report["error"]) == ([], 0, "")


def test_a_change_of_datapath_and_back_loses_no_packet(always, dataplane):
    flows = [always.start_traffic("shop/client", "stream", always.address("shop/far", family), 80) for family in (4, 6)]
    for other in ({"ebpf": "nftables", "nftables": "ebpf"}[dataplane], dataplane):
        for host in always.hosts:
            always.run("lab", "agent", "stop", host)
            always.run("lab", "agent", "start", host, "--dataplane", other)
    for flow in flows:
        flow.end()
    for flow in flows:
        report = flow.stop()
        assert report["sent"] > 100
        assert (report["missing"], report["outOfOrder"], report["error"]) == ([], 0, "")


@pytest.mark.parametrize("family", [4, 6])
def test_only_what_crosses_subnets_travels_in_vxlan_where_the_pool_says_so(across, family):
    for host in across.hosts:
        arrived(across, host)
    ping(across, "shop/client", "shop/same-rack", family)  # host3
    assert arrived(across, "host1") == 0 and arrived(across, "host3") == 0
    ping(across, "shop/client", "shop/far", family)  # host4
    assert arrived(across, "host1") >= 3 and arrived(across, "host4") >= 3


def test_a_pool_may_change_how_its_packets_travel(across):
    pool = across.request("GET", "/apis/projectcalico.org/v3/ippools/pods-ipv4")
    pool["spec"]["vxlanMode"] = "Never"
    across.request("PUT", "/apis/projectcalico.org/v3/ippools/pods-ipv4", pool)
    across.wait()
    arrived(across, "host1")
    ping(across, "shop/client", "shop/far", 4)
    assert arrived(across, "host1") == 0
    assert "vxlan.calico" not in across.host_exec("host1", "ip", "-brief", "link").stdout
    assert "vxlan-v6.calico" in across.host_exec("host1", "ip", "-brief", "link").stdout
    # Its ends are kept for the next time.
    pool = across.request("GET", "/apis/projectcalico.org/v3/ippools/pods-ipv4")
    pool["spec"]["vxlanMode"] = "Always"
    across.request("PUT", "/apis/projectcalico.org/v3/ippools/pods-ipv4", pool)
    across.wait()
    ping(across, "shop/client", "shop/same-rack", 4)
    assert arrived(across, "host1") >= 3


def test_what_hosts_had_for_their_tunnels_goes_back_with_the_pools(always, eventually):
    handles = {"vxlan%s-tunnel-addr-host%d" % (six, number) for six in ("", "-v6") for number in (1, 2)}

    def given():
        return {item["metadata"]["name"] for item in always.json("get", "ipamhandles")["items"]}

    for pod in ("shop/client", "shop/far"):
        always.run("lab", "pod", "delete", pod)
    assert given() == handles
    for family in (4, 6):
        always.run("delete", "ippool", "pods-ipv%d" % family)
    eventually(lambda: given() == set(), 30)
    nodes = always.json("get", "nodes")["items"]
    assert not any("ipv%dVXLANTunnelAddr" % family in node["spec"] for node in nodes for family in (4, 6))
    always.wait()
    assert all("vxlan" not in always.host_exec(host, "ip", "-brief", "link").stdout for host in always.hosts)
