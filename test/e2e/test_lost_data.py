"""The server's database is lost, or comes back from a backup: nobody takes what was for what is."""
import json
import os
import shutil
import signal

import pytest

import shop
from ocicat_lab import differences

KINDS = "namespaces,nodes,tiers,networkpolicies,workloadendpoints"


@pytest.fixture
def lab(make_lab, root):
    lab = make_lab(2)
    lab.add_pod("shop/a", "host1", labels={"app": "a"}, listen="tcp/80")
    lab.add_pod("shop/b", "host2", labels={"app": "b"}, listen="tcp/80")
    lab.wait()
    return lab


def database_files(lab):
    return [lab.folder / ("server.db" + ending) for ending in ("", "-wal", "-shm")]


def restart_over(lab, make_files):
    """Kills the server, lets its files be changed, and starts it again; waits for nobody."""
    lab.run("lab", "server", "kill")
    for path in database_files(lab):
        path.unlink(missing_ok=True)
    make_files()
    lab.run("lab", "server", "start", "--no-wait")


def signal_agents(lab, number):
    for host in lab.status()["hosts"]:
        os.kill(host["agentPid"], number)


def test_after_a_backup_was_restored_waiting_means_the_restored_state(lab):
    backup = lab.folder / "backup.db"
    lab.run("lab", "server", "stop")  # folds the log into the file
    shutil.copy(database_files(lab)[0], backup)
    lab.run("lab", "server", "start")
    lab.apply(shop.policy("shop", "closed", {"selector": "app == 'b'", "types": ["Ingress"]}))
    lab.wait()
    assert lab.probe("tcp/80")["shop/a", "shop/b", "tcp/80", 4] == "deny"

    signal_agents(lab, signal.SIGSTOP)
    try:
        restart_over(lab, lambda: shutil.copy(backup, database_files(lab)[0]))
        early = lab.run("status", "--wait", "--timeout", "1s", check=False)
        assert early.returncode == 1, early.stdout
        assert "has not come back" in early.stderr
    finally:
        signal_agents(lab, signal.SIGCONT)
    lab.wait()
    cells = lab.probe("tcp/80")
    assert cells["shop/a", "shop/b", "tcp/80", 4] == "allow"
    assert differences(cells, lab.matrix("tcp/80")) == []


def test_after_the_database_was_lost_the_same_documents_make_the_same_state(lab):
    lab.apply(shop.policy("shop", "closed", {"selector": "app == 'b'", "types": ["Ingress"]}))
    lab.wait()
    documents = json.loads(lab.run("get", KINDS, "-A", "-o", "json").stdout)
    before = lab.probe("tcp/80")
    restart_over(lab, lambda: None)
    assert lab.run("get", "workloadendpoints", "-A", "-o", "name").stdout == ""
    lab.run("apply", "-f", "-", stdin=json.dumps(documents))
    lab.wait()
    assert lab.probe("tcp/80") == before
    assert differences(before, lab.matrix("tcp/80")) == []
