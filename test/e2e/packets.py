#!/usr/bin/env python3
"""Raw packets from inside a pod, and an ear at another: run by tests through `ocicat lab exec`.

    packets.py send SOURCE TARGET PORT TEXT...   one UDP datagram a text, with any source address
    packets.py from TARGET PORT TEXT=SOURCE...   the same, each text from a source of its own
    packets.py put PACKET...                     packets, each one argument of words:
                                                 udp SOURCE TARGET PORT PORT TEXT
                                                 tcp SOURCE TARGET PORT PORT FLAGS TEXT    FLAGS: SYN,ACK
                                                 sctp SOURCE TARGET PORT PORT TAG CHUNKS TEXT    CHUNKS: COOKIE_ACK,DATA
                                                 echo, reply SOURCE TARGET NUMBER TEXT
                                                 other SOURCE TARGET PROTOCOL TEXT
                                                 later SOURCE TARGET PROTOCOL TEXT    a fragment, not the first one
    packets.py error SOURCE FRIEND TARGET TEXT   an ICMP error "prohibited" to TARGET, about a datagram with that
                                                 text that FRIEND would have sent SOURCE in answer to the above
    packets.py overlap SOURCE TARGET             a datagram or, of IPv4, the beginning of a TCP connection to port 9 in
                                                 fragments: "judged-first", "written-over" over its header, "the-rest"
    packets.py cut SOURCE TARGET PORT TEXT       a datagram of IPv6 of more than a kilobyte, the text at its beginning,
                                                 in two fragments: whoever puts it together has to cut both anew
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
TCP_FLAGS = {"FIN": 1, "SYN": 2, "RST": 4, "ACK": 16}
SCTP_CHUNKS = {"DATA": 0, "INIT": 1, "INIT_ACK": 2, "SACK": 3, "ABORT": 6, "SHUTDOWN": 7, "SHUTDOWN_ACK": 8,
               "COOKIE_ECHO": 10, "COOKIE_ACK": 11, "SHUTDOWN_COMPLETE": 14}
SCTP_TAGS = 1000  # of both ends together
ECHO = {"echo": {4: 8, 6: 128}, "reply": {4: 0, 6: 129}}
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


def send_from(target, port, texts):
    for text in texts:
        text, source = text.split("=")
        send(source, target, port, [text])


def udp(source, target, source_port, port, text):
    return datagram(source, target, int(port), text.encode(), int(source_port))


def icmp_query(kind):
    def query(source, target, number, text):
        body = struct.pack("!BBHHH", ECHO[kind][source.version], 0, 0, int(number), 1) + text.encode()
        protocol = 1 if source.version == 4 else 58
        over = b"" if source.version == 4 else pseudo_header(source, target, protocol, len(body))
        return with_header(source, target, protocol, body[:2] + struct.pack("!H", checksum(over + body)) + body[4:])
    return query


def other(source, target, protocol, text):
    return with_header(source, target, int(protocol), text.encode())


def later(source, target, protocol, text):
    text = text.encode()
    if source.version == 6:
        return with_header(source, target, 44, struct.pack("!BBHI", int(protocol), 0, 64, 78) + text)
    packet = with_header(source, target, int(protocol), text)
    packet = packet[:6] + struct.pack("!HHH", 8, 64 << 8 | packet[9], 0) + packet[12:]
    return packet[:10] + struct.pack("!H", checksum(packet[:20])) + packet[12:]


def tcp(source, target, source_port, port, flags, text):
    bits = sum(TCP_FLAGS[flag] for flag in flags.split(","))
    ack = 1 if bits & TCP_FLAGS["ACK"] else 0
    body = struct.pack("!HHIIBBHHH", int(source_port), int(port), 1, ack, 5 << 4, bits, 1000, 0, 0) + text.encode()
    total = checksum(pseudo_header(source, target, 6, len(body)) + body)
    return with_header(source, target, 6, body[:16] + struct.pack("!H", total) + body[18:])


def crc32c(data):
    """RFC 9260, appendix A, bit by bit."""
    total = 0xFFFFFFFF
    for byte in data:
        total ^= byte
        for _ in range(8):
            total = total >> 1 ^ (0x82F63B78 if total & 1 else 0)
    return total ^ 0xFFFFFFFF


def chunk(kind, body=b"", flags=0):
    return struct.pack("!BBH", kind, flags, 4 + len(body)) + body + bytes(-len(body) % 4)


def sctp(source, target, source_port, port, tag, chunks, text):
    parts, tag, text = b"", int(tag), text.encode()
    for name in chunks.split(","):
        if name in ("INIT", "INIT_ACK"):  # with a parameter that nobody knows, and who sends it says its own tag
            parameter = struct.pack("!HH", 0xC000, 4 + len(text)) + text + bytes(-len(text) % 4)
            parts += chunk(SCTP_CHUNKS[name], struct.pack("!IIHHI", SCTP_TAGS - tag, 65536, 1, 1, 1) + parameter)
        elif name == "DATA":
            parts += chunk(SCTP_CHUNKS[name], struct.pack("!IHHI", 1, 0, 0, 0) + text, flags=3)
        elif name in ("SACK", "SHUTDOWN"):
            parts += chunk(SCTP_CHUNKS[name], struct.pack("!IIHH", 1, 65536, 0, 0)[:12 if name == "SACK" else 4])
        else:
            parts += chunk(SCTP_CHUNKS[name], text if name == "COOKIE_ECHO" else b"")
    if not chunks.startswith(("INIT", "DATA", "COOKIE_ECHO", "SHUTDOWN_COMPLETE")):
        parts += chunk(0x84, text)  # filling (RFC 4820)
    verification = 0 if chunks == "INIT" else tag
    head = struct.pack("!HHI", int(source_port), int(port), verification)
    total = crc32c(head + bytes(4) + parts)
    return with_header(source, target, 132, head + struct.pack("<I", total) + parts)


KINDS = {"udp": udp, "tcp": tcp, "sctp": sctp, "echo": icmp_query("echo"), "reply": icmp_query("reply"), "other": other,
         "later": later}


def put_all(packets):
    for packet in packets:
        kind, source, target, *words = packet.split()
        put(KINDS[kind](ipaddress.ip_address(source), ipaddress.ip_address(target), *words))


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


def cut(source, target, port, text):
    source, target = ipaddress.ip_address(source), ipaddress.ip_address(target)
    body = datagram(source, target, port, (text + " ").encode().ljust(1056, b"x"))[40:]

    def fragment(payload, offset, more):
        return struct.pack("!BBHI", 17, 0, offset | more, os.getpid()) + payload
    # Options (RFC 8200, section 4.6) in front of the first one, whose end is not where the second begins to be cut.
    options = struct.pack("!BBBB", 44, 12, 0x1E, 100) + bytes(100)
    put(with_header(source, target, 60, options + fragment(body[:64], 0, 1)))
    put(with_header(source, target, 44, fragment(body[64:], 64, 0)))


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
    elif sys.argv[1] == "from":
        send_from(sys.argv[2], int(sys.argv[3]), sys.argv[4:])
    elif sys.argv[1] == "put":
        put_all(sys.argv[2:])
    elif sys.argv[1] == "error":
        error(*sys.argv[2:])
    elif sys.argv[1] == "overlap":
        overlap(*sys.argv[2:])
    elif sys.argv[1] == "cut":
        cut(sys.argv[2], sys.argv[3], int(sys.argv[4]), sys.argv[5])
    elif sys.argv[1] == "find":
        find(sys.argv[2], sys.argv[3:])
    elif sys.argv[1] == "serve":
        serve(sys.argv[2], int(sys.argv[3]), sys.argv[4])
    else:
        hear(sys.argv[2])
