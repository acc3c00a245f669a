"""Two pods that speak by packets as a test writes them (packets.py put): their kernels stay silent."""
import contextlib
import sys

from ears import PACKETS, Ear

MUTE = """
table FAMILY mute {
  chain out {
    type filter hook output priority 0
    meta l4proto { tcp, udp, sctp, icmp } drop
    icmpv6 type { destination-unreachable, parameter-problem, echo-reply } drop
  }
}
"""


class Raw:
    """Between a client and a server, of one family. A packet is its kind and what comes behind the addresses."""

    def __init__(self, lab, client, server, family):
        self.lab = lab
        self.family = family
        self.table = {4: "ip", 6: "ip6"}[family]
        self.pods = {"client": client, "server": server}
        self.addresses = {who: lab.address(pod, family) for who, pod in self.pods.items()}
        self.ears = {}

    @contextlib.contextmanager
    def listening(self, *texts):
        """For these texts, up to the first "last"."""
        for pod in self.pods.values():
            self.lab.exec(pod, "nft", "-f", "-", stdin=MUTE.replace("FAMILY", self.table))
        self.ears = {who: Ear(self.lab, "exec", pod, "--", "find", texts=texts) for who, pod in self.pods.items()}
        try:
            yield
        finally:
            for pod in self.pods.values():
                self.lab.exec(pod, "nft", "delete", "table", self.table, "mute")

    def addressed(self, who, packet):
        """As packets.py wants it of whom says it."""
        other = "server" if who == "client" else "client"
        kind, rest = packet.split(" ", 1)
        return f"{kind} {self.addresses[who]} {self.addresses[other]} {rest}"

    def put(self, who, *addressed):
        self.lab.exec(self.pods[who], sys.executable, PACKETS, "put", *addressed)

    def say(self, who, *packets):
        self.put(who, *(self.addressed(who, packet) for packet in packets))

    def heard(self):
        """By either, once both have been told the last word by somebody."""
        return {who: ear.heard()[:-1] for who, ear in self.ears.items()}
