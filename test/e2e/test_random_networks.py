"""Random networks: pools of random modes, blocks that hosts own by chance, addresses borrowed from others' blocks;
pools change how they travel, come and go, pods come, move and go, agents and BIRD are killed. After each few steps
everybody reaches everybody, by the way that the pool of the destination says; no host has a route that nobody wants,
and an agent or a BIRD that starts anew changes nothing.

Each lab has one history, the same in each run, apart from what hosts do at the same time. OCICAT_PROPERTY_SECONDS=N
makes it another and longer, and goes on with others for so long. The seed is printed with a failure; OCICAT_SEED=N
repeats it.
"""
import ipaddress
import itertools
import json
import os
import random
import re
import signal
import time

import pytest
from test_bgp import bird_pid
from test_vxlan import COUNTER

HOSTS = {"host1": 0, "host2": 1, "host3": 0}  # and the rack of each
TUNNEL = {4: "vxlan.calico", 6: "vxlan-v6.calico"}
STAND_IN = 4000000000  # metric of an agent's routes that BIRD is to tell of
MODES = ["Never", "CrossSubnet", "Always"]
SECONDS = float(os.environ.get("OCICAT_PROPERTY_SECONDS", "0"))
STEPS = 6  # before everything is looked at
LOOKS = 3 if SECONDS else 1  # in each history
PATIENCE = 60  # seconds until all is as it should be
SIZE = 321  # of pings, by which their packets are known in a tunnel
# By UDP's length: its header, VXLAN's, Ethernet's, IP's (of either family), ICMP's and what is in it.
COUNTED = "udp dport 4789 udp length {%d, %d}" % tuple(8 + 8 + 14 + header + 8 + SIZE for header in (20, 40))


class Pool:
    def __init__(self, net, dice):
        self.net = ipaddress.ip_network(net)
        self.family = self.net.version
        self.name = "pods-" + re.sub("[.:/]", "-", net)  # as the lab calls those that it makes around addresses
        bits = {4: 32, 6: 128}[self.family]
        # One block, or four: hosts without one of their own have addresses of the others'.
        self.spec = {"cidr": net, "blockSize": bits - dice.choice([4, 6]), "vxlanMode": dice.choice(MODES),
                     "natOutgoing": dice.choice([True, False]), "disabled": False}

    def document(self):
        return {"apiVersion": "projectcalico.org/v3", "kind": "IPPool", "metadata": {"name": self.name},
                "spec": self.spec}

    def is_tunnelled(self, source, target):
        mode = self.spec["vxlanMode"]
        return mode == "Always" or mode == "CrossSubnet" and HOSTS[source] != HOSTS[target]


class Pod:
    def __init__(self, name, host, pools):
        self.name, self.host, self.pools = name, host, pools  # by families
        self.address = {}


class Network:
    """A lab, and what is known of it."""

    def __init__(self, lab, eventually):
        self.lab = lab
        self.eventually = eventually
        self.pools = {}  # by names
        self.pods = {}
        self.dead = set()  # hosts without agents
        self.numbers = itertools.count(1)
        self.nets = itertools.cycle(range(70, 250))
        self.said = {}  # how much of each log has been looked at

    def begin(self, dice):
        """Everything anew, in the same lab."""
        self.dice = dice
        for _ in range(2):
            self.add_pools()
        for host in HOSTS:
            self.add_pod(host)
            self.add_pod(host)

    def end(self):
        for host in list(self.dead):
            self.start_agent(host)
        for pod in list(self.pods.values()):
            self.delete_pod(pod)
        for pool in list(self.pools.values()):
            self.eventually(lambda pool=pool: self.delete_pool(pool), PATIENCE)

    def log(self, *words):
        print("%8.3f" % (time.time() % 100000), *words)

    # What may happen.

    def add_pools(self):
        """One of each family, around addresses that no pool had lately: those of one that goes do so in their time."""
        number = next(self.nets)
        for net in ("10.%d.0.0/26" % number, "fd00:%d::/122" % number):
            pool = Pool(net, self.dice)
            self.log("pool", pool.name, pool.spec)
            self.pools[pool.name] = pool
            self.lab.apply(pool.document())

    def delete_pool(self, pool):
        """False where it is refused, as a pod was deleted while its host had no agent, which has yet to hear of it."""
        done = self.lab.run("delete", "ippool", pool.name, check=False)
        self.log("delete", pool.name, done.stderr)
        if done.returncode != 0:
            assert "in use" in done.stderr, done.stderr
            return False
        del self.pools[pool.name]
        return True

    def change_pool(self, pool, **spec):
        self.log(pool.name, spec)
        pool.spec.update(spec)
        self.lab.apply(pool.document())

    def free_address(self, pool):
        blocks = [block["spec"] for block in self.lab.json("get", "ipamblocks")["items"]]
        taken = {ipaddress.ip_network(block["cidr"])[number] for block in blocks
                 for number, owner in enumerate(block["allocations"]) if owner is not None}
        return self.dice.choice([address for address in pool.net if address not in taken])

    def add_pod(self, host):
        enabled = {family: [pool for pool in self.pools.values()
                            if pool.family == family and not pool.spec["disabled"]] for family in (4, 6)}
        if not all(enabled.values()) or host in self.dead:
            return
        pools = {family: self.dice.choice(enabled[family]) for family in (4, 6)}
        pod = Pod("net/p%d" % next(self.numbers), host, pools)
        pod.address = {family: str(self.free_address(pool)) for family, pool in pod.pools.items()}
        self.log("add", pod.name, host, *pod.address.values())
        self.lab.run(*self.lab.pod_words(pod.name, host, listen="tcp/80", addresses=",".join(pod.address.values())),
                     "--no-wait")
        self.pods[pod.name] = pod

    def delete_pod(self, pod):
        self.log("delete", pod.name, pod.host)
        self.lab.run("lab", "pod", "delete", pod.name, "--no-wait")
        del self.pods[pod.name]

    def move_pod(self, pod, host):
        self.log("move", pod.name, pod.host, host)
        self.lab.run("lab", "pod", "move", pod.name, "--host", host, "--no-wait")
        pod.host = host

    def kill_agent(self, host):
        self.log("kill the agent of", host)
        self.lab.run("lab", "agent", "kill", host)
        self.dead.add(host)

    def start_agent(self, host):
        self.log("start the agent of", host)
        self.lab.run("lab", "agent", "start", host, "--no-wait")
        self.dead.discard(host)

    def kill_bird(self, host):
        """Until another one runs."""
        pid = bird_pid(self.lab, host)
        self.log("kill BIRD of", host, pid)
        os.kill(pid, signal.SIGKILL)
        self.eventually(lambda: bird_pid(self.lab, host) not in (0, pid), PATIENCE)

    def step(self):
        dice = self.dice
        pool, host = dice.choice(list(self.pools.values())), dice.choice(list(HOSTS))
        pod = dice.choice(list(self.pods.values())) if self.pods else None
        kind = dice.choice(["mode"] * 4 + ["nat", "switch", "pools", "pools", "add", "add", "delete", "move", "move",
                                           "move", "agent", "agent"] + ["bird"] * (self.lab.network == "bgp"))
        if kind == "mode":
            mode = dice.choice([mode for mode in MODES if mode != pool.spec["vxlanMode"]])
            if mode == "Never" or not pool.spec["disabled"] or self.all_have_ends(pool.family):
                self.change_pool(pool, vxlanMode=mode)
        elif kind == "nat":
            self.change_pool(pool, natOutgoing=not pool.spec["natOutgoing"])
        elif kind == "switch":
            if pool.spec["disabled"] or pool.spec["vxlanMode"] == "Never" or self.all_have_ends(pool.family):
                self.change_pool(pool, disabled=not pool.spec["disabled"])
        elif kind == "pools":
            if any(pool in pod.pools.values() for pod in self.pods.values()):
                if len(self.pools) < 8:
                    self.add_pools()
            elif not any(other.family == pool.family and other.spec["disabled"] for other in self.pools.values()):
                self.delete_pool(pool)
        elif kind == "add":
            if len(self.pods) < 9:
                self.add_pod(host)
        elif kind == "delete" and pod:
            self.delete_pod(pod)
        elif kind == "move" and pod:
            if host != pod.host and host not in self.dead and not any(p.spec["disabled"] for p in pod.pools.values()):
                self.move_pod(pod, host)
        elif kind == "agent":
            self.start_agent(host) if host in self.dead else self.kill_agent(host)
        elif kind == "bird" and host not in self.dead and bird_pid(self.lab, host):
            self.kill_bird(host)

    # What has to be.

    def on(self, host, *words, **options):
        return self.lab.host_exec(host, *words, **options).stdout

    def routes(self, host):
        """Those of ours, as the kernel prints them."""
        lines = [line for family in ("-4", "-6") for line in self.on(host, "ip", "-d", family, "route").splitlines()]
        return sorted(line.strip() for line in lines if re.search(" proto (80|81|bird) ", line + " "))

    def strays(self, host, known):
        found = []
        by_bird = [pool.net for pool in self.pools.values() if pool.spec["vxlanMode"] == "Never"]
        for family in ("-4", "-6"):
            for route in json.loads(self.on(host, "ip", "-N", family, "-j", "route") or "[]"):
                if route.get("protocol") not in ("80", "81", "12"):  # this last is BIRD's
                    continue
                net = ipaddress.ip_network(route["dst"])
                stands_in = self.lab.network == "bgp" and route.get("metric") == STAND_IN
                if net not in known or stands_in and any(net.version == pool.version and net.subnet_of(pool)
                                                         for pool in by_bird):
                    found.append("%s has a route that nobody wants: %s" % (host, route))
        return found

    def ends(self):
        """(host, address) of ends of tunnels."""
        return [(node["metadata"]["name"], ipaddress.ip_address(node["spec"][key]))
                for node in self.lab.json("get", "nodes")["items"]
                for key in ("ipv4VXLANTunnelAddr", "ipv6VXLANTunnelAddr") if key in node["spec"]]

    def is_in_a_pool(self, end):
        return any(end.version == pool.family and end in pool.net for pool in self.pools.values())

    def all_have_ends(self, family):
        """Such as stay: a pool that is switched off gives none, and nobody is to need one of it."""
        return {host for host, end in self.ends() if end.version == family and self.is_in_a_pool(end)} == set(HOSTS)

    def known(self):
        """All that routes may lead to: blocks, and addresses of pods and of ends of tunnels."""
        return ({ipaddress.ip_network(block["spec"]["cidr"]) for block in self.lab.json("get", "ipamblocks")["items"]} |
                {ipaddress.ip_network(text) for pod in self.pods.values() for text in pod.address.values()} |
                {ipaddress.ip_network(end) for _, end in self.ends()})

    def ways(self, host):
        """{address: interface} by which the host sends to pods; without those that it has no way to."""
        found = {}
        for family in (4, 6):
            asked = "".join("route get %s\n" % pod.address[family] for pod in self.pods.values())
            text = self.on(host, "ip", "-%d" % family, "-j", "-force", "-batch", "-", stdin=asked, check=False)
            decoder = json.JSONDecoder()
            while text := text.lstrip():
                try:
                    answers, end = decoder.raw_decode(text)
                except ValueError:  # what it has begun to print before an error
                    text = text[1:]
                    continue
                found.update((answer["dst"], answer.get("dev")) for answer in answers if "dst" in answer)
                text = text[end:]
        return found

    def wrong_ways(self, host):
        found = []
        ways = self.ways(host)
        for pod in self.pods.values():
            for family, address in pod.address.items():
                way = ways.get(address)
                link = TUNNEL[family] if pod.pools[family].is_tunnelled(host, pod.host) else "to-" + pod.host
                if (way != link) if host != pod.host else not (way or "").startswith("cali"):
                    found.append("%s has its way to %s (%s, on %s) by %s" % (host, pod.name, address, pod.host, way))
        return found

    def disagreements(self, host):
        told = self.lab.host_exec(host, self.lab.binary, "routes", "--node", host, "-o", "json", check=False)
        try:
            lines = json.loads(told.stdout)
        except ValueError:
            return ["%s: %s" % (host, told.stderr)]
        return ["%s: %s" % (host, line) for line in lines if line["state"] != "ready"]

    def amiss(self):
        found = ["%s is behind" % agent for agent in self.lab.json("status")["agents"]
                 if not agent["upToDate"] or agent["error"] or len(set(agent["endpoints"].values())) > 1]
        if self.lab.network == "bgp":
            for node in self.lab.json("node", "status", check=False)["nodes"]:
                bgp = node.get("bgp", {"recovering": True})
                if bgp["recovering"] or bgp["established"] != bgp["wanted"]:
                    found.append("BIRD of %s: %s" % (node["node"], bgp))
        # Such an end moves some seconds later, and packets are lost until all hosts have heard of it.
        found += ["%s has %s, of a pool that has gone, for its tunnel" % end for end in self.ends()
                  if not self.is_in_a_pool(end[1])]
        known = self.known()
        for host in HOSTS:
            found += self.disagreements(host) + self.wrong_ways(host) + self.strays(host, known)
        return found or ["%s %s" % cell for cell in self.lab.probe("tcp/80").items() if cell[1] != "allow"]

    def settle(self, why):
        begin = time.monotonic()
        while amiss := self.amiss():
            assert time.monotonic() - begin < PATIENCE, (why, amiss)
            time.sleep(0.1)  # between two looks
        self.log("settled after %.1f s:" % (time.monotonic() - begin), why)

    def arrived(self, host):
        words = self.on(host, "nft", "reset", "counter", "inet", "watcher", "arrived").split()
        return int(words[words.index("packets") + 1])

    def packets_take_their_ways(self):
        for target in self.pods.values():
            others = [pod for pod in self.pods.values() if pod.host != target.host]
            if not others:
                continue
            source = self.dice.choice(others)
            for family in (4, 6):
                self.arrived(source.host), self.arrived(target.host)
                said = self.lab.exec(source.name, "ping", "-c", "3", "-i", "0.02", "-W", "5", "-s", str(SIZE),
                                     target.address[family], check=False).stdout
                assert " 3 received" in said, (source.name, target.name, said, self.amiss())
                there, back = self.arrived(target.host), self.arrived(source.host)
                tunnelled = (target.pools[family].is_tunnelled(source.host, target.host),
                             source.pools[family].is_tunnelled(target.host, source.host))
                assert (there, back) == tuple(3 * int(which) for which in tunnelled), (source.name, target.name, family)

    def changes_nothing(self, what, host):
        before = self.routes(host)
        what(host)
        self.settle("%s on %s" % (what.__name__, host))
        # What stands in for a dead BIRD's routes is taken away a moment after these are there.
        self.eventually(lambda: self.routes(host) == before, PATIENCE)

    def restart(self, host):
        self.kill_agent(host)
        self.start_agent(host)

    def repeated_complaints(self):
        """What one agent has logged as wrong again and again since the last call."""
        found = []
        for host in HOSTS:
            path = self.lab.folder / "log" / ("agent-%s.log" % host)
            text = path.read_text(errors="replace")
            new, self.said[host] = text[self.said.get(host, 0):], len(text)
            counts = {}
            for line in new.splitlines():
                if match := re.search(r"\[?(warning|error|critical)\]? (.*)", line):
                    kind = re.sub("[0-9a-f]*[0-9][0-9a-f]*", "N", match[2])
                    counts[kind] = counts.get(kind, 0) + 1
            found += ["%s, %d times: %s" % (host, count, kind) for kind, count in counts.items() if count > 5]
        return found

    def history(self, seed):
        print("OCICAT_SEED=%d%s" % (seed, " OCICAT_PROPERTY_SECONDS=1" if SECONDS else ""))
        self.begin(random.Random(seed))
        for _ in range(LOOKS):
            for _ in range(STEPS):
                self.step()
            for host in list(self.dead):
                self.start_agent(host)
            self.settle("steps")
            self.packets_take_their_ways()
            self.changes_nothing(self.restart, self.dice.choice(list(HOSTS)))
            if self.lab.network == "bgp":
                self.changes_nothing(self.kill_bird, self.dice.choice(list(HOSTS)))
            assert self.repeated_complaints() == []
        self.end()


@pytest.fixture(scope="module", params=["plain", "bgp"])
def network(make_lab, dataplane, request, eventually):
    lab = make_lab(len(HOSTS), dataplane, network=request.param, racks=2)
    for host in HOSTS:
        lab.host_exec(host, "nft", COUNTER.format("arrived", "prerouting").replace("udp dport 4789", COUNTED))
    return Network(lab, eventually)


def given(lab):
    """Addresses that anybody has."""
    return [owner for block in lab.json("get", "ipamblocks")["items"] for owner in block["spec"]["allocations"]
            if owner is not None]


def test_packets_find_their_way_whatever_happens_to_pools_pods_agents_and_routers(network, eventually):
    end = time.monotonic() + SECONDS
    fresh = random.Random(None if SECONDS else "%s %s" % (network.lab.network, network.lab.dataplane))
    seed = int(os.environ.get("OCICAT_SEED", fresh.randrange(1 << 32)))
    network.history(seed)
    while time.monotonic() < end:
        seed = random.Random(seed).randrange(1 << 32)
        network.history(seed)
    if SECONDS:  # ends of tunnels go back some seconds after their pools have gone
        eventually(lambda: not given(network.lab), 30)
