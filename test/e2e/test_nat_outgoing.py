"""What leaves the pools with natOutgoing has the address of its host; what stays inside keeps its own."""
import concurrent.futures
import contextlib
import json
import subprocess
import sys
import time

import pytest
from outside import ADDRESS, ASK, HOST, MIRROR, PORT, Outside

NETS = {4: "10.65.0.0/16", 6: "fd65::/112"}
# Has back what it sends: all of it, once the other side has sent all.
RETURN = """
import socket
listener = socket.create_server(("::", %d), family=socket.AF_INET6, dualstack_ipv6=True)
print("ready", flush=True)
while True:
    client, _ = listener.accept()
    all = bytearray()
    while data := client.recv(1 << 20): all += data
    client.sendall(all)
    client.close()
""" % (PORT + 3)
BORROWED = 20 << 20
BORROW = """
import os, socket, sys
sent = os.urandom(1 << 20) * 20
lender = socket.create_connection((sys.argv[1], int(sys.argv[2])), 30)
lender.sendall(sent)
lender.shutdown(socket.SHUT_WR)
back = bytearray()
while data := lender.recv(1 << 20): back += data
print("whole" if back == sent else "%d bytes of %d" % (len(back), len(sent)))
"""
# The same for each datagram, which is a number.
DATAGRAM_MIRROR = """
import json, socket, sys
mirror = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
mirror.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
mirror.bind(("::", %d))
print("ready", flush=True)
while True:
    number, peer = mirror.recvfrom(100)
    mirror.sendto(json.dumps([int(number), peer[0].removeprefix("::ffff:"), peer[1]]).encode(), peer)
""" % PORT
# Sends datagrams until its input ends; then says how they were seen, in their order: [address, port, how many].
SPEAK = """
import itertools, json, select, socket, sys
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
speaker = socket.socket(family, socket.SOCK_DGRAM)
speaker.connect((sys.argv[1], int(sys.argv[2])))
seen, sent = {}, 0
def listen(seconds):
    while select.select([speaker], [], [], seconds)[0]:
        number, *who = json.loads(speaker.recv(200))
        seen[number] = who
while not select.select([sys.stdin], [], [], 0.002)[0]:
    speaker.send(b"%d" % sent)
    sent += 1
    listen(0)
    if sent == 100: print("speaking", flush=True)
listen(0.5)
print(json.dumps([who + [len(list(those))] for who, those in itertools.groupby(seen[n] for n in sorted(seen))]))
"""
# Has the kernel forget all connections: IPCTNL_MSG_CT_DELETE of nothing in particular, and its answer.
FORGET = """
import socket, struct
kernel = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)
kernel.send(struct.pack("=IHHIIBBH", 20, 0x102, 5, 1, 0, 0, 0, 0))
assert struct.unpack_from("=i", kernel.recv(4096), 16)[0] == 0
"""
FELIX = {"apiVersion": "projectcalico.org/v3", "kind": "FelixConfiguration", "metadata": {"name": "default"}}
FROM_CLIENTS = {"apiVersion": "projectcalico.org/v3", "kind": "NetworkPolicy",
                "metadata": {"name": "web", "namespace": "shop"},
                "spec": {"selector": "app == 'web'", "types": ["Ingress"],
                         "ingress": [{"action": "Allow", "source": {"selector": "app == 'client'"}}]}}
NOT_OUT = {"apiVersion": "projectcalico.org/v3", "kind": "NetworkPolicy",
           "metadata": {"name": "inside", "namespace": "shop"},
           "spec": {"selector": "app == 'web'", "types": ["Egress"],
                    "egress": [{"action": "Deny", "destination": {"nets": ["198.51.100.0/24"]}},
                               {"action": "Deny", "destination": {"nets": ["2001:db8:51::/64"]}},
                               {"action": "Allow"}]}}


class Site:
    """A lab of two hosts, and a machine outside that host1 alone is joined to."""

    def __init__(self, lab):
        self.lab = lab
        self.mode = "Always" if lab.network == "vxlan" else "Never"
        self.outside = Outside(lab)

    def up(self):
        lab = self.lab
        lab.together([lab.pod_words("shop/client", "host1", {"app": "client"}, "tcp/80"),
                      lab.pod_words("shop/near", "host1", {"app": "web"}, "tcp/80"),
                      lab.pod_words("shop/far", "host2", {"app": "web"}, "tcp/80")])
        self.outside.up((MIRROR, DATAGRAM_MIRROR, RETURN), more_of_host=["198.51.100.9/24"])

    def seen(self, pod, family):
        """The address and port that the machine outside sees the pod by."""
        return self.outside.seen(pod, ADDRESS[family])

    def past_the_stack(self):
        """How many packets host1's programs have translated."""
        counters = self.lab.json("bpf", "counters", "--host", "host1")["counters"]
        return next(line["count"] for line in counters if line["counter"] == "translated")

    def forget_connections(self):
        self.lab.host_exec("host1", sys.executable, "-c", FORGET)

    def put_pools(self, nat, **of_ipv4):
        modes = {4: {"vxlanMode": self.mode, **of_ipv4}, 6: {"vxlanMode": self.mode}}
        self.lab.apply(*({"apiVersion": "projectcalico.org/v3", "kind": "IPPool",
                          "metadata": {"name": "pods-ipv%d" % family},
                          "spec": {"cidr": net, "natOutgoing": nat, **modes[family]}}
                         for family, net in NETS.items()))

    def pools(self, nat):
        self.put_pools(nat)
        self.lab.wait()

    def kernel_has_ipip(self):
        made = subprocess.run(["ip", "-n", self.outside.namespace, "link", "add", "probe", "type", "ipip", "local",
                               ADDRESS[4]], check=False, capture_output=True)
        subprocess.run(["ip", "-n", self.outside.namespace, "link", "delete", "probe"], check=False,
                       capture_output=True)
        return made.returncode == 0

    def felix(self, **spec):
        self.lab.apply(dict(FELIX, spec=spec))
        self.lab.wait()

    def tables(self):
        return self.lab.host_exec("host1", "nft", "list", "tables").stdout


@pytest.fixture(scope="module")
def site(make_lab, dataplane):
    # Each datapath with another way between hosts: translation stands beside both.
    site = Site(make_lab(2, dataplane, network={"nftables": "vxlan", "ebpf": "plain"}[dataplane]))
    try:
        site.up()
        site.pools(True)
        yield site
    finally:
        site.outside.down()


@pytest.mark.parametrize("family", [4, 6])
def test_who_is_outside_sees_the_host(site, family):
    assert site.seen("shop/client", family)[0] == HOST[family]


def test_who_is_inside_sees_the_pod(site):
    site.lab.apply(FROM_CLIENTS)
    site.lab.wait()
    cells = site.lab.probe("tcp/80")
    assert cells == site.lab.matrix("tcp/80")
    for family in (4, 6):
        assert cells["shop/client", "shop/far", "tcp/80", family] == "allow"
        assert cells["shop/near", "shop/far", "tcp/80", family] == "deny"


def test_policy_judges_the_pod_and_not_the_host_that_it_is_seen_by(site):
    site.lab.apply(NOT_OUT)
    site.lab.wait()
    # No answer may come, not even to the second attempt, a second later.
    with concurrent.futures.ThreadPoolExecutor() as pool:
        asked = list(pool.map(lambda family: site.lab.exec("shop/near", sys.executable, "-c", ASK, ADDRESS[family],
                                                           str(PORT), "2", check=False), HOST))
    for family, ask in zip(HOST, asked):
        assert ask.returncode != 0 and "timed out" in ask.stderr
        assert site.seen("shop/client", family)[0] == HOST[family]


def test_felix_configuration_chooses_address_and_ports(site):
    site.felix(natOutgoingAddress="198.51.100.9", natPortRange="61000:61010")
    address, port = site.seen("shop/client", 4)
    assert address == "198.51.100.9" and 61000 <= port <= 61010
    address, port = site.seen("shop/client", 6)
    assert address == HOST[6] and 61000 <= port <= 61010
    site.felix(iptablesNATOutgoingInterfaceFilter="eth+")
    assert site.seen("shop/client", 4)[0] == site.lab.address("shop/client")
    site.felix(iptablesNATOutgoingInterfaceFilter="out0")
    assert site.seen("shop/client", 4)[0] == HOST[4]
    site.felix()


def test_what_somebody_deletes_comes_back(site, eventually):
    site.lab.host_exec("host1", "nft", "delete", "table", "inet", "ocicat_nat")
    eventually(lambda: "table inet ocicat_nat\n" in site.tables(), 30)
    assert site.seen("shop/client", 4)[0] == HOST[4]


def test_an_open_connection_outlives_an_agent_that_is_killed(site, eventually):
    program = ("import socket, sys, time; s = socket.create_server(('::', 8001), family=socket.AF_INET6, "
               "dualstack_ipv6=True); print('ready', flush=True); c, _ = s.accept()\n"
               "while data := c.recv(4096): c.sendall(data)")
    echo = subprocess.Popen(["ip", "netns", "exec", site.outside.namespace, sys.executable, "-c", program],
                            stdout=subprocess.PIPE, text=True)
    try:
        assert echo.stdout.readline() == "ready\n"
        flow = site.lab.start_traffic("shop/client", "stream", ADDRESS[4], 8001)
        site.lab.run("lab", "agent", "kill", "host1")
        if site.lab.dataplane == "ebpf":
            before = site.past_the_stack()
            eventually(lambda: site.past_the_stack() > before, 30)
        site.lab.run("lab", "agent", "start", "host1")
        site.lab.wait()
        report = flow.stop()
        assert report["sent"] > 10
        assert (report["missing"], report["error"]) == ([], "")
    finally:
        echo.kill()
        echo.wait()


@pytest.mark.parametrize("family", [4, 6])
def test_a_large_transfer_arrives_whole_and_comes_back(site, family):
    before = site.past_the_stack() if site.lab.dataplane == "ebpf" else 0
    said = site.lab.exec("shop/client", sys.executable, "-c", BORROW, ADDRESS[family], str(PORT + 3)).stdout
    assert said == "whole\n"
    if site.lab.dataplane == "ebpf":
        assert site.past_the_stack() - before > 100


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("direction", ["ingress", "egress"])
def test_what_leaves_translated_and_comes_back_is_held_to_the_limit(site, family, direction):
    rate, burst = 80_000_000, 800_000  # bits a second, bits
    site.lab.limit("shop/client", **{direction + "Bandwidth": rate, direction + "Burst": burst})
    try:
        begin = time.monotonic()
        said = site.lab.exec("shop/client", sys.executable, "-c", BORROW, ADDRESS[family], str(PORT + 3)).stdout
        took = time.monotonic() - begin
        assert said == "whole\n"
        assert 8 * BORROWED <= burst + rate * took
    finally:
        site.lab.limit("shop/client")


@contextlib.contextmanager
def datagrams(site, family):
    """Yields a list that has, once that is over, how the datagrams of a pod were seen meanwhile."""
    seen = []
    speaker = subprocess.Popen([site.lab.binary, "lab", "exec", "shop/client", "--", sys.executable, "-c", SPEAK,
                                ADDRESS[family], str(PORT)], env=site.lab.environment, text=True,
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert speaker.stdout.readline() == "speaking\n"
        yield seen
        seen += json.loads(speaker.communicate()[0])
    finally:
        speaker.kill()
        speaker.wait()


@pytest.mark.parametrize("family", [4, 6])
def test_known_connections_are_translated_past_the_stack(site, family, eventually):
    if site.lab.dataplane != "ebpf":
        pytest.skip("there it is the kernel that translates")
    before = site.past_the_stack()
    with datagrams(site, family) as seen:
        eventually(lambda: site.past_the_stack() > before + 500, 30)
        shown = json.loads(site.lab.run("bpf", "connections", "--host", "host1", "--address", ADDRESS[family], "-o",
                                        "json").stdout)["connections"]
    (address, port, count), = seen
    assert address == HOST[family] and count > 250
    assert {"address": address, "port": port} in [one.get("sourceOutside") for one in shown]


@pytest.mark.parametrize("family", [4, 6])
def test_what_the_kernel_has_forgotten_is_translated_anew_from_then_on(site, family, eventually):
    with datagrams(site, family) as seen:
        site.forget_connections()
        assert site.seen("shop/client", family)[0] == HOST[family]  # a moment later
        if site.lab.dataplane == "ebpf":
            before = site.past_the_stack()
            eventually(lambda: site.past_the_stack() > before + 500, 30)
    assert {address for address, _, _ in seen} == {HOST[family]}
    assert seen[0][1] != seen[-1][1]  # which the kernel chooses at random, of two at once maybe for each


def test_pools_that_change_under_traffic_are_heeded(site):
    with datagrams(site, 4) as seen:
        site.pools(False)
        assert site.seen("shop/client", 4)[0] == site.lab.address("shop/client")
        site.pools(True)
        assert site.seen("shop/client", 4)[0] == HOST[4]
    # Where the kernel still knows the connection, what answers the pod itself is not of it, and is lost.
    addresses = [address for address, _, _ in seen]
    assert addresses[0] == addresses[-1] == HOST[4]
    assert set(addresses) <= {HOST[4], site.lab.address("shop/client")}


@pytest.mark.parametrize("mode", ["CrossSubnet", "Always"])
def test_a_pool_that_asks_for_ipip_translates_whether_the_kernel_has_it_or_not(site, mode, eventually):
    """What leaves the pools never enters the tunnel; a kernel that has none is told of, and translates all the same."""
    own = site.lab.address("shop/client")
    try:
        for nat, seen in ((False, own), (True, HOST[4])):
            site.put_pools(nat, ipipMode=mode, vxlanMode="Never")
            eventually(lambda: site.seen("shop/client", 4)[0] == seen, 30)
        if site.kernel_has_ipip():
            site.lab.wait()
        else:
            why = "this kernel has no IPIP: load its module ipip, or set the pools' ipipMode to Never"
            eventually(lambda: all(why in agent["error"] for agent in site.lab.json("status")["agents"]), 30)
            assert why in site.lab.run("node", "status", "host1", check=False).stdout
        for family in (4, 6):
            assert site.seen("shop/client", family)[0] == HOST[family]
    finally:
        site.put_pools(True, ipipMode="Never")
        site.lab.wait()


def test_without_such_a_pool_there_is_no_table_and_pods_are_seen_as_they_are(site):
    site.pools(False)
    assert "ocicat_nat" not in site.tables()
    for family in (4, 6):
        assert site.seen("shop/client", family)[0] == site.lab.address("shop/client", family)
