"""Somebody else changes the kernel: what is ours is mended, what is theirs is left alone."""
import pytest

import shop
from ocicat_lab import differences

PATIENCE = 10  # seconds, as promised


@pytest.fixture(scope="module")
def lab(make_lab, root, dataplane):
    lab = make_lab(3, dataplane)
    shop.add_pods(lab)
    lab.apply_files(root / "examples/shop/policies")
    lab.wait()
    return lab


def holds(lab, wanted):
    return lambda: lab.probe(shop.PORTS) == wanted


@pytest.mark.parametrize("words", [["flush", "ruleset"], ["delete", "table", "inet", "ocicat"],
                                   ["flush", "table", "inet", "ocicat"]])
def test_a_flush_of_nftables_is_repaired(lab, eventually, words):
    wanted = lab.matrix(shop.PORTS)
    before = lab.host_exec("host1", "nft", "-s", "list", "table", "inet", "ocicat").stdout
    lab.host_exec("host1", "nft", *words)
    eventually(lambda: lab.host_exec("host1", "nft", "-s", "list", "table", "inet", "ocicat",
                                     check=False).stdout == before, PATIENCE)
    assert differences(lab.probe(shop.PORTS), wanted) == []
    assert "somebody else changed what is ours" in (lab.folder / "log/agent-host1.log").read_text()


def test_lost_routes_are_put_back(lab, eventually):
    wanted = lab.matrix(shop.PORTS)
    for family in ("-4", "-6"):
        lab.host_exec("host1", "ip", family, "route", "flush", "proto", "80")
    eventually(holds(lab, wanted), PATIENCE)


def test_tables_and_routes_of_others_are_left_alone(lab):
    rules = "table inet theirs {\nchain c { type filter hook forward priority 5; meta mark 0x7 counter\n}\n}\n"
    lab.host_exec("host2", "nft", "-f", "-", stdin=rules)
    lab.host_exec("host2", "ip", "route", "add", "198.51.100.0/24", "dev", "lo", "proto", "static")
    before = lab.host_exec("host2", "nft", "-s", "list", "table", "inet", "theirs").stdout
    lab.run("lab", "agent", "kill", "host2")
    lab.run("lab", "agent", "start", "host2")
    extra = shop.policy("shop", "extra", {"selector": "app == 'nobody'"})
    lab.apply(extra)
    lab.wait()
    lab.delete(extra)
    lab.wait()
    assert lab.host_exec("host2", "nft", "-s", "list", "table", "inet", "theirs").stdout == before
    assert "198.51.100.0/24" in lab.host_exec("host2", "ip", "route").stdout
    lab.host_exec("host2", "nft", "delete", "table", "inet", "theirs")
    lab.host_exec("host2", "ip", "route", "del", "198.51.100.0/24")


def test_the_packet_mark_passes_through_untouched(lab):
    """A mark set before our chains is still there behind them, every bit of it."""
    rules = ("table inet marks {\n"
             "chain before { type filter hook prerouting priority -400;"
             " icmp type echo-request meta mark set 0xffffffff\n}\n"
             "chain after { type filter hook postrouting priority 400;"
             " icmp type echo-request meta mark 0xffffffff counter name seen\n}\n"
             "counter seen { }\n"
             "chain sent { type filter hook postrouting priority 401;"
             " ip daddr 172.31.0.1 meta mark 0x30000 counter name kept\n}\n"
             "counter kept { }\n}\n")
    lab.host_exec("host2", "nft", "-f", "-", stdin=rules)
    try:
        cells = lab.probe("icmp", "--pods", "shop/frontend,shop/api")
        assert cells["shop/frontend", "shop/api", "icmp", 4] == "allow"
        lab.host_exec("host2", "ping", "-c", "1", "-m", str(0x30000), "172.31.0.1")
        for counter in ("seen", "kept"):
            listing = lab.host_exec("host2", "nft", "list", "counter", "inet", "marks", counter).stdout
            assert "packets 0" not in listing
    finally:
        lab.host_exec("host2", "nft", "delete", "table", "inet", "marks")


def test_cleaning_up_beside_an_agent_is_refused_and_after_it_leaves_nothing_of_ours(lab):
    wanted = lab.matrix(shop.PORTS)
    before = lab.host_exec("host3", "nft", "-s", "list", "ruleset").stdout
    words = [lab.binary, "agent", "--cleanup"]
    refused = lab.host_exec("host3", *words, check=False)
    assert refused.returncode == 1
    assert "another agent, process %d," % next(h["agentPid"] for h in lab.status()["hosts"] if h["name"] == "host3") \
        in refused.stderr
    assert lab.host_exec("host3", "nft", "-s", "list", "ruleset").stdout == before
    lab.run("lab", "agent", "stop", "host3")
    lab.host_exec("host3", *words)
    assert "ocicat" not in lab.host_exec("host3", "nft", "list", "tables").stdout
    assert lab.host_exec("host3", "ip", "route", "show", "proto", "80").stdout == ""
    lab.run("lab", "agent", "start", "host3")
    assert differences(lab.probe(shop.PORTS), wanted) == []
