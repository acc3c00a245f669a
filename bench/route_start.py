#!/usr/bin/env python3
"""How long from the start of an agent until its kernel has its first route.

Two hosts of a lab with a pod each. Each round stops the agent of host1, removes what it left in the kernel, and starts
the program again; `routes-start` ends with the first route of ours that the kernel announces. With BIRD,
`routes-start-bgp` is from the start of an agent that finds no BIRD to the first route that BIRD has heard of.

Prints `figure value unit` lines.
"""
import os
import pathlib
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))
from ocicat_lab import Lab  # noqa: E402

ROUNDS = int(os.environ.get("OCICAT_BENCH_ROUNDS", "10"))


def first_route(lab, protocol):
    """Seconds from the start of host1's agent to a route of this protocol, as the kernel announces it."""
    namespace = "%s-host1" % lab.name
    with subprocess.Popen(["ip", "-n", namespace, "monitor", "route"], stdout=subprocess.PIPE, text=True) as monitor:
        begin = time.monotonic()
        starting = subprocess.Popen([lab.binary, "lab", "agent", "start", "host1", "--no-wait"], env=lab.environment,
                                    stdout=subprocess.DEVNULL)
        for line in monitor.stdout:
            leads = "blackhole" not in line and "unreachable" not in line
            if "proto %s " % protocol in line and leads and not line.startswith("Deleted"):
                break
        took = time.monotonic() - begin
        monitor.kill()
    starting.wait()
    lab.wait()
    return took


def rounds(network, protocol):
    with Lab("bench-%d-%s" % (os.getpid(), network), os.environ["OCICAT_BIN"], 2, network=network) as lab:
        for host in lab.hosts:
            lab.add_pod("bench/%s" % host, host)
        lab.wait()
        times = []
        for _ in range(ROUNDS):
            lab.run("lab", "agent", "stop", "host1")
            cleanup = [lab.binary, "agent", "--cleanup", "--run-dir", str(lab.folder / "run" / "host1")]
            lab.host_exec("host1", *cleanup)
            times.append(first_route(lab, protocol))
        return times


def main():
    print("routes-start %.1f ms" % (1e3 * statistics.median(rounds("plain", "80"))))
    print("routes-start-bgp %.1f ms" % (1e3 * statistics.median(rounds("bgp", "bird"))))


if __name__ == "__main__":
    main()
