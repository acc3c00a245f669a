"""A pod is reached under its floating addresses from everywhere, policy judges it by its own, and answers come from
the floating one."""
import contextlib
import os
import subprocess
import sys

import pytest

FLOATING = {4: "172.16.0.5", 6: "fd17::5"}
SECOND = {4: "172.16.0.6", 6: "fd17::6"}
NETS = {"floating-ipv4": "172.16.0.0/24", "floating-ipv6": "fd17::/112"}
OUTSIDE = {4: "198.51.100.2", 6: "2001:db8:51::2"}
PORT = 8000
FELIX = {"apiVersion": "projectcalico.org/v3", "kind": "FelixConfiguration", "metadata": {"name": "default"}}
# Has back what it sends, by TCP and UDP, and is told who it is for the one that serves.
MIRROR = """
import select, socket
port = %d
listener = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
datagrams = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
datagrams.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
datagrams.setsockopt(socket.SOL_SOCKET, 33, 8 << 20)  # SO_RCVBUFFORCE: where others have the processor for long
datagrams.bind(("::", port))
clients = {}
print("ready", flush=True)
while True:
    for ready in select.select([listener, datagrams, *clients], [], [])[0]:
        if ready is listener:
            client, peer = listener.accept()
            clients[client] = 1
            client.sendall(b"%%-50s" %% peer[0].removeprefix("::ffff:").encode())
        elif ready is datagrams:
            data, peer = datagrams.recvfrom(2000)
            datagrams.sendto(data, peer)
        else:
            data = b""
            try: data = ready.recv(65536)
            except OSError: pass
            if data: ready.sendall(data)
            else:
                del clients[ready]
                ready.close()
""" % PORT
# Connects by TCP, and by a datagram whose answer has to come from where it went: prints how it is seen.
ASK = """
import socket, sys
address, port = sys.argv[1], int(sys.argv[2])
stream = socket.create_connection((address, port), 3)
seen = b""
while len(seen) < 50: seen += stream.recv(50)
stream.sendall(b"x" * 3000)
back = 0
while back < 3000: back += len(stream.recv(3000))
one = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
one.settimeout(3)
one.sendto(b"hello", (address, port))
data, peer = one.recvfrom(100)
assert (data, peer[0]) == (b"hello", address), peer
print(seen.decode().strip())
"""
# A datagram of several fragments, and its answer. Where a tunnel has less room than the sender has, it is told so:
# of IPv6 nobody else cuts (RFC 8201).
FRAGMENTS = """
import errno, socket, sys
one = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM)
one.settimeout(3)
one.connect((sys.argv[1], int(sys.argv[2])))
def echo():
    one.send(b"y" * 1900)
    return len(one.recv(4000))
try: echo()
except OSError as told:
    if told.errno != errno.EMSGSIZE: raise
for _ in range(2):  # the second is of a known connection
    print(echo())
"""
# An answer that says that nobody listens there: it has to reach whoever asked.
REFUSED = """
import socket, sys
one = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM)
one.settimeout(3)
one.connect((sys.argv[1], 9))
one.send(b"x")
try: one.recv(10)
except ConnectionRefusedError: print("refused")
"""


def policy(name, selector, **spec):
    return {"apiVersion": "projectcalico.org/v3", "kind": "NetworkPolicy",
            "metadata": {"name": name, "namespace": "shop"}, "spec": dict(selector=selector, **spec)}


class Site:
    """A lab of two hosts, and a machine outside that host1 alone is joined to. Pod web is reached under FLOATING."""

    def __init__(self, lab):
        self.lab = lab
        self.namespace = "outside-%d-%s-%s" % (os.getpid(), lab.dataplane, lab.network)
        self.mirrors = []

    def up(self):
        lab = self.lab
        # Where nobody exports addresses outside pools.
        lab.apply(*({"apiVersion": "projectcalico.org/v3", "kind": "IPPool", "metadata": {"name": name},
                     "spec": {"cidr": cidr, "assignmentMode": "Manual"}} for name, cidr in NETS.items()))
        self.felix(floatingIPs="Enabled")
        lab.together([lab.pod_words("shop/web", "host1", {"app": "web"}, "tcp/80",
                                    floating=",".join(FLOATING.values())),
                      lab.pod_words("shop/near", "host1", {"app": "client"}),
                      lab.pod_words("shop/far", "host2", {"app": "client"})])
        subprocess.run(["ip", "netns", "add", self.namespace], check=True)
        lab.host_exec("host1", "ip", "link", "add", "out0", "type", "veth", "peer", "name", "in0", "netns",
                      self.namespace)
        for address in ("198.51.100.1/24", "2001:db8:51::1/64"):
            lab.host_exec("host1", "ip", "addr", "add", address, "dev", "out0", *["nodad"] * (":" in address))
        lab.host_exec("host1", "ip", "link", "set", "out0", "up")
        for words in ("link set lo up", "link set in0 up", "addr add 198.51.100.2/24 dev in0",
                      "addr add 2001:db8:51::2/64 dev in0 nodad", "route add default via 198.51.100.1",
                      "-6 route add default via 2001:db8:51::1"):
            subprocess.run(["ip", "-n", self.namespace, *words.split()], check=True)
        words = [lab.binary, "lab", "exec", "shop/web", "--", sys.executable, "-c", MIRROR]
        self.mirrors.append(subprocess.Popen(words, env=lab.environment, stdout=subprocess.PIPE, text=True))
        assert self.mirrors[-1].stdout.readline() == "ready\n"
        lab.wait()

    def down(self):
        for mirror in self.mirrors:
            mirror.kill()
            mirror.wait()
        subprocess.run(["ip", "netns", "delete", self.namespace], check=False)

    def wait(self):
        """Until all is in force that is; what is refused, tests look at."""
        self.lab.settle()

    def felix(self, **spec):
        self.lab.apply(dict(FELIX, spec=spec))
        self.wait()

    def run(self, who, program, *words):
        """From a pod, a host, or "outside"."""
        command = [sys.executable, "-c", program, *(str(word) for word in words)]
        if who == "outside":
            return subprocess.run(["ip", "netns", "exec", self.namespace, *command], text=True, capture_output=True)
        if who.startswith("host"):
            return self.lab.host_exec(who, *command, check=False)
        return self.lab.exec(who, *command, check=False)

    def ask(self, who, family, address=None):
        """How whoever asks is seen; "" where there is no answer."""
        done = self.run(who, ASK, address or FLOATING[family], PORT)
        assert done.returncode == 0 or "timed out" in done.stderr or "unreachable" in done.stderr, done.stderr
        return done.stdout.strip()

    def address(self, who, family):
        return OUTSIDE[family] if who == "outside" else self.lab.address(who, family)

    def ask_for(self, floating):
        """Rewrites what the endpoint of web asks for: own address by floating one."""
        path = self.lab.endpoint_path("shop/web")
        document = self.lab.request("GET", path)
        document["spec"]["ipNATs"] = [{"externalIP": address, "internalIP": self.lab.address("shop/web", family)}
                                      for family, address in floating.items()]
        self.lab.request("PUT", path, document)
        self.wait()

    @contextlib.contextmanager
    def policies(self, *documents):
        self.lab.apply(*documents)
        self.lab.wait()
        try:
            yield
        finally:
            self.lab.delete(*documents)
            self.lab.wait()

    def refused(self):
        return " ".join(line["reason"] for agent in self.lab.json("status")["agents"] for line in agent["refused"])


@pytest.fixture(scope="module", params=["vxlan", "untunnelled"])
def site(make_lab, dataplane, request):
    # Without a tunnel each datapath has another way between hosts: translation stands beside all.
    untunnelled = {"nftables": "plain", "ebpf": "bgp"}[dataplane]
    site = Site(make_lab(2, dataplane, network="vxlan" if request.param == "vxlan" else untunnelled))
    try:
        site.up()
        yield site
    finally:
        site.down()


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("who", ["shop/near", "shop/far", "outside"])
def test_a_pod_is_reached_under_its_floating_address_and_sees_who_asks(site, who, family, eventually):
    if who == "shop/far":  # routers tell each other in their own time
        eventually(lambda: site.ask(who, family), 30)
    assert site.ask(who, family) == site.address(who, family)
    assert site.ask(who, family, site.lab.address("shop/web", family)) == site.address(who, family)


@pytest.mark.parametrize("family", [4, 6])
def test_hosts_reach_it_under_that_as_well(site, family):
    assert site.ask("host1", family)
    assert site.ask("host2", family)


def test_what_programs_know_of_them_can_be_seen(site):
    if site.lab.dataplane != "ebpf":
        pytest.skip("there are no programs")
    shown = site.lab.json("bpf", "floating", "--host", "host1")["floating"]
    assert shown == [{"address": FLOATING[family], "own": site.lab.address("shop/web", family)} for family in (4, 6)]
    assert site.lab.json("bpf", "floating", "--host", "host1", "--address", FLOATING[6])["floating"] == shown[1:]


@pytest.mark.parametrize("family", [4, 6])
def test_a_pod_reaches_itself_and_sees_the_floating_address(site, family):
    assert site.ask("shop/web", family) == FLOATING[family]


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("who", ["shop/near", "shop/far", "outside", "host1"])
def test_fragments_errors_and_pings_find_their_way(site, who, family):
    assert site.run(who, FRAGMENTS, FLOATING[family], PORT).stdout == "1900\n1900\n"
    assert site.run(who, REFUSED, FLOATING[family]).stdout == "refused\n"
    if who.startswith("shop"):
        report = site.lab.start_traffic(who, "ping", FLOATING[family]).stop()
        assert report["sent"] > 0 and report["missing"] == []


@pytest.mark.parametrize("family", [4, 6])
def test_policy_of_the_pod_judges_what_comes_by_its_floating_address(site, family):
    with site.policies(policy("web", "app == 'web'", types=["Ingress"],
                              ingress=[{"action": "Allow", "source": {"selector": "app == 'client'"}}])):
        assert site.ask("shop/near", family) == site.address("shop/near", family)
        assert site.ask("shop/far", family) == site.address("shop/far", family)
        assert site.ask("outside", family) == ""
        assert site.ask("host1", family)  # a host reaches its own workloads
    with site.policies(policy("web", "app == 'web'", types=["Ingress"],
                              ingress=[{"action": "Deny", "source": {"selector": "app == 'client'"}},
                                       {"action": "Allow"}])):
        assert site.ask("shop/near", family) == ""
        assert site.ask("outside", family) == OUTSIDE[family]
    assert site.ask("shop/near", family)


@pytest.mark.parametrize("family", [4, 6])
def test_policy_of_who_asks_judges_the_pod_behind_the_floating_address(site, family):
    net = "%s/%d" % (FLOATING[family], 32 if family == 4 else 128)
    with site.policies(policy("client", "app == 'client'", types=["Egress"],
                              egress=[{"action": "Allow", "destination": {"selector": "app == 'web'"}}])):
        assert site.ask("shop/near", family) == site.address("shop/near", family)
    with site.policies(policy("client", "app == 'client'", types=["Egress"],
                              egress=[{"action": "Allow", "destination": {"nets": [net]}}])):
        assert site.ask("shop/near", family) == ""
    with site.policies(policy("web", "app == 'web'", types=["Egress"], egress=[])):
        assert site.ask("shop/web", family) == ""
        assert site.ask("shop/near", family)


@pytest.mark.parametrize("family", [4, 6])
def test_policy_that_comes_ends_an_open_connection(site, family, eventually):
    flow = site.lab.start_traffic("shop/near", "udp", FLOATING[family], PORT, "--interval", "0.01")
    with site.policies(policy("web", "app == 'web'", types=["Ingress"], ingress=[])):
        assert site.ask("shop/near", family) == ""
    report = flow.stop()
    assert report["missing"] and report["received"] > 0


@pytest.mark.parametrize("who", ["shop/near", "shop/far"])
def test_open_connections_outlive_an_agent_that_is_killed(site, who):
    flows = [site.lab.start_traffic(who, "udp", FLOATING[family], PORT) for family in (4, 6)]
    site.lab.run("lab", "agent", "kill", "host1")
    site.lab.run("lab", "agent", "start", "host1")
    site.lab.wait()
    for flow in flows:
        report = flow.stop()
        assert report["sent"] > 10 and report["missing"] == []


def test_open_connections_outlive_another_datapath_and_the_way_back(site, dataplane):
    other = {"nftables": "ebpf", "ebpf": "nftables"}[dataplane]
    flows = {(who, kind, family): site.lab.start_traffic(who, kind, FLOATING[family], port)
             for who in ("shop/near", "shop/far") for kind, port in (("udp", PORT), ("stream", 80))
             for family in (4, 6)}
    with contextlib.ExitStack() as stack:
        stack.callback(site.lab.switch, dataplane)  # whatever becomes of it, for the tests that follow
        site.lab.switch(other)
        site.lab.wait()
        assert {agent["dataplane"] for agent in site.lab.json("status")["agents"]} == {other}
    site.lab.wait()
    assert {agent["dataplane"] for agent in site.lab.json("status")["agents"]} == {dataplane}
    for flow in flows.values():
        flow.end()
    for name, flow in flows.items():
        report = flow.stop()
        assert report["sent"] > 100, name
        assert (name, report["missing"], report["error"]) == (name, [], "")


def test_what_it_no_longer_asks_for_ends_with_all_that_is_open(site):
    flow = site.lab.start_traffic("shop/near", "udp", FLOATING[4], PORT, "--interval", "0.01")
    site.ask_for(SECOND)
    for family in (4, 6):
        assert site.ask("shop/near", family) == ""
        assert site.ask("shop/near", family, SECOND[family]) == site.address("shop/near", family)
    assert flow.stop()["missing"]
    site.ask_for(FLOATING)
    assert site.ask("shop/near", 4)


def test_nothing_is_translated_where_felix_configuration_does_not_say_so(site):
    site.felix()
    assert site.ask("shop/near", 4) == site.ask("outside", 6) == ""
    assert "172.16.0.5: floatingIPs of FelixConfiguration is not Enabled" in site.refused()
    assert "floating4" not in site.lab.host_exec("host1", "nft", "list", "tables").stdout
    site.felix(floatingIPs="Enabled")
    assert site.refused() == ""
    assert site.ask("shop/near", 4)


def test_nobody_takes_an_address_from_who_has_it(site):
    near = site.lab.address("shop/near")
    site.ask_for({4: near})
    assert "not reached under %s: it is the own address of WorkloadEndpoint" % near in site.refused()
    site.ask_for({4: site.lab.host_address(2)})
    assert "it is the address of a host" in site.refused()
    site.ask_for(FLOATING)
    assert site.refused() == ""
