"""Racks of an AS of their own: no mesh; each host speaks with the router on top of its rack (FRR in one, GoBGP in the
other) and with the hosts beside it, and packets pass from rack to rack through both routers."""
import ipaddress
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

import pytest

PORT = 8080
RACK = {"host1": 0, "host2": 1, "host3": 0}  # as `lab up --racks 2` deals them out
HOSTS_AS = (64601, 64602)
ROUTERS_AS = (65010, 65020)
PASSWORDS = ("carrots-and-peas", "leeks-and-beans")

FRR = """
hostname tor0
router bgp {own}
 bgp router-id 172.31.0.254
 no bgp ebgp-requires-policy
 timers bgp 3 9
{neighbours}
 address-family ipv4 unicast
{ipv4}
 address-family ipv6 unicast
{ipv6}
"""

GOBGP = """
[global.config]
  as = {own}
  router-id = "172.31.1.254"
"""
GOBGP_NEIGHBOUR = """
[[neighbors]]
  [neighbors.config]
    neighbor-address = "{address}"
    peer-as = {number}
    auth-password = "{password}"
  [neighbors.timers.config]
    connect-retry = 1
    idle-hold-time-after-reset = 1
  [[neighbors.afi-safis]]
    [neighbors.afi-safis.config]
      afi-safi-name = "{family}-unicast"
"""
GOBGP_ROUTES = pathlib.Path(__file__).with_name("gobgp_routes.py")


def call(*words):
    return subprocess.run([str(word) for word in words], check=True, text=True, capture_output=True).stdout


def own_address(rack, family):
    return {4: "172.31.%d.254" % rack, 6: "fd31:0:0:%d::fe" % rack if rack else "fd31::fe"}[family]


def between(rack, family):
    """Of the link between the routers, this one's end."""
    return {4: "192.0.2.%d" % (rack + 1), 6: "2001:db8:2::%d" % (rack + 1)}[family]


class Rack:
    """A switch that joins the hosts of a rack, and is their router: a network namespace and the processes in it."""

    def __init__(self, lab, number):
        self.lab, self.number = lab, number
        self.hosts = [host for host, rack in RACK.items() if rack == number]
        self.namespace = "%s-tor%d" % (lab.name, number)
        self.processes = []
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="ocicat-tor-"))

    def ip(self, *words):
        return call("ip", "-n", self.namespace, *words)

    def wire(self):
        call("ip", "netns", "add", self.namespace)
        self.ip("link", "set", "lo", "up")
        self.ip("link", "add", "rack", "type", "bridge")
        self.ip("addr", "add", own_address(self.number, 4) + "/24", "dev", "rack")
        self.ip("addr", "add", own_address(self.number, 6) + "/64", "dev", "rack", "nodad")
        call("ip", "netns", "exec", self.namespace, "sysctl", "-qw", "net.ipv4.ip_forward=1",
             "net.ipv6.conf.all.forwarding=1")
        for host in self.hosts:
            self.ip("link", "add", host, "type", "veth", "peer", "name", "rack", "netns",
                    "%s-%s" % (self.lab.name, host))
            self.ip("link", "set", host, "master", "rack", "up")
            for other in set(self.lab.hosts) - {host}:  # the lab's own links: from here on the rack's alone count
                self.lab.host_exec(host, "ip", "link", "del", "to-" + other, check=False)
            number = self.lab.hosts.index(host) + 1
            self.lab.host_exec(host, "ip", "addr", "add", self.lab.host_address(number, 4) + "/24", "dev", "rack")
            self.lab.host_exec(host, "ip", "addr", "add", self.lab.host_address(number, 6) + "/64", "dev", "rack",
                               "nodad")
            self.lab.host_exec(host, "ip", "link", "set", "rack", "up")
        self.ip("link", "set", "rack", "up")
        commands = ["add table inet watcher", "add chain inet watcher forward { type filter hook forward priority 0; }"]
        for family, protocol in ((4, "icmp"), (6, "icmpv6")):
            commands.append("add counter inet watcher v%d" % family)
            commands += ["add rule inet watcher forward meta l4proto %s %s between counter name v%d" %
                         (protocol, side, family) for side in ("iifname", "oifname")]
        call("ip", "netns", "exec", self.namespace, "nft", "; ".join(commands))

    def neighbours(self):
        """Whom it speaks with: (address, AS number, password)."""
        for family in (4, 6):
            for host in self.hosts:
                yield (self.lab.host_address(self.lab.hosts.index(host) + 1, family), HOSTS_AS[self.number],
                       PASSWORDS[self.number])
            yield between(1 - self.number, family), ROUTERS_AS[1 - self.number], ""

    def start(self, *words):
        with (self.folder / "log").open("a") as log:
            self.processes.append(subprocess.Popen(["ip", "netns", "exec", self.namespace, *[str(w) for w in words]],
                                                   stdout=log, stderr=subprocess.STDOUT))

    def addresses(self):
        """Where hosts of the rack find it, link-local ones as well."""
        link, = json.loads(self.ip("-j", "addr", "show", "dev", "rack"))
        return {entry["local"] for entry in link["addr_info"]}

    def passed(self, family):
        """How many packets of ping it has passed on to the other rack, or from there."""
        listed = json.loads(call("ip", "netns", "exec", self.namespace, "nft", "-j", "list", "counter", "inet",
                                 "watcher", "v%d" % family))
        return next(item["counter"]["packets"] for item in listed["nftables"] if "counter" in item)

    def end(self):
        for process in self.processes:
            process.kill()
            process.wait()
        subprocess.run(["ip", "netns", "del", self.namespace], check=False)
        shutil.rmtree(self.folder)


def start_frr(rack):
    lines, activated = [], {4: [], 6: []}
    for address, number, password in rack.neighbours():
        lines += [" neighbor %s remote-as %d" % (address, number), " neighbor %s timers connect 1" % address]
        lines += [" neighbor %s password %s" % (address, password)] if password else []
        activated[6 if ":" in address else 4].append(address)
    ipv4 = ["  no neighbor %s activate" % address for address in activated[6]]
    ipv6 = ["  neighbor %s activate" % address for address in activated[6]]
    (rack.folder / "bgpd.conf").write_text(FRR.format(own=ROUTERS_AS[0], neighbours="\n".join(lines),
                                                      ipv4="\n".join(ipv4), ipv6="\n".join(ipv6)))
    (rack.folder / "zebra.conf").write_text("hostname tor0\n")
    for path in (rack.folder, *rack.folder.iterdir()):
        shutil.chown(path, "frr", "frr")  # whom FRR's programs become
    common = ["-z", rack.folder / "zserv", "--vty_socket", rack.folder, "-P", "0"]
    for daemon in ("zebra", "bgpd"):
        rack.start("/usr/lib/frr/" + daemon, "-f", rack.folder / (daemon + ".conf"), "-i",
                   rack.folder / (daemon + ".pid"), *common)


def start_gobgp(rack):
    text = GOBGP.format(own=ROUTERS_AS[1])
    for address, number, password in rack.neighbours():
        text += GOBGP_NEIGHBOUR.format(address=address, number=number, password=password,
                                       family="ipv6" if ":" in address else "ipv4")
    (rack.folder / "gobgpd.toml").write_text(text)
    rack.start("gobgpd", "-f", rack.folder / "gobgpd.toml", "--pprof-disable")
    rack.start(sys.executable, GOBGP_ROUTES)


def peer(name, selector, **spec):
    return {"apiVersion": "projectcalico.org/v3", "kind": "BGPPeer", "metadata": {"name": name},
            "spec": dict(spec, nodeSelector=selector)}


def to_router(rack, family, secret=""):
    """Those of a rack speak with the router on top of it."""
    return peer("tor%d-ipv%d" % (rack, family), "rack == '%d'" % rack, peerIP=own_address(rack, family),
                asNumber=ROUTERS_AS[rack], filters=["own"],
                password={"secretKeyRef": {"name": secret or "router%d" % rack, "key": "password"}})


# A router hears of each block from its host alone, and not also from the hosts beside that.
OWN = {"apiVersion": "projectcalico.org/v3", "kind": "BGPFilter", "metadata": {"name": "own"},
       "spec": {"exportV%d" % family: [{"action": "Reject", "source": "RemotePeers"}] for family in (4, 6)}}


def secrets(lab):
    for name, password in (("router0", PASSWORDS[0]), ("router1", PASSWORDS[1]), ("other", "onions")):
        folder = lab.folder / "bgp-secrets" / name
        folder.mkdir(parents=True)
        (folder / "password").write_text(password + "\n")


def change_node(lab, host, change):
    node = lab.json("get", "node", host)
    node["metadata"].pop("resourceVersion", None)
    change(node)
    lab.apply(node)


@pytest.fixture(scope="module")
def site(make_lab, dataplane):
    lab = make_lab(len(RACK), dataplane, network="bgp", racks=2)
    secrets(lab)
    racks = []
    try:
        lab.together([lab.pod_words("net/%s" % host.replace("host", "pod"), host, listen="tcp/%d" % PORT)
                      for host in lab.hosts])
        for host, rack in RACK.items():
            def change(node, rack=rack):
                node["metadata"]["labels"] = {"rack": str(rack)}
                node["spec"]["bgp"]["asNumber"] = HOSTS_AS[rack]
            change_node(lab, host, change)
        lab.apply(OWN)
        lab.apply({"apiVersion": "projectcalico.org/v3", "kind": "BGPConfiguration", "metadata": {"name": "default"},
                   "spec": {"nodeToNodeMeshEnabled": False}},
                  *[to_router(rack, family) for rack in (0, 1) for family in (4, 6)],
                  *[peer("rack%d" % rack, "rack == '%d'" % rack, peerSelector="rack == '%d'" % rack)
                    for rack in (0, 1)])
        for number in (0, 1):
            rack = Rack(lab, number)
            racks.append(rack)
            rack.wire()
        call("ip", "-n", racks[0].namespace, "link", "add", "between", "type", "veth", "peer", "name", "between",
             "netns", racks[1].namespace)
        for rack in racks:
            rack.ip("addr", "add", between(rack.number, 4) + "/30", "dev", "between")
            rack.ip("addr", "add", between(rack.number, 6) + "/64", "dev", "between", "nodad")
            rack.ip("link", "set", "between", "up")
        start_frr(racks[0])
        start_gobgp(racks[1])
        yield lab, racks
    finally:
        for rack in racks:
            rack.end()


def sessions(lab, host):
    status = lab.json("node", "status", host, check=False)
    return {session["peerIP"]: session for session in status["nodes"][0]["bgp"]["sessions"]}


def are_up(lab, host, count):
    states = [session["state"] for session in sessions(lab, host).values()]
    return len(states) == count and set(states) == {"Established"}


def all_reach_all(lab):
    return set(lab.probe("tcp/%d" % PORT).values()) == {"allow"}


COUNTS = {"host1": 4, "host2": 2, "host3": 4}  # router and, in the first rack, the other host; both families


def test_hosts_speak_with_their_router_and_with_those_beside_them_and_with_nobody_else(site, eventually):
    lab, _ = site
    for host, count in COUNTS.items():
        eventually(lambda host=host, count=count: are_up(lab, host, count), 60)
        for family in (4, 6):
            router = sessions(lab, host)[own_address(RACK[host], family)]
            assert (router["asNumber"], router["type"]) == (ROUTERS_AS[RACK[host]], "NodePeer")
    beside = sessions(lab, "host1")[lab.host_address(3)]
    assert (beside["asNumber"], beside["node"], beside["type"]) == (HOSTS_AS[0], "host3", "NodePeer")


def test_packets_pass_from_rack_to_rack_through_both_routers(site, eventually):
    lab, racks = site
    eventually(lambda: all_reach_all(lab), 60)
    for family in (4, 6):
        for source, target, through in (("net/pod1", "net/pod2", 10), ("net/pod1", "net/pod3", 0)):
            before = [rack.passed(family) for rack in racks]
            lab.exec(source, "ping", "-c", "5", "-i", "0.05", "-W", "5", lab.address(target, family))
            assert [rack.passed(family) - count for rack, count in zip(racks, before)] == [through, through], target


def way(lab, host, address):
    text = lab.host_exec(host, "ip", "-j", "route", "get", address).stdout
    return json.loads(text)[0].get("gateway")


def test_the_way_to_another_rack_is_its_router_and_to_a_neighbour_the_neighbour(site):
    lab, racks = site
    for family in (4, 6):
        assert way(lab, "host1", lab.address("net/pod2", family)) in racks[0].addresses()
        assert way(lab, "host2", lab.address("net/pod3", family)) in racks[1].addresses()
        assert way(lab, "host1", lab.address("net/pod3", family)) == lab.host_address(3, family)


def tellers(rack, family):
    """{block: the hosts of the rack that tell FRR of it}, of blocks of the rack."""
    text = call("ip", "netns", "exec", rack.namespace, "vtysh", "--vty_socket", rack.folder, "-c",
                "show bgp ipv%d unicast json" % family)
    hosts = {rack.lab.host_address(rack.lab.hosts.index(host) + 1, family) for host in rack.hosts}
    told = {net: {path["peerId"] for path in paths} & hosts for net, paths in json.loads(text)["routes"].items()}
    pods = [ipaddress.ip_address(rack.lab.address(host.replace("host", "net/pod"), family)) for host in rack.hosts]
    return {net: by for net, by in told.items() if any(pod in ipaddress.ip_network(net) for pod in pods)}


def test_a_filter_of_one_family_decides_what_a_router_hears_of_that_one(site, eventually):
    lab, racks = site

    def counts(family):
        return [len(by) for by in tellers(racks[0], family).values()]

    for family in (4, 6):
        eventually(lambda family=family: counts(family) == [1, 1], 60)
    lab.apply(dict(OWN, spec={"exportV4": OWN["spec"]["exportV4"]}))
    eventually(lambda: counts(6) == [2, 2], 30)
    assert counts(4) == [1, 1]
    lab.apply(OWN)
    eventually(lambda: counts(6) == [1, 1], 30)


@pytest.mark.parametrize("rack,host,far", [(0, "host1", "net/pod2"), (1, "host2", "net/pod1")])
def test_a_wrong_password_is_what_node_status_speaks_of(site, eventually, rack, host, far):
    lab, _ = site
    for other, count in COUNTS.items():
        eventually(lambda host=other, count=count: are_up(lab, host, count), 60)
    lab.apply(to_router(rack, 4, secret="other"))
    router = own_address(rack, 4)

    def is_down():
        session = sessions(lab, host)[router]
        return session["state"] != "Established" and "it has a password" in session["reason"]

    eventually(is_down, 30)
    told = lab.run("node", "status", host, check=False)
    assert told.returncode == 1
    line, = [line for line in told.stdout.splitlines() if router in line]
    assert "it has a password: see that both sides have the same" in line
    assert not any(word in told.stdout for word in (*PASSWORDS, "onions"))
    eventually(lambda: lab.exec(host.replace("host", "net/pod"), "ping", "-c", "1", "-W", "1", lab.address(far, 6),
                                check=False).returncode == 0, 30)  # IPv6 is another session
    lab.apply(to_router(rack, 4))
    eventually(lambda: are_up(lab, host, COUNTS[host]), 60)
    eventually(lambda: all_reach_all(lab), 60)
