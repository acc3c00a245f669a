"""A hundred changes of policy and labels a second, while packets flow that receivers count. What no change denies loses
nothing; what is denied does not arrive.

When a denial must hold: once the agent of the receiver's host has reported that it is in the kernel (AgentStatus
`applied`), and with nftables, of connections that are open, a second later (docs/reference/agent.md), or two on a busy
machine; until somebody asks for another policy.

6 seconds each; `./do churn` has the storm last a minute (OCICAT_CHURN_SECONDS), and fails where fewer changes a second
were borne. It prints how many there were.
"""
import concurrent.futures
import contextlib
import json
import os
import pathlib
import subprocess
import sys
import time

import pytest

import shop
from counted import Counted
from revocation import AT_MOST

SECONDS = float(os.environ.get("OCICAT_CHURN_SECONDS", "6"))
RATE = 100  # changes a second, from so many clients, as each waits for the disk
CLIENTS = 4
NUMBERED = pathlib.Path(__file__).with_name("numbered.py")
FLOOD = pathlib.Path(__file__).with_name("flood.py")
PORT = 7000
POLICIES = "/apis/projectcalico.org/v3/namespaces/shop/networkpolicies"
CLOSED, OPEN = 0.5, 2.0  # seconds for which a denial and an allowance are looked at; TCP tries again in the second
OPEN_CONNECTIONS_END_IN = {"nftables": AT_MOST, "ebpf": 0.0}


@pytest.fixture(scope="module")
def lab(make_lab, dataplane):
    lab = make_lab(2, dataplane)
    lab.together([lab.pod_words("shop/web", "host1", {"app": "web"}),
                  lab.pod_words("shop/calm", "host2", {"app": "calm"}),
                  lab.pod_words("shop/near", "host1", {"app": "near"}),
                  lab.pod_words("shop/far", "host2", {"app": "far"}),
                  lab.pod_words("shop/gated", "host2", {"app": "gated", "role": "red"}),
                  *(lab.pod_words("shop/db%d" % (1 + number), "host%d" % (1 + number % 2), {"app": "db"})
                    for number in range(CLIENTS))])
    return lab


class Tool:
    """A running tool in a pod; end() lets it come to its end, report() gives what it says."""

    def __init__(self, lab, pod, tool, *words):
        self.process = subprocess.Popen([lab.binary, "lab", "exec", pod, "--", sys.executable, str(tool),
                                         *map(str, words)],
                                        env=lab.environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.process.stdout.readline() == "+\n"

    def end(self):
        self.process.stdin.close()
        self.process.stdin = None

    def report(self):
        return json.loads(self.process.communicate(timeout=60)[0])


def gate(*allowed):
    return shop.policy("shop", "gate", {"selector": "app == 'web'", "types": ["Ingress"], "ingress": [
        {"action": "Allow", "source": {"selector": "app in {%s}" % ", ".join("'%s'" % app for app in allowed)}}]})


class Gate:
    """Lets shop/gated to shop/web and takes that away, in turns; `closed` says from when to when it was."""

    def __init__(self, lab, grace):
        self.lab, self.grace = lab, grace
        self.closed = []  # (from, to), CLOCK_REALTIME
        self.is_open, self.wanted = True, None  # the revision that is waited for
        self.since = self.since_on_clock = 0.0  # when it was in force

    def in_force(self):
        """Whether the agent of web's host has said so."""
        status = self.lab.request("GET", "/apis/ocicat.io/v1/agentstatuses/host1")["status"]
        return int(status["applied"]["NetworkPolicy.projectcalico.org"]) >= self.wanted

    def is_held(self):
        held = OPEN if self.is_open else CLOSED + self.grace
        return self.wanted is None and time.monotonic() - self.since > held

    def step(self, may_close):
        if self.wanted is not None and self.in_force():
            self.wanted, self.since, self.since_on_clock = None, time.monotonic(), time.time()
        elif self.is_held() and (may_close or not self.is_open):
            if not self.is_open:
                self.closed.append((self.since_on_clock + self.grace, time.time()))
            self.is_open = not self.is_open
            allowed = ["near", "far", "gated"] if self.is_open else ["near", "far"]
            answer = self.lab.request("PUT", POLICIES + "/gate", gate(*allowed))
            self.wanted = int(answer["metadata"]["resourceVersion"])

    def is_settled(self):
        return self.is_open and self.is_held()


class Noise:
    """Changes that concern neither of those whose packets are counted, one after the other, each client's own."""

    def __init__(self, lab, client, pod):
        self.lab, self.client, self.number, self.policies = lab, client, client, {}
        self.endpoint = lab.endpoint_path(pod)
        self.document = lab.request("GET", self.endpoint)

    def policy(self):
        return shop.policy("shop", "noise-%d-%d" % (self.client, self.number % 3), {
            "order": self.number, "selector": "app == 'db'", "types": ["Ingress", "Egress"],
            "ingress": [{"action": "Allow", "protocol": "TCP", "destination": {"ports": [1000 + self.number % 50000]},
                         "source": {"nets": ["192.0.2.%d/32" % (self.number % 250)]}},
                        {"action": "Allow", "source": {"selector": "turn == '%d'" % (self.number % 7)}}]})

    def change(self):
        self.number += 1
        if self.number % 5 == 0:
            self.document["metadata"]["labels"]["turn"] = str(self.number % 7)
            self.document = self.lab.request("PUT", self.endpoint, self.document)
            return
        policy = self.policy()
        name = policy["metadata"]["name"]
        if name in self.policies:
            self.lab.request("PUT", POLICIES + "/" + name, policy)
        else:
            self.lab.request("POST", POLICIES, policy)
        self.policies[name] = policy

    def storm(self, changes):
        """So many, at this client's share of RATE, or slower where the server is."""
        due = time.monotonic()
        for _ in range(changes):
            self.change()
            due += CLIENTS / RATE
            time.sleep(max(0.0, due - time.monotonic()))  # the pace of the changes


@contextlib.contextmanager
def counted(lab):
    """Senders and counters by names; their reports, once they have ended."""
    counters = {(pod, family): Tool(lab, pod, NUMBERED, "count", PORT, family)
                for pod in ("shop/web", "shop/calm") for family in (4, 6)}
    senders = {}
    for family in (4, 6):
        for source, target in (("near", "web"), ("gated", "web"), ("far", "calm")):
            for kind in ("send", "stream"):
                address = lab.address("shop/" + target, family)
                senders[source, kind, family] = Tool(lab, "shop/" + source, NUMBERED, kind, address, PORT, 0.004)
    reports = {}
    yield reports
    for tool in senders.values():
        tool.end()
    for name, tool in senders.items():
        reports[name] = tool.report()["sent"]
    for tool in counters.values():
        tool.end()
    for name, tool in counters.items():
        reports[name] = tool.report()["arrived"]


def test_a_storm_of_changes_disturbs_nobody_and_opens_nothing(lab, dataplane):
    lab.apply(gate("near", "far", "gated"))
    lab.wait()
    clients = [Noise(lab, number, "shop/db%d" % (1 + number)) for number in range(CLIENTS)]
    with counted(lab) as reports, concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
        turns = Gate(lab, OPEN_CONNECTIONS_END_IN[dataplane])
        changes = round(RATE * SECONDS / CLIENTS)
        begin = time.monotonic()
        storms = [pool.submit(client.storm, changes) for client in clients]
        while not all(storm.done() for storm in storms):
            turns.step(may_close=True)
            concurrent.futures.wait(storms, 0.02)
        took = time.monotonic() - begin
        for storm in storms:
            storm.result()
        while not turns.is_settled():
            turns.step(may_close=False)
            time.sleep(0.02)  # between two looks
        lab.wait()
    print("%d changes in %.1f s, %.0f a second; the gate was closed %d times"
          % (CLIENTS * changes, took, CLIENTS * changes / took, len(turns.closed)))
    if "OCICAT_CHURN_SECONDS" in os.environ:  # somebody wants to see that so many are borne
        assert CLIENTS * changes / took > 0.9 * RATE
    assert len(turns.closed) >= 2
    for family in (4, 6):
        for source, target in (("near", "web"), ("far", "calm")):
            arrived = reports["shop/" + target, family]
            for kind, name in (("send", "udp"), ("stream", "tcp")):
                numbers = [number for number, _ in arrived["%s %s" % (lab.address("shop/" + source, family), name)]]
                assert reports[source, kind, family] > 20 * SECONDS
                assert numbers == list(range(reports[source, kind, family])), (source, kind, family)
        for name in ("udp", "tcp"):
            arrived = reports["shop/web", family]["%s %s" % (lab.address("shop/gated", family), name)]
            leaked = [(number, when) for number, when in arrived
                      for begin, end in turns.closed if begin < when < end]
            assert leaked == [], (name, family)
            # It was open before and after, or nothing was shown.
            assert arrived[0][1] < turns.closed[0][0] and arrived[-1][1] > turns.closed[0][1], (name, family)
    lab.delete(gate("near"), *(policy for client in clients for policy in client.policies.values()))


def test_a_label_and_a_policy_that_change_together_leave_no_moment_between(lab):
    """Of red one time and blue the next, policy allows the other: each of the two changes alone opens the way. And near
    becomes what is allowed next: each of the two alone would close its own, which nothing disturbs."""
    def allow(role):
        return shop.policy("shop", "roles", {"selector": "app == 'web'", "types": ["Ingress"], "ingress": [
            {"action": "Allow", "source": {"selector": "role == '%s'" % role}}]})

    lab.relabel("shop/near", role="blue")
    lab.apply(allow("blue"))
    lab.wait()
    web = [lab.address("shop/web", family) for family in (4, 6)]
    counters = [Tool(lab, "shop/web", FLOOD, "count", address, 5353) for address in web]
    floods = [Tool(lab, "shop/gated", FLOOD, "send", address, 5353) for address in web]
    calm = Counted(lab, [("shop/near", "shop/web")])
    for mine, allowed in (("blue", "red"), ("red", "blue")):
        lab.run("lab", "agent", "kill", "host1")
        lab.relabel("shop/gated", role=mine)
        lab.relabel("shop/near", role=allowed)
        lab.apply(allow(allowed))
        lab.run("lab", "agent", "start", "host1")  # sees all of it at once
        lab.wait()
    losses = calm.losses()
    for flood in floods:
        assert flood.report()["sent"] > 1000
    for counter in counters:
        assert counter.report()["datagrams"] == 0
    for name, loss in losses.items():
        assert loss.sent > 50, name
    assert {name: loss.missing for name, loss in losses.items() if loss.missing} == {}
    lab.delete(allow("blue"))
