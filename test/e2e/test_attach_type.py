"""Programs at interfaces by traffic control's filters (clsact), as kernels before 6.6 have them: whole hosts that are
told so by FelixConfiguration's bpfAttachType, and told otherwise while connections are open."""
import json
import pathlib

import pytest

import shop
from counted import Counted, Denied
from ocicat_lab import differences
from test_upgrade import upgrade

PAIRS = [("shop/near", "shop/web"), ("shop/far", "shop/web")]
DENIED = [("shop/stranger", "shop/web"), ("shop/local", "shop/web"), ("shop/web", "shop/near")]
PORTS = "tcp/80,udp/53"
HOOKS = ("ingress", "egress")


def attach_type(how):
    return {"apiVersion": "projectcalico.org/v3", "kind": "FelixConfiguration", "metadata": {"name": "default"},
            "spec": {"bpfAttachType": how}}


def web(*apps):
    return shop.policy("shop", "web", {"selector": "app == 'web'", "types": ["Ingress", "Egress"], "ingress": [
        {"action": "Allow", "source": {"selector": "app == '%s'" % app}} for app in apps]})


@pytest.fixture(scope="module")
def lab(make_lab):
    lab = make_lab(2, "ebpf")
    lab.together([lab.pod_words(name, host, {"app": app}, PORTS) for name, host, app in (
        ("shop/web", "host1", "web"), ("shop/near", "host1", "near"), ("shop/far", "host2", "far"),
        ("shop/local", "host1", "stranger"), ("shop/stranger", "host2", "stranger"))])
    return lab


@pytest.fixture(autouse=True)
def by_filters(lab):
    lab.apply(attach_type("TC"), web("near", "far"))
    lab.wait()
    yield
    assert places(lab) == "filters"


def filters_at(lab, host, interface):
    return sum("ocicat" in lab.host_exec(host, "tc", "filter", "show", "dev", interface, hook).stdout for hook in HOOKS)


def places(lab):
    """What programs are by, at all interfaces of workloads at all hosts."""
    found = set()
    for host in lab.hosts:
        pins = len(list(pathlib.Path("/sys/fs/bpf/ocicat-lab", lab.name, host, "links").glob("*")))
        names = [link["ifname"] for link in json.loads(lab.host_exec(host, "ip", "-j", "link", "show").stdout)]
        workloads = [name for name in names if name.startswith("cali")]
        assert workloads
        filters = [filters_at(lab, host, name) for name in workloads]
        if pins == 0 and set(filters) == {2}:
            found.add("filters")
        elif pins >= 2 * len(workloads) and set(filters) == {0}:
            found.add("links")
        else:
            found.add("%d pins and filters %s at %s" % (pins, filters, host))
    return " and ".join(sorted(found))


def assert_nothing_is_missing(counted):
    losses = counted.losses()
    for name, loss in losses.items():
        assert loss.sent > 100, name
    assert {name: loss.missing for name, loss in losses.items() if loss.missing} == {}


def assert_streams_miss_nothing(counted):
    """While an interface gets clsact or loses it, Linux drops what is to leave by it, whoever asks for that: of
    datagrams a few are missing, streams send them again."""
    losses = counted.losses()
    for name, loss in losses.items():
        assert loss.sent > 100, name
        most = 0 if name[-1] == "tcp" else loss.sent / 20
        assert len(loss.missing) <= most, (name, loss.sent, loss.missing)


def test_policy_is_enforced_and_what_it_denies_by_now_ends(lab):
    assert places(lab) == "filters"
    assert differences(lab.probe(PORTS), lab.matrix(PORTS)) == []
    # Far goes on; of near nothing arrives once the denial is in force, of what is open neither.
    going, ending = Counted(lab, PAIRS[1:]), lab.start_traffic("shop/near", "ping", lab.address("shop/web"))
    lab.apply(web("far"))
    lab.wait()
    denied = Denied(lab, [*DENIED, PAIRS[0]])
    assert differences(lab.probe(PORTS), lab.matrix(PORTS)) == []
    denied.assert_none_arrived()
    assert_nothing_is_missing(going)
    report = ending.stop()
    assert report["missing"] != []


@pytest.mark.parametrize("what", ["kill", "stop", "another build"])
def test_an_agent_that_ends_and_comes_back_loses_nothing(lab, what):
    counted, denied = Counted(lab, PAIRS), Denied(lab, DENIED)
    for host in lab.hosts:
        if what == "another build":
            upgrade(lab, host, "kill")
        else:
            lab.run("lab", "agent", what, host)
            lab.run("lab", "agent", "start", host)
    denied.assert_none_arrived()
    assert_nothing_is_missing(counted)


def test_programs_move_to_links_and_back_under_open_connections(lab):
    counted, denied = Counted(lab, PAIRS, pace=0.001), Denied(lab, DENIED)
    for how, by in (("TCX", "links"), ("TC", "filters"), ("Netkit", "links"), ("TC", "filters")):
        lab.apply(attach_type(how))
        lab.wait()
        assert places(lab) == by, how
    denied.assert_none_arrived()
    assert_streams_miss_nothing(counted)


def test_a_workload_that_comes_has_filters_and_they_go_with_it(lab):
    lab.add_pod("shop/late", "host2", labels={"app": "stranger"}, listen=PORTS)
    lab.wait()
    assert places(lab) == "filters"
    assert differences(lab.probe(PORTS), lab.matrix(PORTS)) == []
    lab.run("lab", "pod", "delete", "shop/late")


def test_they_leave_nothing_where_another_datapath_takes_over(lab):
    counted, denied = Counted(lab, PAIRS), Denied(lab, DENIED)
    lab.switch("nftables")
    for host in lab.hosts:
        assert "clsact" not in lab.host_exec(host, "tc", "qdisc", "show").stdout
    lab.switch("ebpf")
    denied.assert_none_arrived()
    assert_streams_miss_nothing(counted)
