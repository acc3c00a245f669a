"""A pool's encapsulation changes while its workloads speak with each other.

Where both ends have their tunnels before and after, nothing is lost. Where tunnels come or go, hosts change one after
the other: what one of them sends in a tunnel that the other has not yet, or no longer, is lost, until both have
changed. Streams send it again; of datagrams nothing is lost but what was sent in that time.
"""
import json
import time

import pytest
from counted import Counted

POOLS = {4: "/apis/projectcalico.org/v3/ippools/pods-ipv4", 6: "/apis/projectcalico.org/v3/ippools/pods-ipv6"}
# Racks are 1, 2, 1: for host1, host2 is in another subnet and host3 in its own.
PODS = {"net/one": "host1", "net/far": "host2", "net/near": "host3"}
PAIRS = [("net/one", "net/far"), ("net/far", "net/one"), ("net/one", "net/near"), ("net/near", "net/one")]
# Each to each other, both ways.
MODES = ["Always", "CrossSubnet", "Always", "Never", "CrossSubnet", "Never", "Always"]


@pytest.fixture(scope="module")
def lab(make_lab, dataplane):
    lab = make_lab(3, dataplane, network="vxlan", racks=2)
    lab.together([lab.pod_words(pod, host) for pod, host in PODS.items()])
    lab.wait()
    return lab


def change(lab, mode):
    """From when to when hosts change (time.time())."""
    begin = time.time()
    for path in POOLS.values():
        pool = lab.request("GET", path)
        pool["spec"]["vxlanMode"] = mode
        lab.request("PUT", path, pool)
    lab.wait()
    return begin, time.time()


def way(lab, target, family):
    """The interface that host1 sends by."""
    route, = json.loads(lab.host_exec("host1", "ip", "-j", "route", "get", lab.address(target, family)).stdout)
    return route["dev"]


def test_only_what_is_sent_while_tunnels_come_or_go_is_lost(lab):
    traffic = Counted(lab, PAIRS)
    windows = []  # in which tunnels come or go
    for before, after in zip(MODES, MODES[1:]):
        window = change(lab, after)
        print("%s to %s: %.3f %.3f s" % (before, after, window[0], window[1] - window[0]))
        if "Never" in (before, after):
            windows.append(window)
        for family, tunnel in ((4, "vxlan.calico"), (6, "vxlan-v6.calico")):
            assert way(lab, "net/far", family) == ("to-host2" if after == "Never" else tunnel)
            assert way(lab, "net/near", family) == (tunnel if after == "Always" else "to-host3")
    losses = traffic.losses()
    for key, loss in losses.items():
        print(key, loss.sent, len(loss.missing), [round(at % 1000, 3) for at in loss.at[:3] + loss.at[-3:]])
        assert loss.sent > 100, key
        source, target, family, kind = key
        if kind == "tcp":
            assert loss.missing == [], key
        else:
            outside = [at for at in loss.at if not any(begin <= at <= end for begin, end in windows)]
            assert outside == [], (key, windows)
