"""What `ocicat server` promises to those who write to it."""
import json
import os
import signal
import subprocess
import tempfile
import threading

import pytest

import shop
from ocicat_lab import Failed, Lab


class Server:
    """A server without a lab; `lab` speaks to it."""

    def __init__(self, binary, folder):
        self.folder = folder
        self.lab = Lab("none", binary)
        self.lab.socket = folder / "server.sock"
        self.lab.environment["OCICAT_SERVER"] = "unix://%s" % self.lab.socket
        self.process = None
        self.log = tempfile.TemporaryFile("w+")

    def start(self, eventually):
        self.process = subprocess.Popen([self.lab.binary, "server", "--socket", str(self.lab.socket), "--database",
                                         str(self.folder / "data.db")], stderr=self.log)
        eventually(lambda: self.lab.run("version", check=False).returncode == 0 and self.answers(), 30)

    def answers(self):
        try:
            return self.lab.request("GET", "/ocicat/status")
        except (OSError, Failed):
            return None

    def end(self, number=signal.SIGKILL):
        if self.process:
            self.process.send_signal(number)
            self.process.wait(timeout=30)
            self.process = None


@pytest.fixture
def server(binary, tmp_path, eventually):
    server = Server(binary, tmp_path)
    server.start(eventually)
    yield server
    server.end()


def network_set(name, nets):
    return {"apiVersion": "projectcalico.org/v3", "kind": "GlobalNetworkSet", "metadata": {"name": name},
            "spec": {"nets": nets}}


SETS = "/apis/projectcalico.org/v3/globalnetworksets"


def test_acknowledged_writes_survive_kill_9_at_any_moment(server, eventually):
    acknowledged = []
    for life in range(3):
        enough = threading.Event()

        def write(generation=life):
            number = 0
            try:
                while True:
                    name = "s-%d-%d" % (generation, number)
                    server.lab.request("POST", SETS, network_set(name, ["10.0.0.0/8"]))
                    acknowledged.append(name)
                    number += 1
                    if number == 50:
                        enough.set()
            except (OSError, Failed):
                enough.set()

        writer = threading.Thread(target=write)
        writer.start()
        assert enough.wait(60)
        server.end()
        writer.join()
        server.start(eventually)
    stored = {item["metadata"]["name"] for item in server.lab.request("GET", SETS)["items"]}
    assert len(acknowledged) >= 150
    assert set(acknowledged) <= stored
    assert len(stored) - len(acknowledged) <= 3  # at most the one on its way each time


def test_a_full_disk_is_a_clear_error_and_nothing_is_lost(binary, tmp_path, eventually):
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(tmp_path)], check=True)
    server = Server(binary, tmp_path)
    try:
        server.start(eventually)
        nets = ["10.%d.%d.0/24" % (one, two) for one in range(10) for two in range(250)]
        stored = 0
        with pytest.raises(Failed) as refused:
            for stored in range(200):
                server.lab.request("POST", SETS, network_set("s-%d" % stored, nets))
        assert "full" in str(refused.value).lower() or "space" in str(refused.value).lower(), str(refused.value)
        assert 500 <= refused.value.code < 600
        assert len(server.lab.request("GET", SETS)["items"]) == stored  # still served, all of them
        server.end()
        server.start(eventually)  # which needs no space
        assert len(server.lab.request("GET", SETS)["items"]) == stored
        with pytest.raises(Failed):
            server.lab.request("POST", SETS, network_set("again", nets))

        subprocess.run(["mount", "-o", "remount,size=32m", str(tmp_path)], check=True)
        eventually(lambda: server.lab.apply(network_set("after", nets), check=False).returncode == 0, 30)
        assert len(server.lab.request("GET", SETS)["items"]) == stored + 1
        server.log.seek(0)
        log = server.log.read()
        assert "cannot write" in log and "disk is full" in log and "can write again" in log
        assert log.count("cannot write") == 2  # once in each life, not for each refusal
    finally:
        server.end()
        subprocess.run(["umount", "-l", str(tmp_path)], check=True)


def test_of_two_who_change_the_same_version_one_is_told_to_read_again(server):
    server.lab.request("POST", SETS, network_set("s", ["10.0.0.0/8"]))
    mine = server.lab.request("GET", SETS + "/s")
    theirs = json.loads(json.dumps(mine))
    theirs["spec"]["nets"] = ["10.1.0.0/16"]
    server.lab.request("PUT", SETS + "/s", theirs)
    mine["spec"]["nets"] = ["10.2.0.0/16"]
    with pytest.raises(Failed) as refused:
        server.lab.request("PUT", SETS + "/s", mine)
    assert refused.value.code == 409
    assert server.lab.request("GET", SETS + "/s")["spec"]["nets"] == ["10.1.0.0/16"]


@pytest.mark.parametrize("uid", ["11111111-2222-3333-4444-555555555555", "not-a-uid"])
def test_an_update_meant_for_another_object_of_the_name_is_refused(server, uid):
    server.lab.request("POST", SETS, network_set("s", ["10.0.0.0/8"]))
    document = server.lab.request("GET", SETS + "/s")
    document["metadata"]["uid"] = uid
    document["metadata"].pop("resourceVersion")
    with pytest.raises(Failed) as refused:
        server.lab.request("PUT", SETS + "/s", document)
    assert refused.value.code in (409, 422)


def test_a_stop_is_clean_and_a_second_server_is_refused(server):
    second = subprocess.run([server.lab.binary, "server", "--socket", str(server.lab.socket), "--database",
                             str(server.folder / "other.db")], capture_output=True, text=True, timeout=60)
    assert second.returncode != 0 and "server.sock" in second.stdout + second.stderr
    assert server.answers()
    process = server.process
    server.end(signal.SIGTERM)
    assert process.returncode == 0
    assert not os.path.exists(server.lab.socket)


def test_a_watch_shows_changes_as_they_come(server):
    watch = subprocess.Popen([server.lab.binary, "get", "networkpolicy", "-n", "shop", "-w", "-o", "name"], text=True,
                             env=server.lab.environment, stdout=subprocess.PIPE)
    try:
        server.lab.apply(shop.policy("shop", "seen", {"selector": "all()"}))
        assert "seen" in watch.stdout.readline()
        server.lab.delete(shop.policy("shop", "seen", {}))
    finally:
        watch.terminate()
        watch.wait(timeout=30)
