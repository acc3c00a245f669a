#!/usr/bin/env python3
"""Traffic that notices what is lost, run inside a workload's network namespace.

    traffic.py ping ADDRESS [--interval S]         ICMP or ICMPv6 echo requests
    traffic.py udp ADDRESS PORT [--interval S]     numbered datagrams to a port that echoes them
    traffic.py flows ADDRESS PORT [--interval S]   the same, each datagram from a port of its own: a new flow each
    traffic.py stream ADDRESS PORT [--interval S]  one TCP connection; numbered records to a port that echoes them

Prints "+" once the first reply is there (half a minute without one is an error), goes on until its standard input
closes, waits for what is still on its way, and prints one JSON object: how much was sent and received, which numbers
are missing, the longest time between two replies, when each reply came, and when each of what was answered was sent
(CLOCK_MONOTONIC seconds, comparable between processes).
"""
import argparse
import json
import os
import select
import selectors
import socket
import struct
import sys
import time

GRACE = 1.0  # seconds without a reply after which the last ones are given up
PATIENCE = 30.0  # seconds to wait for the first reply
RECORD = struct.Struct("!Q")
RECEIVE_BUFFER_FORCE = 33  # SO_RCVBUFFORCE
BUFFER = 8 << 20  # bytes: what comes while others have the processor is not lost


def checksum(data):
    """The Internet checksum, RFC 1071."""
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


class Ping:
    """Echo requests; the number is in the payload, since 16 bits of sequence run out."""

    def __init__(self, address, port):
        self.v6 = ":" in address
        self.id = os.getpid() & 0xFFFF
        if self.v6:
            self.socket = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
        else:
            self.socket = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        self.socket.setsockopt(socket.SOL_SOCKET, RECEIVE_BUFFER_FORCE, BUFFER)
        self.socket.connect((address, 0))

    def send(self, number):
        header = struct.pack("!BBHHH", 128 if self.v6 else 8, 0, 0, self.id, number & 0xFFFF)
        packet = header + RECORD.pack(number)
        if not self.v6:
            packet = packet[:2] + struct.pack("!H", checksum(packet)) + packet[4:]
        self.socket.send(packet)

    def receive(self):
        data = self.socket.recv(2048)
        if not self.v6:
            data = data[(data[0] & 0x0F) * 4:]
        kind, _, _, ident, _ = struct.unpack("!BBHHH", data[:8])
        if kind != (129 if self.v6 else 0) or ident != self.id:
            return []
        return [RECORD.unpack(data[8:16])[0]]


class Datagrams:
    def __init__(self, address, port):
        self.socket = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, RECEIVE_BUFFER_FORCE, BUFFER)
        self.socket.connect((address, port))

    def send(self, number):
        self.socket.send(RECORD.pack(number))

    def receive(self):
        return [RECORD.unpack(self.socket.recv(64))[0]]


class Flows:
    """`socket` is an epoll of all sockets that still wait for their echo."""

    def __init__(self, address, port):
        self.family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.target = (address, port)
        self.socket = select.epoll()
        self.waiting = {}

    def send(self, number):
        flow = socket.socket(self.family, socket.SOCK_DGRAM)
        flow.setblocking(False)
        self.waiting[flow.fileno()] = flow
        self.socket.register(flow, select.EPOLLIN)
        flow.connect(self.target)
        flow.send(RECORD.pack(number))

    def receive(self):
        numbers = []
        for number, _ in self.socket.poll(0):
            flow = self.waiting.pop(number)
            with flow:
                numbers.append(RECORD.unpack(flow.recv(64))[0])
        return numbers


class Stream:
    """What the connection does not take at once waits: whoever is cut off still ends when told to."""

    def __init__(self, address, port):
        self.socket = socket.create_connection((address, port), timeout=10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self.unsent = b""
        self.waiting = b""

    def send(self, number):
        self.unsent += RECORD.pack(number) + bytes(1024 - RECORD.size)
        self.flush()

    def flush(self):
        if self.unsent:
            try:
                self.unsent = self.unsent[self.socket.send(self.unsent):]
            except BlockingIOError:
                pass

    def receive(self):
        data = self.socket.recv(65536)
        if not data:
            raise ConnectionError("the other side closed the connection")
        self.waiting += data
        self.flush()
        numbers = []
        while len(self.waiting) >= 1024:
            numbers.append(RECORD.unpack(self.waiting[:RECORD.size])[0])
            self.waiting = self.waiting[1024:]
        return numbers


class Run:
    def __init__(self, kind, interval):
        self.kind = kind
        self.interval = interval
        self.sent = 0
        self.replies = {}  # number → time
        self.times = []  # when each was sent
        self.out_of_order = 0
        self.error = ""

    def take(self):
        try:
            for number in self.kind.receive():
                if not self.replies:
                    print("+", flush=True)
                if number in self.replies:
                    continue
                if number != len(self.replies):
                    self.out_of_order += 1
                self.replies[number] = time.monotonic()
        except (ConnectionRefusedError, BlockingIOError):
            pass  # a datagram's closed port: shows as a missing reply

    def send(self):
        number = self.sent
        self.sent += 1
        self.times.append(time.monotonic())
        try:
            self.kind.send(number)
        except (ConnectionRefusedError, PermissionError, BlockingIOError):
            pass
        except OSError as error:
            if isinstance(self.kind, Stream):
                raise
            self.error = str(error)  # no route for the moment: shows as a missing reply

    def until_input_closes(self):
        selector = selectors.DefaultSelector()
        selector.register(self.kind.socket, selectors.EVENT_READ, "reply")
        selector.register(sys.stdin, selectors.EVENT_READ, "stop")
        due = begun = time.monotonic()
        while True:
            now = time.monotonic()
            if not self.replies and now > begun + PATIENCE:
                raise TimeoutError("no reply in %d seconds" % PATIENCE)
            if now >= due:
                self.send()
                due = max(due + self.interval, now)
            for key, _ in selector.select(max(0.0, due - time.monotonic())):
                if key.data == "stop":
                    return
                self.take()

    def late_replies(self):
        selector = selectors.DefaultSelector()
        selector.register(self.kind.socket, selectors.EVENT_READ)
        until = time.monotonic() + GRACE
        while len(self.replies) < self.sent and (left := until - time.monotonic()) > 0:
            known = len(self.replies)
            if selector.select(left):
                self.take()  # or what a raw socket hears of others' packets
            if len(self.replies) > known:
                until = time.monotonic() + GRACE

    def report(self):
        times = sorted(self.replies.values())
        gaps = [later - earlier for earlier, later in zip(times, times[1:])]
        return {
            "sent": self.sent,
            "received": len(self.replies),
            "missing": [number for number in range(self.sent) if number not in self.replies],
            "outOfOrder": self.out_of_order,
            "longestGap": max(gaps, default=0.0),
            "replies": times,
            "answered": [self.times[number] for number in sorted(self.replies)],
            "error": self.error,
        }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=["ping", "udp", "flows", "stream"])
    parser.add_argument("address")
    parser.add_argument("port", nargs="?", type=int, default=0)
    parser.add_argument("--interval", type=float, default=0.005)
    options = parser.parse_args()
    kinds = {"ping": Ping, "udp": Datagrams, "flows": Flows, "stream": Stream}
    run = Run(kinds[options.kind](options.address, options.port), options.interval)
    try:
        run.until_input_closes()
        run.late_replies()
    except OSError as error:
        run.error = str(error)
    print(json.dumps(run.report()), flush=True)


if __name__ == "__main__":
    main()
