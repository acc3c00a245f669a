"""From nftables to eBPF and back, while connections are open: what may go on goes on, and nothing opens."""
import contextlib
import os
import random
import subprocess
import sys
import time

import pytest

import host_connections
from counted import Denied
from raw import Raw

PORTS = {"stream": [80], "udp": [53], "ping": []}
CLIENTS = ("shop/near", "shop/far")
DENIED = [("shop/stranger", "shop/web"), ("shop/web", "shop/near"), ("shop/web", "shop/far")]
# Knocks at a port until its input closes, and tells how often it was let in.
KNOCK = """
import select, socket, sys
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
knocks = opened = 0
print("+", flush=True)
while not select.select([sys.stdin], [], [], 0.005)[0]:
    with socket.socket(family) as door:
        door.settimeout(0.02)
        knocks += 1
        opened += door.connect_ex((sys.argv[1], 80)) == 0
print(knocks, opened)
"""


def policies():
    """web is spoken to by near and far, and may speak to nobody; nobody may speak to near and far."""
    def policy(name, selector, types, ingress=()):
        return {"apiVersion": "projectcalico.org/v3", "kind": "NetworkPolicy",
                "metadata": {"name": name, "namespace": "shop"},
                "spec": {"selector": selector, "types": types, "ingress": list(ingress)}}
    return [policy("web", "app == 'web'", ["Ingress", "Egress"],
                   [{"action": "Allow", "source": {"selector": "app in {'near', 'far'}"}}]),
            policy("closed", "app in {'near', 'far'}", ["Ingress"])]


@pytest.fixture(scope="module")
def lab(make_lab):
    lab = make_lab(2, "nftables")
    lab.together([lab.pod_words("shop/web", "host1", {"app": "web"}, "tcp/80,udp/53"),
                  lab.pod_words("shop/near", "host1", {"app": "near"}, "tcp/80"),
                  lab.pod_words("shop/far", "host2", {"app": "far"}, "tcp/80"),
                  lab.pod_words("shop/stranger", "host2", {"app": "stranger"}, "tcp/80")])
    lab.apply(*policies())
    lab.wait()
    return lab


@contextlib.contextmanager
def undisturbed(lab):
    """Flows to web, which answers and may not ask, in both families: all that is sent arrives."""
    wanted = [(pod, kind, family) for pod in CLIENTS for kind in PORTS for family in (4, 6)]
    flows = {(pod, kind, family): lab.start_traffic(pod, kind, lab.address("shop/web", family), *PORTS[kind])
             for pod, kind, family in wanted}
    try:
        yield
        for flow in flows.values():
            flow.end()
        for name, flow in flows.items():
            report = flow.stop()
            assert report["sent"] > 100, name
            assert (name, report["missing"], report["outOfOrder"], report["error"]) == (name, [], 0, "")
        flows = {}
    finally:
        for flow in flows.values():
            flow.stop()


@contextlib.contextmanager
def closed(lab):
    """Whom policy denies tries all the time, and is never let in: the other way round as well. Nor does any datagram
    arrive."""
    denied = Denied(lab, DENIED)
    with contextlib.ExitStack() as stack:
        knocking = [stack.enter_context(subprocess.Popen(
            [lab.binary, "lab", "exec", source, "--", sys.executable, "-c", KNOCK, lab.address(target, family)],
            env=lab.environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
            for source, target in DENIED for family in (4, 6)]
        for process in knocking:
            assert process.stdout.readline() == "+\n"
        yield
        for process in knocking:
            knocks, opened = map(int, process.communicate()[0].split())
            assert knocks > 10
            assert opened == 0
    denied.assert_none_arrived()


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_open_connections_do_not_notice(lab, how):
    with undisturbed(lab), closed(lab):
        lab.switch("ebpf", how)
        lab.switch("nftables", how)


def test_those_opened_under_ebpf_go_on_under_nftables_and_back(lab):
    lab.switch("ebpf")
    with undisturbed(lab), closed(lab):
        lab.switch("nftables")
        lab.switch("ebpf")
    lab.switch("nftables")


def test_those_through_host_endpoints_go_on_there_and_back(lab):
    with host_connections.undisturbed(lab, "shop/near"):
        for dataplane, how in (("ebpf", "kill"), ("nftables", "kill"), ("ebpf", "stop")):
            lab.switch(dataplane, how)
    with host_connections.undisturbed(lab, "shop/near"):
        lab.switch("nftables")


def test_connections_without_ports_go_on_there_and_back(lab):
    """Of GRE, protocol 47, the kernel tells those of version 1 further apart: these texts are of no such."""
    early, late, never = (47, 99), (98,), (97,)  # known first to nftables, to eBPF, to nobody
    raws = [Raw(lab, "shop/far", "shop/web", family) for family in (4, 6)]

    def named(family, step, protocols):
        return [f"{protocol}-{step}-{family}" for protocol in protocols]

    def say(who, step, *protocols):
        for raw in raws:
            raw.say(who, *map("other {} {}".format, protocols, named(raw.family, step, protocols)))

    with contextlib.ExitStack() as stack:
        for raw in raws:
            stack.enter_context(raw.listening(*(text for step in ("first", "ebpf", "back")
                                                for text in named(raw.family, step, early + late + never))))
        say("client", "first", *early)
        lab.switch("ebpf")
        say("server", "ebpf", *early, *never)
        say("client", "ebpf", *early, *late)
        say("server", "ebpf", *late)
        lab.switch("nftables")
        say("server", "back", *early, *late, *never)
        say("client", "back", *early, *late)
        for raw in raws:
            raw.say("client", "udp 40000 53 last")
            raw.say("server", "udp 53 40000 last")
            go_on = named(raw.family, "ebpf", early + late) + named(raw.family, "back", early + late)
            assert raw.heard() == {"client": go_on, "server": named(raw.family, "first", early) + go_on}


def test_where_they_are_to_stay_they_do_though_policy_denies_them_by_then(lab):
    stay = {"apiVersion": "ocicat.io/v1", "kind": "AgentConfiguration", "metadata": {"name": "default"},
            "spec": {"openConnections": "Stay"}}
    lab.apply(stay)
    lab.wait()
    try:
        with undisturbed(lab):
            nobody = policies()[0]
            nobody["spec"]["ingress"] = []
            lab.apply(nobody)
            lab.wait()
            lab.switch("ebpf")
            lab.switch("nftables")
    finally:
        lab.apply(*policies())
        lab.delete(stay)
        lab.wait()


def test_an_agent_that_dies_in_the_middle_leaves_everything_as_it_was(lab):
    seed = int(os.environ.get("OCICAT_SEED", random.randrange(1 << 32)))
    print("OCICAT_SEED=%d" % seed)
    chance = random.Random(seed)
    with undisturbed(lab), closed(lab):
        lab.run("lab", "agent", "kill", "host1")
        for dataplane in ("ebpf", "ebpf", "nftables", "nftables", "ebpf", "nftables", "ebpf"):
            lab.run("lab", "agent", "start", "host1", "--dataplane", dataplane, "--no-wait")
            time.sleep(chance.uniform(0.05, 0.5))  # somewhere in the middle
            lab.run("lab", "agent", "kill", "host1")
        lab.run("lab", "agent", "start", "host1", "--dataplane", "nftables")
