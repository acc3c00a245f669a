"""Workloads with an interface in each of two networks of their hosts: by two network configurations, each with pools of
its own, as a container runtime calls for them one after the other."""
import json
import os
import pathlib
import subprocess
import sys

import pytest
from outside import ASK, MIRROR, PORT

FRONT, BACK = "eth0", "net1"  # interfaces; the second one is the back network's
POOLS = {FRONT: {4: "pods-ipv4", 6: "pods-ipv6"}, BACK: {4: "back-ipv4", 6: "back-ipv6"}}


class Container:
    """A network namespace with an interface in both networks, and somebody inside who says how he is seen."""

    def __init__(self, lab, host, name):
        self.lab, self.host, self.name = lab, host, name
        self.namespace = "%s-%s" % (lab.name, name)
        self.addresses = {}
        subprocess.run(["ip", "netns", "add", self.namespace], check=True)
        subprocess.run(["ip", "-n", self.namespace, "link", "set", "lo", "up"], check=True)

    def call(self, command, interface, succeeds=True, **more):
        plugin = pathlib.Path(self.lab.binary).parent / "ocicat-cni"
        pools = POOLS[interface]
        config = {"cniVersion": "1.1.0", "name": {FRONT: "front", BACK: "back"}[interface], "type": "ocicat-cni",
                  "agent_dir": str(self.lab.folder / "cni" / self.host),
                  "ipam": {"type": "calico-ipam", "assign_ipv4": True, "assign_ipv6": True,
                           "ipv4_pools": [pools[4]], "ipv6_pools": [pools[6]]},
                  "args": {"cni": {"labels": [{"key": "network", "value": interface}]}}}
        environment = dict(os.environ, CNI_COMMAND=command, CNI_CONTAINERID=self.name, CNI_IFNAME=interface,
                           CNI_NETNS="/run/netns/" + self.namespace, CNI_PATH=str(plugin.parent),
                           CNI_ARGS="K8S_POD_NAMESPACE=shop;K8S_POD_NAME=" + self.name)
        done = subprocess.run(["ip", "netns", "exec", "%s-%s" % (self.lab.name, self.host), str(plugin)],
                              env=environment, text=True, input=json.dumps(dict(config, **more)), capture_output=True)
        assert (done.returncode == 0) == succeeds, done.stdout + done.stderr
        return json.loads(done.stdout) if done.stdout.strip() else None

    def add(self, interface):
        result = self.call("ADD", interface)
        for ip in result["ips"]:
            address = ip["address"].split("/")[0]
            self.addresses[interface, 6 if ":" in address else 4] = address
        return result

    def run(self, *words, check=True):
        return subprocess.run(["ip", "netns", "exec", self.namespace, *map(str, words)], check=check, text=True,
                              capture_output=True)

    def listen(self):
        self.mirror = subprocess.Popen(["ip", "netns", "exec", self.namespace, sys.executable, "-c", MIRROR],
                                       stdout=subprocess.PIPE, text=True)
        assert self.mirror.stdout.readline() == "ready\n"

    def seen(self, address, *by):
        """How somebody at the address sees it: by its own choice, or with the address that it binds."""
        program = ("import socket, sys; print(socket.create_connection((sys.argv[1], %d), 5, "
                   "source_address=(sys.argv[2], 0)).recv(200).decode())" % PORT) if by else ASK
        words = [address, *by] if by else [address, PORT]
        return json.loads(self.run(sys.executable, "-c", program, *words).stdout)[0]

    def end(self):
        if hasattr(self, "mirror"):
            self.mirror.kill()
            self.mirror.wait()
        for interface in (BACK, FRONT):
            self.call("DEL", interface)
        subprocess.run(["ip", "netns", "del", self.namespace], check=True)


@pytest.fixture(scope="module")
def containers(make_lab, dataplane):
    lab = make_lab(2, dataplane)
    lab.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}},
              *({"apiVersion": "projectcalico.org/v3", "kind": "IPPool", "metadata": {"name": POOLS[BACK][family]},
                 "spec": {"cidr": net, "assignmentMode": "Manual"}}
                for family, net in ((4, "10.75.0.0/16"), (6, "fd75::/112"))))
    made = []
    try:
        for host, name in (("host1", "one"), ("host1", "near"), ("host2", "far")):
            made.append(Container(lab, host, name))
            for interface in (FRONT, BACK):
                made[-1].add(interface)
            made[-1].listen()
        lab.wait()
        yield made
    finally:
        for container in made:
            container.end()


def test_each_network_gives_addresses_of_its_own_pools_and_an_endpoint_of_its_own(containers):
    lab = containers[0].lab
    for container in containers:
        for interface, nets in ((FRONT, ("10.65.", "fd65:")), (BACK, ("10.75.", "fd75:"))):
            assert container.addresses[interface, 4].startswith(nets[0])
            assert container.addresses[interface, 6].startswith(nets[1])
    endpoints = {item["metadata"]["name"]: item["spec"] for item in lab.json("get", "wep", "-A")["items"]}
    for container in containers:
        ends = [endpoints["%s-k8s-%s-%s" % (container.host, container.name, interface)] for interface in (FRONT, BACK)]
        assert ends[0]["interfaceName"] != ends[1]["interfaceName"]
        for end, interface in zip(ends, (FRONT, BACK)):
            assert {net.split("/")[0] for net in end["ipNetworks"]} == {container.addresses[interface, family]
                                                                        for family in (4, 6)}


@pytest.mark.parametrize("family", [4, 6])
def test_a_workload_is_reached_in_both_networks_and_answers_by_the_one_it_is_asked_in(containers, family):
    one, near, far = containers
    for target in (near, far):
        for interface in (FRONT, BACK):
            address = target.addresses[interface, family]
            assert one.seen(address) == one.addresses[FRONT, family], "the first network is that of its own choice"
            assert one.seen(address, one.addresses[BACK, family]) == one.addresses[BACK, family]
            one.run("ping", "-c", "1", "-W", "5", "-I", BACK, address)


def test_policy_tells_the_networks_apart(containers):
    one, _, far = containers
    lab = one.lab
    policy = {"apiVersion": "projectcalico.org/v3", "kind": "NetworkPolicy",
              "metadata": {"name": "back", "namespace": "shop"},
              "spec": {"selector": "network == '%s'" % BACK, "types": ["Ingress"],
                       "ingress": [{"action": "Allow", "source": {"selector": "network == '%s'" % BACK}}]}}
    lab.apply(policy)
    try:
        lab.wait()
        for family in (4, 6):
            back, own = far.addresses[BACK, family], one.addresses[BACK, family]
            assert one.seen(back, own) == own
            assert one.run("ping", "-c", "1", "-W", "1", back, check=False).returncode == 1, "from the front network"
            assert one.seen(far.addresses[FRONT, family]) == one.addresses[FRONT, family]
    finally:
        lab.delete(policy)
        lab.wait()


def test_nobody_sends_by_one_network_with_the_address_of_the_other(containers):
    one, _, far = containers
    for own, other in ((FRONT, BACK), (BACK, FRONT)):
        # Past the rules for its address: whoever has CAP_NET_ADMIN in a workload may do that.
        target = far.addresses[FRONT, 4]
        one.run("ip", "route", "add", target, "via", "169.254.1.1", "dev", own, "onlink", "table", "77")
        one.run("ip", "rule", "add", "to", target, "lookup", "77", "priority", "10")
        ping = one.run("ping", "-c", "2", "-i", "0.2", "-W", "1", "-I", one.addresses[other, 4], target, check=False)
        one.run("ip", "rule", "del", "priority", "10")
        one.run("ip", "route", "flush", "table", "77")
        assert ", 0 received" in ping.stdout, (own, other)


def test_a_network_comes_and_goes_without_the_other(containers):
    one, _, far = containers
    for _ in range(2):
        one.call("DEL", BACK)
        for family in ("-4", "-6"):
            assert "lookup 10" not in one.run("ip", family, "rule").stdout, "no rule of its is left"
        assert one.seen(far.addresses[FRONT, 4]) == one.addresses[FRONT, 4]
        result = one.add(BACK)
        one.call("CHECK", BACK, prevResult=result)
        assert len(result["routes"]) == 2
        for route in result["routes"]:
            family = "-6" if ":" in route["dst"] else "-4"
            shown = one.run("ip", family, "route", "show", "default", "table", route["table"]).stdout
            assert "dev " + BACK in shown and route["gw"] in shown
        for family in (4, 6):
            assert one.seen(far.addresses[BACK, family], one.addresses[BACK, family]) == one.addresses[BACK, family]
    rules = one.run("ip", "rule").stdout
    assert rules.count("net1") == 1 and rules.count("lookup 10") == 2, "none of an earlier interface is left"
    for address in (["from", one.addresses[BACK, 4]], ["oif", BACK]):
        one.run("ip", "rule", "del", *address)
        missing = one.call("CHECK", BACK, succeeds=False, prevResult=result)
        assert missing["code"] == 104 and "no IPv4 default route" in missing["details"]
        one.call("DEL", BACK)
        result = one.add(BACK)
        one.call("CHECK", BACK, prevResult=result)
    front = one.call("ADD", FRONT)
    assert not [route for route in front["routes"] if "table" in route]
    one.call("CHECK", FRONT, prevResult=front)
