"""Random policies through the whole system: packets, decision tables and evaluator must agree. Tiers, policies of
namespaces and global ones, staged ones among them, cluster policy, network sets and services.

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

    def rule(self, direction):
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
        if self.maybe(0.15):  # nothing else may stand beside a service on its side
            service = {"services": {"name": "some", "namespace": self.pick(["red", "blue"])}}
            source, destination = (service, destination) if direction == "Ingress" else (source, service)
        for side, entity in (("source", source), ("destination", destination)):
            if entity:
                rule[side] = entity
        return rule

    def spec(self, tier):
        types = self.pick([["Ingress"], ["Egress"], ["Ingress", "Egress"]])
        spec = {"tier": tier, "order": self.pick([1, 5, 10]), "selector": self.pick(SELECTORS), "types": types}
        for kind in types:
            spec[kind.lower()] = [self.rule(kind) for _ in range(self.random.randint(0, 3))]
        return spec

    def cluster_rule(self, direction):
        peers = [{"namespaces": {}}, {"namespaces": {"matchLabels": {"colour": "warm"}}},
                 {"pods": {"podSelector": {"matchLabels": {"app": "a"}}}}]
        if direction == "to":
            peers.append({"networks": ["10.65.0.0/30", "fd65::/126"]})
        rule = {"action": self.pick(["Accept", "Deny", "Pass"]), direction: self.random.sample(peers, 2)}
        if self.maybe(0.6):
            rule["protocols"] = [self.pick([{"tcp": {"destinationPort": {"number": 80}}},
                                            {"udp": {"destinationPort": {"range": {"start": 79, "end": 81}}}}])]
        return rule

    def cluster_policy(self):
        subject = self.pick([{"namespaces": {}}, {"pods": {"podSelector": {"matchLabels": {"tier": "web"}}}}])
        return {"apiVersion": "policy.networking.k8s.io/v1alpha2", "kind": "ClusterNetworkPolicy",
                "metadata": {"name": "cluster"},
                "spec": {"tier": self.pick(["Admin", "Baseline"]), "priority": 5, "subject": subject,
                         "ingress": [self.cluster_rule("from") for _ in range(self.random.randint(0, 2))],
                         "egress": [self.cluster_rule("to") for _ in range(self.random.randint(0, 2))]}}

    def slice(self):
        addresses = ["10.65.0.%d" % number for number in self.random.sample(range(1, 7), 2)]
        return {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
                "metadata": {"name": "some-1", "namespace": "red", "labels": {"kubernetes.io/service-name": "some"}},
                "endpoints": [{"addresses": [address]} for address in addresses],
                "ports": [{"name": "p", "protocol": self.pick(["TCP", "UDP"]), "port": 80}]}

    def documents(self):
        tier = {"apiVersion": "projectcalico.org/v3", "kind": "Tier", "metadata": {"name": "first"},
                "spec": {"order": 10, "defaultAction": self.pick(["Pass", "Deny"])}}
        network_set = {"apiVersion": "projectcalico.org/v3", "kind": "GlobalNetworkSet",
                       "metadata": {"name": "some", "labels": {"app": "a", "tier": "data"}},
                       "spec": {"nets": self.pick([["10.65.0.2/32", "fd65::2/128"], ["10.65.0.0/29", "fd65::/125"]])}}
        documents = [tier, network_set, self.slice()]
        if self.maybe(0.6):
            documents.append(self.cluster_policy())
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
            if self.maybe(0.2):  # beside the others, and never enforced
                documents[-1] = {**documents[-1], "kind": "Staged" + documents[-1]["kind"]}
        return documents


@pytest.fixture(scope="module")
def lab(make_lab, dataplane):
    lab = make_lab(3, dataplane)
    lab.run("lab", "namespace", "red", "--labels", "colour=warm")
    lab.run("lab", "namespace", "blue", "--labels", "colour=cold")
    for number, (name, host, labels, account) in enumerate(PODS, 1):  # nets above name their addresses
        lab.add_pod(name, host, labels=labels, listen=LISTEN, service_account=account,
                    addresses="10.65.0.%d,fd65::%x" % (number, number))
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
