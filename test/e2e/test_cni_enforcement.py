"""What ADD promises of policy: it is in force from the workload's first packet, or there is no workload."""
import concurrent.futures
import json
import pathlib
import subprocess
import sys
import time

import pytest
from cni_runtime import Runtime, given_to, links
from own_agent import Agent, more_than_1000_entries

FIRST_PACKETS = pathlib.Path(__file__).with_name("first_packets.py")
OPEN, CLOSED = 53, 54
PODS = 24
AT_ONCE = 4
PATIENCE = 10  # seconds that ADD waits for policy


def policy(name, **spec):
    return {"apiVersion": "projectcalico.org/v3", "kind": "NetworkPolicy",
            "metadata": {"name": name, "namespace": "net"}, "spec": spec}


# A client may speak with one port of the servers and be pinged by the friend; who speaks with the server beside it is
# looked at by the server's own policy as well.
CLIENTS = policy("clients", selector="app == 'client'", types=["Ingress", "Egress"],
                 egress=[{"action": "Allow", "protocol": "UDP", "destination": {"ports": [OPEN]}}],
                 ingress=[{"action": "Allow", "source": {"selector": "app == 'friend'"}}])
NEAR = policy("near", selector="app == 'near'", types=["Ingress"],
              ingress=[{"action": "Allow", "source": {"selector": "app == 'client'"}}])
FAR = policy("far", selector="app == 'far'", types=["Ingress"], ingress=[{"action": "Allow"}])


@pytest.fixture(scope="module")
def lab(make_lab, dataplane):
    lab = make_lab(2, dataplane)
    ports = "udp/%d,udp/%d" % (OPEN, CLOSED)
    lab.together([lab.pod_words("net/near", "host1", {"app": "near"}, ports),
                  lab.pod_words("net/far", "host2", {"app": "far"}, ports),
                  lab.pod_words("net/friend", "host1", {"app": "friend"}),
                  lab.pod_words("net/stranger", "host1", {"app": "stranger"})])
    lab.apply(CLIENTS, NEAR, FAR)
    lab.wait()
    return lab


@pytest.fixture(scope="module")
def runtime(lab):
    return Runtime(lab)


def pod(name):
    return {"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": "net", "labels": {"app": "client"}},
            "spec": {"nodeName": "host1", "containers": [{"name": "c", "image": "i"}]}}


def args(name):
    return "IgnoreUnknown=1;K8S_POD_NAMESPACE=net;K8S_POD_NAME=" + name


def servers(lab, port):
    return [[lab.address("net/" + name, family), port] for name in ("near", "far") for family in (4, 6)]


class Life:
    """A pod whose process is at work before it has an interface."""

    def __init__(self, runtime, name):
        self.runtime, self.name = runtime, name
        runtime.lab.apply(pod(name))
        runtime.make(name)
        allowed, denied = [json.dumps(servers(runtime.lab, port)) for port in (OPEN, CLOSED)]
        self.process = subprocess.Popen(
            ["ip", "netns", "exec", runtime.namespace(name), sys.executable, str(FIRST_PACKETS), allowed, denied],
            text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.process.stdout.readline() == "+\n"

    def add(self, **config):
        result = self.runtime.call("ADD", self.name, args=args(self.name), **config)
        self.process.stdin.write("now\n")
        self.process.stdin.flush()
        return {6 if ":" in ip["address"] else 4: ip["address"].partition("/")[0] for ip in result["ips"]}

    def answered(self):
        """How many datagrams could be sent before ADD was done, and who has answered."""
        report = json.loads(self.process.communicate(timeout=60)[0])
        return report["early"], [tuple(to) for to in report["answered"]]

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()
        self.runtime.call("DEL", self.name, args=args(self.name))
        self.runtime.end(self.name)
        self.runtime.lab.delete(pod(self.name))


def pinged(lab, source, address, patience):
    done = lab.exec(source, "ping", "-c", "1", "-W", str(patience), address, check=False)
    return done.returncode == 0


def test_the_first_packets_of_many_pods_obey_their_policy(lab, runtime):
    names = ["first-%d" % number for number in range(PODS)]

    def live(name):
        life = Life(runtime, name)
        try:
            addresses = life.add()
            pings = {(source, family): pinged(lab, source, addresses[family], patience)
                     for source, patience in (("net/friend", 5), ("net/stranger", 1)) for family in (4, 6)}
            return life.answered() + (pings,)
        finally:
            life.end()

    with concurrent.futures.ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
        early = 0
        for name, (sent_early, answered, pings) in zip(names, pool.map(live, names)):
            early += sent_early
            assert sorted(answered) == sorted(map(tuple, servers(lab, OPEN))), name
            assert pings == {(source, family): source == "net/friend" for source in ("net/friend", "net/stranger")
                             for family in (4, 6)}, name
    print("%d datagrams were sent before ADD was done" % early)
    assert early > 0

    lab.apply(dict(CLIENTS, spec=dict(CLIENTS["spec"], egress=[{"action": "Allow"}])))
    lab.wait()
    life = Life(runtime, "open")
    try:
        life.add()
        both = servers(lab, OPEN) + servers(lab, CLOSED)
        assert life.answered()[1] == sorted(map(tuple, both)), "where policy allows it they answer"
    finally:
        life.end()
        lab.apply(CLIENTS)
        lab.wait()


LARGE = more_than_1000_entries("app == 'client'")


@pytest.fixture
def refusing(lab, eventually):
    """The agent of host1 takes no policy as large as what selects clients."""
    agent = Agent(lab, "host1", "--most-entries", "1000")
    lab.apply(*LARGE)
    try:
        lab.settle()
        yield
    finally:
        lab.delete(*LARGE)
        agent.end()
        lab.wait()


def left(runtime, name):
    """What there is of a pod that has not come to be."""
    found = [item["metadata"]["name"] for item in runtime.lab.json("get", "wep", "-A")["items"]
             if name in item["metadata"]["name"]]
    found += given_to(runtime, name) + [link for link in links(runtime, name) if link != "lo"]
    return found + list((runtime.lab.folder / "cni" / "host1" / "attachments").glob("*%s*" % name))


def test_add_fails_and_leaves_nothing_where_policy_does_not_come_into_force(lab, runtime, refusing):
    name = "refused"
    lab.apply(pod(name))
    runtime.make(name)
    try:
        begin = time.monotonic()
        error = runtime.refused(runtime.variables("ADD", name, args=args(name)), runtime.with_version())
        took = time.monotonic() - begin
        assert error["code"] == 103 and "ocicat status" in error["details"]
        assert took >= PATIENCE, "it is waited for"
        print("given up after %.1f s" % took)
        assert left(runtime, name) == []
        assert "podIP" not in lab.json("get", "pod", name, "-n", "net").get("status", {})
        # Of a pod that is gone status says nothing any more: the error itself says why.
        assert "--most-entries" in error["details"]
    finally:
        runtime.end(name)
        lab.delete(pod(name))


def test_add_that_is_told_not_to_wait_longer_starts_a_pod_that_can_do_nothing_until_policy_comes(
        lab, runtime, refusing, eventually):
    life = Life(runtime, "early")
    try:
        begin = time.monotonic()
        addresses = life.add(policy_setup_timeout_seconds=1)
        assert 1 <= time.monotonic() - begin < PATIENCE
        assert life.answered()[1] == []
        assert not any(pinged(lab, "net/friend", addresses[family], 1) for family in (4, 6))
        lab.delete(*LARGE)
        lab.wait()
        for family in (4, 6):
            assert pinged(lab, "net/friend", addresses[family], 5) and not pinged(
                lab, "net/stranger", addresses[family], 1)
    finally:
        life.end()
        lab.apply(*LARGE)  # as it was
