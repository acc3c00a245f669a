"""What FelixConfiguration says of the eBPF datapath alone counts from that moment on, with agents and connections as
they are: bpfEnforceRPF, xdpEnabled and bpfConntrackTimeouts."""
import json
import sys

import pytest

from ears import PACKETS, Ear
from raw import Raw

HOST1 = {4: "172.31.0.1", 6: "fd31::1"}
# Of each family: where no route leads, where one leads by another interface, and back.
SOURCES = {4: {"nowhere": "203.0.113.5", "elsewhere": "198.18.9.7", "honest": "172.31.0.2"},
           6: {"nowhere": "3fff::5", "elsewhere": "fd18:9::7", "honest": "fd31::2"}}
ELSEWHERE = {4: "198.18.9.0/24", 6: "fd18:9::/64"}
FELIX = {"apiVersion": "projectcalico.org/v3", "kind": "FelixConfiguration", "metadata": {"name": "default"}}
EVERYTHING = [{"action": "Allow"}]


@pytest.fixture(scope="module")
def lab(make_lab):
    lab = make_lab(2, "ebpf")
    lab.together([lab.pod_words("shop/near", "host1", {"app": "near"}, "tcp/80"),
                  lab.pod_words("shop/far", "host2", {"app": "far"})])
    lab.host_exec("host1", "sh", "-c",
                  "ip link add elsewhere type veth peer name beyond && ip link set elsewhere up && "
                  "ip link set beyond up && "
                  f"ip route add {ELSEWHERE[4]} dev elsewhere && ip route add {ELSEWHERE[6]} dev elsewhere")
    return lab


def felix(**spec):
    return dict(FELIX, spec=spec)


def send_from_host2(lab, target, port, texts):
    """Each text from the source that it is given with."""
    link, = json.loads(lab.host_exec("host1", "ip", "-j", "link", "show", "to-host2").stdout)
    lab.host_exec("host2", "env", "WAY=to-host1 " + link["address"], sys.executable, PACKETS, "from", target,
                  str(port), *("%s=%s" % item for item in texts.items()))


@pytest.mark.parametrize("family", [4, 6])
def test_what_comes_in_comes_from_where_a_route_leads_as_strictly_as_is_said(lab, family, eventually):
    near = lab.address("shop/near", family)
    # A connection whose packets pass all the time, before, between and after.
    flow = lab.start_traffic("shop/far", "stream", near, 80)

    def arrives():
        heard = []
        for target, where in ((HOST1[family], ("host", "exec", "host1", "--", "serve", HOST1[family], "9")),
                              (near, ("exec", "shop/near", "--", "serve", near, "9"))):
            ear = Ear(lab, *where)
            send_from_host2(lab, target, 9, SOURCES[family] | {"last": SOURCES[family]["honest"]})
            heard.append(ear.heard()[:-1])
        assert heard[0] == heard[1]
        return heard[0]

    def refused():
        return sum(flow["refused"] for host in lab.json("drops", "--host", "host1")["hosts"] for flow in host["flows"]
                   if (flow["reason"], flow["traffic"]) == ("no-way-back", "udp/9"))
    before = refused()
    assert arrives() == ["elsewhere", "honest"]
    for setting, passes in (("Strict", ["honest"]), ("Disabled", ["nowhere", "elsewhere", "honest"]),
                            ("Loose", ["elsewhere", "honest"])):
        with lab.applied(felix(bpfEnforceRPF=setting)):
            assert arrives() == passes, setting
    eventually(lambda: refused() - before == 2 * (1 + 2 + 0 + 1), 30)
    report = flow.stop()
    assert (report["missing"], report["error"]) == ([], "")


def host_endpoint():
    return {"apiVersion": "projectcalico.org/v3", "kind": "HostEndpoint",
            "metadata": {"name": "edge", "labels": {"host": "yes"}},
            "spec": {"node": "host1", "interfaceName": "to-host2", "profiles": ["projectcalico-default-allow"]}}


@pytest.mark.parametrize("family", [4, 6])
def test_what_untracked_policy_denies_ends_in_the_driver_or_behind_it(lab, family):
    """Whom a list blocks, and a port; what ends in the driver nobody on the host sees."""
    blocked = {"apiVersion": "projectcalico.org/v3", "kind": "GlobalNetworkSet",
               "metadata": {"name": "blocked", "labels": {"blocked": "yes"}}, "spec": {"nets": [ELSEWHERE[family]]}}
    deny = {"apiVersion": "projectcalico.org/v3", "kind": "GlobalNetworkPolicy", "metadata": {"name": "raw"},
            "spec": {"selector": "has(host)", "doNotTrack": True, "applyOnForward": True, "types": ["Ingress"],
                     "ingress": [{"action": "Deny", "source": {"selector": "has(blocked)"}},
                                 {"action": "Deny", "protocol": "UDP", "destination": {"ports": [10]}}]}}
    sources = SOURCES[family]

    def dropped():
        return {one["counter"]: one["count"] for one in
                lab.json("bpf", "counters", "--host", "host1")["counters"]}["dropped: policy"]

    def mode():
        link, = json.loads(lab.host_exec("host1", "ip", "-j", "link", "show", "to-host2").stdout)
        return link.get("xdp", {}).get("mode")

    def seen():
        """By who listens at the interface; nobody else hears of what is denied, and it is counted once."""
        before = dropped()
        tap = Ear(lab, "host", "exec", "host1", "--", "find", by="to-host2", texts=["blocked", "port"])
        ear = Ear(lab, "host", "exec", "host1", "--", "serve", HOST1[family], "9")
        send_from_host2(lab, HOST1[family], 10, {"port": sources["honest"]})
        send_from_host2(lab, HOST1[family], 9, {"blocked": sources["elsewhere"], "last": sources["honest"]})
        assert ear.heard() == ["last"]
        assert dropped() == before + 2
        return tap.heard()[:-1]
    with lab.applied(host_endpoint(), blocked, deny):
        assert mode() is not None
        assert seen() == []
        with lab.applied(felix(xdpEnabled=False)):
            assert mode() is None
            assert seen() == ["port", "blocked"]
        assert mode() is not None
        assert seen() == []
    assert mode() is None


ONLY_CLIENT_ASKS = [
    {"apiVersion": "projectcalico.org/v3", "kind": "NetworkPolicy", "metadata": {"name": name, "namespace": "shop"},
     "spec": {"selector": f"app == '{app}'", "types": ["Ingress", "Egress"], "ingress": ingress, "egress": egress}}
    for name, app, ingress, egress in (("who-asks", "near", [], EVERYTHING), ("who-answers", "far", EVERYTHING, []))]
TIMES = ["tcpSynSent", "tcpEstablished", "tcpFinsSeen", "tcpResetSeen", "udpTimeout", "icmpTimeout", "genericTimeout"]


def times(value):
    return felix(bpfConntrackTimeouts=dict.fromkeys(TIMES, value))


def conversations():
    """For each of these times: how the client opens and is answered, in turn; and what either says then."""
    def tcp(port, *flags, later=("ACK", "ACK")):
        return [f"tcp {40000 if i % 2 == 0 else port} {port if i % 2 == 0 else 40000} {flag}"
                for i, flag in enumerate(flags)], (f"tcp 40000 {port} {later[0]}", f"tcp {port} 40000 {later[1]}")
    return {"tcpSynSent": tcp(81, "SYN", later=("SYN", "SYN,ACK")),
            "tcpEstablished": tcp(82, "SYN", "SYN,ACK", "ACK"),
            "tcpFinsSeen": tcp(83, "SYN", "SYN,ACK", "ACK", "FIN,ACK", "FIN,ACK"),
            "tcpResetSeen": tcp(84, "SYN", "SYN,ACK", "RST,ACK"),
            "udpTimeout": (["udp 40000 85", "udp 85 40000"], ("udp 40000 85", "udp 85 40000")),
            "icmpTimeout": (["echo 7", "reply 7"], ("echo 7", "reply 7")),
            "genericTimeout": (["other 99", "other 99"], ("other 99", "other 99"))}


@pytest.mark.parametrize("family", [4, 6])
def test_a_connection_is_over_when_it_was_idle_for_as_long_as_is_said(lab, family, eventually):
    """Then only who may begin one brings it back; but nobody has forgotten it while nothing else took its place."""
    raw, spoken = Raw(lab, "shop/near", "shop/far", family), conversations()
    steps = ["known", "late", "again", "anew", "answer"]

    def say(who, step):
        raw.say(who, *(f"{then[who == 'server']} {step}-{name}" for name, (_, then) in spoken.items()))

    def now_it_is(value):
        lab.apply(times(value))
        lab.wait()

    def forgotten():
        """At both hosts."""
        return not any(lab.json("bpf", "connections", "--host", host, "--address",
                                raw.addresses["client"])["connections"] for host in lab.hosts)
    texts = [f"{step}-{name}" for name in spoken for step in steps]
    with raw.listening(*texts), lab.applied(*ONLY_CLIENT_ASKS, times("1h")):
        for turn in range(max(len(opening) for opening, _ in spoken.values())):
            raw.say("server" if turn % 2 else "client",
                    *(f"{opening[turn]} opening" for opening, _ in spoken.values() if turn < len(opening)))
        say("server", "known")
        now_it_is("1s")
        eventually(forgotten, 30)
        say("server", "late")
        now_it_is("1h")
        say("server", "again")
        now_it_is("10s")  # what follows goes on within it
        eventually(forgotten, 60)
        say("client", "anew")
        say("server", "answer")
        raw.say("client", "udp 40000 85 last")
        raw.say("server", "udp 85 40000 last")
        heard = raw.heard()
    assert sorted(heard["server"]) == sorted("anew-" + name for name in spoken)
    assert sorted(heard["client"]) == sorted(f"{step}-{name}" for name in spoken
                                             for step in ("known", "again", "answer"))
