#!/usr/bin/env python3
"""A flood of UDP datagrams, and somebody who counts what arrives: run by tests through `ocicat lab exec`.

    flood.py send ADDRESS PORT    from many ports, with breath for others every few milliseconds
    flood.py count ADDRESS PORT   how many of them arrive, and from how many ports

Both print "+" when they are at it, go on until their standard input closes, and print one JSON object.
"""
import collections
import ctypes
import errno
import json
import select
import socket
import sys
import time

SOCKETS = 64
AT_ONCE = 32  # datagrams a call
BREATH = 0.0001  # seconds after a round of all sockets: whoever is tested needs the processor as well


class Piece(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]


class Message(ctypes.Structure):  # struct msghdr, and the length that sendmmsg() adds
    _fields_ = [("name", ctypes.c_void_p), ("name_length", ctypes.c_uint32), ("pieces", ctypes.POINTER(Piece)),
                ("piece_count", ctypes.c_size_t), ("control", ctypes.c_void_p), ("control_length", ctypes.c_size_t),
                ("flags", ctypes.c_int), ("sent", ctypes.c_uint32)]


def family(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def stopped():
    return bool(select.select([sys.stdin], [], [], 0)[0])


def send(address, port):
    text = ctypes.create_string_buffer(b"flood")
    piece = Piece(ctypes.addressof(text), 5)
    messages = (Message * AT_ONCE)()
    for message in messages:
        message.pieces, message.piece_count = ctypes.pointer(piece), 1
    sendmmsg = ctypes.CDLL(None, use_errno=True).sendmmsg
    sockets = [socket.socket(family(address), socket.SOCK_DGRAM) for _ in range(SOCKETS)]
    for one in sockets:
        one.connect((address, port))
    print("+", flush=True)
    sent, errors = 0, collections.Counter()
    while not stopped():
        for one in sockets:
            result = sendmmsg(one.fileno(), messages, AT_ONCE, 0)
            if result >= 0:
                sent += result
            else:
                errors[errno.errorcode.get(ctypes.get_errno())] += 1
        time.sleep(BREATH)
    print(json.dumps({"sent": sent, "errors": errors}), flush=True)


def count(address, port):
    own = socket.socket(family(address), socket.SOCK_DGRAM)
    own.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
    own.bind((address, port))
    print("+", flush=True)
    datagrams, ports = 0, set()
    while True:
        ready = select.select([own, sys.stdin], [], [])[0]
        if own in ready:
            ports.add(own.recvfrom(64)[1][1])
            datagrams += 1
        elif sys.stdin in ready:
            break
    print(json.dumps({"datagrams": datagrams, "ports": len(ports)}), flush=True)


if __name__ == "__main__":
    {"send": send, "count": count}[sys.argv[1]](sys.argv[2], int(sys.argv[3]))
