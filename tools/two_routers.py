"""A lab of two hosts with two routers of FRR's, in place of the lab's own link: for tests and a benchmark."""
import contextlib
import json
import pathlib
import shutil
import subprocess
import tempfile
import time

from ocicat_lab import eventually

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

    def fall_silent(self):
        call("ip", "netns", "exec", self.namespace, "nft", "add table inet dead; add chain inet dead everything"
             " { type filter hook prerouting priority -300; policy drop; }")

    def speak_again(self):
        call("ip", "netns", "exec", self.namespace, "nft", "delete table inet dead")

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


def until_told(lab, routers, done):
    """What a router tells it has in its own kernel (suppress-fib-pending); of the other way round nobody tells. FRR 8.4
    now and then never hears from its zebra that a route is there, and tells nobody of it: such a one begins anew."""
    for _ in range(5):
        with contextlib.suppress(AssertionError):
            return eventually(done, 20)
        for router in routers:
            if not go_through(lab, router.name):
                router.kill("bgpd")
                router.run("bgpd")
    return eventually(done, 90)


@contextlib.contextmanager
def connected(lab):
    """The routers of a lab that is up with BGP, by name, once packets go by both."""
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
        until_told(lab, routers, lambda: go_by(lab, *ROUTERS_AS) and all(router.leads(host) for router in routers
                                                                         for host in lab.hosts))
        yield dict(zip(ROUTERS_AS, routers))
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


def go_through(lab, name):
    """Whether packets of both hosts to each other go by this router among others."""
    return all(name in gateways(lab, host, family) for host in lab.hosts for family in (4, 6))


class Flows:
    """Pings every 5 ms of both families between pods of the two hosts, in both directions."""

    def __init__(self, lab):
        self.names = [(source, target, family, number) for source, target in (("host1", "host2"), ("host2", "host1"))
                      for family in (4, 6) for number in range(PODS)]
        self.running = [lab.start_traffic("net/%s-%d" % (source, number), "ping",
                                          lab.address("net/%s-%d" % (target, number), family))
                        for source, target, family, number in self.names]
        self.until = time.monotonic() + 1  # as long as they last at least

    def end(self, what=""):
        """How many are lost, and the longest time that one of them went without an answer. Tells of it under a name."""
        time.sleep(max(0, self.until - time.monotonic()))
        for flow in self.running:
            flow.end()
        reports = [flow.stop() for flow in self.running]
        self.running = []
        assert all(report["sent"] > 10 and report["error"] == "" for report in reports)
        lost = [len(report["missing"]) for report in reports]
        gap = max(report["longestGap"] for report in reports)
        if what:
            print("%s: %d of %d packets lost, in %d of %d flows, for %.2f s at most" %
                  (what, sum(lost), sum(report["sent"] for report in reports), sum(map(bool, lost)), len(lost), gap))
            for name, missing in zip(self.names, lost):
                if missing:
                    print("   ", *name, "lost", missing)
        return sum(lost), gap
