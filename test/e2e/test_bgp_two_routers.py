"""Hosts with two routers each: packets go by both, and by one of them when a link, a router or BIRD goes."""
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time

import pytest

HOSTS_AS = {"host1": 64601, "host2": 64602}
ROUTERS_AS = {"left": 65010, "right": 65020}
HOLD_TIME = 9  # seconds after which a neighbour that says nothing is given up
PODS = 4  # on each host
COPIES = 81  # the protocol of what stands in for a dead BIRD's routes

FRR = """
hostname {name}
router bgp {own}
 bgp router-id {router_id}
 no bgp ebgp-requires-policy
 bgp suppress-fib-pending
 timers bgp 3 9
{neighbours}
 address-family ipv4 unicast
{ipv4}
 address-family ipv6 unicast
{ipv6}
"""


def call(*words):
    return subprocess.run([str(word) for word in words], check=True, text=True, capture_output=True).stdout


class Router:
    """FRR in a network namespace with a link to each host."""

    def __init__(self, lab, name):
        self.lab, self.name, self.number = lab, name, list(ROUTERS_AS).index(name)
        self.namespace = "%s-%s" % (lab.name, name)
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="ocicat-router-"))
        self.processes = {}
        call("ip", "netns", "add", self.namespace)
        call("ip", "-n", self.namespace, "link", "set", "lo", "up")
        call("ip", "netns", "exec", self.namespace, "sysctl", "-qw", "net.ipv4.ip_forward=1",
             "net.ipv6.conf.all.forwarding=1")
        for host in lab.hosts:
            call("ip", "-n", self.namespace, "link", "add", host, "type", "veth", "peer", "name", name, "netns",
                 "%s-%s" % (lab.name, host))
            call("ip", "-n", self.namespace, "link", "set", host, "up")
            self.connect(host)
            for family in (4, 6):
                call("ip", "-n", self.namespace, "addr", "add", self.address(host, family), "dev", host,
                     *(["nodad"] if family == 6 else []))

    def address(self, host, family, of_host=False):
        """Of the link to the host, this end's or the host's; with the length of its net."""
        number = self.lab.hosts.index(host)
        end = 2 if of_host else 1
        if family == 4:
            return "192.0.2.%d/30" % (self.number * 64 + number * 4 + end)
        return "2001:db8:%d:%d::%d/64" % (self.number + 1, number + 1, end)

    def bare(self, host, family, of_host=False):
        return self.address(host, family, of_host).partition("/")[0]

    def connect(self, host):
        """The host's end: up, with what an administrator configures there."""
        self.lab.host_exec(host, "ip", "link", "set", self.name, "up")
        for family in (4, 6):
            self.lab.host_exec(host, "ip", "addr", "replace", self.address(host, family, of_host=True), "dev",
                               self.name, *(["nodad"] if family == 6 else []))

    def start(self):
        neighbours = {family: [(self.bare(host, family, of_host=True), HOSTS_AS[host]) for host in self.lab.hosts]
                      for family in (4, 6)}
        lines = ["%s" % line for family in (4, 6) for address, number in neighbours[family]
                 for line in (" neighbor %s remote-as %d" % (address, number),
                              " neighbor %s timers connect 1" % address)]
        (self.folder / "bgpd.conf").write_text(FRR.format(
            name=self.name, own=ROUTERS_AS[self.name], router_id=self.bare("host1", 4), neighbours="\n".join(lines),
            ipv4="\n".join("  no neighbor %s activate" % address for address, _ in neighbours[6]),
            ipv6="\n".join("  neighbor %s activate" % address for address, _ in neighbours[6])))
        (self.folder / "zebra.conf").write_text("hostname %s\n" % self.name)
        for path in (self.folder, *self.folder.iterdir()):
            shutil.chown(path, "frr", "frr")  # whom FRR's programs become
        for daemon in ("zebra", "bgpd"):
            self.run(daemon)

    def run(self, daemon):
        words = ["ip", "netns", "exec", self.namespace, "/usr/lib/frr/" + daemon, "-f",
                 str(self.folder / (daemon + ".conf")), "-i", str(self.folder / (daemon + ".pid")), "-z",
                 str(self.folder / "zserv"), "--vty_socket", str(self.folder), "-P", "0"]
        with (self.folder / "log").open("a") as log:
            self.processes[daemon] = subprocess.Popen(words, stdout=log, stderr=log)

    def kill(self, daemon):
        process = self.processes.pop(daemon)
        process.kill()
        process.wait()

    def leads(self, host):
        """Whether its kernel has ways of both families to the pods there."""
        found = [subprocess.run(["ip", "-n", self.namespace, "-j", "route", "get",
                                 self.lab.address("net/%s-0" % host, family)], text=True, capture_output=True).stdout
                 for family in (4, 6)]
        return all(text and json.loads(text)[0].get("dev") == host for text in found)

    def passed(self, family):
        """How many packets it has passed on."""
        counter = "IpForwDatagrams" if family == 4 else "Ip6OutForwDatagrams"
        return json.loads(call("ip", "netns", "exec", self.namespace, "nstat", "-asz", "-j",
                               counter))["kernel"][counter]

    def nft(self, commands):
        call("ip", "netns", "exec", self.namespace, "nft", commands)

    def end(self):
        for daemon in list(self.processes):
            self.kill(daemon)
        subprocess.run(["ip", "netns", "del", self.namespace], check=False)
        shutil.rmtree(self.folder)


def peer(router, host, family):
    return {"apiVersion": "projectcalico.org/v3", "kind": "BGPPeer",
            "metadata": {"name": "%s-%s-ipv%d" % (host, router.name, family)},
            "spec": {"node": host, "peerIP": router.bare(host, family), "asNumber": ROUTERS_AS[router.name],
                     "sourceAddress": "None"}}


@pytest.fixture(scope="module")
def site(make_lab, dataplane, eventually):
    lab = make_lab(2, dataplane, network="bgp")
    routers = []
    try:
        lab.together([lab.pod_words("net/%s-%d" % (host, number), host)
                      for host in lab.hosts for number in range(PODS)])
        for host in lab.hosts:
            node = lab.json("get", "node", host)
            node["metadata"].pop("resourceVersion", None)
            node["spec"]["bgp"]["asNumber"] = HOSTS_AS[host]
            lab.apply(node)
            for other in set(lab.hosts) - {host}:  # the lab's own link: from here on the routers' alone count
                lab.host_exec(host, "ip", "link", "del", "to-" + other, check=False)
        for name in ROUTERS_AS:
            routers.append(Router(lab, name))
        lab.apply({"apiVersion": "projectcalico.org/v3", "kind": "BGPConfiguration", "metadata": {"name": "default"},
                   "spec": {"nodeToNodeMeshEnabled": False}},
                  *[peer(router, host, family) for router in routers for host in lab.hosts for family in (4, 6)])
        for router in routers:
            router.start()
        # What a router tells it has in its own kernel (suppress-fib-pending); of the other way round nobody tells.
        eventually(lambda: go_by(lab, *ROUTERS_AS) and all(router.leads(host) for router in routers
                                                           for host in lab.hosts), 90)
        yield lab, dict(zip(ROUTERS_AS, routers))
    finally:
        for router in routers:
            router.end()


def block(lab, host, family, protocol="bird"):
    """The route to the other host's pods, with its next hops."""
    other = next(name for name in lab.hosts if name != host)
    text = lab.host_exec(host, "ip", "-%d" % family, "-j", "route", "show", "proto", str(protocol), "match",
                         lab.address("net/%s-0" % other, family), check=False).stdout
    return [route for route in json.loads(text or "[]") if route["dst"] != "default"]


def gateways(lab, host, family, protocol="bird"):
    """By which interfaces packets to the other host's pods go."""
    return sorted(hop["dev"] for route in block(lab, host, family, protocol)
                  for hop in route.get("nexthops", [route]) if "dev" in hop)


def go_by(lab, *names):
    """Whether packets of both hosts to each other go by exactly these routers."""
    return all(gateways(lab, host, family) == sorted(names) for host in lab.hosts for family in (4, 6))


class Flows:
    """Pings every 5 ms of both families between pods of the two hosts, in both directions."""

    def __init__(self, lab):
        self.names = [(source, target, family, number) for source, target in (("host1", "host2"), ("host2", "host1"))
                      for family in (4, 6) for number in range(PODS)]
        self.running = [lab.start_traffic("net/%s-%d" % (source, number), "ping",
                                          lab.address("net/%s-%d" % (target, number), family))
                        for source, target, family, number in self.names]
        self.until = time.monotonic() + 1  # as long as they last at least

    def end(self, what):
        """How many are lost, and the longest time that one of them went without an answer."""
        time.sleep(max(0, self.until - time.monotonic()))
        for flow in self.running:
            flow.end()
        reports = [flow.stop() for flow in self.running]
        self.running = []
        assert all(report["sent"] > 10 and report["error"] == "" for report in reports)
        lost = [len(report["missing"]) for report in reports]
        gap = max(report["longestGap"] for report in reports)
        print("%s: %d of %d packets lost, in %d of %d flows, for %.2f s at most" %
              (what, sum(lost), sum(report["sent"] for report in reports), sum(map(bool, lost)), len(lost), gap))
        for name, missing in zip(self.names, lost):
            if missing:
                print("   ", *name, "lost", missing)
        return sum(lost), gap


@pytest.fixture
def flows(site):
    running = []

    def start():
        running.append(Flows(site[0]))
        return running[-1]

    yield start
    for each in running:
        for flow in each.running:
            flow.stop()


def loses_nothing(flows, what, change, done, eventually):
    running = flows()
    change()
    took = eventually(done, 90)
    lost, _ = running.end("%s, after %.2f s" % (what, took))
    assert lost == 0


def test_packets_go_by_both_routers(site, flows):
    lab, routers = site
    before = {name: router.passed(4) + router.passed(6) for name, router in routers.items()}
    running = flows()
    assert running.end("both ways")[0] == 0
    for name, router in routers.items():
        assert router.passed(4) + router.passed(6) > before[name] + 10, name
    assert go_by(lab, *ROUTERS_AS)
    told = json.loads(lab.host_exec("host1", lab.binary, "routes", "--node", "host1", "-o", "json").stdout)
    far = [line for line in told if line["node"] == "host2"]
    assert len(far) == 2 and all((line["via"], line["by"], line["state"]) == ("several", "bird", "ready")
                                 for line in far)


def test_copies_of_a_dead_birds_routes_lead_by_both_routers_and_no_packet_is_lost(site, flows, eventually):
    lab, _ = site
    number = lab.folder / "run" / "host1" / "bird" / "bird.pid"
    before = number.read_text()

    def copies():
        return [gateways(lab, "host1", family, COPIES) for family in (4, 6)]

    def kill():
        os.kill(int(before), signal.SIGKILL)
        eventually(lambda: copies() == [["left", "right"]] * 2, 20)

    loses_nothing(flows, "BIRD killed", kill, lambda: copies() == [[], []] and go_by(lab, *ROUTERS_AS), eventually)
    assert number.read_text() != before


def test_where_a_link_goes_packets_go_by_the_other_router_at_once(site, flows, eventually):
    lab, routers = site
    running = flows()
    lab.host_exec("host1", "ip", "link", "set", "left", "down")
    took = eventually(lambda: go_by(lab, "right"), 30)
    assert flows().end("the link down since %.2f s" % took)[0] == 0
    _, gap = running.end("a link goes")
    assert gap < HOLD_TIME / 2, "nobody waits until a neighbour has said nothing for too long"
    # BIRD's session outlives the link where this comes back within the hold time: its way is taken again at once, and
    # waits where the first ARP is lost in a link that is not quite there.
    running = flows()
    routers["left"].connect("host1")
    took = eventually(lambda: go_by(lab, *ROUTERS_AS), 60)
    _, gap = running.end("the link comes back, after %.2f s" % took)
    assert gap < HOLD_TIME / 2


def test_where_a_routers_bgp_dies_packets_go_by_the_other_router_at_once(site, flows, eventually):
    lab, routers = site
    running = flows()
    routers["left"].kill("bgpd")
    took = eventually(lambda: go_by(lab, "right"), 30)
    assert flows().end("without the router since %.2f s" % took)[0] == 0
    _, gap = running.end("a router's BGP dies")
    assert gap < HOLD_TIME / 2, "nobody waits until a neighbour has said nothing for too long"
    loses_nothing(flows, "the router comes back", lambda: routers["left"].run("bgpd"),
                  lambda: go_by(lab, *ROUTERS_AS) and routers["left"].leads("host1"), eventually)


def test_a_router_that_says_nothing_any_more_is_given_up_after_the_hold_time(site, flows, eventually):
    lab, routers = site
    running = flows()
    routers["left"].nft("add table inet dead; add chain inet dead everything"
                        " { type filter hook prerouting priority -300; policy drop; }")
    took = eventually(lambda: go_by(lab, "right"), 5 * HOLD_TIME)
    assert flows().end("a silent router given up after %.2f s" % took)[0] == 0
    lost, _ = running.end("a router falls silent")
    assert lost > 0, "what it had was lost"
    routers["left"].nft("delete table inet dead")
    eventually(lambda: go_by(lab, *ROUTERS_AS), 90)
