#!/usr/bin/env python3
"""How fast routes pass between a host's BIRD, as the agent configures it, and a BIRD of somebody else's.

A lab of one host, and a router beside it that runs BIRD with next to no configuration. `in`: the router is given N
routes, until the host's kernel has them. `out`: the host is given its N blocks, until the router's kernel has them.
Both against two such routers alone, in turns; medians.

Prints `figure value unit` lines.
"""
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))
from ocicat_lab import Lab  # noqa: E402

ROUNDS = int(os.environ.get("OCICAT_BENCH_ROUNDS", "7"))

CONFIGURATION = """
log "{folder}/log" all;
router id {own};
protocol device {{ }}
protocol direct {{ ipv4; }}
protocol kernel {{ metric 64; ipv4 {{ import none; export where source = RTS_BGP; }}; }}
protocol bgp peer {{
  local {own} as {own_as};
  neighbor {peer} as {peer_as};
  connect delay time 1;
  connect retry time 1;
  ipv4 {{ import all; export where source = RTS_STATIC; }};
}}
{feeds}
"""

# Waits until the kernel of its namespace has so many IPv4 prefixes, and says when (CLOCK_MONOTONIC). The file is
# walked by the kernel: for 100,000 prefixes a few milliseconds.
WATCH = """
import sys, time
def prefixes():
    return sum(int(line.split()[1]) for line in open("/proc/net/fib_triestat") if "Prefixes:" in line)
before = prefixes()
wanted = int(sys.argv[1])
print("+", flush=True)
while (prefixes() - before) * (1 if wanted > 0 else -1) < abs(wanted):
    time.sleep(0.001)
print(time.monotonic(), flush=True)
"""


def call(*words):
    return subprocess.run([str(word) for word in words], check=True, text=True, capture_output=True).stdout


def prefix(first, number):
    at = (first << 24) + number * 64
    return "%d.%d.%d.%d/26" % (at >> 24, at >> 16 & 255, at >> 8 & 255, at & 255)


def feed(count):
    routes = "".join("  route %s blackhole;\n" % prefix(20, number) for number in range(count))
    return "protocol static feed%d {\n  disabled;\n  ipv4;\n%s}\n" % (count, routes)


class Bird:
    """A BIRD in a network namespace that is there already."""

    def __init__(self, namespace, control):
        self.namespace = namespace
        self.control = control

    def tell(self, *words):
        return call("birdc", "-s", self.control, *words)

    def until(self, there, what):
        deadline = time.monotonic() + 60
        while not there():
            if time.monotonic() > deadline:
                raise RuntimeError("%s: %s" % (self.namespace, what))
            time.sleep(0.05)

    def established(self):
        self.until(lambda: "Established" in self.tell("show", "protocols"), "no session")

    def watch(self, count):
        watcher = subprocess.Popen(["ip", "netns", "exec", self.namespace, sys.executable, "-c", WATCH, str(count)],
                                   stdout=subprocess.PIPE, text=True)
        assert watcher.stdout.readline() == "+\n"
        return watcher


class Router(Bird):
    def __init__(self, namespace, folder, own, own_as, peer, peer_as, feeds=""):
        folder.mkdir()
        (folder / "bird.conf").write_text(CONFIGURATION.format(folder=folder, own=own, own_as=own_as, peer=peer,
                                                               peer_as=peer_as, feeds=feeds))
        super().__init__(namespace, folder / "bird.ctl")
        self.process = subprocess.Popen(["ip", "netns", "exec", namespace, "bird", "-f", "-c", folder / "bird.conf",
                                         "-s", self.control, "-P", folder / "pid"])
        self.until(self.control.exists, "BIRD does not start")


def join(one, one_address, other, other_address):
    """A pair of links between two namespaces."""
    name = "b%d" % (abs(hash(one + other)) % 10**9)
    call("ip", "-n", one, "link", "add", name, "type", "veth", "peer", "name", name, "netns", other)
    for namespace, address in ((one, one_address), (other, other_address)):
        call("ip", "-n", namespace, "link", "set", "lo", "up")
        call("ip", "-n", namespace, "link", "set", name, "up")
        call("ip", "-n", namespace, "addr", "add", address + "/30", "dev", name)


def passing(sender, protocol, receiver, count):
    """Milliseconds from telling a sender's protocol to begin until the receiver's kernel has what it tells."""
    watcher = receiver.watch(count)
    began = time.monotonic()
    sender.tell("enable", protocol)
    took = float(watcher.communicate()[0]) - began
    watcher = receiver.watch(-count)
    sender.tell("disable", protocol)
    watcher.communicate()
    return 1e3 * took


def compare(arms):
    """{name: median} of arms (name: function), in turns."""
    times = {name: [] for name in arms}
    for _ in range(ROUNDS):
        for name, arm in arms.items():
            times[name].append(arm())
    return {name: statistics.median(values) for name, values in times.items()}


def claims(lab, first, end):
    pool = {"apiVersion": "projectcalico.org/v3", "kind": "IPPool", "metadata": {"name": "bench"},
            "spec": {"cidr": "10.128.0.0/9", "natOutgoing": False}}
    lab.apply(pool)
    documents = []
    for number in range(first, end):
        cidr = prefix(10, (1 << 17) + number)
        name = "host1-" + cidr.replace(".", "-").replace("/", "-")
        documents.append({"apiVersion": "projectcalico.org/v3", "kind": "BlockAffinity", "metadata": {"name": name},
                          "spec": {"state": "confirmed", "node": "host1", "type": "host", "cidr": cidr,
                                   "deleted": False}})
    for at in range(0, len(documents), 1000):
        lab.apply({"apiVersion": "v1", "kind": "List", "items": documents[at:at + 1000]})


def measure(lab, folder):
    names = ["%s-%s" % (lab.name, name) for name in ("tor", "alone1", "alone2")]
    host = Bird("%s-host1" % lab.name, lab.folder / "run" / "host1" / "bird" / "bird.ctl")
    for name in names:
        call("ip", "netns", "add", name)
    routers = []
    try:
        join(names[0], "192.0.2.2", host.namespace, "192.0.2.1")
        join(names[1], "192.0.2.5", names[2], "192.0.2.6")
        feeds = feed(10_000) + feed(100_000)
        routers = [Router(names[0], folder / "tor", "192.0.2.2", 65010, "192.0.2.1", 64512, feeds),
                   Router(names[1], folder / "alone1", "192.0.2.5", 65010, "192.0.2.6", 65020, feeds),
                   Router(names[2], folder / "alone2", "192.0.2.6", 65020, "192.0.2.5", 65010)]
        tor, sender, receiver = routers
        lab.apply({"apiVersion": "projectcalico.org/v3", "kind": "BGPPeer", "metadata": {"name": "tor"},
                   "spec": {"node": "host1", "peerIP": "192.0.2.2", "asNumber": 65010, "sourceAddress": "None"}})
        for bird in (host, *routers):
            bird.established()
        for count, name in ((10_000, "10k"), (100_000, "100k")):
            feed_name = "feed%d" % count
            report(name, compare({"in": lambda: passing(tor, feed_name, host, count),
                                  "alone": lambda: passing(sender, feed_name, receiver, count)}))
        claimed = 0
        for count, name in ((10_000, "10k"), (100_000, "100k")):
            claims(lab, claimed, count)
            claimed = count
            imported = "%d imported" % count
            host.until(lambda: "blocks4" in host.tell("show", "protocols") and
                       imported in host.tell("show", "protocols", "all", "blocks4"), "no blocks")
            host.until(lambda: imported in tor.tell("show", "protocols", "all", "peer"), "nothing is told")
            watcher = tor.watch(-count)
            host.tell("disable", "blocks4")
            watcher.communicate()
            feed_name = "feed%d" % count
            report(name, compare({"out": lambda: passing(host, "blocks4", tor, count),
                                  "alone": lambda: passing(sender, feed_name, receiver, count)}))
            host.tell("enable", "blocks4")
    finally:
        for router in routers:
            router.process.terminate()
            router.process.wait()
        for name in names:
            call("ip", "netns", "del", name)


def report(count, medians):
    alone = medians.pop("alone")
    for name, took in medians.items():
        print("routes-bgp-%s-%s %.1f ms" % (name, count, took))
        print("routes-bgp-%s-%s-ratio %.3f x" % (name, count, took / alone), flush=True)
    print("alone: %s routes in %.1f ms" % (count, alone), file=sys.stderr)


def main():
    with tempfile.TemporaryDirectory(prefix="ocicat-bgp-") as folder, \
            Lab("bench-%d-routes" % os.getpid(), os.environ["OCICAT_BIN"], 1, network="bgp") as lab:
        measure(lab, pathlib.Path(folder))


if __name__ == "__main__":
    main()
