"""iptablesFilterDenyAction, nftablesFilterDenyAction: Reject. Who may not speak is told at once, by a reset or an
error, at either end."""
import sys

import pytest

import shop

# What becomes of one try: "refused", or "nothing" for 1 s.
ASK = """
import socket, sys
address, kind = sys.argv[1:]
family = socket.AF_INET6 if ":" in address else socket.AF_INET
one = socket.socket(family, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
one.settimeout(1.0)
try:
    one.connect((address, 80))
    one.send(b"x")
    print("answer" if one.recv(10) else "end")
except ConnectionRefusedError:
    print("refused")
except socket.timeout:
    print("nothing")
"""
AT_RECEIVER = shop.policy("shop", "closed", {"selector": "app == 'closed'", "types": ["Ingress"]})
AT_SENDER = shop.policy("shop", "quiet", {"selector": "app == 'quiet'", "types": ["Egress"]})


def configuration(action, **more):
    return {"apiVersion": "projectcalico.org/v3", "kind": "FelixConfiguration", "metadata": {"name": "default"},
            "spec": {"iptablesFilterDenyAction": action, **more}}


@pytest.fixture(scope="module")
def lab(make_lab, dataplane):
    lab = make_lab(2, dataplane)
    lab.together([lab.pod_words("shop/ask", "host1"),
                  lab.pod_words("shop/quiet", "host1", labels={"app": "quiet"}),
                  lab.pod_words("shop/near", "host1", labels={"app": "closed"}, listen="tcp/80,udp/80"),
                  lab.pod_words("shop/far", "host2", labels={"app": "closed"}, listen="tcp/80,udp/80")])
    lab.apply(AT_RECEIVER, AT_SENDER)
    lab.wait()
    return lab


def answer(lab, family, who, to, kind):
    return lab.exec("shop/" + who, sys.executable, "-c", ASK, lab.address("shop/" + to, family), kind).stdout.strip()


def answers(lab, family):
    return {(who, to, kind): answer(lab, family, who, to, kind)
            for who in ("ask", "quiet") for to in ("near", "far") for kind in ("tcp", "udp")}


@pytest.mark.parametrize("family", [4, 6])
def test_refused_packets_are_answered_at_both_ends_here_and_elsewhere(lab, family):
    lab.apply(configuration("Reject"))
    lab.wait()
    assert set(answers(lab, family).values()) == {"refused"}, answers(lab, family)


def test_with_nftables_a_field_of_its_own_comes_first(lab, dataplane):
    for of_iptables, of_nftables in (("Drop", "Reject"), ("Reject", "Drop")):
        lab.apply(configuration(of_iptables, nftablesFilterDenyAction=of_nftables))
        lab.wait()
        action = of_nftables if dataplane == "nftables" else of_iptables
        assert answer(lab, 4, "ask", "near", "tcp") == {"Reject": "refused", "Drop": "nothing"}[action]


def test_nothing_is_answered_once_it_is_drop_again(lab):
    lab.apply(configuration("Drop"))
    lab.wait()
    assert set(answers(lab, 4).values()) == {"nothing"}, answers(lab, 4)
