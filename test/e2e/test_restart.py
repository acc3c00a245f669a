"""Every process may die at any time: nothing is lost, nothing opens."""
import json
import sqlite3

import pytest

import shop
from counted import Denied
from ocicat_lab import differences


# By ingress policy and by egress policy, at one host and between two.
DENIED = [("billing/card-vault", "shop/frontend"), ("shop/frontend", "shop/db"), ("shop/db", "shop/api")]


@pytest.fixture(scope="module")
def lab(make_lab, root, dataplane):
    lab = make_lab(3, dataplane)
    shop.add_pods(lab)
    lab.apply_files(root / "examples/shop/policies")
    lab.wait()
    return lab


@pytest.fixture
def flows(lab):
    """Pings every 5 ms and streams, of both families, between hosts, and what policy denies; check() ends them: nothing
    may be missing, and nothing of what is denied may have arrived."""
    denied = Denied(lab, DENIED)
    running = {}
    for family in (4, 6):
        address = lab.address("shop/api", family)
        running["ping", family] = lab.start_traffic("shop/frontend", "ping", address)
        running["stream", family] = lab.start_traffic("shop/frontend", "stream", address, 8080)

    def check():
        for key, flow in running.items():
            report = flow.stop()
            assert report["sent"] > 10, key
            assert (key, report["missing"], report["outOfOrder"], report["error"]) == (key, [], 0, "")
        running.clear()
        denied.assert_none_arrived()

    yield check
    for flow in running.values():
        flow.stop()


def assert_policy_holds(lab, wanted):
    assert differences(lab.probe(shop.PORTS), wanted) == []


def test_a_killed_server_is_not_missed_and_keeps_what_it_acknowledged(lab, flows):
    wanted = lab.matrix(shop.PORTS)
    extra = shop.policy("shop", "acknowledged", {"selector": "app == 'nobody'"})
    lab.apply(extra)
    lab.run("lab", "server", "kill")
    assert_policy_holds(lab, wanted)
    lab.run("lab", "server", "start")
    assert json.loads(lab.run("get", "networkpolicy", "acknowledged", "-n", "shop", "-o", "json").stdout)
    lab.delete(extra)
    lab.wait()
    assert_policy_holds(lab, wanted)
    flows()


@pytest.mark.parametrize("host", ["host1", "host2"])
@pytest.mark.parametrize("how", ["kill", "stop"])
def test_an_agent_that_dies_and_comes_back_loses_nothing(lab, flows, host, how):
    wanted = lab.matrix(shop.PORTS)
    lab.run("lab", "agent", how, host)
    assert_policy_holds(lab, wanted)
    lab.run("lab", "agent", "start", host)
    assert_policy_holds(lab, wanted)
    flows()


def test_server_and_all_agents_may_die_together(lab, flows):
    wanted = lab.matrix(shop.PORTS)
    lab.run("lab", "server", "kill")
    for host in lab.hosts:
        lab.run("lab", "agent", "kill", host)
    assert_policy_holds(lab, wanted)
    for host in lab.hosts:
        lab.run("lab", "agent", "start", host, "--no-wait")
    assert_policy_holds(lab, wanted)  # agents without a server keep what the kernel has
    lab.run("lab", "server", "start")
    assert_policy_holds(lab, wanted)
    flows()


def test_what_changed_while_an_agent_was_away_is_enforced_when_it_is_back(lab, flows):
    deny = shop.global_policy("while-away", {"order": 1, "selector": "app == 'db'", "types": ["Ingress"],
                                             "ingress": [{"action": "Deny"}]})
    lab.run("lab", "agent", "kill", "host3")
    lab.apply(deny)
    lab.run("lab", "agent", "start", "host3")
    cells = lab.probe(shop.PORTS)
    assert cells["shop/api", "shop/db", "tcp/5432", 4] == "deny"
    assert differences(cells, lab.matrix(shop.PORTS)) == []
    lab.delete(deny)
    lab.wait()
    assert lab.probe(shop.PORTS)["shop/api", "shop/db", "tcp/5432", 4] == "allow"
    flows()


def test_a_restart_that_finds_everything_right_leaves_the_kernel_as_it_is(lab):
    before = lab.host_exec("host1", "nft", "-s", "list", "table", "inet", "ocicat").stdout
    routes = lab.host_exec("host1", "ip", "route", "show", "proto", "80").stdout
    lab.run("lab", "agent", "kill", "host1")
    lab.run("lab", "agent", "start", "host1")
    assert lab.host_exec("host1", "nft", "-s", "list", "table", "inet", "ocicat").stdout == before
    assert lab.host_exec("host1", "ip", "route", "show", "proto", "80").stdout == routes


def test_the_database_is_sqlite_in_wal_mode(lab):
    database = sqlite3.connect("file:%s?mode=ro" % (lab.folder / "server.db"), uri=True)
    assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    database.close()
