"""The server frees what leaked, by itself, and leaves what is in doubt."""
import json
import os
import subprocess
import time

import pytest

CALICO = "projectcalico.org/v3"
GRACE = 2  # seconds


def block(host, attributes):
    """The first addresses of 10.0.0.0/30, a block of the host, each with these attributes."""
    size = 4
    used = len(attributes)
    return {"apiVersion": CALICO, "kind": "IPAMBlock", "metadata": {"name": "10-0-0-0-30"},
            "spec": {"cidr": "10.0.0.0/30", "affinity": "host:" + host, "deleted": False, "strictAffinity": False,
                     "allocations": [i if i < used else None for i in range(size)],
                     "unallocated": list(range(used, size)), "sequenceNumber": 1,
                     "attributes": [{"handle_id": name, "secondary": about} for name, about in attributes]}}


def handle(name):
    return {"apiVersion": CALICO, "kind": "IPAMHandle", "metadata": {"name": name},
            "spec": {"handleID": name, "block": {"10.0.0.0/30": 1}, "deleted": False}}


@pytest.fixture
def server(binary, tmp_path, eventually):
    socket = tmp_path / "server.sock"
    log = (tmp_path / "log").open("w")
    words = ["--socket", socket, "--database", tmp_path / "db", "--reconcile-every", "200ms",
             "--leak-grace", "%ds" % GRACE]
    running = subprocess.Popen([binary, "server", *words], stderr=log, stdout=log)
    environment = dict(os.environ, OCICAT_SERVER="unix://%s" % socket)

    def call(*words, stdin=None):
        done = subprocess.run([binary, *words], text=True, capture_output=True, env=environment, input=stdin)
        assert done.returncode == 0, done.stderr
        return done.stdout

    asks = [binary, "get", "tiers"]
    eventually(lambda: subprocess.run(asks, env=environment, capture_output=True).returncode == 0, 30)
    yield call
    running.terminate()
    running.wait()


def test_what_leaked_is_freed_and_what_is_in_doubt_is_only_reported(server, tmp_path, eventually):
    documents = [{"apiVersion": CALICO, "kind": "IPPool", "metadata": {"name": "p"},
                  "spec": {"cidr": "10.0.0.0/24", "blockSize": 30}},
                 {"apiVersion": CALICO, "kind": "Node", "metadata": {"name": "host1"}, "spec": {}},
                 handle("leaked"), handle("doubtful"),
                 block("host1", [("leaked", {"node": "host1", "namespace": "shop", "pod": "gone"}),
                                 ("doubtful", {"node": "host1"})])]
    begin = time.monotonic()
    server("apply", "-f", "-", stdin="\n---\n".join(json.dumps(document) for document in documents))

    def held():
        return {item["metadata"]["name"] for item in json.loads(server("get", "ipamhandles", "-o", "json"))["items"]}

    eventually(lambda: held() == {"doubtful"}, 30)
    assert time.monotonic() - begin > GRACE, "not before the grace period is over"
    addresses = json.loads(server("get", "ipamblock", "10-0-0-0-30", "-o", "json"))["spec"]["allocations"]
    assert addresses[0] is None and addresses[1] is not None

    def said(*words):
        return any(all(word in line for word in words) for line in (tmp_path / "log").read_text().splitlines())

    eventually(lambda: said("10.0.0.0 freed: "), 30)
    eventually(lambda: said("10.0.0.1 is for you to judge: ", "ocicat ipam check"), 30)
