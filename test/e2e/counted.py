"""Numbered traffic between pods of a lab, and what of it has not arrived, by the word of those who receive it."""
import json
import pathlib
import subprocess
import sys
import typing

NUMBERED = pathlib.Path(__file__).with_name("numbered.py")
PORT = 7000
KINDS = {"send": "udp", "stream": "tcp"}


class Tool:
    """numbered.py at work in a pod; end() lets it come to its end, report() gives what it says."""

    def __init__(self, lab, pod, *words):
        self.process = subprocess.Popen([lab.binary, "lab", "exec", pod, "--", sys.executable, str(NUMBERED),
                                         *map(str, words)], env=lab.environment, text=True, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE)
        assert self.process.stdout.readline() == "+\n", (pod, words)

    def end(self):
        self.process.stdin.close()
        self.process.stdin = None

    def report(self):
        return json.loads(self.process.communicate(timeout=60)[0])


class Loss(typing.NamedTuple):
    sent: int
    missing: list  # their numbers
    at: list  # of datagrams: when each of these was sent (time.time())


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
        sent, arrived = {}, {}
        for tools, reports in ((self.senders, sent), (self.counters, arrived)):
            for tool in tools.values():
                tool.end()
            for name, tool in tools.items():
                reports[name] = tool.report()
        lost = {}
        for (source, target, family, kind), report in sent.items():
            key = "%s %s" % (self.lab.address(source, family), KINDS[kind])
            there = {number for number, _ in arrived[target, family]["arrived"].get(key, [])}
            missing = sorted(set(range(report["sent"])) - there)
            at = [report["at"][n] for n in missing] if "at" in report else []
            lost[source, target, family, KINDS[kind]] = Loss(report["sent"], missing, at)
        return lost
