"""Packets between hosts in IPIP, in a kernel that has it: test_ipip.py runs these inside a user-mode Linux. That kernel
has no tables of nftables, so agents keep routes alone there."""
import json
import pathlib
import subprocess
import sys

import pytest

import ocicat_lab

PODS = {"net/one": "host1", "net/two": "host2", "net/three": "host3"}
POOLS = "/apis/projectcalico.org/v3/ippools/"
FELIX = {"apiVersion": "projectcalico.org/v3", "kind": "FelixConfiguration", "metadata": {"name": "default"}}
OTHERS = "pods-10-66-0-0-26"  # what the lab calls the pool that it makes for them
# Prints the protocol and both addresses of IPv4 packets that pass a link, and those of what IPIP ones carry.
EAR = """
import json, socket, sys
ear = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))
ear.bind((sys.argv[1], 0))
print("ready", flush=True)
def addresses(header):
    return [socket.inet_ntoa(header[12:16]), socket.inet_ntoa(header[16:20])]
while True:
    packet, about = ear.recvfrom(2048)
    if about[1] != 0x0800:
        continue
    inner = packet[(packet[0] & 15) * 4:]
    print(json.dumps([packet[9], *addresses(packet), *(addresses(inner) if packet[9] == 4 else [])]), flush=True)
"""


WITHHELD = pathlib.Path("/run/withheld")  # modules that the kernel does not get: uml.py


@pytest.fixture(scope="module")
def lab(make_lab):
    # Racks are 1, 2, 1: host1 and host3 share one.
    lab = make_lab(3, "none", network="ipip", racks=2)
    lab.together([lab.pod_words(pod, host, {}, "tcp/80") for pod, host in PODS.items()])
    return lab


def set_modes(lab, pool="pods-ipv4", **modes):
    document = lab.request("GET", POOLS + pool)
    document["spec"].update({"ipipMode": "Never", "vxlanMode": "Never"}, **modes)
    lab.request("PUT", POOLS + pool, document)
    # Agents give the ends of the tunnels addresses.
    wanted = {"ipv4VXLANTunnelAddr": False, "ipv4IPIPTunnelAddr": False}
    for item in lab.json("get", "ippools")["items"]:
        if ":" not in item["spec"]["cidr"]:
            wanted["ipv4VXLANTunnelAddr"] |= item["spec"].get("vxlanMode", "Never") != "Never"
            wanted["ipv4IPIPTunnelAddr"] |= item["spec"].get("ipipMode", "Never") != "Never"
    names = [name for name, is_wanted in wanted.items() if is_wanted]
    ocicat_lab.eventually(lambda: all(said(lab, host, name) for host in lab.hosts for name in names), 60)
    lab.wait()


def said(lab, host, name):
    """Whether the Node says such an address."""
    spec = lab.json("get", "node", host)["spec"]
    return name in spec or name in spec["bgp"]


def tunl0(lab, host="host1"):
    link, = json.loads(lab.host_exec(host, "ip", "-j", "-s", "link", "show", "tunl0").stdout)
    return link


def is_up(lab, host="host1"):
    return "UP" in tunl0(lab, host)["flags"]


def sent(lab, host="host1"):
    return tunl0(lab, host)["stats64"]["tx"]["packets"]


def ping(lab, source, target, size=56, count=2):
    report = lab.exec(source, "ping", "-c", str(count), "-i", "0.2", "-W", "5", "-M", "do", "-s", str(size),
                      lab.address(target), check=False)
    return ", %d received" % count in report.stdout


def routes(lab, host="host1"):
    """What the kernel has of ours, by interface."""
    found = {}
    for route in json.loads(lab.host_exec(host, "ip", "-j", "route", "show", "proto", "80").stdout):
        found.setdefault(route.get("dev", route.get("type")), []).append(route)
    return found


def told(lab, host="host1"):
    return lab.json("node", "status", host)["nodes"][0]


def test_agents_say_that_they_enforce_no_policy(lab):
    why = "no policy is enforced on this host: its agent was told to keep routes alone"
    assert "host1: dataplane none: " + why in lab.run("status").stdout
    assert all(agent["dataplane"] == "none" for agent in lab.json("status")["agents"])
    assert told(lab)["notes"] == [why]
    log = (lab.folder / "log" / "agent-host1.log").read_text()
    assert why in log and "WorkloadEndpoint net/" in log and "starts without policy" in log


def test_what_hosts_carry_for_pods_travels_in_ipip(lab):
    for target in ("net/two", "net/three"):
        before = sent(lab), sent(lab, PODS[target])
        assert ping(lab, "net/one", target)
        assert sent(lab) >= before[0] + 2 and sent(lab, PODS[target]) >= before[1] + 2


def test_a_packet_on_the_wire_goes_from_host_to_host_around_that_of_the_pods(lab):
    ear = subprocess.Popen([lab.binary, "lab", "host", "exec", "host2", "--", sys.executable, "-c", EAR, "to-host1"],
                           env=lab.environment, stdout=subprocess.PIPE, text=True)
    try:
        assert ear.stdout.readline() == "ready\n"
        assert ping(lab, "net/one", "net/two")
        hosts = [lab.host_address(number) for number in (1, 2)]
        pods = [lab.address("net/one"), lab.address("net/two")]
        heard = [json.loads(ear.stdout.readline()) for _ in range(4)]
    finally:
        ear.kill()
        ear.wait()
    assert heard == [[4, *hosts, *pods], [4, *reversed(hosts), *reversed(pods)]] * 2


def test_pods_know_how_much_room_the_tunnel_leaves(lab):
    link, = json.loads(lab.exec("net/one", "ip", "-j", "link", "show", "dev", "eth0").stdout)
    assert (link["mtu"], tunl0(lab)["mtu"]) == (1480, 1480)
    own = lab.json("get", "node", "host1")["spec"]["bgp"]["ipv4IPIPTunnelAddr"]
    assert (told(lab)["mtu"], told(lab)["tunnels"]) == (1480, [{"interface": "tunl0", "mtu": 1480, "address": own}])
    assert "tunnel tunl0: MTU 1480, address " + own in lab.run("node", "status", "host1").stdout
    assert ping(lab, "net/one", "net/two", 1480 - 28)
    assert not ping(lab, "net/one", "net/two", 1481 - 28)


def test_ipip_mtu_bounds_the_tunnel_and_with_it_the_pods(lab, eventually):
    lab.apply({**FELIX, "spec": {"ipipMTU": 1400}})
    try:
        lab.wait()
        assert tunl0(lab)["mtu"] == 1400
        eventually(lambda: ping(lab, "net/one", "net/two", 1400 - 28, 1), 60)
        assert not ping(lab, "net/one", "net/two", 1401 - 28, 1)
    finally:
        lab.delete({**FELIX, "spec": {}})
    lab.wait()
    eventually(lambda: ping(lab, "net/one", "net/two", 1480 - 28, 1), 60)


def test_routes_says_where_packets_go_and_that_the_kernel_agrees(lab):
    lines = json.loads(lab.host_exec("host1", lab.binary, "routes", "--node", "host1", "-o", "json").stdout)
    far = sorted((line for line in lines if line.get("tunnel") == "ipip"), key=lambda line: line["node"])
    assert [(line["interface"], line["via"], line["node"], line["state"]) for line in far] == [
        ("tunl0", lab.host_address(number), "host%d" % number, "ready") for number in (2, 3)]


def test_a_host_itself_reaches_pods_of_another_one(lab):
    report = lab.host_exec("host1", "ping", "-c", "2", "-i", "0.2", "-W", "5", lab.address("net/two"))
    assert ", 2 received" in report.stdout


def test_an_agent_that_is_killed_and_comes_back_loses_no_packet(lab):
    flows = [lab.start_traffic("net/one", kind, lab.address("net/two"), *port)
             for kind, port in (("stream", [80]), ("ping", []))]
    lab.run("lab", "agent", "kill", "host1")
    lab.run("lab", "agent", "start", "host1")
    for flow in flows:
        report = flow.stop()
        assert report["sent"] > 10
        assert (report["missing"], report["error"]) == ([], "")


def test_what_somebody_does_to_the_tunnel_is_mended(lab, eventually):
    lab.host_exec("host1", "ip", "link", "set", "tunl0", "down")
    eventually(lambda: is_up(lab) and "tunl0" in routes(lab), 60)
    lab.host_exec("host1", "ip", "link", "set", "tunl0", "mtu", "1300")
    eventually(lambda: tunl0(lab)["mtu"] == 1480, 60)
    assert ping(lab, "net/one", "net/two")


def test_the_address_that_a_node_says_is_the_tunnels(lab, eventually):
    def addresses():
        link, = json.loads(lab.host_exec("host1", "ip", "-j", "-4", "addr", "show", "dev", "tunl0").stdout) or [{}]
        return [entry["local"] for entry in link.get("addr_info", [])]

    path = "/apis/projectcalico.org/v3/nodes/host1"
    document = lab.request("GET", path)
    own = document["spec"]["bgp"]["ipv4IPIPTunnelAddr"]
    assert addresses() == [own]
    assert "ipip-tunnel-addr-host1" in lab.run("ipam", "show", own).stdout
    document["spec"]["bgp"]["ipv4IPIPTunnelAddr"] = "172.20.0.1"  # of no pool: somebody's own affair
    lab.request("PUT", path, document)
    eventually(lambda: addresses() == ["172.20.0.1"], 60)
    document = lab.request("GET", path)
    del document["spec"]["bgp"]["ipv4IPIPTunnelAddr"]
    lab.request("PUT", path, document)
    eventually(lambda: len(addresses()) == 1 and addresses() != ["172.20.0.1"], 60)


def test_only_what_crosses_subnets_is_tunnelled_where_the_pool_says_so(lab):
    set_modes(lab, ipipMode="CrossSubnet")
    before = sent(lab), sent(lab, "host3")
    assert ping(lab, "net/one", "net/three")
    assert (sent(lab), sent(lab, "host3")) == before
    assert ping(lab, "net/one", "net/two")
    assert sent(lab) >= before[0] + 2


def test_a_pool_in_vxlan_and_one_in_ipip_stand_side_by_side(lab):
    set_modes(lab, ipipMode="Always")
    lab.add_pod("net/four", "host1", addresses="10.66.0.1")
    lab.add_pod("net/five", "host2", addresses="10.66.0.2")
    set_modes(lab, OTHERS, vxlanMode="Always")
    before = sent(lab)
    assert ping(lab, "net/four", "net/five")
    assert sent(lab) == before
    assert ping(lab, "net/one", "net/two")
    assert sent(lab) >= before + 2
    assert {"tunl0", "vxlan.calico"} <= set(routes(lab))
    assert [tunnel["interface"] for tunnel in told(lab)["tunnels"]] == ["vxlan.calico", "tunl0"]
    assert told(lab)["mtu"] == 1450, "the least room of both"


def test_a_pool_changes_how_it_travels_while_a_connection_goes_on(lab):
    flow = lab.start_traffic("net/one", "stream", lab.address("net/two"), 80)
    for modes in ({"vxlanMode": "Always"}, {"ipipMode": "Always"}, {}, {"ipipMode": "CrossSubnet"}, {}):
        set_modes(lab, **modes)
        assert ping(lab, "net/one", "net/two", count=1), modes
        assert ("tunl0" in routes(lab)) == is_up(lab) == ("ipipMode" in modes), modes
    report = flow.stop()
    assert report["sent"] > 10
    assert (report["missing"], report["outOfOrder"], report["error"]) == ([], 0, "")


def test_what_an_agent_before_has_left_of_the_tunnel_is_swept(lab):
    set_modes(lab, ipipMode="Always")
    assert is_up(lab) and "tunl0" in routes(lab)
    lab.run("lab", "agent", "kill", "host1")
    document = lab.request("GET", POOLS + "pods-ipv4")
    document["spec"]["ipipMode"] = "Never"
    lab.request("PUT", POOLS + "pods-ipv4", document)
    assert is_up(lab) and "tunl0" in routes(lab)
    lab.run("lab", "agent", "start", "host1")
    assert not is_up(lab) and "tunl0" not in routes(lab)
    assert ping(lab, "net/one", "net/two")


def test_a_kernel_without_ipip_is_told_of_and_packets_go_no_other_way_until_it_has_it(lab, eventually):
    set_modes(lab)
    subprocess.run(["/run/modprobe", "-r", "ipip"], check=True)
    WITHHELD.write_text("rtnl-link-ipip\n")
    pool = lab.request("GET", POOLS + "pods-ipv4")
    pool["spec"]["ipipMode"] = "Always"
    lab.request("PUT", POOLS + "pods-ipv4", pool)
    why = "this kernel has no IPIP: load its module ipip, or set the pools' ipipMode to Never and vxlanMode instead"
    eventually(lambda: all(why in agent["error"] for agent in lab.json("status")["agents"]), 60)
    late = lab.run("status", "--wait", "--timeout", "1s", check=False)
    assert late.returncode == 1 and why in late.stderr
    assert why in told(lab)["error"] and why in lab.run("node", "status", "host1").stdout
    assert not ping(lab, "net/one", "net/two", count=1)
    WITHHELD.write_text("")
    lab.wait()
    assert is_up(lab) and ping(lab, "net/one", "net/two")


@pytest.mark.parametrize("dataplane", ["nftables", "auto"])
def test_no_agent_comes_to_enforce_nothing_by_itself(lab, eventually, dataplane):
    lab.run("lab", "agent", "stop", "host3")
    lab.run("lab", "agent", "start", "host3", "--no-wait", "--dataplane", dataplane)

    def is_refused():
        agent, = [agent for agent in lab.json("status")["agents"] if agent["node"] == "host3"]
        return agent["dataplane"] == "nftables" and "none of family inet" in agent["error"] and not agent["upToDate"]

    eventually(is_refused, 60)
