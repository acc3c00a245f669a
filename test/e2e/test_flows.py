"""Flows and refusals are told, with who speaks by name and the policy that decides, as `ocicat explain` says it."""
import json
import socket
import subprocess
import sys
import threading
import time

import pytest

import shop
from ears import PACKETS
from raw import Raw

EGRESS, INGRESS = ("src", "egress"), ("dst", "ingress")
FAMILIES = pytest.mark.parametrize("family", [4, 6])


@pytest.fixture(scope="module")
def lab(make_lab, dataplane, root):
    lab = make_lab(2, dataplane)
    lab.together([lab.pod_words(name, "host2" if host == "host3" else host, labels=labels, listen=listen)
                  for name, host, labels, listen in shop.PODS])
    lab.apply_files(root / "examples/shop/policies")
    lab.wait()
    return lab


def told(lab, *words):
    return [flow for host in lab.json(*words)["hosts"] for flow in host["flows"]]


def name(party):
    return "%s/%s" % (party.get("namespace"), party["nameAggregated"])


def key(flow):
    traffic = {"icmp/8/0": "icmp", "icmpv6/128/0": "icmpv6"}.get(flow["traffic"], flow["traffic"])
    return name(flow["source"]), name(flow["destination"]), traffic


def texts(side):
    return [step["text"] for step in side["trace"] if step["action"] != "log"]


def test_every_refusal_is_told_with_the_policy_that_explain_names(lab, eventually):
    cells = lab.probe(shop.PORTS)
    denied = {cell[:3]: cell[3] for cell, verdict in cells.items() if verdict == "deny"}
    assert len(denied) > 50

    def refusals():
        return {key(flow): flow for flow in told(lab, "drops") if flow["reason"] == "policy"}

    eventually(lambda: denied.keys() <= refusals().keys(), 30)
    seen = refusals()
    for (source, target, traffic), family in denied.items():
        explained = lab.explain(source, target, traffic, family)
        reporter, end = EGRESS if explained["egress"]["verdict"] == "deny" else INGRESS
        flow = seen[source, target, traffic]
        assert flow["reporter"] == reporter, flow
        assert flow["why"] == texts(explained[end]), (source, target, traffic)
        assert flow["action"] == "deny" and flow["refused"] > 0
        assert len(flow["policies"]["enforced"]) == len(flow["why"])
    allowed = {cell[:3] for cell, verdict in cells.items() if verdict == "allow"}
    assert not {key(flow) for flow in told(lab, "drops")} & allowed


def test_an_allowed_flow_is_told_at_both_ends(lab, eventually):
    source, target, traffic = "shop/frontend", "shop/api", "tcp/8080"
    lab.probe(traffic)

    def ends():
        return {flow["reporter"]: flow for flow in told(lab, "flows")
                if key(flow) == (source, target, traffic) and flow["action"] == "allow"}

    eventually(lambda: len(ends()) == 2, 30)
    explained = lab.explain(source, target, traffic)
    for reporter, end in (EGRESS, INGRESS):
        flow = ends()[reporter]
        assert flow["why"] == texts(explained[end])
        assert flow["flows"] > 0 and flow["refused"] == 0
        assert flow["source"]["labels"]["app"] == "frontend"


@FAMILIES
def test_followers_are_told_as_it_happens_with_addresses_and_ports(lab, family):
    command = [lab.binary, "drops", "--follow", "--count", "1", "--namespace", "billing", "-o", "json"]
    follower = subprocess.Popen(command, env=lab.environment, text=True, stdout=subprocess.PIPE)
    address = lab.address("billing/card-vault", family)
    words = [lab.binary, "lab", "exec", "shop/frontend", "--", sys.executable, "-c",
             "import socket, sys, select\n"
             "s = socket.socket(socket.AF_INET6 if ':' in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM)\n"
             "s.bind(('', 40007))\n"
             "while not select.select([sys.stdin], [], [], 0.05)[0]: s.sendto(b'x', (sys.argv[1], 514))", address]
    sender = subprocess.Popen(words, env=lab.environment, stdin=subprocess.PIPE)
    try:
        output, _ = follower.communicate(timeout=20)
    finally:
        sender.communicate(timeout=20)
    flow = json.loads(output)
    assert flow["source"]["address"] == lab.address("shop/frontend", family)
    assert flow["source"]["port"] == 40007
    assert flow["destination"]["address"] == address
    assert flow["traffic"] == "udp/514"
    assert flow["bytes"] >= {4: 29, 6: 49}[family]


@FAMILIES
def test_followers_of_flows_are_told_of_what_is_allowed_and_by_which_policy(lab, family):
    source, target, traffic = "shop/frontend", "shop/api", "tcp/8080"
    follower = subprocess.Popen([lab.binary, "flows", "--follow", "--namespace", "shop", "-o", "json"],
                                env=lab.environment, text=True, stdout=subprocess.PIPE)
    patience = threading.Timer(20, follower.kill)
    patience.start()
    ends = {}
    words = [lab.binary, "lab", "exec", source, "--", sys.executable, "-c",
             "import socket, sys, select\n"
             "while not select.select([sys.stdin], [], [], 0.05)[0]:\n"
             "    socket.create_connection(('%s', 8080)).close()" % lab.address(target, family)]
    with subprocess.Popen(words, env=lab.environment, stdin=subprocess.PIPE) as opener:
        while len(ends) < 2 and (line := follower.stdout.readline()):
            flow = json.loads(line)
            if key(flow) == (source, target, traffic) and flow["source"]["address"] == lab.address(source, family):
                ends[flow["reporter"]] = flow
        opener.stdin.close()
    patience.cancel()
    follower.kill()
    follower.communicate()
    explained = lab.explain(source, target, traffic, family)
    for reporter, end in (EGRESS, INGRESS):
        assert (ends[reporter]["action"], ends[reporter]["why"]) == ("allow", texts(explained[end]))
        assert ends[reporter]["destination"]["address"] == lab.address(target, family)


@FAMILIES
def test_a_spoofed_packet_is_told_with_its_reason_and_who_sent_it(lab, eventually, family):
    port = str(530 + family)  # families are summed up together
    source, target = {4: ("10.10.10.10", "198.51.100.1"), 6: ("2001:db8:10::10", "2001:db8:51::1")}[family]
    lab.exec("shop/db", sys.executable, PACKETS, "send", source, target, port, "spoofed")

    def spoofed():
        return [flow for flow in told(lab, "drops")
                if flow["reason"] == "spoofed" and flow["destination"]["nameAggregated"] == "pub"
                and flow["traffic"] == "udp/" + port and name(flow["source"]) == "shop/db"]

    eventually(spoofed, 30)


NOT_IP = """
import socket
frames = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
frames.bind(("eth0", 0))
for _ in range(2):
    frames.send(b"\\xee" * 12 + b"\\x88\\xb5" + bytes(50))
"""


def ask_for_nobody_at(lab, pod, family):
    """Host2 sends a datagram to an address that nobody has, and that the pod's host has a route to the pod for."""
    nobody = {4: "10.65.99.99", 6: "fd65:99::99"}[family]
    found = lab.pod(pod)
    index = json.loads(lab.exec(pod, "ip", "-j", "link", "show", "dev", "eth0").stdout)[0]["link_index"]
    links = {link["ifindex"]: link for link in json.loads(lab.host_exec(found["host"], "ip", "-j", "link").stdout)}
    lab.host_exec(found["host"], "ip", "route", "replace", nobody, "via", lab.address(pod, family),
                  "dev", links[index]["ifname"], "onlink")
    mac = next(link["address"] for link in links.values() if link["ifname"] == "to-host2")
    lab.host_exec("host2", "env", "WAY=to-host1 " + mac, sys.executable, PACKETS, "send",
                  lab.host_address(2, family), nobody, "9", "nobody")


def test_what_is_refused_whatever_policy_says_is_told_with_its_reason(lab, dataplane, eventually):
    """One packet of each kind in each family, and two that are not IP."""
    source, target = "shop/frontend", "shop/api"
    lab.exec(source, sys.executable, "-c", NOT_IP)
    for family in (4, 6):
        Raw(lab, source, target, family).say("client", "tcp 40000 8080 RST unknown", "other 6 short", "later 17 later")
        ask_for_nobody_at(lab, source, family)
    expected = {("invalid", "src", source, target, "tcp/8080"), ("not-ours", "dst", "None/pvt", "None/pvt", "udp/9")}
    if dataplane == "ebpf":
        expected |= {("malformed", "src", source, target, "tcp"), ("fragment", "src", source, target, "udp"),
                     ("not-ip", "src", source, "None/pub", "0")}
    else:  # the kernel holds back what it waits for more fragments of, and takes what is short for invalid
        where_ports_are = int.from_bytes(b"or", "big")
        expected |= {("invalid", "src", source, target, "tcp/%d" % where_ports_are)}

    def refused():
        return {(flow["reason"], flow["reporter"], *key(flow)): flow["refused"] for flow in told(lab, "drops")}

    eventually(lambda: expected <= {what for what, count in refused().items() if count == 2}, 30)


@FAMILIES
def test_what_policy_denies_by_now_of_a_connection_is_told_as_revoked(lab, eventually, family):
    source, target = "shop/frontend", "shop/api"
    no_more = shop.policy("shop", "no-more", {"selector": "app == 'frontend'", "order": 1, "types": ["Egress"],
                                              "egress": [{"action": "Deny", "protocol": "UDP"}]})
    raw = Raw(lab, source, target, family)
    port = 40000 + family  # families are summed up together

    def revoked(*flow):
        return [one for one in told(lab, "drops") if one["reason"] == "revoked" and key(one) == flow]

    def say_and_look():
        raw.say("client", "udp %d 8125 more" % port)
        return revoked(source, target, "udp/8125")

    raw.say("client", "udp %d 8125 first" % port)
    raw.say("server", "udp 8125 %d answer" % port)
    lab.apply(no_more)
    lab.wait()
    try:
        eventually(say_and_look, 30)
        explained = texts(lab.explain(source, target, "udp/8125", family)["egress"])
        sentence = "was let through before, and policy denies it by now"
        assert [sentence, *explained] in [flow["why"] for flow in revoked(source, target, "udp/8125")]
        raw.say("server", "udp 8125 %d answer" % port)
        eventually(lambda: revoked(target, source, "udp/%d" % port), 30)
    finally:
        lab.delete(no_more)
        lab.wait()


def host_endpoint(name, interface):
    return {"apiVersion": "projectcalico.org/v3", "kind": "HostEndpoint",
            "metadata": {"name": name, "labels": {"edge": name}},
            "spec": {"node": "host1", "interfaceName": interface, "profiles": ["projectcalico-default-allow"]}}


def of_edge(name, order):
    return {"apiVersion": "projectcalico.org/v3", "kind": "GlobalNetworkPolicy", "metadata": {"name": "of-" + name},
            "spec": {"selector": "edge == '%s'" % name, "order": order, "types": ["Egress"],
                     "egress": [{"action": "Deny", "protocol": "UDP", "destination": {"ports": [9]}},
                                {"action": "Allow"}]}}


@pytest.fixture
def edges(lab):
    """Two host endpoints; who leaves by an interface that is not there comes first."""
    documents = [of_edge("another", 1), of_edge("edge", 2), host_endpoint("another", "not-there"),
                 host_endpoint("edge", "to-host2")]
    lab.apply(*documents)
    lab.wait()
    yield
    lab.delete(*reversed(documents))
    lab.wait()


@FAMILIES
@pytest.mark.parametrize("port, action, rule", [(9, "deny", 0), (10, "allow", 1)])
def test_what_a_host_sends_is_told_by_the_host_endpoint_by_which_it_leaves(lab, edges, eventually, family, port, action,
                                                                           rule):
    port_of_family = port if action == "deny" else port + family  # families are summed up together
    send(lab, lab.host_address(2, family), port_of_family)
    interface = ("None/edge", "udp/%d" % port_of_family)

    def seen():
        return [flow for flow in told(lab, "flows") if (name(flow["source"]), flow["traffic"]) == interface]

    eventually(seen, 30)
    for flow in seen():
        assert (flow["reporter"], flow["action"], flow["host"]) == ("src", action, "host1")
        assert "GlobalNetworkPolicy of-edge, egress[%d]" % rule in flow["why"][-1]


@FAMILIES
def test_what_a_host_asks_of_its_own_workload_is_told_at_that_end(lab, eventually, family):
    port = 20 + family
    pod = next(pod for pod in lab.status()["pods"] if pod["host"] == "host1")
    target = "%s/%s" % (pod["namespace"], pod["name"])
    send(lab, lab.address(target, family), port)

    def seen():
        return [flow for flow in told(lab, "flows") if key(flow)[1:] == (target, "udp/%d" % port)]

    eventually(seen, 30)
    assert [(flow["reporter"], flow["action"], flow["why"]) for flow in seen()] == [("dst", "allow", [])]


def send(lab, address, port):
    """A datagram of host1."""
    code = "import socket, sys; socket.socket(%d, socket.SOCK_DGRAM).sendto(b'x', (sys.argv[1], int(sys.argv[2])))"
    lab.host_exec("host1", sys.executable, "-c", code % (socket.AF_INET6 if ":" in address else socket.AF_INET),
                  address, str(port), check=False)


def test_who_does_not_read_holds_nobody_up(lab, root, eventually):
    """A reader that stops, while refusals flood: packets pass, others are served, and it is told what it missed."""
    stuck = subprocess.Popen([lab.binary, "flows", "--follow"], env=lab.environment, text=True,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    flood = subprocess.Popen([lab.binary, "lab", "exec", "monitoring/prometheus", "--", sys.executable,
                              str(root / "test/e2e/flood.py"), "send", lab.address("shop/db"), "5432"],
                             env=lab.environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert flood.stdout.readline() == "+\n"
    try:
        cells = lab.probe("tcp/8080", "--pods", "shop/frontend,shop/api")
        assert cells["shop/frontend", "shop/api", "tcp/8080", 4] == "allow"
        flooded = ("monitoring/prometheus", "shop/db", "udp/5432")
        eventually(lambda: [flow for flow in told(lab, "drops") if key(flow) == flooded], 30)
    finally:
        sent = json.loads(flood.communicate(timeout=30)[0])
        stuck.terminate()
        stuck.communicate(timeout=30)

    def accounted():
        """What was told, and what was not, which is counted."""
        refused = sum(flow["refused"] for flow in told(lab, "drops") if key(flow) == flooded)
        return refused + sum(host["lost"] for host in lab.json("drops")["hosts"])

    eventually(lambda: accounted() >= sent["sent"], 30)


SOME_DATAGRAMS = """
import socket, sys, time
one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for _ in range(30):
    one.sendto(b"x", (sys.argv[1], int(sys.argv[2])))
    time.sleep(0.02)
"""


def test_one_workloads_flood_of_refusals_hides_none_of_anothers(lab, root, eventually):
    """Of two on one host."""
    flooded, few = ("monitoring/prometheus", "shop/db", "udp/5434"), ("shop/api", "shop/db", "udp/5435")

    def refused(flow):
        return sum(one["refused"] for one in told(lab, "drops") if key(one) == flow)

    flood = subprocess.Popen([lab.binary, "lab", "exec", flooded[0], "--", sys.executable,
                              str(root / "test/e2e/flood.py"), "send", lab.address("shop/db"), "5434"],
                             env=lab.environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert flood.stdout.readline() == "+\n"
    try:
        eventually(lambda: refused(flooded) > 10_000, 30)
        lab.exec(few[0], sys.executable, "-c", SOME_DATAGRAMS, lab.address("shop/db"), "5435")
    finally:
        flood.communicate(timeout=30)
    eventually(lambda: refused(few) == 30, 10)


def test_an_agent_that_is_away_is_an_error_and_not_silence(lab, dataplane, eventually):
    lab.run("lab", "agent", "kill", "host1")
    done = lab.run("drops", "--host", "host1", check=False)
    assert done.returncode == 1
    assert "the agent does not answer at" in done.stderr
    if dataplane == "ebpf":
        lab.probe("udp/9", "--pods", "shop/frontend,shop/db")
    lab.run("lab", "agent", "start", "host1")
    lab.wait()
    if dataplane == "ebpf":  # the ring keeps what happened meanwhile
        missed = ("shop/frontend", "shop/db", "udp/9")
        eventually(lambda: [flow for flow in told(lab, "drops") if flow["host"] == "host1" and key(flow) == missed], 30)
    lab.probe("udp/10", "--pods", "shop/frontend,shop/db")
    eventually(lambda: [flow for flow in told(lab, "drops") if key(flow) == ("shop/frontend", "shop/db", "udp/10")], 30)


def test_what_was_lost_while_no_agent_ran_is_counted_by_the_next_one(lab, root, dataplane, eventually):
    flooded = ("monitoring/prometheus", "shop/db", "udp/5433")

    def lost():
        return sum(host["lost"] for host in lab.json("drops", "--host", "host2")["hosts"])

    def flood():
        """How many were sent."""
        sender = subprocess.Popen([lab.binary, "lab", "exec", "monitoring/prometheus", "--", sys.executable,
                                   str(root / "test/e2e/flood.py"), "send", lab.address("shop/db"), "5433"],
                                  env=lab.environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert sender.stdout.readline() == "+\n"
        time.sleep(2)
        return json.loads(sender.communicate(timeout=30)[0])["sent"]

    lab.run("lab", "agent", "kill", "host2")
    sent = 0
    while sent < 40_000:  # half of the ring, beyond which each interface has its share
        sent += flood()
    lab.run("lab", "agent", "start", "host2")
    lab.wait()

    def accounted():
        refused = sum(flow["refused"] for flow in told(lab, "drops", "--host", "host2") if key(flow) == flooded)
        return refused + lost()

    eventually(lambda: accounted() >= sent, 30)
    before = lost()
    assert before > 0

    # The next one is not owed them; with nftables, what has come meanwhile.
    lab.run("lab", "agent", "stop", "host2")
    lab.run("lab", "agent", "start", "host2")
    lab.wait()
    time.sleep(3)  # it has looked twice
    assert lost() < before / 100
    if dataplane == "ebpf":
        assert lost() == 0


def test_flows_are_summed_up_for_no_longer_than_is_said(lab, eventually):
    lab.probe("tcp/8080")

    def is_told():
        return any(key(flow)[:2] == ("shop/frontend", "shop/api") for flow in told(lab, "flows"))

    eventually(is_told, 30)
    interval = {"apiVersion": "projectcalico.org/v3", "kind": "FelixConfiguration", "metadata": {"name": "default"},
                "spec": {"flowLogsFlushInterval": "1s"}}
    lab.apply(interval)
    try:
        eventually(lambda: not is_told(), 30)
    finally:
        lab.delete(interval)
        lab.wait()
