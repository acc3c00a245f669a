"""What leaves the pools with natOutgoing has the address of its host; what stays inside keeps its own."""
import json
import os
import subprocess
import sys

import pytest

OUTSIDE = {4: "198.51.100.2", 6: "2001:db8:51::2"}
HOST = {4: "198.51.100.1", 6: "2001:db8:51::1"}
NETS = {4: "10.65.0.0/16", 6: "fd65::/112"}
PORT = 8000
# Tells each client how it is seen.
MIRROR = """
import json, socket, sys
listener = socket.create_server(("::", %d), family=socket.AF_INET6, dualstack_ipv6=True)
print("ready", flush=True)
while True:
    client, peer = listener.accept()
    client.sendall(json.dumps([peer[0].removeprefix("::ffff:"), peer[1]]).encode())
    client.close()
""" % PORT
ASK = "import socket, sys; print(socket.create_connection((sys.argv[1], int(sys.argv[2])), 5).recv(200).decode())"
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
        self.namespace = "outside-%d-%s" % (os.getpid(), lab.dataplane)

    def up(self):
        lab = self.lab
        lab.together([lab.pod_words("shop/client", "host1", {"app": "client"}, "tcp/80"),
                      lab.pod_words("shop/near", "host1", {"app": "web"}, "tcp/80"),
                      lab.pod_words("shop/far", "host2", {"app": "web"}, "tcp/80")])
        subprocess.run(["ip", "netns", "add", self.namespace], check=True)
        lab.host_exec("host1", "ip", "link", "add", "out0", "type", "veth", "peer", "name", "in0", "netns",
                      self.namespace)
        for address in ("198.51.100.1/24", "198.51.100.9/24", "2001:db8:51::1/64"):
            lab.host_exec("host1", "ip", "addr", "add", address, "dev", "out0", *["nodad"] * (":" in address))
        lab.host_exec("host1", "ip", "link", "set", "out0", "up")
        for words in ("link set lo up", "link set in0 up", "addr add 198.51.100.2/24 dev in0",
                      "addr add 2001:db8:51::2/64 dev in0 nodad", "route add default via 198.51.100.1",
                      "-6 route add default via 2001:db8:51::1"):
            subprocess.run(["ip", "-n", self.namespace, *words.split()], check=True)
        self.mirror = subprocess.Popen(["ip", "netns", "exec", self.namespace, sys.executable, "-c", MIRROR],
                                       stdout=subprocess.PIPE, text=True)
        assert self.mirror.stdout.readline() == "ready\n"

    def down(self):
        if hasattr(self, "mirror"):
            self.mirror.kill()
            self.mirror.wait()
        subprocess.run(["ip", "netns", "delete", self.namespace], check=False)

    def seen(self, pod, family):
        """The address and port that the machine outside sees the pod by."""
        return tuple(json.loads(self.lab.exec(pod, sys.executable, "-c", ASK, OUTSIDE[family], str(PORT)).stdout))

    def pools(self, nat):
        self.lab.apply(*({"apiVersion": "projectcalico.org/v3", "kind": "IPPool",
                          "metadata": {"name": "pods-ipv%d" % family},
                          "spec": {"cidr": net, "natOutgoing": nat, "vxlanMode": self.mode}}
                         for family, net in NETS.items()))
        self.lab.wait()

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
        site.down()


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
    for family in (4, 6):
        ask = site.lab.exec("shop/near", sys.executable, "-c", ASK, OUTSIDE[family], str(PORT), check=False)
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
    eventually(lambda: "table inet ocicat_nat\n" in site.tables(), 10)
    assert site.seen("shop/client", 4)[0] == HOST[4]


def test_an_open_connection_outlives_an_agent_that_is_killed(site):
    program = ("import socket, sys, time; s = socket.create_server(('::', 8001), family=socket.AF_INET6, "
               "dualstack_ipv6=True); print('ready', flush=True); c, _ = s.accept()\n"
               "while data := c.recv(4096): c.sendall(data)")
    echo = subprocess.Popen(["ip", "netns", "exec", site.namespace, sys.executable, "-c", program],
                            stdout=subprocess.PIPE, text=True)
    try:
        assert echo.stdout.readline() == "ready\n"
        flow = site.lab.start_traffic("shop/client", "stream", OUTSIDE[4], 8001)
        site.lab.run("lab", "agent", "kill", "host1")
        site.lab.run("lab", "agent", "start", "host1")
        site.lab.wait()
        report = flow.stop()
        assert report["sent"] > 10
        assert (report["missing"], report["error"]) == ([], "")
    finally:
        echo.kill()
        echo.wait()


def test_without_such_a_pool_there_is_no_table_and_pods_are_seen_as_they_are(site):
    site.pools(False)
    assert "ocicat_nat" not in site.tables()
    for family in (4, 6):
        assert site.seen("shop/client", family)[0] == site.lab.address("shop/client", family)
