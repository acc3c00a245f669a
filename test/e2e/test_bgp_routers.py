"""Routers of others: a top-of-rack router run by FRR and another by GoBGP, each of an AS of its own."""
import ipaddress
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile

import pytest

PORT = 8080
TOLD_BY_FRR = "203.0.113.0/25"
TOLD_BY_GOBGP = "203.0.113.128/25"

FRR = """
hostname tor
router bgp 65010
 bgp router-id 192.0.2.2
 no bgp ebgp-requires-policy
 neighbor 192.0.2.1 remote-as 64512
 neighbor 192.0.2.1 timers 3 9
 neighbor 2001:db8:2::1 remote-as 64512
 neighbor 2001:db8:2::1 timers 3 9
 address-family ipv4 unicast
  network %s
  no neighbor 2001:db8:2::1 activate
 address-family ipv6 unicast
  neighbor 2001:db8:2::1 activate
"""

GOBGP = """
[global.config]
  as = 65020
  router-id = "192.0.2.6"
[[neighbors]]
  [neighbors.config]
    neighbor-address = "192.0.2.5"
    peer-as = 64512
"""


def call(*words, **options):
    return subprocess.run([str(word) for word in words], check=True, text=True, capture_output=True, **options).stdout


class Router:
    """A network namespace, joined to one host, and the processes in it."""

    def __init__(self, lab, name, host, own, hosts):
        self.namespace = "%s-%s" % (lab.name, name)
        self.processes = []
        call("ip", "netns", "add", self.namespace)
        call("ip", "-n", self.namespace, "link", "add", "host0", "type", "veth", "peer", "name", name, "netns",
             "%s-%s" % (lab.name, host))
        for words in (["link", "set", "lo", "up"], ["link", "set", "host0", "up"],
                      ["addr", "add", own, "dev", "host0"]):
            call("ip", "-n", self.namespace, *words)
        lab.host_exec(host, "ip", "link", "set", name, "up")
        lab.host_exec(host, "ip", "addr", "add", hosts, "dev", name)

    def run(self, *words, check=True):
        return subprocess.run(["ip", "netns", "exec", self.namespace, *[str(word) for word in words]], check=check,
                              text=True, capture_output=True).stdout

    def popen(self, *words):
        return subprocess.Popen(["ip", "netns", "exec", self.namespace, *words], text=True, stdout=subprocess.PIPE)

    def start(self, log, *words):
        self.processes.append(subprocess.Popen(["ip", "netns", "exec", self.namespace, *[str(w) for w in words]],
                                               stdout=log.open("a"), stderr=subprocess.STDOUT))

    def end(self):
        for process in self.processes:
            process.kill()
            process.wait()
        subprocess.run(["ip", "netns", "del", self.namespace], check=False)


def peer(name, host, address, number, **spec):
    return {"apiVersion": "projectcalico.org/v3", "kind": "BGPPeer", "metadata": {"name": name},
            "spec": dict(spec, node=host, peerIP=address, asNumber=number, sourceAddress="None")}


@pytest.fixture(scope="module")
def lab(make_lab):
    lab = make_lab(3, network="bgp")
    lab.together([lab.pod_words("net/%s" % host.replace("host", "pod"), host, listen="tcp/%d" % PORT)
                  for host in lab.hosts])
    return lab


@pytest.fixture(scope="module")
def frr(lab):
    router = Router(lab, "tor-frr", "host1", "192.0.2.2/30", "192.0.2.1/30")
    folder = pathlib.Path(tempfile.mkdtemp(prefix="ocicat-frr-"))
    (folder / "bgpd.conf").write_text(FRR % TOLD_BY_FRR)
    (folder / "zebra.conf").write_text("hostname tor\n")
    router.run("ip", "addr", "add", "203.0.113.1/25", "dev", "lo")
    router.run("ip", "addr", "add", "2001:db8:2::2/64", "dev", "host0", "nodad")
    lab.host_exec("host1", "ip", "addr", "add", "2001:db8:2::1/64", "dev", "tor-frr", "nodad")
    for path in (folder, *folder.iterdir()):
        shutil.chown(path, "frr", "frr")  # whom FRR's programs become
    common = ["-z", folder / "zserv", "--vty_socket", folder, "-P", "0"]
    for daemon in ("zebra", "bgpd"):
        router.start(folder / "log", "/usr/lib/frr/" + daemon, "-f", folder / (daemon + ".conf"), "-i",
                     folder / (daemon + ".pid"), *common)
    lab.apply(peer("tor-frr", "host1", "192.0.2.2", 65010), peer("tor-frr-ipv6", "host1", "2001:db8:2::2", 65010))
    yield router
    router.end()
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def gobgp(lab, tmp_path_factory):
    router = Router(lab, "tor-gobgp", "host2", "192.0.2.6/30", "192.0.2.5/30")
    folder = tmp_path_factory.mktemp("gobgp")
    (folder / "gobgpd.toml").write_text(GOBGP)
    router.start(folder / "log", "gobgpd", "-f", folder / "gobgpd.toml", "--pprof-disable")
    lab.apply(peer("tor-gobgp", "host2", "192.0.2.6", 65020))
    yield router
    router.end()


def around(nets, address):
    """The one of these that has the address; None where none has."""
    found = [net for net in nets if net != "default" and ipaddress.ip_address(address) in ipaddress.ip_network(net)]
    return found[0] if found else None


def kernel_routes(lab, host):
    text = lab.host_exec(host, "ip", "-4", "-j", "route", "show", "proto", "bird").stdout
    return {route["dst"]: route.get("gateway") for route in json.loads(text or "[]")}


def rib(router):
    """{prefix: its best path's attributes} as GoBGP has them."""
    text = router.run("gobgp", "global", "rib", "-j", check=False)
    try:
        table = json.loads(text)
    except ValueError:
        return {}
    # One that is not there yet, or has nothing yet, answers with a text.
    return {prefix: paths[0]["attrs"] for prefix, paths in table.items() if isinstance(paths, list)}


def as_path(attributes):
    return [number for attribute in attributes if attribute["type"] == 2
            for part in attribute["as_paths"] for number in part["asns"]]


def communities(attributes):
    return [value for attribute in attributes if attribute["type"] == 8 for value in attribute["communities"]]


def test_frr_and_pods_reach_each_other_through_a_host(lab, frr, eventually):
    pods = [lab.address("net/pod%d" % number) for number in (1, 2, 3)]

    def heard():
        told = [route["dst"] for route in json.loads(frr.run("ip", "-j", "route", "show", "proto", "bgp") or "[]")]
        return all(around(told, pod) for pod in pods)

    eventually(heard, 40)
    eventually(lambda: kernel_routes(lab, "host1").get(TOLD_BY_FRR) == "192.0.2.2", 30)
    pod = lab.address("net/pod1")
    assert "3 received" in frr.run("ping", "-c", "3", "-i", "0.05", "-I", "203.0.113.1", pod)
    assert TOLD_BY_FRR not in kernel_routes(lab, "host2"), "beyond pools hosts tell each other nothing"


def slices(**ready_by_host):
    """Of the service `near`, for each family one: an endpoint on each host, ready or not."""
    return [{"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
             "metadata": {"name": "near-" + kind.lower(), "namespace": "net",
                          "labels": {"kubernetes.io/service-name": "near"}},
             "addressType": kind, "ports": [{"port": PORT}],
             "endpoints": [{"addresses": [address % i], "nodeName": host, "conditions": {"ready": ready}}
                           for i, (host, ready) in enumerate(ready_by_host.items(), start=1)]}
            for kind, address in (("IPv4", "10.65.77.%d"), ("IPv6", "fd65::77:%d"))]


def test_frr_hears_of_a_service_in_both_families_from_hosts_with_a_ready_endpoint(lab, frr, eventually):
    addresses = {"10.96.0.7", "192.0.2.77", "192.0.2.177", "fd96::7", "2001:db8:e::7", "2001:db8:1b::7"}
    nets = {"serviceClusterIPs": ["10.96.0.0/16", "fd96::/112"],
            "serviceExternalIPs": ["192.0.2.64/26", "2001:db8:e::/64"],
            "serviceLoadBalancerIPs": ["192.0.2.128/25", "2001:db8:1b::/64"]}
    lab.apply({"apiVersion": "projectcalico.org/v3", "kind": "BGPConfiguration", "metadata": {"name": "default"},
               "spec": {field: [{"cidr": cidr} for cidr in cidrs] for field, cidrs in nets.items()}})
    lab.apply({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "near", "namespace": "net"},
               "spec": {"type": "LoadBalancer", "externalTrafficPolicy": "Local", "clusterIP": "10.96.0.7",
                        "clusterIPs": ["10.96.0.7", "fd96::7"], "externalIPs": ["192.0.2.77", "2001:db8:e::7"],
                        "ports": [{"port": PORT}]},
               "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.177"}, {"ip": "2001:db8:1b::7"}]}}})

    def told():
        routes = [route for family in ("-4", "-6")
                  for route in json.loads(frr.run("ip", family, "-j", "route", "show", "proto", "bgp") or "[]")]
        return {route["dst"] for route in routes}

    lab.apply(*slices(host1=True, host2=False))
    eventually(lambda: addresses <= told(), 60)
    eventually(lambda: {cidr for cidrs in nets.values() for cidr in cidrs} <= told(), 30)  # the nets as wholes
    lab.apply(*slices(host1=False, host2=True))
    eventually(lambda: not addresses & told(), 30)
    lab.apply(*slices(host1=True, host2=False))
    eventually(lambda: addresses <= told(), 30)


def test_no_packet_to_or_from_frr_is_lost_where_bird_is_killed(lab, frr, eventually):
    """FRR, like a host that has just begun, says for its first two minutes that it is restarting itself; then BIRD does
    not wait for it."""
    pod = lab.address("net/pod1")
    eventually(lambda: TOLD_BY_FRR in kernel_routes(lab, "host1"), 40)
    eventually(lambda: "1 received" in frr.run("ping", "-c", "1", "-I", "203.0.113.1", pod, check=False), 40)
    out = lab.start_traffic("net/pod1", "ping", "203.0.113.1")
    back = frr.popen("ping", "-i", "0.005", "-W", "2", "-I", "203.0.113.1", pod)
    number = lab.folder / "run" / "host1" / "bird" / "bird.pid"
    before = number.read_text()

    def copies():
        return lab.host_exec("host1", "ip", "route", "show", "proto", "81").stdout

    os.kill(int(before), signal.SIGKILL)
    eventually(lambda: TOLD_BY_FRR in copies(), 30)
    eventually(lambda: not copies(), 60)
    assert number.read_text() != before and kernel_routes(lab, "host1").get(TOLD_BY_FRR) == "192.0.2.2"
    back.send_signal(signal.SIGINT)
    summary = back.communicate()[0].splitlines()[-2]
    report = out.stop()
    assert report["sent"] > 100 and report["missing"] == [], "from the pod"
    sent, received = (int(part.split()[0]) for part in summary.split(", ")[:2])
    assert sent > 100 and received >= sent - 1, "to the pod: %s" % summary  # the last one may be on its way


def test_gobgp_tells_its_host_and_hears_of_every_pod(lab, gobgp, eventually):
    pods = [lab.address("net/pod%d" % number) for number in (1, 2, 3)]
    eventually(lambda: all(around(rib(gobgp), pod) for pod in pods), 40)
    blocks = {around(rib(gobgp), pod) for pod in pods}
    assert len(blocks) == 3 and all(not block.endswith("/32") for block in blocks), "blocks, and no single address"
    assert all(as_path(rib(gobgp)[block]) == [64512] for block in blocks)
    gobgp.run("gobgp", "global", "rib", "add", TOLD_BY_GOBGP)
    eventually(lambda: kernel_routes(lab, "host2").get(TOLD_BY_GOBGP) == "192.0.2.6", 30)


def test_filters_decide_what_a_router_hears_and_what_is_heard_of_it(lab, gobgp, eventually):
    eventually(lambda: all(around(rib(gobgp), lab.address(pod)) for pod in ("net/pod1", "net/pod3")), 40)
    hidden = around(rib(gobgp), lab.address("net/pod1"))
    marked = around(rib(gobgp), lab.address("net/pod3"))
    gobgp.run("gobgp", "global", "rib", "add", TOLD_BY_GOBGP)
    eventually(lambda: TOLD_BY_GOBGP in kernel_routes(lab, "host2"), 30)
    rules = {"exportV4": [
        {"action": "Reject", "cidr": hidden, "matchOperator": "Equal"},
        {"action": "Accept", "cidr": marked, "matchOperator": "In", "peerType": "eBGP", "source": "RemotePeers",
         "operations": [{"addCommunity": {"value": "65000:9"}}, {"prependASPath": {"prefix": [64999, 64998]}}]}],
        "importV4": [{"action": "Reject", "cidr": "203.0.113.0/24", "matchOperator": "In"}]}
    lab.apply({"apiVersion": "projectcalico.org/v3", "kind": "BGPFilter", "metadata": {"name": "edge"}, "spec": rules})
    lab.apply(peer("tor-gobgp", "host2", "192.0.2.6", 65020, filters=["edge"]))
    eventually(lambda: hidden not in rib(gobgp) and 64999 in as_path(rib(gobgp).get(marked, [])), 30)
    path = rib(gobgp)[marked]
    assert as_path(path) == [64512, 64999, 64998]
    assert communities(path) == [65000 << 16 | 9]
    eventually(lambda: TOLD_BY_GOBGP not in kernel_routes(lab, "host2"), 30)
