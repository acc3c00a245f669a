#!/usr/bin/env python3
"""How long it takes to give containers a network and to take it back: ocicat-cni as a runtime starts it, with the agent
and the server of a lab, eBPF where the kernel can, one IPv4 address each, policy in force and addresses on disk before
ADD returns.

All of a host are given theirs one after another, and so the kernel's part alone is done, by a program (cni_floor) and
by `ip -batch`, once in the host and once in the container: each kind in a row, the kinds in turn, forwards and
backwards. Some more are each given theirs after a pause, in which processors rest and others use the caches of a
shared machine. Times are from the start of a program to its end. Prints `figure value unit` lines.
"""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))
from ocicat_lab import Lab  # noqa: E402

COUNT = 110
ROUNDS = int(os.environ.get("OCICAT_BENCH_ROUNDS", "3"))
PAUSED, PAUSE = 40, 0.05  # how many after a pause, in seconds


class Starter:
    """Starts programs with prepared input, environment and no output."""

    def __init__(self, text, scratch):
        scratch.write_text(text)
        self.input = os.open(scratch, os.O_RDONLY)

    def start(self, words, environment):
        path = "/proc/self/fd/%d" % self.input
        actions = [(os.POSIX_SPAWN_OPEN, 0, path, os.O_RDONLY, 0),
                   (os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0)]
        return os.posix_spawn(words[0], words, environment, file_actions=actions)

    def close(self):
        os.close(self.input)

    def time(self, words, environment):
        begin = time.perf_counter()
        _, status = os.waitpid(self.start(words, environment), 0)
        took = time.perf_counter() - begin
        if status != 0:
            raise RuntimeError("%s: status %d" % (" ".join(words), status))
        return took

    def together(self, words, environments):
        begin = time.perf_counter()
        for pid in [self.start(words, environment) for environment in environments]:
            _, status = os.waitpid(pid, 0)
            if status != 0:
                raise RuntimeError("%s: status %d" % (" ".join(words), status))
        return time.perf_counter() - begin


class Batch:
    """What cni_floor does, by `ip -batch`."""

    GATEWAY, MAC = "169.254.1.1", "ee:ee:ee:ee:ee:ee"

    def __init__(self, lab):
        self.host = "%s-host1" % lab.name
        self.ip = shutil.which("ip")
        self.in_container = Starter(
            "link set eth0 up\naddr add 192.0.2.1/32 dev eth0\nroute add %s dev eth0 scope link\n"
            "route add default via %s\nneigh add %s lladdr %s dev eth0 nud permanent\n"
            % (self.GATEWAY, self.GATEWAY, self.GATEWAY, self.MAC), lab.folder / "bench.container")
        self.folder = lab.folder

    def time(self, number, container):
        in_host = Starter("link add batch%d address %s type veth peer name eth0 netns %s\nlink set batch%d up\n"
                          % (number, self.MAC, container, number), self.folder / "bench.host")
        took = sum(starter.time([self.ip, "-n", namespace, "-batch", "-"], {})
                   for starter, namespace in ((in_host, self.host), (self.in_container, container)))
        in_host.close()
        return took

    def undo(self, number):
        subprocess.run([self.ip, "-n", self.host, "link", "del", "batch%d" % number], check=True)


def percentile(values, part):
    return sorted(values)[min(int(len(values) * part), len(values) - 1)]


def measure(lab, binary):
    plugin = [str(binary.with_name("ocicat-cni"))]
    floor = [str(binary.parent.parent / "bench" / "cni_floor")]
    configuration = {"cniVersion": "1.1.0", "name": "bench", "type": "ocicat-cni",
                     "agent_dir": str(lab.folder / "cni" / "host1")}
    starter = Starter(json.dumps(configuration), lab.folder / "bench.conf")
    names = ["%s-pod-bench.p%d" % (lab.name, number) for number in range(COUNT)]
    for name in names:
        subprocess.run(["ip", "netns", "add", name], check=True)
    lab.run("lab", "namespace", "bench")

    def environment(command, number):
        return {"CNI_COMMAND": command, "CNI_CONTAINERID": "c%d" % number, "CNI_IFNAME": "eth0",
                "CNI_NETNS": "/run/netns/" + names[number],
                "CNI_ARGS": "K8S_POD_NAMESPACE=bench;K8S_POD_NAME=p%d" % number}

    def floor_words(command, number):
        return floor + [command, "/run/netns/%s-host1" % lab.name, "/run/netns/" + names[number], "floor%d" % number,
                        "192.0.2.%d" % (number + 1)]

    batch = Batch(lab)

    def by_program(command, number):
        return starter.time(floor_words(command, number), {})

    def by_plugin(command, number):
        return starter.time(plugin, environment(command, number))

    kinds = {
        "batch": (lambda number: batch.time(number, names[number]), batch.undo),
        "floor": (lambda number: by_program("add", number), lambda number: by_program("del", number)),
        "own": (lambda number: by_plugin("ADD", number), lambda number: by_plugin("DEL", number)),
    }
    times = {(kind, what): [] for kind in kinds for what in ("add", "del", "paused")}
    bursts = []
    for turn in range(ROUNDS):
        for kind, (add, undo) in list(kinds.items())[:: 1 if turn % 2 == 0 else -1]:
            times[kind, "add"] += [add(number) for number in range(COUNT)]
            times[kind, "del"] += [undo(number) for number in range(COUNT)]
            for number in range(PAUSED):
                time.sleep(PAUSE)
                times[kind, "paused"].append(add(number))
            for number in range(PAUSED):
                undo(number)
        bursts.append(starter.together(plugin, [environment("ADD", number) for number in range(COUNT)]))
        starter.together(plugin, [environment("DEL", number) for number in range(COUNT)])
    return times, bursts


def main():
    binary = pathlib.Path(os.environ["OCICAT_BIN"])
    with Lab("bench-cni-%d" % os.getpid(), binary, 1) as lab:
        times, bursts = measure(lab, binary)
    for figure, what, part in (("add-p50", "add", 0.5), ("add-p99", "add", 0.99), ("del-p50", "del", 0.5),
                               ("del-p99", "del", 0.99), ("add-paused-p50", "paused", 0.5)):
        own, floor = (percentile(times[kind, what], part) for kind in ("own", "floor"))
        print("cni-%s %.2f ms" % (figure, own * 1e3))
        print("cni-%s-floor %.2f x" % (figure, own / floor))
        print("the floor of %s: %.2f ms" % (figure, floor * 1e3))
    own, batch = (percentile(times[kind, "add"], 0.5) for kind in ("own", "batch"))
    print("cni-add-p50-batch %.2f x" % (own / batch))
    print("ip -batch p50: %.2f ms" % (batch * 1e3))
    print("cni-add-together %.3f s" % min(bursts))


if __name__ == "__main__":
    main()
