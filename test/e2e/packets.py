#!/usr/bin/env python3
"""Raw packets from inside a pod, and an ear at another: run by tests through `ocicat lab exec`.

    packets.py send SOURCE TARGET PORT TEXT...   one UDP datagram a text, with any source address
    packets.py serve ADDRESS PORT LAST           arriving texts, of datagrams that a socket of that address receives
    packets.py hear LAST                         prints the texts of arriving UDP datagrams, one a line, from "+"
                                                 (it listens) to the text LAST
"""
import ipaddress
import socket
import struct
import sys

SOURCE_PORT = 40000


def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF or 0xFFFF


def datagram(source, target, port, payload):
    """An IP packet, complete: what leaves is what stands here."""
    length = 8 + len(payload)
    body = struct.pack("!HHHH", SOURCE_PORT, port, length, 0) + payload
    if source.version == 4:
        pseudo = source.packed + target.packed + struct.pack("!BBH", 0, 17, length)
        header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + length, 1, 0, 64, 17, 0, source.packed, target.packed)
        header = header[:10] + struct.pack("!H", checksum(header)) + header[12:]
    else:
        pseudo = source.packed + target.packed + struct.pack("!II", length, 17)
        header = struct.pack("!IHBB16s16s", 0x60000000, length, 17, 64, source.packed, target.packed)
    return header + body[:6] + struct.pack("!H", checksum(pseudo + body)) + body[8:]


def send(source, target, port, texts):
    source, target = ipaddress.ip_address(source), ipaddress.ip_address(target)
    out = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM)
    kind = 0x0800 if source.version == 4 else 0x86DD
    for text in texts:
        # To the host's side of the pair, whose MAC address is always this one.
        out.sendto(datagram(source, target, port, text.encode()), ("eth0", kind, 0, 0, b"\xee" * 6))


def hear(last):
    ear = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0003))
    print("+", flush=True)
    while True:
        packet, (_, kind, direction, *_) = ear.recvfrom(2048)
        if direction == socket.PACKET_OUTGOING:
            continue
        if kind == 0x0800 and packet[9] == 17:
            payload = packet[(packet[0] & 15) * 4 + 8:]
        elif kind == 0x86DD and packet[6] == 17:
            payload = packet[48:]
        else:
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
    elif sys.argv[1] == "serve":
        serve(sys.argv[2], int(sys.argv[3]), sys.argv[4])
    else:
        hear(sys.argv[2])
