"""An agent of another build takes over while connections are open: the programs are replaced, and nothing is lost.

In most tests the other build is this one, by another digest; in the last ones it is one whose programs are others, and
have a map more (test/other_build)."""
import contextlib
import ctypes
import json
import mmap
import os
import pathlib
import subprocess
import time

import pytest

import host_connections
from counted import Counted, Denied

BUILD = slice(104, 120)  # of struct host (bpf/maps/host.h): the digest of the programs that are attached
PAIRS = [("shop/near", "shop/web"), ("shop/far", "shop/web"), ("shop/near", "shop/far")]
DENIED = [("shop/stranger", "shop/web"), ("shop/local", "shop/web"), ("shop/web", "shop/near"),
          ("shop/web", "shop/far")]


@pytest.fixture(scope="module")
def lab(make_lab):
    lab = make_lab(2, "ebpf")
    lab.together([lab.pod_words("shop/web", "host1", {"app": "web"}),
                  lab.pod_words("shop/near", "host1", {"app": "near"}),
                  lab.pod_words("shop/far", "host2", {"app": "far"}),
                  lab.pod_words("shop/local", "host1", {"app": "stranger"}),
                  lab.pod_words("shop/stranger", "host2", {"app": "stranger"})])
    lab.apply({"apiVersion": "projectcalico.org/v3", "kind": "NetworkPolicy",
               "metadata": {"name": "web", "namespace": "shop"},
               "spec": {"selector": "app == 'web'", "types": ["Ingress", "Egress"],
                        "ingress": [{"action": "Allow", "source": {"selector": "app in {'near', 'far'}"}}]}})
    lab.wait()
    return lab


@contextlib.contextmanager
def host_values(lab, host):
    """The memory of map host, as the agent there has pinned it."""
    folder, = pathlib.Path("/sys/fs/bpf/ocicat-lab", lab.name, host).glob("maps-v*")
    libbpf = ctypes.CDLL("libbpf.so.1", use_errno=True)
    descriptor = libbpf.bpf_obj_get(str(folder / "host").encode())
    assert descriptor >= 0, os.strerror(ctypes.get_errno())
    try:
        with mmap.mmap(descriptor, mmap.PAGESIZE) as memory:
            yield memory
    finally:
        os.close(descriptor)


def build_of(lab, host):
    with host_values(lab, host) as memory:
        return memory[BUILD]


def upgrade(lab, host, how):
    """The agent there ends, another begins, for whom the programs are those of another build. It loads its own, whose
    digest is then there again."""
    own = build_of(lab, host)
    lab.run("lab", "agent", how, host)
    with host_values(lab, host) as memory:
        memory[BUILD] = bytes(byte ^ 0xff for byte in own)
    lab.run("lab", "agent", "start", host)
    assert build_of(lab, host) == own


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_it_loses_nothing_of_open_connections(lab, how):
    pings = {(pod, family): lab.start_traffic(pod, "ping", lab.address("shop/web", family))
             for pod in ("shop/near", "shop/far") for family in (4, 6)}
    try:
        counted = Counted(lab, PAIRS, pace=0.001)
        for host in lab.hosts:
            upgrade(lab, host, how)
        losses = counted.losses()
        for name, loss in losses.items():
            assert loss.sent > 500, name
        assert {name: loss.missing for name, loss in losses.items() if loss.missing} == {}
        for flow in pings.values():
            flow.end()
        for name, flow in pings.items():
            report = flow.stop()
            assert report["sent"] > 100, name
            assert (name, report["missing"], report["outOfOrder"], report["error"]) == (name, [], 0, "")
        pings = {}
    finally:
        for flow in pings.values():
            flow.stop()


def test_it_lets_nothing_in_that_is_denied(lab):
    denied = Denied(lab, DENIED)
    for host, how in (("host1", "stop"), ("host1", "kill"), ("host2", "kill")):
        upgrade(lab, host, how)
    denied.assert_none_arrived()


def test_it_loses_nothing_of_connections_through_host_endpoints(lab):
    with host_connections.undisturbed(lab, "shop/near"):
        upgrade(lab, "host1", "stop")
        upgrade(lab, "host1", "kill")


@pytest.fixture(scope="module")
def other_binary(lab):
    binary = pathlib.Path(lab.binary).parents[1] / "test/other_build/ocicat-other"
    if not binary.exists():
        pytest.skip("no other build beside %s: ninja ocicat-other" % lab.binary)
    return str(binary)


def replace(lab, host, how, binary):
    """The agent there ends, and one of that binary begins, which the lab is told is its own."""
    before = build_of(lab, host)
    lab.run("lab", "agent", how, host)
    state = lab.folder / "lab.json"
    state.write_text(json.dumps({**json.loads(state.read_text()), "program": str(binary)}))
    lab.run("lab", "agent", "start", host)
    assert build_of(lab, host) != before


def other_counters(lab, host):
    """What programs count that this build has not; nothing where they are this build's."""
    pins = list(pathlib.Path("/sys/fs/bpf/ocicat-lab", lab.name, host).glob("maps-v*/other_counters"))
    if not pins:
        return None
    dump = subprocess.run(["bpftool", "-j", "map", "dump", "pinned", str(pins[0])], check=True, capture_output=True)
    return sum(of_cpu["value"] for element in json.loads(dump.stdout) for of_cpu in element["formatted"]["values"])


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_other_programs_take_over_and_give_back(lab, other_binary, how):
    pings = {(pod, family): lab.start_traffic(pod, "ping", lab.address("shop/web", family))
             for pod in ("shop/near", "shop/far") for family in (4, 6)}
    try:
        counted, denied = Counted(lab, PAIRS, pace=0.001), Denied(lab, DENIED)
        for host in lab.hosts:
            replace(lab, host, how, other_binary)
            assert other_counters(lab, host) is not None
        time.sleep(1)  # in which they are the only ones that let packets pass
        assert all(other_counters(lab, host) > 1000 for host in lab.hosts)
        for host in lab.hosts:
            replace(lab, host, how, lab.binary)
            assert other_counters(lab, host) is None
        losses = counted.losses()
        for name, loss in losses.items():
            assert loss.sent > 500, name
        assert {name: loss.missing for name, loss in losses.items() if loss.missing} == {}
        denied.assert_none_arrived()
        for flow in pings.values():
            flow.end()
        for name, flow in pings.items():
            report = flow.stop()
            assert report["sent"] > 100, name
            assert (name, report["missing"], report["outOfOrder"], report["error"]) == (name, [], 0, "")
        pings = {}
    finally:
        for flow in pings.values():
            flow.stop()


def test_other_programs_lose_nothing_of_connections_through_host_endpoints(lab, other_binary):
    with host_connections.undisturbed(lab, "shop/near"):
        replace(lab, "host1", "kill", other_binary)
        replace(lab, "host1", "kill", lab.binary)
