"""BIRD on every host, kept by the agents: a mesh of five, then a pair of route reflectors, in one lab."""
import ipaddress
import json
import os
import signal
import sys

import pytest

PORT = 8080
HOSTS = 5


@pytest.fixture(scope="module")
def lab(make_lab):
    lab = make_lab(HOSTS, network="bgp")
    lab.together([lab.pod_words("net/%s" % host.replace("host", "pod"), host, listen="tcp/%d" % PORT)
                  for host in lab.hosts])
    return lab


def ring(lab, pods):
    """Pings every 5 ms of both families from each pod to the next; check() ends them: nothing may be missing."""
    running = {}
    for source, target in zip(pods, pods[1:] + pods[:1]):
        for family in (4, 6):
            running[target, family] = lab.start_traffic(source, "ping", lab.address(target, family))

    def check():
        for key, flow in running.items():
            report = flow.stop()
            assert report["sent"] > 10, key
            assert (key, report["missing"]) == (key, [])
        running.clear()

    yield check
    for flow in running.values():
        flow.stop()


@pytest.fixture
def flows(lab):
    yield from ring(lab, ["net/pod%d" % number for number in range(1, HOSTS + 1)])


@pytest.fixture
def flows_past_host1(lab):
    yield from ring(lab, ["net/pod%d" % number for number in range(2, HOSTS + 1)])


def configuration(**spec):
    return {"apiVersion": "projectcalico.org/v3", "kind": "BGPConfiguration", "metadata": {"name": "default"},
            "spec": spec}


def peer(name, **spec):
    return {"apiVersion": "projectcalico.org/v3", "kind": "BGPPeer", "metadata": {"name": name}, "spec": spec}


def routes(lab, host, family=4, protocol="bird"):
    """{destination: gateway} of what `protocol` has written, apart from what leads nowhere."""
    text = lab.host_exec(host, "ip", "-%d" % family, "-j", "route", "show", "proto", str(protocol)).stdout
    return {route["dst"]: route.get("gateway", route.get("dev")) for route in json.loads(text or "[]")
            if route.get("type") not in ("unreachable", "blackhole")}


def blackholes(lab, host, family=4, protocol="80"):
    text = lab.host_exec(host, "ip", "-%d" % family, "-j", "route", "show", "type", "blackhole", "proto",
                         str(protocol)).stdout
    return {route["dst"] for route in json.loads(text or "[]")}


def way(lab, host, address, protocol="bird"):
    """The gateway of the longest route to the address, of a block or of its own; None where there is none."""
    address = ipaddress.ip_address(address)
    nets = {ipaddress.ip_network(to): by for to, by in routes(lab, host, address.version, protocol).items()
            if to != "default"}
    covering = [net for net in nets if address in net]
    return nets[max(covering, key=lambda net: net.prefixlen)] if covering else None


def sessions(lab, host):
    status = lab.json("node", "status", host, check=False)
    return {session["peerIP"]: session for session in status["nodes"][0]["bgp"]["sessions"]}


def established(lab, host, count):
    states = [session["state"] for session in sessions(lab, host).values()]
    return len(states) == count and set(states) == {"Established"}


def bird_pid(lab, host):
    return int((lab.folder / "run" / host / "bird" / "bird.pid").read_text() or 0)  # 0: it is writing it


def birdc(lab, host, *words):
    return lab.host_exec(host, "birdc", "-s", str(lab.folder / "run" / host / "bird" / "bird.ctl"), *words).stdout


def since(lab, host):
    """When each session was established, by BIRD's own word; nothing for one that is not."""
    lines = [line.split() for line in birdc(lab, host, "show", "protocols").splitlines()]
    return {words[0]: words[4] if words[5:6] == ["Established"] else None
            for words in lines if words[1:2] == ["BGP"]}


def all_up(lab, hosts, count):
    return all(len(times) == count and all(times.values()) for times in (since(lab, host) for host in hosts))


def all_reach_all(lab):
    return set(lab.probe("tcp/%d" % PORT).values()) == {"allow"}


def test_pods_reach_each_other_by_routes_to_blocks_that_bird_tells(lab):
    assert all_reach_all(lab)
    for number, host in enumerate(lab.hosts, start=1):
        for family in (4, 6):
            for other in range(1, HOSTS + 1):
                pod = lab.address("net/pod%d" % other, family)
                if other == number:
                    own = [net for net in blackholes(lab, host, family)
                           if ipaddress.ip_address(pod) in ipaddress.ip_network(net)]
                    assert len(own) == 1, "what nobody has in an own block leads nowhere"
                    continue
                assert way(lab, host, pod) == lab.host_address(other, family)
                assert pod not in routes(lab, host, family), "the block stands for it"
                assert way(lab, host, pod, protocol=80) is None, "the agent leaves these to BIRD"


def test_node_status_tells_of_every_session(lab, eventually):
    done = lab.run("node", "status")
    assert done.returncode == 0
    for host in lab.hosts:
        assert established(lab, host, 2 * (HOSTS - 1))
        for session in sessions(lab, host).values():
            assert session["type"] == "NodeMesh" and session["node"] in lab.hosts
        # A session that is up has routes a moment later.
        eventually(lambda host=host: all(session["imported"] >= 1 and session["exported"] >= 1
                                         for session in sessions(lab, host).values()), 30)


def test_routes_tells_which_ways_bird_has_written_and_which_are_missing(lab, eventually):
    def told(check=True):
        done = lab.host_exec("host1", lab.binary, "routes", "--node", "host1", "-o", "json", check=check)
        return done.returncode, {line["destination"]: line for line in json.loads(done.stdout)}

    code, lines = told()
    assert code == 0 and all(line["state"] == "ready" for line in lines.values())
    for family in (4, 6):
        there = {to: by for to, by in routes(lab, "host1", family).items() if to != "default"}
        assert len(there) == HOSTS - 1
        for destination, by in there.items():
            assert (lines[destination]["by"], lines[destination]["via"]) == ("bird", by)
    gone = next(iter(routes(lab, "host1")))

    def told_missing():  # unless BIRD looks at the kernel, as it does every 10 s, between the two, and puts it back
        lab.host_exec("host1", "ip", "route", "del", gone, "proto", "bird")
        code, lines = told(check=False)
        return code == 1 and lines[gone]["state"] == "missing"

    eventually(told_missing, 30)
    eventually(lambda: told(check=False)[0] == 0, 30)


def test_a_killed_bird_is_started_again_and_no_packet_is_lost(lab, flows, eventually):
    before = {host: routes(lab, host) for host in lab.hosts}
    pid = bird_pid(lab, "host1")
    os.kill(pid, signal.SIGKILL)
    took = eventually(lambda: bird_pid(lab, "host1") not in (0, pid), 30)
    eventually(lambda: all_up(lab, lab.hosts, 2 * (HOSTS - 1)), 30)
    eventually(lambda: "recovery in progress" not in birdc(lab, "host1", "show", "status"), 60)
    eventually(lambda: {host: routes(lab, host) for host in lab.hosts} == before, 30)
    flows()
    print("started again after %.2f s" % took)


def test_what_is_withdrawn_while_a_bird_is_dead_does_not_stay(lab, eventually):
    lab.run("lab", "pod", "add", "net/nomad", "--host", "host4", "--listen", "tcp/%d" % PORT)
    lab.run("lab", "pod", "move", "net/nomad", "--host", "host5")
    addresses = [lab.address("net/nomad", family) for family in (4, 6)]
    assert all(address in routes(lab, "host1", family) for address, family in zip(addresses, (4, 6)))
    lab.run("lab", "agent", "kill", "host1")
    os.kill(bird_pid(lab, "host1"), signal.SIGKILL)
    lab.run("lab", "pod", "move", "net/nomad", "--host", "host4")
    assert all(address in routes(lab, "host1", family) for address, family in zip(addresses, (4, 6))), "nobody is there"
    lab.run("lab", "agent", "start", "host1", "--no-wait")
    for address, family in zip(addresses, (4, 6)):
        eventually(lambda: address not in routes(lab, "host1", family), 60)
        assert way(lab, "host1", address) == lab.host_address(4, family), "its block leads there"
    eventually(lambda: all_reach_all(lab), 30)
    lab.run("lab", "pod", "delete", "net/nomad")


def test_an_agent_that_dies_leaves_bird_and_no_packet_is_lost(lab, flows):
    pid = bird_pid(lab, "host2")
    times = since(lab, "host2")
    lab.run("lab", "agent", "kill", "host2")
    assert all_reach_all(lab)
    lab.run("lab", "agent", "start", "host2")
    assert all_reach_all(lab)
    flows()
    assert bird_pid(lab, "host2") == pid
    assert since(lab, "host2") == times, "its sessions have not been touched"


def test_a_changed_configuration_costs_no_packet_and_no_session(lab, flows, eventually):
    times = {host: since(lab, host) for host in lab.hosts}
    told = configuration(prefixAdvertisements=[{"cidr": "10.65.0.0/16", "communities": ["65000:7"]}])
    lab.apply(told)
    pod = lab.address("net/pod1")
    eventually(lambda: "(65000,7)" in birdc(lab, "host2", "show", "route", "for", pod, "all"), 30)
    assert {host: since(lab, host) for host in lab.hosts} == times
    lab.delete(told)
    eventually(lambda: "(65000,7)" not in birdc(lab, "host2", "show", "route", "for", pod, "all"), 30)
    assert {host: since(lab, host) for host in lab.hosts} == times
    flows()


def test_a_pod_that_moves_is_told_at_once(lab):
    lab.run("lab", "pod", "add", "net/nomad", "--host", "host4", "--listen", "tcp/%d" % PORT)
    address = lab.address("net/nomad")
    assert way(lab, "host1", address) == lab.host_address(4)
    assert address not in routes(lab, "host1")
    lab.run("lab", "pod", "move", "net/nomad", "--host", "host5")
    assert routes(lab, "host1")[address] == lab.host_address(5), "it is no longer where its block is"
    assert address not in routes(lab, "host5")
    assert all_reach_all(lab)
    lab.run("lab", "pod", "delete", "net/nomad")
    assert address not in routes(lab, "host1")


def test_what_is_behind_a_lost_link_cannot_be_reached_and_comes_back(lab, eventually):
    there = lab.address("net/pod2")
    lab.host_exec("host1", "ip", "link", "set", "to-host2", "down")
    took = eventually(lambda: way(lab, "host1", there) is None, 30)
    assert way(lab, "host1", lab.address("net/pod3")), "others stay"
    lab.host_exec("host1", "ip", "link", "set", "to-host2", "up")
    for family in (4, 6):  # what the kernel has taken away with the link
        words = ["ip", "-%d" % family, "route", "replace", lab.host_address(2, family), "dev", "to-host2"]
        if family == 6:
            lab.host_exec("host1", "ip", "addr", "replace", lab.host_address(1, 6), "dev", "to-host2", "nodad")
        lab.host_exec("host1", *words, "src", lab.host_address(1, family))
    back = eventually(lambda: way(lab, "host1", there) is not None, 30)
    print("withdrawn after %.2f s, back after %.2f s" % (took, back))
    eventually(lambda: all_reach_all(lab), 30)


def test_what_a_lost_peer_told_is_withdrawn_and_comes_back(lab, eventually):
    there = lab.address("net/pod3")
    lab.run("lab", "agent", "kill", "host3")
    birdc(lab, "host3", "down")
    took = eventually(lambda: way(lab, "host1", there) is None, 30)
    eventually(lambda: not established(lab, "host1", 2 * (HOSTS - 1)), 30)
    down = sessions(lab, "host1")[lab.host_address(3)]
    assert down["state"] != "Established" and down["reason"]
    assert lab.run("node", "status", "host1", check=False).returncode == 1
    lab.run("lab", "agent", "start", "host3", "--no-wait")
    back = eventually(lambda: way(lab, "host1", there) is not None, 30)
    print("withdrawn after %.2f s, back after %.2f s" % (took, back))
    eventually(lambda: established(lab, "host1", 2 * (HOSTS - 1)), 30)
    assert all_reach_all(lab)


def service(name, **spec):
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "net"},
            "spec": dict(spec, ports=[{"port": PORT}])}


def endpoints(name, **ready_by_host):
    """A slice of the service: an endpoint on each host, ready or not."""
    return {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {"name": name + "-1", "namespace": "net", "labels": {"kubernetes.io/service-name": name}},
            "addressType": "IPv4", "ports": [{"port": PORT}],
            "endpoints": [{"addresses": ["10.65.77.%d" % i], "nodeName": host, "conditions": {"ready": ready}}
                          for i, (host, ready) in enumerate(ready_by_host.items(), start=1)]}


def told_by(lab, host, net):
    """The neighbours that say they have exactly this net, as one host hears it."""
    control = lab.folder / "run" / host / "bird" / "bird.ctl"
    text = lab.host_exec(host, "birdc", "-s", str(control), "show", "route", net, "all", check=False).stdout
    return {line.split()[1] for line in text.splitlines() if line.strip().startswith("BGP.next_hop:")}


def test_services_are_told_as_their_policy_and_the_configuration_say(lab, eventually):
    nets = configuration(serviceClusterIPs=[{"cidr": "10.96.0.0/16"}], serviceExternalIPs=[{"cidr": "192.0.2.0/24"}])
    near = service("near", clusterIP="10.96.0.7", externalIPs=["192.0.2.7", "198.51.100.7"],
                   externalTrafficPolicy="Local", type="NodePort")
    lab.apply(nets)
    lab.apply(near)
    lab.apply(endpoints("near", host2=True, host3=False))
    others = {lab.host_address(number) for number in range(2, HOSTS + 1)}
    eventually(lambda: told_by(lab, "host1", "10.96.0.0/16") == others, 30)
    eventually(lambda: told_by(lab, "host1", "192.0.2.7/32") == {lab.host_address(2)}, 30)
    eventually(lambda: told_by(lab, "host1", "10.96.0.7/32") == {lab.host_address(2)}, 30)
    assert told_by(lab, "host1", "198.51.100.7/32") == set(), "in no net of external addresses"
    assert way(lab, "host1", "192.0.2.7") is None, "hosts do not route services to each other"
    lab.apply(endpoints("near", host2=False, host3=True))
    eventually(lambda: told_by(lab, "host1", "192.0.2.7/32") == {lab.host_address(3)}, 30)
    node = lab.json("get", "node", "host3")
    node["metadata"].setdefault("labels", {})["node.kubernetes.io/exclude-from-external-load-balancers"] = ""
    lab.apply(node)
    eventually(lambda: told_by(lab, "host1", "192.0.2.7/32") == set(), 30)
    eventually(lambda: told_by(lab, "host1", "10.96.0.0/16") == others - {lab.host_address(3)}, 30)
    del node["metadata"]["labels"]["node.kubernetes.io/exclude-from-external-load-balancers"]
    node["metadata"].pop("resourceVersion", None)
    lab.apply(node)
    lab.delete(nets)
    eventually(lambda: told_by(lab, "host1", "10.96.0.0/16") == set(), 30)
    assert established(lab, "host1", 2 * (HOSTS - 1))


def test_a_peer_that_cannot_be_is_left_out_and_named(lab, eventually):
    secret = peer("secret", peerIP="172.31.0.200", asNumber=65001,
                  password={"secretKeyRef": {"name": "bgp", "key": "tor"}})
    lab.apply(secret)
    eventually(lambda: "BGPPeer secret" in lab.run("node", "status", "host1", check=False).stdout, 30)
    text = lab.run("node", "status", "host1", check=False).stdout
    assert "left out: BGPPeer secret: the password %s cannot be read" % (lab.folder / "bgp-secrets/bgp/tor") in text
    lab.delete(secret)
    eventually(lambda: lab.run("node", "status", "host1", check=False).returncode == 0, 30)


def heard(lab, host, other, family):
    """The nets that a host has heard from another, with what BIRD makes of each: {net: "unicast"}."""
    session = "Global_" + lab.host_address(other, family).replace(".", "_").replace(":", "_")
    lines = [line.split() for line in birdc(lab, host, "show", "route", "protocol", session).splitlines()]
    return {words[0]: words[1] for words in lines if len(words) > 1 and "/" in words[0]}


def test_a_filter_that_lets_everything_pass_takes_nobodys_way(lab, eventually):
    everything = {"apiVersion": "projectcalico.org/v3", "kind": "BGPFilter", "metadata": {"name": "everything"},
                  "spec": {"exportV4": [{"action": "Accept"}], "exportV6": [{"action": "Accept"}]}}
    others = [(number, host, other) for number, host in enumerate(lab.hosts, start=1)
              for other in range(1, HOSTS + 1) if other != number]
    all_hosts = peer("all-hosts", peerSelector="all()", filters=["everything"])
    lab.apply(everything, all_hosts)
    eventually(lambda: all_up(lab, lab.hosts, 2 * (HOSTS - 1)), 90)
    # They tell each other of their links, too, by which the next hops of all else are reached.
    eventually(lambda: all("%s/%d" % (lab.host_address(other, family), bits) in heard(lab, host, other, family)
                           for _, host, other in others for family, bits in ((4, 32), (6, 128))), 60)
    eventually(lambda: all_reach_all(lab), 30)
    for number, host, other in others:
        for family in (4, 6):
            nets = heard(lab, host, other, family)
            assert set(nets.values()) == {"unicast"}
            assert not [net for net in nets if ipaddress.ip_network(net).is_link_local], "these are of one link"
            assert way(lab, host, lab.address("net/pod%d" % other, family)) == lab.host_address(other, family)
    lab.delete(all_hosts, everything)
    eventually(lambda: all_up(lab, lab.hosts, 2 * (HOSTS - 1)), 90)
    eventually(lambda: all_reach_all(lab), 30)


def answers(lab, host, address):
    """Whether BIRD there takes a connection from this host that is not signed (RFC 2385)."""
    knock = "import socket, sys; socket.create_connection((sys.argv[1], 179), 1)"
    return lab.host_exec(host, sys.executable, "-c", knock, address, check=False).returncode == 0


def test_a_mesh_with_a_password_speaks_with_nobody_who_does_not_know_it(lab, eventually):
    folder = lab.folder / "bgp-secrets" / "mesh"
    folder.mkdir(parents=True)
    (folder / "password").write_text("cabbages\n")
    addresses = [lab.host_address(1, family) for family in (4, 6)]
    assert all(answers(lab, "host2", address) for address in addresses)
    secret = configuration(nodeMeshPassword={"secretKeyRef": {"name": "mesh", "key": "password"}})
    lab.apply(secret)
    eventually(lambda: not any(answers(lab, "host2", address) for address in addresses), 30)
    eventually(lambda: all_up(lab, lab.hosts, 2 * (HOSTS - 1)), 90)
    eventually(lambda: all_reach_all(lab), 30)
    assert "cabbages" not in lab.run("node", "status").stdout
    lab.delete(secret)
    eventually(lambda: all(answers(lab, "host2", address) for address in addresses), 30)
    eventually(lambda: all_up(lab, lab.hosts, 2 * (HOSTS - 1)), 90)
    eventually(lambda: all_reach_all(lab), 30)


def test_a_mesh_becomes_a_pair_of_reflectors(lab, eventually):
    reflectors = ("host1", "host2")
    lab.apply(peer("to-reflectors", nodeSelector="all()", peerSelector="has(reflector)"))
    for host in reflectors:
        node = lab.json("get", "node", host)
        node["metadata"]["labels"] = {"reflector": "yes"}
        lab.apply(node)
    for host in lab.hosts:  # sessions by BGPPeer take the place of those of the mesh, one by one
        eventually(lambda: {s["type"] for s in sessions(lab, host).values()} >= {"NodePeer"}, 30)
        eventually(lambda: established(lab, host, 2 * (HOSTS - 1)), 40)
    for host in reflectors:
        node = lab.json("get", "node", host)
        node["spec"]["bgp"]["routeReflectorClusterID"] = "224.0.0.1"
        lab.apply(node)
    clients = [host for host in lab.hosts if host not in reflectors]
    lab.apply(configuration(nodeToNodeMeshEnabled=False))
    for host in clients:
        eventually(lambda: established(lab, host, 4), 40)
        assert {s["node"] for s in sessions(lab, host).values()} == set(reflectors)
    eventually(lambda: all_reach_all(lab), 30)
    for number, host in enumerate(lab.hosts, start=1):  # a reflector does not put itself in the way
        for other in range(1, HOSTS + 1):
            if other != number:
                there = lab.address("net/pod%d" % other)
                eventually(lambda: way(lab, host, there) == lab.host_address(other), 30)


def test_one_reflector_of_two_may_be_lost_and_no_packet_is_lost(lab, flows_past_host1, eventually):
    def ways_stay():
        numbers = range(2, HOSTS + 1)
        return all(way(lab, "host%d" % here, lab.address("net/pod%d" % there, f)) == lab.host_address(there, f)
                   for here in numbers for there in numbers if here != there for f in (4, 6))

    def still_speaks_with(host):
        return {s["node"] for s in sessions(lab, host).values() if s["state"] == "Established"}

    assert ways_stay()
    lab.run("lab", "agent", "kill", "host1")
    birdc(lab, "host1", "down")
    for host in lab.hosts[1:]:
        others = set(lab.hosts[2:]) if host == "host2" else {"host2"}
        eventually(lambda host=host, others=others: still_speaks_with(host) == others, 30)
        for family in (4, 6):
            gone = lab.address("net/pod1", family)
            eventually(lambda host=host, gone=gone: way(lab, host, gone) is None, 30)
    assert ways_stay(), "they are known from the other one"
    lab.run("lab", "pod", "add", "net/late", "--host", "host4", "--no-wait")
    eventually(lambda: way(lab, "host5", lab.address("net/late")) == lab.host_address(4), 30)
    lab.run("lab", "agent", "start", "host1", "--no-wait")
    for host in lab.hosts[1:]:
        eventually(lambda host=host: way(lab, host, lab.address("net/pod1")) == lab.host_address(1), 60)
    for host in lab.hosts[2:]:
        eventually(lambda host=host: established(lab, host, 4), 60)
    assert ways_stay()
    flows_past_host1()
    lab.run("lab", "pod", "delete", "net/late")
    eventually(lambda: all_reach_all(lab), 30)


def test_one_reflector_of_two_may_stand_still_and_no_packet_is_lost(lab, flows, eventually):
    lab.run("lab", "agent", "kill", "host1")
    lab.host_exec("host1", "pkill", "-STOP", "-F", str(lab.folder / "run/host1/bird/bird.pid"))
    lab.run("lab", "pod", "add", "net/late", "--host", "host4", "--no-wait")
    eventually(lambda: way(lab, "host5", lab.address("net/late")) == lab.host_address(4), 30)
    lab.host_exec("host1", "pkill", "-CONT", "-F", str(lab.folder / "run/host1/bird/bird.pid"))
    lab.run("lab", "agent", "start", "host1")
    flows()
