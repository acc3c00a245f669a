"""Services, cluster policy and staged policy, from documents to packets."""
import json

import pytest

import shop
from ocicat_lab import differences

PORTS = "tcp/80,tcp/5432"


@pytest.fixture(scope="module")
def lab(make_lab):
    lab = make_lab(2)
    lab.together([lab.pod_words("shop/web", "host1", labels={"app": "web"}, listen="tcp/80,tcp/5432"),
                  lab.pod_words("shop/db", "host2", labels={"app": "db"}, listen="tcp/80,tcp/5432"),
                  lab.pod_words("shop/cache", "host2", labels={"app": "cache"}, listen="tcp/80,tcp/5432")])
    return lab


def check(lab, denied):
    """Packets, tables and what is expected are one, in every cell."""
    cells = lab.probe(PORTS)
    assert differences(cells, lab.matrix(PORTS)) == []
    found = {(source, target, port) for (source, target, port, _), verdict in cells.items() if verdict == "deny"}
    assert found == denied


def slice_of(lab, pod, *ports):
    return {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"name": "db-1", "namespace": "shop", "labels": {"kubernetes.io/service-name": "db"}},
            "endpoints": [{"addresses": [lab.address(pod)], "conditions": {"ready": False}}],
            "ports": [{"name": "p%d" % port, "port": port} for port in ports]}


def ipv4(cells):
    return {key: verdict for key, verdict in cells.items() if key[3] == 4}


def test_packets_go_where_the_slices_of_a_service_say(lab):
    policy = shop.policy("shop", "to-db", {"selector": "app == 'web'", "types": ["Egress"], "egress": [
        {"action": "Allow", "ipVersion": 4, "destination": {"services": {"name": "db"}}}]})
    for pod, port in (("shop/db", 5432), ("shop/cache", 80), ("shop/cache", 5432)):
        first = slice_of(lab, pod, port)
        lab.apply(policy, first)
        lab.wait()
        cells = lab.probe(PORTS)
        assert differences(cells, lab.matrix(PORTS)) == []
        allowed = {key[1:3] for key, verdict in ipv4(cells).items() if key[0] == "shop/web" and verdict == "allow"}
        assert allowed == {(pod, "tcp/%d" % port)}
    lab.delete(policy, first)
    lab.wait()
    check(lab, set())


def test_cluster_policy_stands_before_that_of_namespaces(lab):
    allow = shop.policy("shop", "allow", {"selector": "all()", "ingress": [{"action": "Allow"}]})
    deny = {"apiVersion": "policy.networking.k8s.io/v1alpha2", "kind": "ClusterNetworkPolicy",
            "metadata": {"name": "no-db"},
            "spec": {"tier": "Admin", "priority": 1,
                     "subject": {"pods": {"podSelector": {"matchLabels": {"app": "db"}}}},
                     "ingress": [{"action": "Deny", "from": [{"namespaces": {}}],
                                  "protocols": [{"tcp": {"destinationPort": {"number": 5432}}}]}]}}
    lab.apply(allow, deny)
    lab.wait()
    check(lab, {("shop/web", "shop/db", "tcp/5432"), ("shop/cache", "shop/db", "tcp/5432")})
    deny["spec"]["ingress"][0]["action"] = "Pass"
    lab.apply(deny)
    lab.wait()
    check(lab, set())
    lab.delete(allow, deny)
    lab.wait()


def test_a_staged_policy_stops_no_packet_and_shows_what_it_would(lab, tmp_path):
    staged = {"apiVersion": "projectcalico.org/v3", "kind": "StagedNetworkPolicy",
              "metadata": {"name": "no-db", "namespace": "shop"},
              "spec": {"selector": "app == 'db'", "ingress": [{"action": "Deny"}]}}
    file = tmp_path / "staged.json"
    file.write_text(json.dumps(staged))
    before = lab.run("policy", "diff", "-f", str(file), "-o", "json", check=False)
    assert before.returncode == 1, before.stderr
    assert {(change["after"], change["pendingAfter"]) for change in json.loads(before.stdout)["changes"]} == \
        {("allow", "deny")}
    lab.apply(staged)
    lab.wait()
    check(lab, set())
    pending = {(cell["from"], cell["to"]) for cell in lab.json("matrix", "--ports", PORTS) if cell["pending"] == "deny"}
    assert pending == {("shop/web", "shop/db"), ("shop/cache", "shop/db")}
    assert lab.run("policy", "diff", "-f", str(file)).returncode == 0
    lab.delete(staged)
    lab.wait()
