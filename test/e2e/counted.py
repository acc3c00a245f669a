"""Numbered traffic in a lab, and what of it has not arrived, or has though it must not, by the word of those who
receive it."""
import json
import pathlib
import subprocess
import sys
import typing

NUMBERED = pathlib.Path(__file__).with_name("numbered.py")
PORT = 7000
DENIED_PORT = 7001
ANSWERED_PORT = 7100  # and those after it, one for each who asks
KINDS = {"send": "udp", "stream": "tcp"}


def is_pod(name):
    return "/" in name


def address_of(lab, who, family):
    """Of a pod, or of host1, host2, …"""
    return lab.address(who, family) if is_pod(who) else lab.host_address(int(who.removeprefix("host")), family)


class Tool:
    """numbered.py at work in a pod or at a host; end() lets it come to its end, report() gives what it says."""

    def __init__(self, lab, who, *words):
        where = ["exec", who] if is_pod(who) else ["host", "exec", who]
        self.process = subprocess.Popen([lab.binary, "lab", *where, "--", sys.executable, str(NUMBERED),
                                         *map(str, words)], env=lab.environment, text=True, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE)
        assert self.process.stdout.readline() == "+\n", (who, words)

    def end(self):
        self.process.stdin.close()
        self.process.stdin = None

    def report(self):
        return json.loads(self.process.communicate(timeout=60)[0])


def reports_of(tools):
    """Ends them all at once: each waits for what is still on its way."""
    for tool in tools.values():
        tool.end()
    return {name: tool.report() for name, tool in tools.items()}


class Loss(typing.NamedTuple):
    sent: int
    missing: list  # their numbers
    at: list  # of datagrams: when each of these was sent (time.time())


def loss_of(report, arrived):
    there = {number for number, _ in arrived}
    missing = sorted(set(range(report["sent"])) - there)
    return Loss(report["sent"], missing, [report["at"][n] for n in missing] if "at" in report else [])


class Counted:
    """Datagrams and a stream of records from pod to pod, for each pair and family, a record every `pace` seconds."""

    def __init__(self, lab, pairs, families=(4, 6), pace=0.005):
        self.lab = lab
        self.counters = {(target, family): Tool(lab, target, "count", PORT, family)
                         for target in {target for _, target in pairs} for family in families}
        self.senders = {(source, target, family, kind):
                        Tool(lab, source, kind, lab.address(target, family), PORT, pace)
                        for source, target in pairs for family in families for kind in KINDS}

    def losses(self):
        """Ends it all: {(source, target, family, "udp" or "tcp"): Loss}."""
        sent, arrived = reports_of(self.senders), reports_of(self.counters)
        lost = {}
        for (source, target, family, kind), report in sent.items():
            key = "%s %s" % (self.lab.address(source, family), KINDS[kind])
            lost[source, target, family, KINDS[kind]] = loss_of(
                report, arrived[target, family]["arrived"].get(key, []))
        return lost


class Answered:
    """What each of the pairs' second, a host, sends to the first from the moment that this one has asked for it, by
    datagrams and by a stream: of what passes afterwards nothing but acknowledgements comes from who asked."""

    def __init__(self, lab, pairs, families=(4, 6), pace=0.005):
        self.lab = lab
        ports = {pair: ANSWERED_PORT + number for number, pair in enumerate(pairs)}
        self.answers = {(*pair, family, kind): Tool(lab, pair[1], "answer", kind, ports[pair], family, pace)
                        for pair in pairs for family in families for kind in KINDS.values()}
        self.asks = {(who, whom): Tool(lab, who, "ask", ports[who, whom],
                                       *(address_of(lab, whom, family) for family in families))
                     for who, whom in pairs}

    def losses(self):
        """Ends it all: {(who asked, who answered, family, "udp" or "tcp"): Loss}."""
        sent, arrived = reports_of(self.answers), reports_of(self.asks)
        return {(who, whom, family, kind): loss_of(report, arrived[who, whom]["arrived"].get(
            "%s %s" % (address_of(self.lab, whom, family), kind), []))
            for (who, whom, family, kind), report in sent.items()}


class Denied:
    """Datagrams that policy denies, from the first to the second of each pair, all the while: they are counted where
    they would arrive. There the pod's own host is heard as well, who may always speak to it."""

    def __init__(self, lab, pairs, families=(4, 6), pace=0.002):
        pods = sorted({target for _, target in pairs})
        hosts = [(lab.pod(pod)["host"], pod) for pod in pods]
        self.heard = {pod: {address_of(lab, host, family) + " udp" for family in families} for host, pod in hosts}
        self.counters = {pod: Tool(lab, pod, "count", DENIED_PORT, *families) for pod in pods}
        pairs = [*pairs, *hosts]
        self.senders = {source: Tool(lab, source, "scatter", DENIED_PORT, pace,
                                     *(lab.address(target, family)
                                       for one, target in pairs if one == source for family in families))
                        for source in {source for source, _ in pairs}}

    def assert_none_arrived(self):
        """Ends it all."""
        sent, reports = reports_of(self.senders), reports_of(self.counters)
        for source, report in sent.items():
            assert report["sent"] > 50, source
        arrived = {pod: {sender: len(those) for sender, those in report["arrived"].items()}
                   for pod, report in reports.items()}
        assert {pod: set(senders) for pod, senders in arrived.items()} == self.heard, arrived
