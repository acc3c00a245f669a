"""Pools that are switched off or deleted while workloads have addresses of theirs: whoever has one keeps it, is reached
and reaches others; nobody is given another."""
import ipaddress

import pytest

POOLS = {4: "old-ipv4", 6: "old-ipv6"}  # before the lab's own by name: whoever comes gets addresses of these
NETS = {4: "10.76.0.0/24", 6: "fd76::/120"}
PORT = "tcp/8080"


def pool(family, **spec):
    return {"apiVersion": "projectcalico.org/v3", "kind": "IPPool", "metadata": {"name": POOLS[family]},
            "spec": dict(spec, cidr=NETS[family], blockSize={4: 28, 6: 124}[family])}


def is_old(lab, pod, family):
    return ipaddress.ip_address(lab.address(pod, family)) in ipaddress.ip_network(NETS[family])


@pytest.fixture(scope="module", params=["plain", "bgp"])
def lab(make_lab, request):
    lab = make_lab(2, network=request.param)
    lab.apply(*[pool(family) for family in (4, 6)])
    lab.together([lab.pod_words("net/one", "host1", listen=PORT), lab.pod_words("net/two", "host2", listen=PORT)])
    assert all(is_old(lab, pod, family) for pod in ("net/one", "net/two") for family in (4, 6))
    return lab


@pytest.fixture
def flows(lab):
    """Pings both ways in both families; check() ends them: nothing may be missing."""
    running = {(source, family): lab.start_traffic(source, "ping", lab.address(target, family))
               for source, target in (("net/one", "net/two"), ("net/two", "net/one")) for family in (4, 6)}

    def check():
        for key in list(running):
            report = running.pop(key).stop()
            assert report["sent"] > 10 and (key, report["missing"]) == (key, [])

    yield check
    for flow in running.values():
        flow.stop()


def all_reach_all(lab):
    return set(lab.probe(PORT).values()) == {"allow"}


def test_a_pool_that_is_switched_off_gives_nothing_more_and_takes_nothing_away(lab, flows):
    lab.apply(*[pool(family, disabled=True) for family in (4, 6)])
    lab.wait()
    lab.add_pod("net/three", "host1", listen=PORT)
    assert not any(is_old(lab, "net/three", family) for family in (4, 6))
    assert all(is_old(lab, pod, family) for pod in ("net/one", "net/two") for family in (4, 6))
    assert all_reach_all(lab)
    flows()


def test_a_workload_is_refused_with_the_reason_where_every_pool_is_switched_off(lab):
    others = [item for item in lab.json("get", "ippools")["items"] if item["metadata"]["name"].startswith("pods-")]
    try:
        for item in others:
            item["spec"]["disabled"] = True
            item["metadata"].pop("resourceVersion")
            lab.apply(item)
        refused = lab.run(*lab.pod_words("net/four", "host1"), check=False)
        assert refused.returncode == 1 and "IPPool" in refused.stderr and "ocicat ipam show" in refused.stderr
        assert all(pod["name"] != "four" for pod in lab.status()["pods"])
    finally:
        for item in others:
            item["spec"]["disabled"] = False
            lab.apply(item)
    assert all_reach_all(lab)


def test_a_pool_whose_addresses_workloads_have_is_not_deleted(lab, flows):
    for family in (4, 6):
        refused = lab.run("delete", "ippool", POOLS[family], check=False)
        assert refused.returncode == 1 and "in use" in refused.stderr
        assert any(lab.address(pod, family) in refused.stderr for pod in ("net/one", "net/two"))
    assert all_reach_all(lab)
    flows()


def test_a_pool_that_is_deleted_all_the_same_leaves_addresses_with_those_who_have_them(lab, flows):
    for family in (4, 6):
        lab.run("delete", "ippool", POOLS[family], "--cascade=orphan")
    lab.wait()
    assert all_reach_all(lab)
    flows()
    lab.apply(*[pool(family) for family in (4, 6)])  # who comes back gives none of them a second time
    lab.wait()
    lab.add_pod("net/five", "host1", listen=PORT)
    taken = {lab.address(pod, family) for pod in ("net/one", "net/two") for family in (4, 6)}
    assert all(is_old(lab, "net/five", family) and lab.address("net/five", family) not in taken for family in (4, 6))
    assert all_reach_all(lab)
    for pod in ("net/one", "net/two", "net/five"):
        lab.run("lab", "pod", "delete", pod)
    for family in (4, 6):
        lab.run("delete", "ippool", POOLS[family])
