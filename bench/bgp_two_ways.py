#!/usr/bin/env python3
"""How long packets between two hosts with two routers are lost when one of the ways ends.

A lab of two hosts, each with a link to either router, which FRR runs; both are used. Pings every 5 ms between the
pods of the hosts, in both families and directions. Each round

    link     takes host1's link to a router down
    silent   has a router drop all that comes in
    lost     kills a router's BGP, and starts it again

until both hosts go by the other router alone, and then until they go by both. Of the first two, how long the ping that
fares worst is without an answer, medians of the rounds; of the last, pings lost, all rounds together. Prints `figure
value unit` lines.
"""
import os
import pathlib
import statistics
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))
from ocicat_lab import Lab, eventually  # noqa: E402
from two_routers import ROUTERS_AS, Flows, connected, go_by  # noqa: E402

ROUNDS = int(os.environ.get("OCICAT_BENCH_ROUNDS", "3"))
PATIENCE = 90  # seconds


def loses(lab, end, begin_again, back=lambda: True):
    """Packets lost and the longest time without an answer as the way by "left" ends; packets lost as it comes back."""
    flows = Flows(lab)
    end()
    eventually(lambda: go_by(lab, "right"), PATIENCE)
    lost, gap = flows.end()
    flows = Flows(lab)
    begin_again()
    eventually(lambda: go_by(lab, *ROUTERS_AS) and back(), PATIENCE)
    return lost, gap, flows.end()[0]


def main():
    with Lab("bench-%d" % os.getpid(), os.environ["OCICAT_BIN"], 2, network="bgp") as lab, connected(lab) as routers:
        left = routers["left"]
        links = [loses(lab, lambda: lab.host_exec("host1", "ip", "link", "set", "left", "down"),
                       lambda: left.connect("host1")) for _ in range(ROUNDS)]
        silent = [loses(lab, left.fall_silent, left.speak_again) for _ in range(ROUNDS)]
        killed = [loses(lab, lambda: left.kill("bgpd"), lambda: left.run("bgpd"), lambda: left.leads("host1"))
                  for _ in range(ROUNDS)]
    print("bgp-two-ways-link %.0f ms" % (1e3 * statistics.median(gap for _, gap, _ in links)))
    print("bgp-two-ways-silent %.0f ms" % (1e3 * statistics.median(gap for _, gap, _ in silent)))
    print("bgp-two-ways-lost %d packets" % sum(lost + back for lost, _, back in killed))


if __name__ == "__main__":
    main()
