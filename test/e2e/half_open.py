#!/usr/bin/env python3
"""Floods of half-open TCP connections and of echo requests, and connections that wait while they last: run by tests
through `ocicat lab exec`.

    half_open.py flood SOURCE COUNT TARGET PORT...   so many SYNs, no two between the same ports; what comes back is
                                                 answered by nobody
    half_open.py echoes SOURCE TARGET...         echo requests to each target, as many as there are identifiers; how
                                                 many the kernel says were answered
    half_open.py serve FAMILY PORT               takes TCP connections and datagrams; for each line of its input it
                                                 says a word to everybody it knows, who need not have asked again
    half_open.py wait PORT COUNT ADDRESS...      has so many of both with each address, and says nothing more; for
                                                 each line of its input it prints how many have heard a word, once
                                                 all have or half a minute is over, and of how many; after "some"
                                                 three seconds; after "say" they say something first, and again
                                                 every half second until they have heard
"""
import errno
import ipaddress
import itertools
import select
import socket
import struct
import subprocess
import sys
import time

SOURCE_PORTS = range(1024, 65536)


def checksum(header):
    total = sum(struct.unpack("!%dH" % (len(header) // 2), header))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def header(source, target, size, protocol=6):
    if source.version == 6:
        return struct.pack("!IHBB16s16s", 0x60000000, size, protocol, 64, source.packed, target.packed)
    one = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + size, 1, 0, 64, protocol, 0, source.packed, target.packed)
    return one[:10] + struct.pack("!H", checksum(one)) + one[12:]


def syns(source, target, ports):
    """Of all ports, with right sums: whoever is asked answers."""
    pseudo = struct.pack("!HH", 6, 20) + source.packed + target.packed
    fixed = struct.pack("!IIBBHHH", 1, 0, 5 << 4, 2, 1000, 0, 0)
    before = header(source, target, 20)
    rest = ~checksum(pseudo + fixed) & 0xFFFF
    for port in ports:
        for own in SOURCE_PORTS:
            total = rest + own + port
            total = (total & 0xFFFF) + (total >> 16)
            total = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
            yield before + struct.pack("!HHIIBBHHH", own, port, 1, 0, 5 << 4, 2, 1000, total, 0)


def flood(source, count, target, ports):
    # Else the pod's own kernel, which knows of none, ends them.
    subprocess.run(["nft", "add table inet mute; add chain inet mute out { type filter hook output priority 0; };"
                    "add rule inet mute out tcp flags & rst == rst drop"], check=True)
    source, target = ipaddress.ip_address(source), ipaddress.ip_address(target)
    print(put_all(source.version, itertools.islice(syns(source, target, ports), count)))


def put_all(version, packets):
    out = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM)
    to = ("eth0", 0x0800 if version == 4 else 0x86DD, 0, 0, b"\xee" * 6)
    sent = 0
    for packet in packets:
        while True:
            try:
                out.sendto(packet, to)
                break
            except OSError as failed:
                if failed.errno != errno.ENOBUFS:  # else the other side's queue is full for a moment
                    raise
        sent += 1
    return sent


def requests(source, target):
    kind, protocol = (8, 1) if source.version == 4 else (128, 58)
    over = b"" if source.version == 4 else source.packed + target.packed + struct.pack("!II", 8, protocol)
    rest = ~checksum(over + struct.pack("!BBHHH", kind, 0, 0, 0, 0)) & 0xFFFF
    before = header(source, target, 8, protocol)
    for number in range(65536):
        total = rest + number
        total = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
        yield before + struct.pack("!BBHHH", kind, 0, total, number, 0)


def replies(version):
    if version == 4:
        with open("/proc/net/snmp") as file:
            names, values = [line.split() for line in file if line.startswith("Icmp:")]
        return int(values[names.index("InEchoReps")])
    with open("/proc/net/snmp6") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("Icmp6InEchoReplies"))


def echoes(source, targets):
    source = ipaddress.ip_address(source)
    before = replies(source.version)
    for target in targets:
        put_all(source.version, requests(source, ipaddress.ip_address(target)))
    end = time.monotonic() + 1  # the last ones are on their way
    while replies(source.version) - before < 65536 * len(targets) and time.monotonic() < end:
        time.sleep(0.05)
    print(replies(source.version) - before)


def serve(family, port):
    family = socket.AF_INET if family == 4 else socket.AF_INET6
    listener, datagrams = socket.socket(family, socket.SOCK_STREAM), socket.socket(family, socket.SOCK_DGRAM)
    for one in (listener, datagrams):
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.bind(("", port))
    listener.listen(1000)
    streams, peers = [], set()
    print("+", flush=True)
    while True:
        ready = select.select([listener, datagrams, sys.stdin], [], [])[0]
        if listener in ready:
            streams.append(listener.accept()[0])
        if datagrams in ready:
            peer = datagrams.recvfrom(10)[1]
            peers.add(peer)
            datagrams.sendto(b"known", peer)
        if sys.stdin in ready:
            if not sys.stdin.readline():
                return
            for one in streams:
                one.send(b"word")
            for peer in peers:
                datagrams.sendto(b"word", peer)


def wait(port, count, addresses):
    waiting = []
    for address in addresses:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        for _ in range(count):
            waiting.append(socket.create_connection((address, port), 10))
            one = socket.socket(family, socket.SOCK_DGRAM)
            one.settimeout(10)
            one.connect((address, port))
            one.send(b"hello")
            assert one.recv(10) == b"known"
            waiting.append(one)
    print("+", flush=True)
    while line := sys.stdin.readline():
        now = time.monotonic()
        heard, end, next_word = set(), now + (3 if line == "some\n" else 30), now
        while len(heard) < len(waiting) and (now := time.monotonic()) < end:
            # Of two that begin anew at one moment one may push out the other, which nobody has answered yet.
            if line == "say\n" and now >= next_word:
                next_word = now + 0.5
                for one in set(waiting) - heard:
                    one.send(b"hello")
            for one in select.select(set(waiting) - heard, [], [], 0.1)[0]:
                if one.recv(10):
                    heard.add(one)
        missed = {one.type.name for one in set(waiting) - heard} if line != "some\n" else ()
        print(len(heard), "of", len(waiting), *missed, flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "flood":
        flood(sys.argv[2], int(sys.argv[3]), sys.argv[4], map(int, sys.argv[5:]))
    elif sys.argv[1] == "echoes":
        echoes(sys.argv[2], sys.argv[3:])
    elif sys.argv[1] == "serve":
        serve(int(sys.argv[2]), int(sys.argv[3]))
    else:
        wait(int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:])
