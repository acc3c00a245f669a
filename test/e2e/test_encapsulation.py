"""A pool's encapsulation changes while its workloads speak with each other.

Where both ends have their tunnels before and after, nothing is lost. Where tunnels come or go, hosts change one after
the other: what one of them sends in a tunnel that the other has not yet, or no longer, is lost, until both have
changed. Streams send it again; of datagrams nothing is lost but what was sent in that time. It is the same whether
agents or BIRD write the routes that lead into no tunnel.
"""
import json
import time

import pytest
from counted import Counted

POOLS = {4: "/apis/projectcalico.org/v3/ippools/pods-ipv4", 6: "/apis/projectcalico.org/v3/ippools/pods-ipv6"}
# Racks are 1, 2, 1: for host1, host2 is in another subnet and host3 in its own.
PODS = {"net/one": "host1", "net/far": "host2", "net/near": "host3"}
PAIRS = [("net/one", "net/far"), ("net/far", "net/one"), ("net/one", "net/near"), ("net/near", "net/one")]
# Each to each other, both ways; hosts with BIRD begin with Never.
MODES = ["Always", "CrossSubnet", "Always", "Never", "CrossSubnet", "Never", "Always"]


@pytest.fixture(scope="module", params=["vxlan", "bgp"])
def network(request):
    return request.param


@pytest.fixture(scope="module")
def lab(make_lab, dataplane, network):
    lab = make_lab(3, dataplane, network=network, racks=2)
    lab.together([lab.pod_words(pod, host) for pod, host in PODS.items()])
    lab.wait()
    return lab


def way(lab, source, target, family):
    """The interface by which the first one's host sends to the second."""
    to = lab.address(target, family)
    found = json.loads(lab.host_exec(PODS[source], "ip", "-j", "route", "get", to, check=False).stdout or "[{}]")
    return found[0].get("dev")  # none where nothing leads there


def as_wanted(lab, mode):
    """Whether all hosts send as the mode says."""
    for source, target in PAIRS:
        tunnel = mode == "Always" or mode == "CrossSubnet" and "net/far" in (source, target)
        link = "to-" + PODS[target]
        if any(way(lab, source, target, family) != (name if tunnel else link)
               for family, name in ((4, "vxlan.calico"), (6, "vxlan-v6.calico"))):
            return False
    return True


def tunnels_have_ends(lab):
    nodes = lab.request("GET", "/apis/projectcalico.org/v3/nodes")["items"]
    return all(node["spec"].get("ipv%dVXLANTunnelAddr" % family) for node in nodes for family in (4, 6))


def change(lab, mode, network, eventually):
    """From when to when hosts change (time.time())."""
    begin = time.time()
    for path in POOLS.values():
        pool = lab.request("GET", path)
        pool["spec"]["vxlanMode"] = mode
        lab.request("PUT", path, pool)
    lab.wait()
    if network == "bgp":
        # Routes without a tunnel are there when BIRD has heard of them; ends are made at the first change.
        eventually(lambda: (mode == "Never" or tunnels_have_ends(lab)) and as_wanted(lab, mode), 60)
    assert as_wanted(lab, mode)
    return begin, time.time()


def test_only_what_is_sent_while_tunnels_come_or_go_is_lost(lab, network, eventually):
    modes = (["Never"] if network == "bgp" else []) + MODES
    traffic = Counted(lab, PAIRS)
    windows = []  # in which tunnels come or go
    for before, after in zip(modes, modes[1:]):
        window = change(lab, after, network, eventually)
        print("%s to %s: %.3f %.3f s" % (before, after, window[0], window[1] - window[0]))
        if "Never" in (before, after):
            windows.append(window)
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
