#!/usr/bin/env python3
"""Numbered packets, and somebody who counts what arrives: run by tests through `ocicat lab exec`.

    numbered.py send ADDRESS PORT SECONDS     a datagram every so often, from one socket
    numbered.py stream ADDRESS PORT SECONDS   a record every so often, by one TCP connection
    numbered.py count PORT FAMILY             what arrives at a port, of both kinds

Each prints "+" when it is at it, goes on until its standard input closes, and prints one JSON object: `sent`, or
`arrived` by sender's address and kind, each [number, when the kernel took it (CLOCK_REALTIME, seconds)]. Of
datagrams there is also `at`, when each was sent (the same clock).
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


def send(address, port, seconds):
    own = socket.socket(family(address), socket.SOCK_DGRAM)
    own.connect((address, port))
    at = []

    def put(record):
        at.append(time.time())
        return own.send(record) > 0

    print("+", flush=True)
    print(json.dumps({"sent": paced(seconds, put), "at": at}), flush=True)


def stream(address, port, seconds):
    own = socket.create_connection((address, port), 10)
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

    print("+", flush=True)
    sent = paced(seconds, put)
    own.setblocking(True)
    own.sendall(waiting)
    own.close()
    print(json.dumps({"sent": sent}), flush=True)


class Counter:
    def __init__(self, port, kind):
        self.arrived = {}
        self.open = {}
        self.selector = selectors.DefaultSelector()
        datagrams, listener = socket.socket(kind, socket.SOCK_DGRAM), socket.socket(kind, socket.SOCK_STREAM)
        datagrams.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        for own in (datagrams, listener):
            own.setsockopt(socket.SOL_SOCKET, TIMESTAMPS, 1)
            if kind == socket.AF_INET6:
                own.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            own.bind(("::" if kind == socket.AF_INET6 else "0.0.0.0", port))
        listener.listen()
        self.selector.register(datagrams, selectors.EVENT_READ, self.take_datagram)
        self.selector.register(listener, selectors.EVENT_READ, self.accept)

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
        connection.setsockopt(socket.SOL_SOCKET, TIMESTAMPS, 1)
        self.open[connection] = [sender[0], b""]
        self.selector.register(connection, selectors.EVENT_READ, self.take_records)

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


def count(port, kind):
    counter = Counter(port, socket.AF_INET6 if kind == 6 else socket.AF_INET)
    print("+", flush=True)
    counter.until_input_closes()
    print(json.dumps({"arrived": counter.arrived}), flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "count":
        count(int(sys.argv[2]), int(sys.argv[3]))
    else:
        {"send": send, "stream": stream}[sys.argv[1]](sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))
