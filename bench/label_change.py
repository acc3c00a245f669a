#!/usr/bin/env python3
"""How long until a label change is enforced: a lab of three hosts, real packets, nftables.

A client on host1 may talk to a server on host2 only while it carries a label. Each round sends the PUT that adds the
label and, at the same moment, a datagram every few tens of microseconds; the first echo ends the round. Between two
datagrams it looks whether the change has come on a watch of its own, as it comes to the agents. `lab-label-change` is
from there to the echo: the watch, the engine and the nf_tables transaction on both hosts. `lab-label-put` is from the
PUT, so HTTP, validation and SQLite's sync are in it as well.

Prints `figure value unit` lines.
"""
import ctypes
import json
import os
import pathlib
import socket
import statistics
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))
from ocicat_lab import Lab  # noqa: E402

ROUNDS = int(os.environ.get("OCICAT_BENCH_ROUNDS", "300"))
PATIENCE_S = 10.0
POLICY = {
    "apiVersion": "projectcalico.org/v3", "kind": "NetworkPolicy",
    "metadata": {"name": "server", "namespace": "bench"},
    "spec": {"selector": "app == 'server'", "types": ["Ingress"],
             "ingress": [{"action": "Allow", "protocol": "UDP",
                          "source": {"selector": "may == 'yes'"}, "destination": {"ports": [7000]}}]},
}


def sockets_in(netns, address, count):
    """Connected datagram sockets made inside a network namespace, by a thread of their own that enters it."""
    made = []

    def enter():
        libc = ctypes.CDLL(None, use_errno=True)
        handle = os.open(netns, os.O_RDONLY)
        if libc.setns(handle, 0x40000000) != 0:  # CLONE_NEWNET
            raise OSError(ctypes.get_errno(), "setns " + netns)
        os.close(handle)
        for _ in range(count):
            client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            client.connect((address, 7000))
            client.setblocking(False)
            made.append(client)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    return made


class Watch:
    """The stream of changes that agents follow, seen by one more reader."""

    def __init__(self, lab):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.connect(str(lab.socket))
        self.socket.sendall(b"GET /apis/projectcalico.org/v3/namespaces/bench/workloadendpoints?watch=true HTTP/1.1\r\n"
                            b"Host: localhost\r\n\r\n")
        self.socket.setblocking(False)

    def has_more(self):
        try:
            return bool(self.socket.recv(65536))
        except BlockingIOError:
            return False


def first_echo(client, watch, give_up):
    """Sends until an echo comes; the times of the change on the watch, and of the echo."""
    seen = None
    while time.monotonic() < give_up:
        client.send(b"x")
        if seen is None and watch.has_more():
            seen = time.monotonic()
        try:
            client.recv(16)
            end = time.monotonic()
            return seen or end, end
        except BlockingIOError:
            pass
    raise TimeoutError("the label was not enforced within %g s" % PATIENCE_S)


def put_request(path, document):
    body = json.dumps(document).encode()
    head = "PUT %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    return (head % (path, len(body))).encode() + body


def one_round(lab, path, client, watch):
    """Times from the watch and from the PUT; nothing else in this process takes time between its packets."""
    document = lab.request("GET", path)
    document["metadata"]["labels"]["may"] = "yes"
    request = put_request(path, document)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.connect(str(lab.socket))
        while watch.has_more():
            pass
        begin = time.monotonic()
        server.sendall(request)
        seen, end = first_echo(client, watch, begin + PATIENCE_S)
        status = server.recv(65536).split(b" ", 2)[1]
    if status != b"200":
        raise RuntimeError("the server answered %s" % status.decode())
    lab.relabel("bench/client", may="no")
    lab.wait()
    return 1e3 * (end - seen), 1e3 * (end - begin)


def main():
    with Lab("bench-%d" % os.getpid(), os.environ["OCICAT_BIN"], dataplane="nftables") as lab:
        lab.add_pod("bench/client", "host1", labels={"app": "client", "may": "no"}, listen="udp/7001")
        lab.add_pod("bench/server", "host2", labels={"app": "server"}, listen="udp/7000")
        lab.apply(POLICY)
        lab.wait()
        path = lab.endpoint_path("bench/client")
        netns = "/run/netns/%s-pod-bench.client" % lab.name
        clients = sockets_in(netns, lab.address("bench/server"), ROUNDS)
        watch = Watch(lab)
        rounds = [one_round(lab, path, client, watch) for client in clients]
    for name, times in zip(("lab-label-change", "lab-label-put"), zip(*rounds)):
        print("%s %.3f ms" % (name, statistics.median(times)))
        print("%s-p99 %.3f ms" % (name, sorted(times)[min(len(times) - 1, int(0.99 * len(times)))]))


if __name__ == "__main__":
    main()
