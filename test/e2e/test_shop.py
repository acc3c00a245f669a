"""The claims of the demo, as assertions, over both IP families."""
import pytest

import shop
from ocicat_lab import differences


@pytest.fixture(scope="module")
def lab(make_lab, dataplane):
    lab = make_lab(3, dataplane)
    shop.add_pods(lab)
    return lab


@pytest.fixture
def policies(lab, root):
    """The example's policies, for one test."""
    folder = root / "examples/shop/policies"
    lab.apply_files(folder)
    lab.wait()
    yield folder
    lab.run("delete", "-f", str(folder))
    lab.wait()


def test_without_policy_everything_talks_to_everything(lab):
    cells = lab.probe(shop.PORTS)
    assert len(cells) == 20 * (7 * 2 + 2)
    assert set(cells.values()) == {"allow"}
    assert differences(cells, lab.matrix(shop.PORTS)) == []


def test_packets_tables_and_evaluator_agree_in_every_cell(lab, policies):
    cells = lab.probe(shop.PORTS)
    assert differences(cells, lab.matrix(shop.PORTS)) == []
    assert differences(cells, lab.explain_all(cells)) == []
    assert {"allow", "deny"} == set(cells.values())


@pytest.mark.parametrize("family", [4, 6])
def test_the_policies_do_what_they_are_for(lab, policies, family):
    cells = lab.probe(shop.PORTS)
    wanted = {
        ("shop/frontend", "shop/api", "tcp/8080"): "allow",
        ("shop/frontend", "shop/api", "udp/8125"): "allow",
        ("shop/api", "shop/db", "tcp/5432"): "allow",
        ("shop/frontend", "shop/db", "tcp/5432"): "deny",
        ("shop/db", "shop/api", "tcp/8080"): "deny",
        ("monitoring/prometheus", "shop/db", "tcp/9100"): "allow",
        ("monitoring/prometheus", "shop/db", "tcp/5432"): "deny",
        ("monitoring/prometheus", "billing/card-vault", "tcp/9100"): "deny",
        ("billing/card-vault", "monitoring/prometheus", "udp/514"): "deny",
    }
    assert {key: cells[key + (family,)] for key in wanted} == wanted


def test_no_pci_workload_talks_with_another_in_either_direction(lab, policies):
    for (source, target, port, family), verdict in lab.probe(shop.PORTS).items():
        if "billing/card-vault" in (source, target):
            assert verdict == "deny", (source, target, port, family)


def test_explain_names_the_tier_and_the_rule_that_decided(lab, policies):
    denied = lab.explain("monitoring/prometheus", "billing/card-vault", "tcp/9100")
    assert denied["verdict"] == "deny"
    last = denied["egress"]["trace"][-1]
    assert last["tier"] == "compliance"
    assert "others-stay-away-from-pci" in str(last)

    allowed = lab.explain("shop/frontend", "shop/api", "tcp/8080")
    assert [allowed["verdict"], allowed["egress"]["verdict"], allowed["ingress"]["verdict"]] == ["allow"] * 3
    assert len(allowed["ingress"]["trace"]) == 2  # passed by compliance, allowed by the team


def test_a_default_deny_names_the_policies_that_selected_the_endpoint(lab, policies):
    denied = lab.explain("shop/frontend", "shop/db", "tcp/5432")
    assert "NetworkPolicy shop/db" in str(denied["ingress"])
    text = lab.run("explain", "shop/frontend", "shop/db", "tcp/5432").stdout
    assert "shop/db" in text and "den" in text.lower()


def test_a_moved_workload_keeps_its_policy_and_its_address(lab, policies):
    before = lab.pod("shop/db")
    cells = lab.probe(shop.PORTS)
    lab.run("lab", "pod", "move", "shop/db", "--host", "host1")
    after = lab.pod("shop/db")
    assert after["host"] == "host1" and after["addresses"] == before["addresses"]
    assert differences(lab.probe(shop.PORTS), cells) == []
    lab.run("lab", "pod", "move", "shop/db", "--host", before["host"])
    assert differences(lab.probe(shop.PORTS), cells) == []


def test_a_relabelled_workload_is_judged_by_its_new_labels_on_every_host(lab, policies):
    for labels in ({"pci": "true"}, {"pci": "false"}):
        lab.relabel("shop/frontend", **labels)
        lab.wait()
        cells = lab.probe(shop.PORTS)
        assert differences(cells, lab.explain_all(cells)) == []
        verdict = "deny" if labels["pci"] == "true" else "allow"
        assert cells["shop/frontend", "shop/api", "tcp/8080", 4] == verdict
        assert cells["shop/frontend", "shop/api", "tcp/8080", 6] == verdict


def test_a_new_deny_stops_new_connections_and_those_already_open(lab, policies):
    stream = lab.start_traffic("shop/frontend", "stream", lab.address("shop/api"), 8080)
    deny = shop.global_policy("stop-it", {"order": 1, "selector": "app == 'api'", "types": ["Ingress"],
                                          "ingress": [{"action": "Deny"}]})
    lab.apply(deny)
    lab.wait()
    new = lab.probe("tcp/8080", "--pods", "shop/frontend,shop/api")
    assert new["shop/frontend", "shop/api", "tcp/8080", 4] == "deny"
    report = stream.stop()
    lab.delete(deny)
    lab.wait()
    assert report["missing"] != []


def test_the_example_holds_offline_as_well(binary, lab, root):
    shop_folder = root / "examples/shop"
    lab.run("verify", "-f", str(shop_folder / "policies"), "-f", str(shop_folder / "workloads.yaml"),
            "--cases", str(shop_folder / "cases.yaml"))
