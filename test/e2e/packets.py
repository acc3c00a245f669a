#!/usr/bin/env python3
"""Raw packets from inside a pod, and an ear at another: run by tests through `ocicat lab exec`.

    packets.py send SOURCE TARGET PORT TEXT...   one UDP datagram a text, with any source address
    packets.py error SOURCE FRIEND TARGET TEXT   an ICMP error "prohibited" to TARGET, about a datagram with that
                                                 text that FRIEND would have sent SOURCE in answer to the above
    packets.py overlap SOURCE TARGET             a datagram or, of IPv4, the beginning of a TCP connection to port 9 in
                                                 fragments: "judged-first", "written-over" over its header, "the-rest"
    packets.py find LAST TEXT...                 prints each of these texts, and the last one, that an arriving packet
                                                 has anywhere, one a line, from "+" to the last; by the interface
                                                 WAY alone if there is one
    packets.py serve ADDRESS PORT LAST           arriving texts, of datagrams that a socket of that address receives
    packets.py hear LAST                         prints the texts of arriving UDP datagrams, and of those that such
                                                 errors are about, one a line, from "+" (it listens) to the text LAST
"""
import ipaddress
import os
import socket
import struct
import sys

SOURCE_PORT = 40000
PROHIBITED = {4: (1, 3, 13), 6: (58, 1, 1)}  # protocol, type and code: none that kernels send by themselves here


def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF or 0xFFFF


def with_header(source, target, protocol, body):
    """An IP packet, complete: what leaves is what stands here."""
    if source.version == 4:
        header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(body), 1, 0, 64, protocol, 0, source.packed,
                             target.packed)
        return header[:10] + struct.pack("!H", checksum(header)) + header[12:] + body
    return struct.pack("!IHBB16s16s", 0x60000000, len(body), protocol, 64, source.packed, target.packed) + body


def pseudo_header(source, target, protocol, length):
    return source.packed + target.packed + struct.pack("!II", length, protocol)


def datagram(source, target, port, payload, source_port=SOURCE_PORT):
    body = struct.pack("!HHHH", source_port, port, 8 + len(payload), 0) + payload
    total = checksum(pseudo_header(source, target, 17, len(body)) + body)
    return with_header(source, target, 17, body[:6] + struct.pack("!H", total) + body[8:])


def icmp_error(source, target, about):
    """That somebody prohibits it."""
    protocol, kind, code = PROHIBITED[source.version]
    body = struct.pack("!BBHI", kind, code, 0, 0) + about
    total = checksum((b"" if source.version == 4 else pseudo_header(source, target, 58, len(body))) + body)
    return with_header(source, target, protocol, body[:2] + struct.pack("!H", total) + body[4:])


def put(packet):
    """Of a pod to the host's side of the pair, whose MAC address is always this one; else by WAY (INTERFACE MAC)."""
    interface, mac = os.environ.get("WAY", "eth0 ee:ee:ee:ee:ee:ee").split()
    kind = 0x0800 if packet[0] >> 4 == 4 else 0x86DD
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM) as out:
        out.sendto(packet, (interface, kind, 0, 0, bytes.fromhex(mac.replace(":", ""))))


def send(source, target, port, texts):
    source, target = ipaddress.ip_address(source), ipaddress.ip_address(target)
    for text in texts:
        put(datagram(source, target, port, text.encode()))


def error(source, friend, target, text):
    source, friend, target = (ipaddress.ip_address(one) for one in (source, friend, target))
    put(icmp_error(source, target, datagram(friend, source, SOURCE_PORT, text.encode(), source_port=9)))


def overlap(source, target):
    source, target = ipaddress.ip_address(source), ipaddress.ip_address(target)
    if source.version == 4:
        def transport(port, text):  # of 32 bytes: the header, without checksum, is 20 of them
            return struct.pack("!HHIIBBHHH", SOURCE_PORT, port, 1, 0, 5 << 4, 2, 1000, 0, 0) + text.ljust(12).encode()

        def fragment(offset, more, payload):
            packet = with_header(source, target, 6, payload)
            packet = packet[:4] + struct.pack("!HH", 77, more << 13 | offset) + packet[8:10] + bytes(2) + packet[12:]
            return packet[:10] + struct.pack("!H", checksum(packet[:20])) + packet[12:]
    else:
        def transport(port, text):  # of 32 bytes: options of the destination, 8 bytes, stand in front
            return b"\x11\0\1\4\0\0\0\0" + struct.pack("!HHHH", SOURCE_PORT, port, 32, 0) + text.ljust(16).encode()

        def fragment(offset, more, payload):
            return with_header(source, target, 44, struct.pack("!BBHI", 60, 0, offset << 3 | more, 77) + payload)
    put(fragment(0, 1, transport(9, "judged-first")))
    put(fragment(1, 1, transport(10, "written-over")[8:]))
    put(fragment(4, 0, b"the-rest"))


def find(last, texts):
    ear = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0003))
    if "WAY" in os.environ:
        ear.bind((os.environ["WAY"], 0x0003))
    print("+", flush=True)
    while True:
        packet, (_, _, direction, *_) = ear.recvfrom(2048)
        for text in [*texts, last] if direction != socket.PACKET_OUTGOING else []:
            if text.encode() in packet:
                print(text, flush=True)
                if text == last:
                    return


def text_in(kind, packet):
    if kind == 0x0800:
        header, protocol, prohibited = (packet[0] & 15) * 4, packet[9], PROHIBITED[4]
    elif kind == 0x86DD:
        header, protocol, prohibited = 40, packet[6], PROHIBITED[6]
    else:
        return None
    if protocol == 17:
        return packet[header + 8:]
    if (protocol, *packet[header:header + 2]) == prohibited:
        return text_in(kind, packet[header + 8:])
    return None


def hear(last):
    ear = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0003))
    print("+", flush=True)
    while True:
        packet, (_, kind, direction, *_) = ear.recvfrom(2048)
        if direction == socket.PACKET_OUTGOING:
            continue
        payload = text_in(kind, packet)
        if payload is None:
            continue
        text = payload.decode(errors="replace").rstrip("\0")
        print(text, flush=True)
        if text == last:
            return


def serve(address, port, last):
    own = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    own.bind((address, port))
    print("+", flush=True)
    text = ""
    while text != last:
        text = own.recv(2048).decode()
        print(text, flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "send":
        send(sys.argv[2], sys.argv[3], int(sys.argv[4]), sys.argv[5:])
    elif sys.argv[1] == "error":
        error(*sys.argv[2:])
    elif sys.argv[1] == "overlap":
        overlap(*sys.argv[2:])
    elif sys.argv[1] == "find":
        find(sys.argv[2], sys.argv[3:])
    elif sys.argv[1] == "serve":
        serve(sys.argv[2], int(sys.argv[3]), sys.argv[4])
    else:
        hear(sys.argv[2])
