"""Associations of SCTP, which only one side may open: known from their cookies to their end, and from one datapath to
the other as far as that can be told. The packets are the test's own, as many kernels have no sockets of SCTP."""
import contextlib

import pytest

from raw import Raw

TAG = {"client": 600, "server": 400}  # that a packet of theirs carries: the other's


@pytest.fixture(scope="module")
def lab(make_lab):
    lab = make_lab(2, "nftables")
    lab.together([lab.pod_words("shop/client", "host1", {"app": "client"}),
                  lab.pod_words("shop/server", "host2", {"app": "server"})])
    lab.apply(*({"apiVersion": "projectcalico.org/v3", "kind": "NetworkPolicy",
                 "metadata": {"name": name, "namespace": "shop"},
                 "spec": {"selector": f"app == '{app}'", "types": ["Ingress", "Egress"], "ingress": ingress,
                          "egress": egress}}
                for name, app, ingress, egress in (("who-asks", "client", [], [{"action": "Allow"}]),
                                                   ("who-answers", "server", [{"action": "Allow"}], []))))
    for host in lab.hosts:  # the kernel gives each packet that opens one three seconds after the last
        for state in ("cookie_wait", "cookie_echoed"):
            lab.host_exec(host, "sysctl", "-qw", f"net.netfilter.nf_conntrack_sctp_timeout_{state}=120")
    lab.wait()
    return lab


class Both:
    """An association from a port of its own, in both families alike."""

    def __init__(self, raws, port):
        self.raws = raws
        self.port = port

    def say(self, who, chunks, text="nothing"):
        ends = f"{self.port} 81" if who == "client" else f"81 {self.port}"
        self.raws[0].put(who, *(raw.addressed(who, f"sctp {ends} {TAG[who]} {chunks} {text}-{raw.family}")
                                for raw in self.raws))

    def open(self):
        for who, chunk in (("client", "INIT"), ("server", "INIT_ACK"), ("client", "COOKIE_ECHO"),
                           ("server", "COOKIE_ACK")):
            self.say(who, chunk)

    def shut_down(self):
        for who, chunk in (("client", "SHUTDOWN"), ("server", "SHUTDOWN_ACK"), ("client", "SHUTDOWN_COMPLETE")):
            self.say(who, chunk)

    def states(self):
        """At both hosts, in both families."""
        lab = self.raws[0].lab
        return {one["state"] for host in lab.hosts for raw in self.raws
                for one in lab.json("bpf", "connections", "--host", host, "--address",
                                    raw.addresses["client"])["connections"] if one["source"]["port"] == self.port}


def test_associations_are_known_until_their_end_whichever_datapath_sees_them(lab, eventually):
    raws = [Raw(lab, "shop/client", "shop/server", family) for family in (4, 6)]
    old, new, never = (Both(raws, port) for port in (4001, 4002, 4003))
    expected = ["old-nftables", "old-ebpf", "new-ebpf", "old-back", "new-again"]
    refused = ["never-data", "never-init", "new-lost"]
    with contextlib.ExitStack() as stack:
        for raw in raws:
            stack.enter_context(raw.listening(*(f"{text}-{raw.family}" for text in expected + refused)))
        old.open()
        old.say("server", "DATA", "old-nftables")
        never.say("server", "DATA", "never-data")
        lab.switch("ebpf")
        old.say("server", "DATA", "old-ebpf")
        new.open()
        eventually(lambda: old.states() == new.states() == {"established"}, 30)
        new.say("server", "DATA", "new-ebpf")
        never.say("server", "DATA", "never-data")
        never.say("server", "INIT", "never-init")
        assert never.states() == set()
        new.shut_down()
        eventually(lambda: new.states() == {"closed"}, 30)
        new.open()
        eventually(lambda: new.states() == {"established"}, 30)
        lab.switch("nftables")
        old.say("server", "DATA", "old-back")
        new.say("server", "DATA", "new-lost")  # the kernel has not tracked it: it begins anew
        new.open()
        new.say("server", "DATA", "new-again")
        for who in TAG:
            old.say(who, "DATA", "last")
        for raw in raws:
            assert raw.heard()["client"] == [f"{text}-{raw.family}" for text in expected]
