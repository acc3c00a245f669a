#!/usr/bin/env python3
"""Numbered packets, and somebody who counts what arrives: run by tests through `ocicat lab exec`.

    numbered.py send ADDRESS PORT SECONDS     a datagram every so often, from one socket
    numbered.py stream ADDRESS PORT SECONDS   a record every so often, by one TCP connection
    numbered.py scatter PORT SECONDS ADDRESS...   a datagram to each every so often
    numbered.py count PORT FAMILY...          what arrives at a port, of both kinds
    numbered.py answer KIND PORT FAMILY SECONDS   udp or tcp: the same to whoever asks first
    numbered.py ask PORT ADDRESS...           asks each once by both kinds, and counts what arrives

Each prints "+" when it is at it, goes on until its standard input closes, and prints one JSON object: `sent`, or
`arrived` by sender's address and kind, each [number, when the kernel took it (CLOCK_REALTIME, seconds)]. Of
datagrams of one socket there is also `at`, when each was sent (the same clock).
"""
import json
import select
import selectors
import socket
import struct
import sys
import time

NUMBER = struct.Struct("!Q")
TIME = struct.Struct("@qq")
TIMESTAMPS = 35  # SO_TIMESTAMPNS
GRACE = 0.5  # seconds without any after which no more are on their way


def family(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def paced(seconds, send):
    due, sent = time.monotonic(), 0
    while not select.select([sys.stdin], [], [], max(0.0, due - time.monotonic()))[0]:
        sent += send(NUMBER.pack(sent))
        due = max(due + seconds, time.monotonic())
    return sent


def datagrams(own, seconds):
    at = []

    def put(record):
        at.append(time.time())
        return own.send(record) > 0

    print(json.dumps({"sent": paced(seconds, put), "at": at}), flush=True)


def records(own, seconds):
    own.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    own.setblocking(False)
    waiting = b""  # where the way is closed, there is no room in the end

    def put(record):
        nonlocal waiting
        try:
            waiting = waiting[own.send(waiting):] if waiting else waiting
            if not waiting:
                waiting = record[own.send(record):]
                return True
        except BlockingIOError:
            pass
        return False

    sent = paced(seconds, put)
    own.setblocking(True)
    own.sendall(waiting)
    own.close()
    print(json.dumps({"sent": sent}), flush=True)


def send(address, port, seconds):
    own = socket.socket(family(address), socket.SOCK_DGRAM)
    own.connect((address, port))
    print("+", flush=True)
    datagrams(own, seconds)


def scatter(addresses, port, seconds):
    own = {one: socket.socket(one, socket.SOCK_DGRAM) for one in map(family, addresses)}

    def put(record):
        for address in addresses:
            own[family(address)].sendto(record, (address, port))
        return True

    print("+", flush=True)
    print(json.dumps({"sent": paced(seconds, put)}), flush=True)


def stream(address, port, seconds):
    own = socket.create_connection((address, port), 10)
    print("+", flush=True)
    records(own, seconds)


def bound(kind, port, of_family):
    own = socket.socket(of_family, kind)
    if of_family == socket.AF_INET6:
        own.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    if kind == socket.SOCK_STREAM:
        own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # an earlier test may have asked there a moment ago
    own.bind(("::" if of_family == socket.AF_INET6 else "0.0.0.0", port))
    if kind == socket.SOCK_STREAM:
        own.listen()
    return own


def answer(kind, port, of_family, seconds):
    own = bound(socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM, port, of_family)
    print("+", flush=True)
    if kind == "tcp":
        records(own.accept()[0], seconds)
    else:
        own.connect(own.recvfrom(64)[1])
        datagrams(own, seconds)


class Counter:
    def __init__(self):
        self.arrived = {}
        self.open = {}
        self.selector = selectors.DefaultSelector()

    def listen(self, port, of_family):
        self.register_datagrams(bound(socket.SOCK_DGRAM, port, of_family))
        listener = bound(socket.SOCK_STREAM, port, of_family)
        listener.setsockopt(socket.SOL_SOCKET, TIMESTAMPS, 1)
        self.selector.register(listener, selectors.EVENT_READ, self.accept)

    def ask(self, address, port):
        own = socket.socket(family(address), socket.SOCK_DGRAM)
        own.connect((address, port))
        self.register_datagrams(own)
        self.register_stream(socket.create_connection((address, port), 10), address)
        own.send(NUMBER.pack(0))

    def register_datagrams(self, own):
        own.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        own.setsockopt(socket.SOL_SOCKET, TIMESTAMPS, 1)
        self.selector.register(own, selectors.EVENT_READ, self.take_datagram)

    def register_stream(self, connection, sender):
        connection.setsockopt(socket.SOL_SOCKET, TIMESTAMPS, 1)
        self.open[connection] = [sender, b""]
        self.selector.register(connection, selectors.EVENT_READ, self.take_records)

    @staticmethod
    def receive(own):
        data, more, _, sender = own.recvmsg(65536, 64)
        when = 0.0
        for _, kind, content in more:
            if kind == TIMESTAMPS:
                seconds, nanoseconds = TIME.unpack(content)
                when = seconds + nanoseconds / 1e9
        return data, when, sender

    def note(self, sender, kind, number, when):
        self.arrived.setdefault("%s %s" % (sender, kind), []).append([number, when])

    def take_datagram(self, own):
        data, when, sender = self.receive(own)
        self.note(sender[0], "udp", NUMBER.unpack(data)[0], when)

    def accept(self, own):
        connection, sender = own.accept()
        self.register_stream(connection, sender[0])

    def take_records(self, connection):
        data, when, _ = self.receive(connection)
        if not data:
            self.selector.unregister(connection)
            return
        sender, waiting = self.open[connection]
        waiting += data
        while len(waiting) >= NUMBER.size:
            self.note(sender, "tcp", NUMBER.unpack(waiting[:NUMBER.size])[0], when)
            waiting = waiting[NUMBER.size:]
        self.open[connection][1] = waiting

    def until_input_closes(self):
        """And until nothing more comes: all that was sent has been sent by then."""
        self.selector.register(sys.stdin, selectors.EVENT_READ)
        patience = None
        while ready := self.selector.select(patience):
            for key, _ in ready:
                if key.data:
                    key.data(key.fileobj)
                else:
                    self.selector.unregister(sys.stdin)
                    patience = GRACE


def count(counter):
    print("+", flush=True)
    counter.until_input_closes()
    print(json.dumps({"arrived": counter.arrived}), flush=True)


def main(task, *words):
    families = {"4": socket.AF_INET, "6": socket.AF_INET6}
    if task == "answer":
        kind, port, of_family, seconds = words
        answer(kind, int(port), families[of_family], float(seconds))
    elif task == "scatter":
        scatter(words[2:], int(words[0]), float(words[1]))
    elif task in ("count", "ask"):
        counter = Counter()
        for one in words[1:]:
            if task == "count":
                counter.listen(int(words[0]), families[one])
            else:
                counter.ask(one, int(words[0]))
        count(counter)
    else:
        {"send": send, "stream": stream}[task](words[0], int(words[1]), float(words[2]))


if __name__ == "__main__":
    main(*sys.argv[1:])
