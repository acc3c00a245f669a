#!/usr/bin/env python3
"""Every Kubernetes NetworkPolicy case through real packets, in one lab.

    run_lab.py [--sample N] [--case ID]... [--binary PATH] [--keep]

The cases are kubernetes-networkpolicy.json beside this file (see README.md there). A lab of three hosts gets the pods
at the stated addresses; for every step the policies, namespaces, pods and labels are made what the case says, and
when every host enforces them, six protocols and ports are probed between every two pods. The last line is a summary;
the exit code is 0 if every verdict is as expected.
"""
import argparse
import json
import os
import pathlib
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent.parent / "tools"))
from ocicat_lab import Lab  # noqa: E402

KEYS = ["TCP/80", "TCP/81", "UDP/80", "UDP/81", "SCTP/80", "SCTP/81"]
PORTS = ",".join(key.lower() for key in KEYS)
LISTEN = ",".join("serve-%s-%s=%s" % (key.split("/")[1], key.split("/")[0].lower(), key.lower()) for key in KEYS)


def load():
    with open(HERE / "kubernetes-networkpolicy.json", encoding="utf-8") as file:
        return json.load(file)


def sample(cases, count):
    """Evenly spread, always with those that change things between steps."""
    if not count or count >= len(cases):
        return cases
    steps = [case for case in cases if len(case["steps"]) > 1]
    others = [case for case in cases if len(case["steps"]) == 1]
    rest = max(0, count - len(steps))
    spread = [others[index * len(others) // rest] for index in range(rest)] if rest else []
    return sorted(steps[:count] + spread, key=lambda case: case["id"])


class Cluster:
    """Goes from what is there to what a step says by creating, updating and deleting what differs."""

    def __init__(self, lab):
        self.lab = lab
        self.namespaces = {}
        self.pods = {}
        self.policies = {}

    def become(self, step):
        for name in set(self.pods) - set(step["pods"]):
            self.lab.run("lab", "pod", "delete", name)
            del self.pods[name]
        for name, labels in step["namespaces"].items():
            if self.namespaces.get(name) != labels:
                self.label_namespace(name, labels)
                self.namespaces[name] = labels
        self.add_pods({name: pod for name, pod in step["pods"].items() if name not in self.pods})
        for name, pod in step["pods"].items():
            if self.pods[name] != pod:
                self.relabel(name, self.pods[name]["labels"], pod["labels"])
                self.pods[name] = pod
        self.become_policies({self.key(policy): policy for policy in step["policies"]})
        self.lab.wait()

    def label_namespace(self, name, labels):
        self.lab.run("lab", "namespace", name, "--labels", ",".join("%s=%s" % item for item in labels.items()))

    def add_pods(self, missing):
        self.lab.together([
            self.lab.pod_words(name, self.lab.hosts[index % len(self.lab.hosts)], labels=pod["labels"], listen=LISTEN,
                               addresses=pod["ip"])
            for index, (name, pod) in enumerate(sorted(missing.items()))])
        self.pods.update(missing)

    def relabel(self, name, before, after):
        gone = [key + "-" for key in before if key not in after]
        self.lab.run("lab", "pod", "label", name, *gone, *["%s=%s" % item for item in after.items()])

    @staticmethod
    def key(policy):
        return policy["metadata"]["namespace"], policy["metadata"]["name"]

    def become_policies(self, wanted):
        gone = [policy for key, policy in self.policies.items() if key not in wanted]
        if gone:
            self.lab.delete(*gone)
        changed = [policy for key, policy in wanted.items() if self.policies.get(key) != policy]
        if changed:
            self.lab.apply(*changed)
        self.policies = wanted


def wrong_verdicts(step, cells):
    """What differs, and how many verdicts were compared."""
    wrong, compared = [], 0
    for key in KEYS:
        for source, targets in step["expect"][key].items():
            for target, letter in targets.items():
                if source == target:
                    continue
                compared += 1
                wanted = "allow" if letter == "." else "deny"
                seen = cells.get((source, target, key.lower(), 4))
                if seen != wanted:
                    wrong.append("%s -> %s %s: %s, expected %s" % (source, target, key, seen, wanted))
    return wrong, compared


def run_case(cluster, case):
    """Lines about what is wrong, and the number of verdicts."""
    lines, verdicts = [], 0
    for number, step in enumerate(case["steps"]):
        cluster.become(step)
        wrong, compared = wrong_verdicts(step, cluster.lab.probe(PORTS, "--family", "4"))
        verdicts += compared
        lines += ["case %d step %d (%s): %s" % (case["id"], number + 1, case["description"], line) for line in wrong]
    return lines, verdicts


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sample", type=int, default=0, help="only so many cases")
    parser.add_argument("--case", type=int, action="append", help="only this case")
    parser.add_argument("--binary", default=os.environ.get("OCICAT_BIN"))
    parser.add_argument("--keep", action="store_true", help="leave the lab up")
    options = parser.parse_args()
    if not options.binary:
        parser.error("set OCICAT_BIN or --binary to the program under test")
    cases = load()
    if options.case:
        cases = [case for case in cases if case["id"] in options.case]
    cases = sample(cases, options.sample)

    begin = time.monotonic()
    failed, verdicts, steps = 0, 0, 0
    lab = Lab("conformance-%d" % os.getpid(), pathlib.Path(options.binary).resolve())
    try:
        lab.up()
        cluster = Cluster(lab)
        for case in cases:
            lines, compared = run_case(cluster, case)
            for line in lines:
                print(line, flush=True)
            failed += bool(lines)
            verdicts += compared
            steps += len(case["steps"])
    finally:
        if not options.keep:
            lab.down()
    print("Kubernetes NetworkPolicy through real packets: %d of %d cases passed (%d steps, %d verdicts) in %.0f s"
          % (len(cases) - failed, len(cases), steps, verdicts, time.monotonic() - begin))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
