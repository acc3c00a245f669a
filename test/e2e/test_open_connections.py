"""Policy reaches connections that are open already: what it denies by now ends, what it allows is not disturbed."""
import contextlib
import json
import subprocess
import sys
import time

import pytest

from ears import PACKETS, Ear
from own_agent import Agent, more_than_1000_entries
from revocation import AT_MOST, watch

PORTS = {"stream": [80], "udp": [53], "ping": []}
CLIENTS = ("shop/near", "shop/far")
ECHO = """
import socket, sys
s = socket.create_connection((sys.argv[1], 80), 5)
print("+", flush=True)
for line in sys.stdin:
    s.sendall(line.encode())
    print(s.recv(100).decode().strip(), flush=True)
"""

# Each until its input closes; then, when the last one was sent, and when each arrived (time.monotonic()).
ANSWER_FOR_EVER = """
import select, socket, sys, time
s = socket.socket(socket.AF_INET6 if sys.argv[1] == "6" else socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("", 5300))
print("+", flush=True)
asker = s.recvfrom(100)[1]
while not select.select([sys.stdin], [], [], 0.01)[0]:
    s.sendto(b"answer", asker)
    last = time.monotonic()
print(last)
"""
ASK_ONCE = """
import json, select, socket, sys, time
s = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM)
s.connect((sys.argv[1], 5300))
s.send(b"question")
arrived = []
while sys.stdin not in (ready := select.select([sys.stdin, s], [], [])[0]):
    s.recv(100)
    arrived.append(time.monotonic())
    if len(arrived) == 10: print("+", flush=True)
print(json.dumps(arrived))
"""


def python(lab, pod, code, *words):
    """A program at work in a pod, that says when it is."""
    process = subprocess.Popen([lab.binary, "lab", "exec", pod, "--", sys.executable, "-c", code, *words],
                               env=lab.environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout.readline() == "+\n", pod
    return process


@contextlib.contextmanager
def closing(process):
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def policy(*sources, types=("Ingress",)):
    rules = [{"action": "Allow", "source": {"selector": "app == '%s'" % source}} for source in sources]
    return {"apiVersion": "projectcalico.org/v3", "kind": "NetworkPolicy",
            "metadata": {"name": "web", "namespace": "shop"},
            "spec": {"selector": "app == 'web'", "types": list(types), "ingress": rules}}


def open_connections(what):
    return {"apiVersion": "ocicat.io/v1", "kind": "AgentConfiguration", "metadata": {"name": "default"},
            "spec": {"openConnections": what}}


def no_egress(source):
    return {"apiVersion": "projectcalico.org/v3", "kind": "NetworkPolicy",
            "metadata": {"name": "egress", "namespace": "shop"},
            "spec": {"selector": "app == '%s'" % source, "types": ["Egress"]}}


@pytest.fixture(scope="module")
def lab(make_lab, dataplane):
    lab = make_lab(2, dataplane)
    lab.together([lab.pod_words("shop/web", "host1", {"app": "web"}, "tcp/80,udp/53"),
                  lab.pod_words("shop/near", "host1", {"app": "near"}, "tcp/80"),
                  lab.pod_words("shop/far", "host2", {"app": "far"}, "tcp/80")])
    return lab


@pytest.fixture(autouse=True)
def all_is_allowed(lab):
    lab.apply(policy("near", "far"))
    lab.wait()
    yield
    lab.run("delete", "networkpolicy", "egress", "-n", "shop", "--ignore-not-found")


@pytest.fixture
def staying(lab):
    lab.apply(open_connections("Stay"))
    lab.wait()
    yield
    lab.delete(open_connections("Stay"))
    lab.wait()


def can_open(lab, pod):
    code = "import socket, sys; socket.create_connection((sys.argv[1], 80), 1)"
    return lab.exec(pod, sys.executable, "-c", code, lab.address("shop/web"), check=False).returncode == 0


@contextlib.contextmanager
def flows(lab, *wanted):
    """Flows to shop/web by their names, each (pod, kind, family); and their reports, once they are stopped."""
    started = {(pod, kind, family): lab.start_traffic(pod, kind, lab.address("shop/web", family), *PORTS[kind])
               for pod, kind, family in wanted}
    reports = {}
    yield reports
    for flow in started.values():
        flow.end()  # all at once: each waits for what is still on its way
    for name, flow in started.items():
        reports[name] = flow.stop()


def in_force(lab):
    """The moment when every host has it."""
    lab.wait()
    return time.monotonic()


def assert_ended(report, since):
    assert report["missing"]
    took = report["answered"][-1] - since
    print("ended after %.2f s" % took)
    assert took < AT_MOST


def assert_undisturbed(report):
    assert report["sent"] > 100
    assert (report["missing"], report["outOfOrder"], report["error"]) == ([], 0, "")


@pytest.mark.parametrize("family", [4, 6])
def test_a_new_deny_ends_what_is_open_and_leaves_others_alone(lab, family):
    with flows(lab, *((pod, kind, family) for pod in CLIENTS for kind in PORTS)) as reports:
        lab.apply(policy("far"))
        since = in_force(lab)
        watch()
    for kind in PORTS:
        assert_ended(reports["shop/near", kind, family], since)
        assert_undisturbed(reports["shop/far", kind, family])


@pytest.mark.parametrize("family", [4, 6])
def test_a_reply_does_not_open_again_what_a_new_deny_has_ended(lab, family):
    """A client that asks once, and a server that goes on answering."""
    server = python(lab, "shop/web", ANSWER_FOR_EVER, str(family))
    client = python(lab, "shop/near", ASK_ONCE, lab.address("shop/web", family))
    try:
        lab.apply(policy("far"))
        since = in_force(lab)
        watch()
        arrived = json.loads(client.communicate("")[0])
        sent = json.loads(server.communicate("")[0])
    finally:
        for process in (client, server):
            process.kill()
            process.wait()
    assert arrived[-1] - since < AT_MOST < sent - since


def test_a_label_of_the_other_side_ends_it_as_well(lab):
    with flows(lab, ("shop/near", "stream", 4), ("shop/far", "stream", 4)) as reports:
        lab.relabel("shop/far", app="nobody")
        since = in_force(lab)
        watch()
    lab.relabel("shop/far", app="far")
    assert_ended(reports["shop/far", "stream", 4], since)
    assert_undisturbed(reports["shop/near", "stream", 4])


def test_who_opened_it_may_not_go_on_either(lab):
    with flows(lab, ("shop/near", "stream", 6), ("shop/far", "stream", 6)) as reports:
        lab.apply(no_egress("near"))
        since = in_force(lab)
        watch()
    assert_ended(reports["shop/near", "stream", 6], since)
    assert_undisturbed(reports["shop/far", "stream", 6])


def test_an_icmp_error_about_what_a_new_deny_has_ended_does_not_arrive(lab):
    """Of both families; what is allowed all the time tells when all has come that will."""
    allowed_still = policy("far")
    allowed_still["spec"]["ingress"].append({"action": "Allow", "protocol": "UDP", "destination": {"ports": [11]}})
    ends = [(lab.address("shop/near", family), lab.address("shop/web", family)) for family in (4, 6)]

    def say(*texts):
        for near, web in ends:
            lab.exec("shop/near", sys.executable, PACKETS, "send", near, web, "9", texts[0])
            lab.exec("shop/near", sys.executable, PACKETS, "error", near, web, web, texts[1])
        lab.exec("shop/near", sys.executable, PACKETS, "send", *ends[0], "11", *texts[2:])

    ear = Ear(lab, "exec", "shop/web", "--", "hear")
    say("open", "error")
    lab.apply(allowed_still)
    in_force(lab)
    watch()
    say("denied", "error-about-denied", "last")
    assert ear.heard() == ["open", "error"] * 2 + ["last"]


def test_what_is_allowed_again_goes_on(lab):
    with flows(lab, ("shop/near", "udp", 4), ("shop/far", "udp", 4)) as reports:
        lab.apply(policy("far"))
        denied = in_force(lab)
        watch()
        until = time.monotonic()
        lab.apply(policy("near", "far"))
        allowed = in_force(lab)
        watch()
    times = reports["shop/near", "udp", 4]["answered"]
    assert not [moment for moment in times if denied + AT_MOST < moment < until]
    assert times[-1] > allowed + AT_MOST / 2
    assert_undisturbed(reports["shop/far", "udp", 4])


def test_what_changed_while_the_agent_was_away_counts_when_it_is_back(lab):
    with flows(lab, ("shop/near", "stream", 4), ("shop/far", "stream", 4)) as reports:
        lab.run("lab", "agent", "kill", "host1")
        lab.apply(policy("far"))
        lab.run("lab", "agent", "start", "host1")
        since = in_force(lab)
        watch()
    assert_ended(reports["shop/near", "stream", 4], since)
    assert_undisturbed(reports["shop/far", "stream", 4])


def test_what_a_host_asks_of_its_own_workload_goes_on(lab):
    words = [lab.binary, "lab", "host", "exec", "host1", "--", sys.executable, "-c", ECHO, lab.address("shop/web")]
    with subprocess.Popen(words, env=lab.environment, text=True, stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE) as probe:
        assert probe.stdout.readline() == "+\n"
        with flows(lab, ("shop/near", "stream", 4)) as reports:
            lab.apply(policy("far"))
            since = in_force(lab)
            watch()
        assert_ended(reports["shop/near", "stream", 4], since)
        print("still there", file=probe.stdin, flush=True)
        assert probe.stdout.readline() == "still there\n"
        probe.stdin.close()


@pytest.fixture(params=["FollowPolicy", "Stay"])
def youngest(lab, request):
    """A pod that is the first to be denied where there is no room; and what there is no room for."""
    lab.add_pod("shop/youngest", "host1", labels={"app": "youngest"})
    agent = Agent(lab, "host1", "--most-entries", "1000")
    large = more_than_1000_entries("app == 'youngest'")
    lab.apply(open_connections(request.param))
    lab.wait()
    yield large
    lab.delete(open_connections(request.param), *large)
    agent.end()
    lab.run("lab", "pod", "delete", "shop/youngest")
    lab.wait()


def test_what_is_open_ends_where_there_is_no_room_for_policy(lab, youngest, eventually):
    """Whatever is to stay: such a workload can do nothing, and here somebody goes on sending to it."""
    with contextlib.ExitStack() as stack:
        servers, clients = [], []
        for pod, source in (("shop/youngest", "shop/far"), ("shop/near", "shop/web")):
            servers.append(stack.enter_context(closing(python(lab, source, ANSWER_FOR_EVER, "4"))))
            clients.append(stack.enter_context(closing(python(lab, pod, ASK_ONCE, lab.address(source)))))
        lab.apply(*youngest)
        eventually(lambda: "youngest-eth0: policy would take more" in lab.run("status").stdout, 30)
        since = time.monotonic()
        watch()
        until = time.monotonic()
        to_youngest, to_near = (json.loads(client.communicate("")[0]) for client in clients)
        for server in servers:
            server.communicate("")
    assert to_youngest[-1] - since < AT_MOST
    assert to_near[-1] > until - AT_MOST / 2


@pytest.mark.parametrize("family", [4, 6])
def test_where_they_are_to_stay_a_new_deny_is_for_new_ones(lab, staying, family):
    with flows(lab, *((pod, kind, family) for pod in CLIENTS for kind in PORTS)) as reports:
        lab.apply(policy("far"), no_egress("near"))
        in_force(lab)
        assert not can_open(lab, "shop/near")
        assert can_open(lab, "shop/far")
        watch()
    for report in reports.values():
        assert_undisturbed(report)


def test_where_they_stay_no_longer_policy_as_it_is_then_decides(lab, staying):
    with flows(lab, *((pod, kind, 4) for pod in CLIENTS for kind in PORTS)) as reports:
        lab.apply(policy())
        in_force(lab)
        lab.apply(policy("far"))
        in_force(lab)
        watch()
        until = time.monotonic()
        lab.apply(open_connections("FollowPolicy"))
        since = in_force(lab)
        watch()
    for kind in PORTS:
        assert_ended(reports["shop/near", kind, 4], since)
        assert reports["shop/near", kind, 4]["replies"][-1] > until - AT_MOST
        assert_undisturbed(reports["shop/far", kind, 4])


def test_what_has_ended_before_they_were_to_stay_goes_on_where_it_is_allowed_again(lab):
    with flows(lab, ("shop/near", "udp", 4), ("shop/near", "ping", 6)) as reports:
        lab.apply(policy())
        in_force(lab)
        watch()
        lab.apply(open_connections("Stay"))
        staying = in_force(lab)
        watch()
        until = time.monotonic()
        lab.apply(policy("near"))
        allowed = in_force(lab)
        watch()
    lab.delete(open_connections("Stay"))
    lab.wait()
    for report in reports.values():
        assert not [moment for moment in report["answered"] if staying < moment < until]
        assert report["answered"][-1] > allowed + AT_MOST / 2


def test_they_stay_across_a_restart_of_the_agent(lab, staying):
    with flows(lab, ("shop/near", "stream", 4), ("shop/near", "udp", 6)) as reports:
        lab.run("lab", "agent", "kill", "host1")
        lab.apply(policy("far"))
        lab.run("lab", "agent", "start", "host1")
        in_force(lab)
        assert not can_open(lab, "shop/near")
        watch()
    for report in reports.values():
        assert_undisturbed(report)
