"""A workload can send from its own addresses only."""
import sys

import pytest

from ears import PACKETS, Ear, send

# Of each family: nobody's address, an outsider's, a node's.
FOREIGN = {4: ["10.65.77.77", "192.0.2.1", "172.31.0.1"], 6: ["fd65::7777", "2001:db8::1", "fd31::1"]}


@pytest.fixture(scope="module")
def lab(make_lab, dataplane):
    lab = make_lab(2, dataplane)
    lab.together([lab.pod_words("shop/sender", "host1", {"app": "sender"}, listen="udp/9"),
                  lab.pod_words("shop/sibling", "host1", listen="udp/9"),
                  lab.pod_words("shop/near", "host1", listen="udp/9"),
                  lab.pod_words("shop/far", "host2", listen="udp/9")])
    return lab


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("target", ["shop/near", "shop/far"])
def test_packets_with_a_foreign_source_never_arrive(lab, family, target):
    address = lab.address(target, family)
    honest = lab.address("shop/sender", family)
    ear = Ear(lab, "exec", target, "--name", lab.name, "--", "hear")
    for source in FOREIGN[family] + [lab.address("shop/sibling", family), address]:
        send(lab, source, address, "spoofed-as-" + source)
    send(lab, honest, address, "honest", "last")
    assert ear.heard() == ["honest", "last"]


@pytest.mark.parametrize("family", [4, 6])
def test_the_host_itself_is_not_fooled_either(lab, family):
    open_host = {"apiVersion": "projectcalico.org/v3", "kind": "FelixConfiguration", "metadata": {"name": "default"},
                 "spec": {"defaultEndpointToHostAction": "Accept"}}
    lab.apply(open_host)
    lab.wait()
    node = {4: "172.31.0.1", 6: "fd31::1"}[family]
    ear = Ear(lab, "host", "exec", "host1", "--name", lab.name, "--", "serve", node, "9")
    for source in FOREIGN[family] + [lab.address("shop/sibling", family)]:
        send(lab, source, node, "spoofed-as-" + source)
    send(lab, lab.address("shop/sender", family), node, "honest", "last")
    assert ear.heard() == ["honest", "last"]
    lab.delete(open_host)
    lab.wait()


@pytest.mark.parametrize("family", [4, 6])
def test_an_icmp_error_carries_nothing_to_whom_policy_forbids(lab, family):
    sender, near = lab.address("shop/sender", family), lab.address("shop/near", family)
    host2 = {4: "172.31.0.2", 6: "fd31::2"}[family]
    only_near = {"apiVersion": "projectcalico.org/v3", "kind": "NetworkPolicy",
                 "metadata": {"name": "only-near", "namespace": "shop"},
                 "spec": {"selector": "app == 'sender'", "types": ["Egress"],
                          "egress": [{"action": "Allow",
                                      "destination": {"nets": [f"{near}/{32 if family == 4 else 128}"]}}]}}
    lab.apply(only_near)
    lab.wait()
    at_near = Ear(lab, "exec", "shop/near", "--name", lab.name, "--", "hear")
    at_host2 = Ear(lab, "host", "exec", "host2", "--name", lab.name, "--", "hear")
    send(lab, sender, near, "allowed")
    send(lab, sender, host2, "refused")
    for target, text in [(host2, "smuggled"), (near, "in-an-error")]:
        lab.exec("shop/sender", sys.executable, PACKETS, "error", sender, near, target, text)
    send(lab, sender, near, "last")
    assert at_near.heard() == ["allowed", "in-an-error", "last"]
    send(lab, lab.address("shop/sibling", family), host2, "last", pod="shop/sibling")
    assert not {"refused", "smuggled"} & set(at_host2.heard())
    lab.delete(only_near)
    lab.wait()


def test_a_pod_that_takes_anothers_address_does_not_get_its_traffic(lab):
    stolen = lab.address("shop/sibling")
    lab.exec("shop/sender", "ip", "addr", "add", stolen + "/32", "dev", "eth0")
    try:
        cells = lab.probe("tcp/9,icmp", "--pods", "shop/sibling,shop/far")
        assert set(cells.values()) == {"allow"}
        report = lab.exec("shop/sender", "ping", "-c", "2", "-W", "1", "-i", "0.2", "-I", stolen,
                          lab.address("shop/far"), check=False)
        assert ", 0 received" in report.stdout
    finally:
        lab.exec("shop/sender", "ip", "addr", "del", stolen + "/32", "dev", "eth0")
