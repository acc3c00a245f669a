"""Pools that travel in different ways on the same hosts: plainly or by BGP, always in VXLAN, in VXLAN between subnets.
Of both families, with natOutgoing: everybody reaches everybody as who they are, each by its own way, and outside each
is seen as its host."""
import contextlib

import pytest
from outside import ADDRESS, HOST, MIRROR, Outside
from test_vxlan import COUNTER

RACK = {"host1": 0, "host2": 1, "host3": 0}
# By pool, the first four groups of its addresses. The lab's own pools are the first.
NETS = {"lab": None, "always": ("10.71.0.", "fd71::"), "between": ("10.72.0.", "fd72::")}
PODS = [(pool, number) for pool in NETS for number in (1, 2, 3)]


def name(pool, number):
    return "net/%s%d" % (pool, number)


def pools_of(pool):
    """As the lab calls those that it makes around addresses."""
    four, six = NETS[pool]
    return "pods-%s0-26" % four.replace(".", "-"), "pods-%s-122" % six.replace(":", "-")


def in_tunnel(source, target, pool):
    """Whether what goes from host to host travels in VXLAN for an address of this pool."""
    return pool == "always" or (pool == "between" and RACK[source] != RACK[target])


class Site:
    def __init__(self, lab):
        self.lab = lab
        self.outside = Outside(lab)

    def ends_are_between(self):
        specs = [node["spec"] for node in self.lab.json("get", "nodes")["items"]]
        four, six = NETS["between"]
        return all(spec.get("ipv4VXLANTunnelAddr", "").startswith(four) and
                   spec.get("ipv6VXLANTunnelAddr", "").startswith(six) for spec in specs)

    def up(self, eventually):
        lab = self.lab
        for host in lab.hosts:
            lab.host_exec(host, "nft", COUNTER.format("arrived", "prerouting"))
        words = {}
        for pool, number in PODS:
            nets = NETS[pool]
            addresses = "" if nets is None else ",".join(net + str(number) for net in nets)
            words[pool, number] = lab.pod_words(name(pool, number), "host%d" % number, {"pool": pool}, "tcp/80",
                                                addresses=addresses) + ["--no-wait"]
        # The only block of a pool is the first comer's, and single routes lead to the others' addresses in it.
        for first in ("always", 2), ("between", 1):
            lab.run(*words.pop(first))
        lab.together(words.values())
        # Ends of tunnels have addresses of the pool that is first to need them: one that others of the same rack reach
        # without a tunnel, whose addresses lead into the tunnels of the other pool all the same.
        for pool, mode in ("between", "CrossSubnet"), ("always", "Always"), ("lab", "Never"):
            for item in lab.json("get", "ippools")["items"]:
                named = [name for name in NETS if NETS[name] and item["metadata"]["name"] in pools_of(name)] or ["lab"]
                if pool in named:
                    item["spec"].update(natOutgoing=True, vxlanMode=mode)
                    lab.apply(item)
            if pool == "between":
                eventually(self.ends_are_between, 60)
        lab.wait()
        self.outside.up()
        for pod in PODS:
            self.outside.start(MIRROR, (lab.binary, "lab", "exec", name(*pod), "--"))

    def seen(self, pod, address):
        return self.outside.seen(pod, address)[0]

    def arrived(self, host):
        """How many packets have come to the host in VXLAN since the last call."""
        words = self.lab.host_exec(host, "nft", "reset", "counter", "inet", "watcher", "arrived").stdout.split()
        return int(words[words.index("packets") + 1])


@pytest.fixture(scope="module", params=["plain", "bgp"])
def site(make_lab, dataplane, request, eventually):
    with contextlib.ExitStack() as stack:
        site = Site(make_lab(3, dataplane, network=request.param, racks=2))
        stack.callback(site.outside.down)
        site.up(eventually)
        yield site


def test_everybody_reaches_everybody(site, eventually):
    eventually(lambda: set(site.lab.probe("tcp/80").values()) == {"allow"}, 60)


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("pool", NETS)
def test_packets_go_the_way_that_the_pool_of_their_destination_says(site, pool, family):
    for source_pool in NETS:
        for number in (2, 3):
            site.arrived("host1"), site.arrived("host%d" % number)
            site.lab.exec(name(source_pool, 1), "ping", "-c", "3", "-i", "0.05", "-W", "5",
                          site.lab.address(name(pool, number), family))
            there, back = site.arrived("host%d" % number), site.arrived("host1")
            hosts = "host1", "host%d" % number
            assert (there >= 3) == in_tunnel(*hosts, pool) and (there == 0) != in_tunnel(*hosts, pool)
            assert (back >= 3) == in_tunnel(*hosts, source_pool) and (back == 0) != in_tunnel(*hosts, source_pool)


@pytest.mark.parametrize("family", [4, 6])
def test_who_is_outside_sees_the_host_and_who_is_inside_the_pod(site, family):
    for pool in NETS:
        pod = name(pool, 1)
        assert site.seen(pod, ADDRESS[family]) == HOST[family], pod
        for other, number in (("lab", 2), ("always", 2), ("between", 2), ("between", 3), (pool, 3)):
            address = site.lab.address(name(other, number), family)
            assert site.seen(pod, address) == site.lab.address(pod, family), (pod, name(other, number))


def test_policy_is_the_same_whichever_way_packets_come(site):
    policy = {"apiVersion": "projectcalico.org/v3", "kind": "NetworkPolicy",
              "metadata": {"name": "always", "namespace": "net"},
              "spec": {"selector": "pool in {'lab', 'between'}", "types": ["Ingress"],
                       "ingress": [{"action": "Allow", "source": {"selector": "pool == 'always'"}}]}}
    site.lab.apply(policy)
    try:
        site.lab.wait()
        cells = site.lab.probe("tcp/80")
        assert cells == site.lab.matrix("tcp/80")
        assert {cells[name("always", 1), name("lab", 2), "tcp/80", family] for family in (4, 6)} == {"allow"}
        assert {cells[name("lab", 1), name("between", 2), "tcp/80", family] for family in (4, 6)} == {"deny"}
    finally:
        site.lab.delete(policy)
