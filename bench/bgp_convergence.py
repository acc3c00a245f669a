#!/usr/bin/env python3
"""How long hosts with BIRD take to agree again after something is lost: a peer, a link, BIRD itself.

A lab of five hosts in a mesh with a pod each, pings every 5 ms between neighbours all the while. Each round

    peer   ends host3's agent and BIRD: until host1's kernel has no route to its pods; and, once the agent is
           started again, until it has one
    link   takes the link between host1 and host2 down and up again, with what an administrator configures on
           it: until host1's kernel has no route to host2's pods; and, from then on, until it has one
    kill   kills host1's BIRD: until all its sessions are up again, and how many pings of any pod were lost
           until its recovery has ended and nothing stands in for its routes any more

Medians of the rounds, as the kernel announces routes, or is asked where it announces nothing; packets are summed
up. Prints `figure value unit` lines.
"""
import json
import os
import pathlib
import select
import signal
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))
from ocicat_lab import Lab  # noqa: E402

ROUNDS = int(os.environ.get("OCICAT_BENCH_ROUNDS", "5"))
HOSTS = 5
PATIENCE = 60  # seconds


class Watch:
    """What host1's kernel announces of its IPv4 routes, from here on."""

    def __init__(self, lab):
        self.monitor = subprocess.Popen(["ip", "-4", "-o", "-n", "%s-host1" % lab.name, "monitor", "route"],
                                        stdout=subprocess.PIPE)
        self.unread = b""
        while True:  # until it listens
            lab.host_exec("host1", "ip", "route", "replace", "192.0.2.1", "dev", "lo")
            if select.select([self.monitor.stdout], [], [], 0.1)[0]:
                break
        lab.host_exec("host1", "ip", "route", "del", "192.0.2.1", "dev", "lo")

    def line(self, end):
        while b"\n" not in self.unread:
            if not select.select([self.monitor.stdout], [], [], max(0, end - time.monotonic()))[0]:
                return None
            said = os.read(self.monitor.stdout.fileno(), 65536)
            if not said:
                raise SystemExit("ip monitor has ended")
            self.unread += said
        line, self.unread = self.unread.split(b"\n", 1)
        return line.decode()

    def until(self, words, deleted):
        """When a line with the words comes (CLOCK_MONOTONIC)."""
        end = time.monotonic() + PATIENCE
        while (line := self.line(end)) is not None:
            if words in line and line.startswith("Deleted") == deleted:
                return time.monotonic()
        raise SystemExit("the kernel has not announced that %s%s after %d s" %
                         (words, "goes" if deleted else "comes", PATIENCE))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.monitor.kill()
        self.monitor.wait()


def route_to(lab, pod):
    """The destination of host1's route to it."""
    text = lab.host_exec("host1", "ip", "-j", "route", "get", "fibmatch", lab.address(pod)).stdout
    return json.loads(text)[0]["dst"]


def leads_by(lab, pod, link):
    """Whether host1 sends to it by the link."""
    text = lab.host_exec("host1", "ip", "-j", "route", "get", lab.address(pod), check=False).stdout
    return bool(text) and json.loads(text)[0].get("dev") == link


def bird_files(lab, host):
    return lab.folder / "run" / host / "bird"


def birdc(lab, host, *words):
    return lab.host_exec(host, "birdc", "-s", str(bird_files(lab, host) / "bird.ctl"), *words, check=False).stdout


def copies(lab, host):
    """Routes that the agent keeps while BIRD may not have heard everything again."""
    return "".join(lab.host_exec(host, "ip", family, "route", "show", "proto", "81").stdout for family in ("-4", "-6"))


def sessions_up(lab, host):
    lines = [line.split() for line in birdc(lab, host, "show", "protocols").splitlines()]
    return sum(words[1:2] == ["BGP"] and words[5:6] == ["Established"] for words in lines)


def await_sessions(lab, hosts=("host1", "host2", "host3")):
    end = time.monotonic() + PATIENCE
    while any(sessions_up(lab, host) != 2 * (HOSTS - 1) for host in hosts):
        if time.monotonic() > end:
            raise SystemExit("sessions are not up again after %d s" % PATIENCE)
    return time.monotonic()


def lose_peer(lab):
    net = route_to(lab, "bench/pod3")
    lab.run("lab", "agent", "kill", "host3")
    with Watch(lab) as watch:
        begun = time.monotonic()
        birdc(lab, "host3", "down")
        withdrawn = watch.until(net + " ", deleted=True) - begun
        begun = time.monotonic()
        lab.run("lab", "agent", "start", "host3", "--no-wait")
        back = watch.until(net + " ", deleted=False) - begun
    await_sessions(lab)
    return withdrawn, back


def lose_link(lab):
    net = route_to(lab, "bench/pod2")
    with Watch(lab) as watch:
        begun = time.monotonic()
        lab.host_exec("host1", "ip", "link", "set", "to-host2", "down")
        # The kernel takes routes of IPv4 away with their link and announces none of it.
        while leads_by(lab, "bench/pod2", "to-host2"):
            if time.monotonic() - begun > PATIENCE:
                raise SystemExit("the route by a link that is down is still there after %d s" % PATIENCE)
        withdrawn = time.monotonic() - begun
        begun = time.monotonic()
        lab.host_exec("host1", "ip", "link", "set", "to-host2", "up")
        lab.host_exec("host1", "ip", "addr", "replace", lab.host_address(1, 6), "dev", "to-host2", "nodad")
        for family in (4, 6):  # what the kernel has taken away with the link
            lab.host_exec("host1", "ip", "-%d" % family, "route", "replace", lab.host_address(2, family), "dev",
                          "to-host2", "src", lab.host_address(1, family))
        back = watch.until(net + " via ", deleted=False) - begun
    await_sessions(lab)
    return withdrawn, back


def kill_bird(lab):
    flows = [lab.start_traffic("bench/pod%d" % number, "ping", lab.address("bench/pod%d" % (number % HOSTS + 1)))
             for number in range(1, HOSTS + 1)]
    begun = time.monotonic()
    os.kill(int((bird_files(lab, "host1") / "bird.pid").read_text()), signal.SIGKILL)
    up = await_sessions(lab) - begun
    end = time.monotonic() + PATIENCE
    while copies(lab, "host1"):  # these stay beyond the end of BIRD's recovery, when it drops what nobody told it
        if time.monotonic() > end:
            raise SystemExit("copies of routes are still there after %d s" % PATIENCE)
    reports = [flow.stop() for flow in flows]
    if any(report["sent"] <= 10 for report in reports):
        raise SystemExit("pings were not sent")
    return up, sum(len(report["missing"]) for report in reports)


def main():
    with Lab("bench-%d" % os.getpid(), os.environ["OCICAT_BIN"], HOSTS, network="bgp") as lab:
        for number, host in enumerate(lab.hosts, start=1):
            lab.add_pod("bench/pod%d" % number, host)
        lab.wait()
        await_sessions(lab, lab.hosts)
        peers = [lose_peer(lab) for _ in range(ROUNDS)]
        links = [lose_link(lab) for _ in range(ROUNDS)]
        kills = [kill_bird(lab) for _ in range(ROUNDS)]
    print("bgp-peer-withdrawn %.0f ms" % (1e3 * statistics.median(took for took, _ in peers)))
    print("bgp-peer-back %.0f ms" % (1e3 * statistics.median(took for _, took in peers)))
    print("bgp-link-withdrawn %.0f ms" % (1e3 * statistics.median(took for took, _ in links)))
    print("bgp-link-back %.0f ms" % (1e3 * statistics.median(took for _, took in links)))
    print("bgp-killed-up %.0f ms" % (1e3 * statistics.median(took for took, _ in kills)))
    print("bgp-killed-lost %d packets" % sum(lost for _, lost in kills))


if __name__ == "__main__":
    main()
