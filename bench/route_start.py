#!/usr/bin/env python3
"""How long from the start of an agent until its kernel has its first route.

Two hosts of a lab with a pod each. Each round stops the agent of host1, removes what it left in the kernel, and starts
the program again; `routes-start` ends with the first route of ours that the kernel announces. With BIRD, which is not
there either, `routes-start-bgp` ends with the first route to another host's workloads, and
`routes-start-bgp-heard` with the first that BIRD has heard of from that host.

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


def first_routes(lab, kinds):
    """Seconds from the start of host1's agent to the first route of each kind (name: what its line must contain), as
    the kernel announces them."""
    namespace = "%s-host1" % lab.name
    with subprocess.Popen(["ip", "-n", namespace, "monitor", "route"], stdout=subprocess.PIPE, text=True) as monitor:
        begin = time.monotonic()
        took = {}
        starting = subprocess.Popen([lab.binary, "lab", "agent", "start", "host1", "--no-wait"], env=lab.environment,
                                    stdout=subprocess.DEVNULL)
        for line in monitor.stdout:
            leads = "blackhole" not in line and "unreachable" not in line
            if not leads or line.startswith("Deleted"):
                continue
            for name, words in kinds.items():
                if name not in took and all(word in line for word in words):
                    took[name] = time.monotonic() - begin
            if len(took) == len(kinds):
                break
        monitor.kill()
    starting.wait()
    lab.wait()
    return took


def medians(network, kinds):
    with Lab("bench-%d-%s" % (os.getpid(), network), os.environ["OCICAT_BIN"], 2, network=network) as lab:
        for host in lab.hosts:
            lab.add_pod("bench/%s" % host, host)
        lab.wait()
        times = {name: [] for name in kinds}
        for _ in range(ROUNDS):
            lab.run("lab", "agent", "stop", "host1")
            cleanup = [lab.binary, "agent", "--cleanup", "--run-dir", str(lab.folder / "run" / "host1"),
                       "--bpf-folder", "/sys/fs/bpf/ocicat-lab/%s/host1" % lab.name]
            lab.host_exec("host1", *cleanup)
            for name, took in first_routes(lab, kinds).items():
                times[name].append(took)
        for name, values in times.items():
            print("%s %.1f ms" % (name, 1e3 * statistics.median(values)))


def main():
    medians("plain", {"routes-start": ["proto 80 "]})
    medians("bgp", {"routes-start-bgp": [" via "], "routes-start-bgp-heard": [" via ", "proto bird "]})


if __name__ == "__main__":
    main()
