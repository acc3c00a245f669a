"""What is too large for a link arrives in fragments, put together by who it is for, under any policy."""
import pathlib
import subprocess
import sys

import pytest

from ears import PACKETS, Ear, send

SIZE = "4000"  # of what is asked and answered: three fragments
# First fragments without end, each of a datagram of its own, until its input closes; prints how many.
FLOOD = """
import ipaddress, select, socket, sys
sys.path.insert(0, sys.argv[1])
import packets
source, target = map(ipaddress.ip_address, sys.argv[2:])
out = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM)
whole = packets.datagram(source, target, 9, bytes(32))
print("+", flush=True)
sent = 0
while not select.select([sys.stdin], [], [], 0.002)[0]:  # all share a processor's queue
    for _ in range(64):
        packet = whole[:4] + (sent & 0xffff).to_bytes(2, "big") + b"\\x20\\0" + whole[8:10] + bytes(2) + whole[12:]
        packet = packet[:10] + packets.checksum(packet[:20]).to_bytes(2, "big") + packet[12:]
        try:
            out.sendto(packet, ("eth0", 0x0800, 0, 0, b"\\xee" * 6))
            sent += 1
        except OSError:  # the other side's queue is full for a moment
            pass
print(sent)
"""


@pytest.fixture(scope="module")
def lab(make_lab, dataplane):
    lab = make_lab(2, dataplane)
    lab.together([lab.pod_words("shop/client", "host1"), lab.pod_words("shop/near", "host1", {"app": "near"}),
                  lab.pod_words("shop/far", "host2", {"app": "far"})])
    return lab


def host_endpoint(number):
    return {"apiVersion": "projectcalico.org/v3", "kind": "HostEndpoint",
            "metadata": {"name": f"everywhere-{number}", "labels": {"host": "yes"}},
            "spec": {"node": f"host{number}", "interfaceName": "*", "profiles": ["projectcalico-default-allow"]}}


FORWARD = {"apiVersion": "projectcalico.org/v3", "kind": "GlobalNetworkPolicy", "metadata": {"name": "forward"},
           "spec": {"selector": "has(host)", "applyOnForward": True, "types": ["Ingress", "Egress"],
                    "ingress": [{"action": "Allow"}], "egress": [{"action": "Allow"}]}}
CLOSED = {"apiVersion": "projectcalico.org/v3", "kind": "NetworkPolicy",
          "metadata": {"name": "closed", "namespace": "shop"},
          "spec": {"selector": "has(app)", "types": ["Ingress"], "ingress": []}}
POLICIES = {"none": [], "host endpoints": [host_endpoint(1), host_endpoint(2)],
            "what is forwarded": [host_endpoint(1), host_endpoint(2), FORWARD], "closed": [CLOSED]}


@pytest.mark.parametrize("policy", POLICIES)
def test_fragments_arrive_as_policy_says(lab, policy):
    if POLICIES[policy]:
        lab.apply(*POLICIES[policy])
        lab.wait()
    for family in (4, 6):
        for pod in ("shop/near", "shop/far"):
            arrived, patience = (0, "1") if policy == "closed" else (3, "10")
            report = lab.exec("shop/client", "ping", "-c", "3", "-i", "0.1", "-W", patience, "-M", "dont", "-s", SIZE,
                              lab.address(pod, family), check=False)
            assert f"3 packets transmitted, {arrived} received" in report.stdout, (family, pod)
    if POLICIES[policy]:
        lab.delete(*POLICIES[policy])
        lab.wait()


# Where fragments are not put together on the way, a receiver that lets later ones write over earlier ones would take
# such a packet for another than was judged (RFC 3128, RFC 5722).
@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("pod", ["shop/near", "shop/far"])
def test_what_is_written_over_a_header_that_was_judged_never_arrives(lab, dataplane, pod, family):
    port_9 = {"apiVersion": "projectcalico.org/v3", "kind": "NetworkPolicy",
              "metadata": {"name": "port-9", "namespace": "shop"},
              "spec": {"selector": "has(app)", "types": ["Ingress"],
                       "ingress": [{"action": "Allow", "protocol": protocol, "destination": {"ports": [9]}}
                                   for protocol in ("TCP", "UDP")]}}
    lab.apply(port_9)
    lab.wait()
    source, target = lab.address("shop/client", family), lab.address(pod, family)
    ear = Ear(lab, "exec", pod, "--", "find", texts=["judged-first", "written-over", "the-rest"])
    lab.exec("shop/client", sys.executable, PACKETS, "overlap", source, target)
    send(lab, source, target, "last", pod="shop/client")
    heard = ear.heard()
    # With nftables the kernel puts packets together, and decides what becomes of such.
    assert "written-over" not in heard if dataplane == "nftables" else heard == ["judged-first", "the-rest", "last"]
    lab.delete(port_9)
    lab.wait()


# The kernel forgets by which interface such came in.
def test_what_the_host_has_put_together_and_cut_again_is_judged(lab):
    port_10 = {"apiVersion": "projectcalico.org/v3", "kind": "NetworkPolicy",
               "metadata": {"name": "port-10", "namespace": "shop"},
               "spec": {"selector": "has(app)", "types": ["Ingress"],
                        "ingress": [{"action": "Allow", "protocol": "UDP", "destination": {"ports": [10]}}]}}
    puts_together = host_endpoint(1)
    lab.apply(port_10, puts_together)
    lab.wait()
    source, target = lab.address("shop/client", 6), lab.address("shop/near", 6)
    ear = Ear(lab, "exec", "shop/near", "--", "find", texts=["refused", "follows"])
    served = Ear(lab, "exec", "shop/near", "--", "serve", target, "10")
    for kind, port, text in (("cut", "9", "refused"), ("send", "9", "follows"), ("cut", "10", "allowed"),
                             ("send", "10", "last")):
        lab.exec("shop/client", sys.executable, PACKETS, kind, source, target, port, text)
    assert ear.heard() == ["last"]
    assert [text.strip("x") for text in served.heard()] == ["allowed", "", "last"]
    lab.delete(port_10, puts_together)
    lab.wait()


def test_fragments_of_others_arrive_while_a_workload_floods_with_first_ones(lab, dataplane):
    if dataplane == "nftables":
        pytest.skip("there the kernel puts fragments together for all, and has room for so many")
    lab.together([lab.pod_words(f"shop/{name}", host) for name, host in (("flooder", "host1"), ("flooded", "host2"))])
    words = [lab.binary, "lab", "exec", "shop/flooder", "--", sys.executable, "-c", FLOOD,
             str(pathlib.Path(PACKETS).parent), lab.address("shop/flooder"), lab.address("shop/flooded")]

    def forwarded():
        return {one["counter"]: one["count"]
                for one in lab.json("bpf", "counters", "--host", "host1")["counters"]}["forwarded"]
    before = forwarded()
    with subprocess.Popen(words, env=lab.environment, text=True, stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE) as flood:
        assert flood.stdout.readline() == "+\n"
        for pod in ("shop/near", "shop/far"):
            report = lab.exec("shop/client", "ping", "-c", "10", "-i", "0.1", "-W", "10", "-M", "dont", "-s", SIZE,
                              lab.address(pod), check=False)
            assert "10 packets transmitted, 10 received" in report.stdout, pod
        assert int(flood.communicate()[0]) > 8192  # more than a host remembers of first ones (bpf/maps/fragments.h)
    assert forwarded() - before > 8192  # and not refused
