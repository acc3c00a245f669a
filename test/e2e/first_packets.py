"""A workload's first packets, sent from its network namespace by a process that is there before it has an interface.

    first_packets.py ALLOWED DENIED     each a JSON list of [address, port]

Sends datagrams to those denied without end, also while there is no interface yet, until its input has a line: then one
more to each of them, and, once only, one to each of those allowed. Prints the answers that came.
"""
import json
import select
import socket
import sys
import time

PACE = 0.005  # seconds between two rounds to those denied
PATIENCE = 5.0  # seconds for the answers
QUIET = 0.3  # seconds more, in which an answer of those denied would have come as well


def main():
    allowed, denied = [[tuple(to) for to in json.loads(word)] for word in sys.argv[1:]]
    plugs = {to: socket.socket(socket.AF_INET6 if ":" in to[0] else socket.AF_INET, socket.SOCK_DGRAM)
             for to in allowed + denied}
    print("+", flush=True)
    early = 0
    while not select.select([sys.stdin], [], [], PACE)[0]:
        for to in denied:
            try:
                plugs[to].sendto(b"early", to)
                early += 1
            except OSError:
                pass  # no interface, address or route yet
    for to in denied + allowed:
        plugs[to].sendto(b"first", to)
    answered = set()
    until = time.monotonic() + PATIENCE
    while (left := until - time.monotonic()) > 0:
        for plug in select.select(list(plugs.values()), [], [], left)[0]:
            plug.recv(100)
            answered.update(to for to, its in plugs.items() if its is plug)
        if answered >= set(allowed) and until - time.monotonic() > QUIET:
            until = time.monotonic() + QUIET
    print(json.dumps({"early": early, "answered": sorted(answered)}))


main()
