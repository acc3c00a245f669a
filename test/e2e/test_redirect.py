"""Past the stack or through it (bpfRedirectToPeer): all that is sent arrives, and paths' limits are heard of."""
import json
import time

import pytest
from transfer import transfer

FELIX = {"apiVersion": "projectcalico.org/v3", "kind": "FelixConfiguration", "metadata": {"name": "default"}}
OPEN = {"apiVersion": "projectcalico.org/v3", "kind": "NetworkPolicy", "metadata": {"name": "open", "namespace": "net"},
        "spec": {"types": ["Ingress"], "ingress": [{"action": "Allow"}]}}


def set_redirect(lab, value):
    lab.apply({**FELIX, "spec": {"bpfRedirectToPeer": value}})
    lab.wait()


@pytest.fixture(scope="module")
def lab(make_lab):
    lab = make_lab(2, "ebpf")
    lab.together([lab.pod_words("net/client", "host1", {}, "tcp/80"),
                  lab.pod_words("net/near", "host1", {}, "tcp/80,udp/53"),
                  lab.pod_words("net/far", "host2", {}, "tcp/80,udp/53")])
    lab.apply(OPEN)
    lab.wait()
    return lab


@pytest.fixture(params=["Enabled", "Disabled"])
def redirect(lab, request):
    set_redirect(lab, request.param)
    return request.param


def interface_of(lab, pod):
    """The host's side of a pod's interface, and that host."""
    found = lab.pod(pod)
    index = json.loads(lab.exec(pod, "ip", "-j", "link", "show", "dev", "eth0").stdout)[0]["link_index"]
    links = json.loads(lab.host_exec(found["host"], "ip", "-j", "link").stdout)
    return found["host"], next(link["ifname"] for link in links if link["ifindex"] == index)


def sent_to(lab, pod):
    """Packets that have gone to the pod by the host's side of its interface."""
    host, interface = interface_of(lab, pod)
    link, = json.loads(lab.host_exec(host, "ip", "-s", "-j", "link", "show", "dev", interface).stdout)
    return link["stats64"]["tx"]["packets"]


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("pod", ["net/near", "net/far"])
def test_a_large_transfer_arrives_whole(lab, redirect, pod, family):
    before = sent_to(lab, pod)
    transfer(lab, "net/client", pod, family)
    grown = sent_to(lab, pod) - before
    # What goes past the stack is counted at the pod's own end alone.
    assert grown < 50 if redirect == "Enabled" else grown > 100


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("pod", ["net/near", "net/far"])
def test_who_sends_more_than_the_path_takes_is_told(lab, redirect, pod, family):
    host, interface = interface_of(lab, pod)
    header = {4: 28, 6: 48}[family]
    ping = ["ping", "-c", "3", "-i", "0.2", "-W", "2", "-M", "do", lab.address(pod, family)]
    lab.exec("net/client", *ping, "-s", str(1400 - header))
    lab.host_exec(host, "ip", "link", "set", interface, "mtu", "1300")
    try:
        report = lab.exec("net/client", *ping, "-s", str(1400 - header), check=False).stdout
        assert ", 0 received" in report
        assert "1300" in report  # the path's limit
        transfer(lab, "net/client", pod, family, 2_000_000)
    finally:
        lab.host_exec(host, "ip", "link", "set", interface, "mtu", "1500")
        lab.exec("net/client", "ip", "-%d" % family, "route", "flush", "cache")  # what it has been told


@pytest.mark.parametrize("family", [4, 6])
def test_the_last_router_says_that_hops_have_run_out(lab, redirect, family):
    for pod in ("net/near", "net/far"):
        ping = ["ping", "-c", "1", "-W", "2", lab.address(pod, family)]
        lab.exec("net/client", *ping)
        report = lab.exec("net/client", *ping, "-t", "1", check=False).stdout
        assert "Time to live exceeded" in report or "Hop limit" in report


OWN_RULE = """
table inet own {
  chain forward {
    type filter hook forward priority 20
    udp dport 53 drop
  }
}
"""


def test_rules_of_the_hosts_own_end_what_begins_and_what_is_open_only_where_it_passes_the_stack(lab):
    set_redirect(lab, "Enabled")
    flows = {(pod, family): lab.start_traffic("net/client", "udp", lab.address(pod, family), 53)
             for pod in ("net/near", "net/far") for family in (4, 6)}
    lab.host_exec("host1", "nft", "-f", "-", stdin=OWN_RULE)
    changes = []
    try:
        for value in ("Enabled", "Disabled", "Enabled"):
            set_redirect(lab, value)
            changes.append(time.monotonic())
            answers = lab.probe("udp/53,tcp/80", "--pods", "net/client,net/near,net/far")
            denied = {cell[1:] for cell, answer in answers.items() if cell[0] == "net/client" and answer == "deny"}
            assert denied == {(pod, "udp/53", family) for pod, family in flows}
            changes.append(time.monotonic())
    finally:
        lab.host_exec("host1", "nft", "delete", "table", "inet", "own")
    for flow in flows.values():
        flow.end()
    for name, flow in flows.items():
        times = flow.stop()["answered"]
        came = [any(begin < time < end for time in times) for begin, end in zip(changes[::2], changes[1::2])]
        assert came == [True, False, True], name


def test_turning_it_on_and_off_loses_nothing(lab):
    set_redirect(lab, "Enabled")
    flows = [lab.start_traffic("net/client", kind, lab.address(pod, family), *ports)
             for pod in ("net/near", "net/far") for family in (4, 6)
             for kind, ports in (("stream", [80]), ("udp", [53]), ("ping", []))]
    for _ in range(3):
        set_redirect(lab, "Disabled")
        set_redirect(lab, "Enabled")
    for flow in flows:
        flow.end()
    for flow in flows:
        report = flow.stop()
        assert report["sent"] > 10
        assert (report["missing"], report["outOfOrder"], report["error"]) == ([], 0, "")
