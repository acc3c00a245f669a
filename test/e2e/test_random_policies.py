"""Random policies through the whole system: packets, decision tables and evaluator must agree.

The seed is printed with a failure; OCICAT_SEED=N repeats it.
"""
import os
import random

import pytest

import shop
from ocicat_lab import differences

PODS = [
    ("red/a", "host1", {"app": "a", "tier": "web"}, "one"),
    ("red/b", "host2", {"app": "b", "tier": "web"}, "two"),
    ("green/a", "host2", {"app": "a"}, "one"),
    ("green/c", "host3", {"app": "c", "tier": "data"}, ""),
    ("blue/d", "host1", {}, "two"),
    ("blue/e", "host3", {"app": "e", "tier": "data", "pci": "true"}, "one"),
]
LISTEN = "http=tcp/80,other=tcp/81,dns=udp/80,assoc=sctp/80"
PORTS = "tcp/80,tcp/81,udp/80,sctp/80,icmp,icmpv6"
ROUNDS = 5  # on each datapath
SELECTORS = ["app == 'a'", "app in {'b', 'c'}", "has(pci)", "!has(pci)", "tier == 'web' || app == 'e'", "all()",
             "tier != 'data'", "app starts with 'a' && has(tier)", "tier not in {'web'}"]
NAMESPACES = ["kubernetes.io/metadata.name == 'red'", "colour in {'warm'}", "has(colour)", "all()"]
NETS = [["10.65.0.0/30"], ["10.65.0.0/16"], ["10.65.0.4/30", "10.65.0.1/32"], ["fd65::/126"], ["fd65::4/127"],
        ["0.0.0.0/0"], ["::/0"]]


class Writer:
    def __init__(self, seed):
        self.random = random.Random(seed)

    def maybe(self, chance):
        return self.random.random() < chance

    def pick(self, choices):
        return self.random.choice(choices)

    def entity(self, is_destination, family):
        entity = {}
        if self.maybe(0.5):
            entity["selector"] = self.pick(SELECTORS)
        if self.maybe(0.25):
            entity["notSelector"] = self.pick(SELECTORS)
        if self.maybe(0.3):
            entity["namespaceSelector"] = self.pick(NAMESPACES)
        if self.maybe(0.2):
            entity["serviceAccounts"] = {"names": [self.pick(["one", "two"])]}
        nets = [net for net in NETS if (":" in net[0]) == (family == 6)]
        if self.maybe(0.2):
            entity["nets"] = self.pick(nets)
        if self.maybe(0.15):
            entity["notNets"] = self.pick([net for net in nets if not net[0].endswith("/0")])
        return entity

    def rule(self):
        family = self.pick([4, 6])
        rule = {"action": self.pick(["Allow", "Allow", "Deny", "Pass", "Log"])}
        source, destination = self.entity(False, family), self.entity(True, family)
        protocol = self.pick([None, "TCP", "UDP", "SCTP", "ICMP" if family == 4 else "ICMPv6"])
        if protocol:
            rule["protocol"] = protocol
        if protocol in ("TCP", "UDP", "SCTP") and self.maybe(0.6):
            ports = self.pick([[80], [81], ["79:80"], ["http"], ["other", 80], ["dns"], ["assoc"], [1, "80:90"]])
            destination[self.pick(["ports", "ports", "notPorts"])] = ports
        if protocol in ("ICMP", "ICMPv6") and self.maybe(0.5):
            rule[self.pick(["icmp", "notICMP"])] = {"type": self.pick([8, 128, 3])}
        for side, entity in (("source", source), ("destination", destination)):
            if entity:
                rule[side] = entity
        return rule

    def spec(self, tier):
        types = self.pick([["Ingress"], ["Egress"], ["Ingress", "Egress"]])
        spec = {"tier": tier, "order": self.pick([1, 5, 10]), "selector": self.pick(SELECTORS), "types": types}
        for kind in types:
            spec[kind.lower()] = [self.rule() for _ in range(self.random.randint(0, 3))]
        return spec

    def documents(self):
        tier = {"apiVersion": "projectcalico.org/v3", "kind": "Tier", "metadata": {"name": "first"},
                "spec": {"order": 10, "defaultAction": self.pick(["Pass", "Deny"])}}
        network_set = {"apiVersion": "projectcalico.org/v3", "kind": "GlobalNetworkSet",
                       "metadata": {"name": "some", "labels": {"app": "a", "tier": "data"}},
                       "spec": {"nets": self.pick([["10.65.0.2/32", "fd65::2/128"], ["10.65.0.0/29", "fd65::/125"]])}}
        documents = [tier, network_set]
        for number in range(self.random.randint(1, 4)):
            name = "p%d" % number
            where = "first" if self.maybe(0.4) else "default"
            if self.maybe(0.5):
                documents.append(shop.policy(self.pick(["red", "green", "blue"]), name, self.spec(where)))
            else:
                spec = self.spec(where)
                if self.maybe(0.3):
                    spec["namespaceSelector"] = self.pick(NAMESPACES)
                documents.append(shop.global_policy(name, spec))
        return documents


@pytest.fixture(scope="module")
def lab(make_lab, dataplane):
    lab = make_lab(3, dataplane)
    lab.run("lab", "namespace", "red", "--labels", "colour=warm")
    lab.run("lab", "namespace", "blue", "--labels", "colour=cold")
    for name, host, labels, account in PODS:  # one after the other: nets above name their addresses
        lab.add_pod(name, host, labels=labels, listen=LISTEN, service_account=account)
    return lab


def seeds():
    if "OCICAT_SEED" in os.environ:
        return [int(os.environ["OCICAT_SEED"])]
    # The same in every worker of a parallel run, others in the next run.
    generator = random.Random(os.environ.get("PYTEST_XDIST_TESTRUNUID", "alone"))
    return [generator.randrange(1 << 32) for _ in range(ROUNDS)]


@pytest.mark.parametrize("number", range(1 if "OCICAT_SEED" in os.environ else ROUNDS))
def test_packets_tables_and_evaluator_agree_on_random_policies(lab, number):
    seed = seeds()[number]
    print("OCICAT_SEED=%d" % seed)
    writer = Writer(seed)
    documents = writer.documents()
    lab.apply(*documents)
    try:
        lab.wait()
        cells = lab.probe(PORTS)
        assert differences(cells, lab.matrix(PORTS)) == []
        sample = dict(writer.random.sample(sorted(cells.items()), 60))
        assert differences(sample, lab.explain_all(sample)) == []
    finally:
        lab.delete(*reversed(documents))
