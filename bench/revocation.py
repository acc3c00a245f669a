#!/usr/bin/env python3
"""How long open connections go on that a change of policy denies: labs of one host, real streams.

50 TCP streams go from a workload to another, each with a packet every 5 ms, and besides a datagram of a new flow every
millisecond, which policy judges at once. Each round denies all of it. A figure is the time from the last datagram, when
the change was in force, until the last packet of a stream; `-answered-max` is from the server's answer to the change,
so watch, engine and the transaction are in it as well. Another change goes before, by up to half a second, so that
rounds of the agent and its rests are met. With nftables in turns with eBPF; then again with nftables, with 50,000 and
250,000 connections in the host's kernel that concern nobody.

Prints `figure value unit` lines.
"""
import contextlib
import os
import pathlib
import random
import select
import selectors
import socket
import statistics
import struct
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))
from ocicat_lab import Lab  # noqa: E402

ROUNDS = int(os.environ.get("OCICAT_BENCH_ROUNDS", "100"))
STREAMS = 50
AT_ONCE = 10  # streams that send in each millisecond
PORT = 7000  # TCP; and UDP for new flows
QUIET_S = 0.4  # without a packet of any stream: all have ended
PATIENCE_S = 20.0
POLICY = "/apis/projectcalico.org/v3/namespaces/bench/networkpolicies/receiver"
CROWDS = {"-50k": 50_000, "-250k": 250_000}
CUT = struct.pack("ii", 1, 0)  # SO_LINGER: closed by a reset


# What runs in the workloads. Each is told by a line what to do, and says by one when it is done.

def receive():
    """To each line: when the last datagram and the last packet of a stream came."""
    ready = selectors.DefaultSelector()
    listener = socket.create_server(("", PORT), backlog=STREAMS)
    flows = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    flows.bind(("", PORT))
    for source in (listener, flows, sys.stdin):
        ready.register(source, selectors.EVENT_READ)
    last_flow = last = 0.0
    print("+", flush=True)
    while True:
        for key, _ in ready.select():
            if key.fileobj is sys.stdin:
                if not sys.stdin.readline():
                    return
                print(last_flow, last, flush=True)
            elif key.fileobj is listener:
                ready.register(listener.accept()[0], selectors.EVENT_READ)
            elif key.fileobj is flows:
                flows.recv(64)
                last_flow = time.monotonic()
            else:
                data = b""
                with contextlib.suppress(OSError):  # it has been cut
                    data = key.fileobj.recv(65536)
                if data:
                    last = time.monotonic()
                else:
                    ready.unregister(key.fileobj)
                    key.fileobj.close()


class Sender:
    def __init__(self, address):
        self.target = (address, PORT)
        self.streams, self.old = [], []
        self.turn = 0

    def open(self):
        self.old += self.streams
        self.streams = [socket.create_connection(self.target, PATIENCE_S) for _ in range(STREAMS)]
        for stream in self.streams:
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            stream.setblocking(False)

    def cut(self):
        """All but those opened last."""
        for stream in self.old:
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, CUT)
            stream.close()
        self.old = []

    def send(self):
        for stream in self.streams[self.turn:self.turn + AT_ONCE]:
            with contextlib.suppress(BlockingIOError):  # nothing is taken from it any more
                stream.send(b"x" * 64)
        self.turn = (self.turn + AT_ONCE) % STREAMS
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as flow:
            flow.sendto(b"x", self.target)

    def run(self):
        print("+", flush=True)
        while True:
            if select.select([sys.stdin], [], [], 0.001)[0]:
                word = sys.stdin.readline().strip()
                if not word:
                    return
                {"open": self.open, "cut": self.cut}[word]()
                print("+", flush=True)
            self.send()


class Helper:
    """One of them, at work in a workload."""

    def __init__(self, lab, pod, *words):
        self.process = subprocess.Popen([lab.binary, "lab", "exec", pod, "--", sys.executable, __file__, *words],
                                        env=lab.environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.process.stdout.readline() == "+\n", pod

    def tell(self, word):
        print(word, file=self.process.stdin, flush=True)
        return self.process.stdout.readline().strip()

    def end(self):
        self.process.stdin.close()
        self.process.wait(PATIENCE_S)


def policy(ingress):
    return {"apiVersion": "projectcalico.org/v3", "kind": "NetworkPolicy",
            "metadata": {"name": "receiver", "namespace": "bench"},
            "spec": {"selector": "app == 'receiver'", "types": ["Ingress"], "ingress": ingress}}


def allowing(number):
    """The streams; and something else than another time."""
    return [{"action": "Allow", "source": {"selector": "app == 'sender'"}},
            {"action": "Allow", "protocol": "UDP", "destination": {"ports": [1000 + number]}}]


class Arm:
    def __init__(self, dataplane):
        self.lab = Lab("revocation-%s-%d" % (dataplane, os.getpid()), os.environ["OCICAT_BIN"], hosts=1,
                       dataplane=dataplane)
        self.random = random.Random(1)
        self.changes = 0

    def __enter__(self):
        self.lab.up()
        try:
            for name in ("sender", "receiver"):
                self.lab.add_pod("bench/" + name, "host1", labels={"app": name})
            # A thousand flows a second are not to fill the table that is measured.
            self.lab.host_exec("host1", "sysctl", "-q", "-w", "net.netfilter.nf_conntrack_udp_timeout=1")
            self.lab.apply(policy(allowing(0)))
            self.lab.wait()
            self.receiver = Helper(self.lab, "bench/receiver", "receive")
            self.sender = Helper(self.lab, "bench/sender", "send", self.lab.address("bench/receiver"))
        except BaseException:
            self.lab.down()
            raise
        return self

    def __exit__(self, *_):
        for helper in (self.sender, self.receiver):
            helper.end()
        self.lab.down()

    def change(self, ingress):
        """When the server has answered."""
        document = self.lab.request("GET", POLICY)
        document["spec"]["ingress"] = ingress
        self.lab.request("PUT", POLICY, document)
        return time.monotonic()

    def allow(self):
        self.changes += 1
        self.change(allowing(self.changes))

    def last(self):
        """Of the new flows, and of the streams."""
        return [float(word) for word in self.receiver.tell("last").split()]

    def round(self):
        """Milliseconds from being in force, and from the answer."""
        self.allow()
        self.lab.wait()
        self.sender.tell("open")
        time.sleep(0.3)  # what the round before has ended goes on meanwhile, and can be cut
        self.sender.tell("cut")
        self.allow()
        time.sleep(self.random.uniform(0, 0.5))
        assert time.monotonic() - min(self.last()) < 0.1, "the traffic does not flow"
        answered = self.change([])
        while time.monotonic() - max(*self.last(), answered) < QUIET_S:
            assert time.monotonic() - answered < PATIENCE_S, "the streams do not end"
            time.sleep(QUIET_S / 8)
        in_force, end = self.last()
        return 1e3 * max(0.0, end - in_force), 1e3 * max(0.0, end - answered)

    def fill(self, count):
        self.lab.host_exec("host1", str(pathlib.Path(self.lab.binary).parent.parent / "bench" / "fill_connections"),
                           str(count))


def say(name, rounds):
    in_force, answered = zip(*rounds)
    print("revocation-%s %.1f ms" % (name, statistics.median(in_force)))
    print("revocation-%s-max %.1f ms" % (name, max(in_force)))
    print("revocation-%s-answered-max %.1f ms" % (name, max(answered)), flush=True)


def main():
    with Arm("nftables") as nft:
        with Arm("ebpf") as ebpf:
            both = [(nft.round(), ebpf.round()) for _ in range(ROUNDS)]
        for name, rounds in zip(("nft", "ebpf"), zip(*both)):
            say(name, rounds)
        for name, count in CROWDS.items():
            nft.fill(count)
            say("nft" + name, [nft.round() for _ in range(ROUNDS // 2)])


if __name__ == "__main__":
    if sys.argv[1:] == ["receive"]:
        receive()
    elif sys.argv[1:2] == ["send"]:
        Sender(*sys.argv[2:]).run()
    else:
        main()
