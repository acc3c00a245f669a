"""Addresses by other plugins: Debian's host-local and static give them, ocicat-cni wires the containers."""
import json
import os
import pathlib
import stat
import subprocess

import pytest

import cri
from cni_runtime import Runtime, given_to, links
from shop import policy

PLUGINS = "/usr/lib/cni"
HOST_LOCAL = {"type": "host-local", "ranges": [[{"subnet": "usePodCidr"}], [{"subnet": "usePodCidrIPv6"}]]}
POD_NETS = {"host1": ["10.90.1.0/24", "fd90:0:0:1::/64"], "host2": ["10.90.2.0/24", "fd90:0:0:2::/64"]}


class Network(Runtime):
    """Containers of pods whose addresses another plugin gives."""

    def __init__(self, lab, host, ipam, name="delegated"):
        super().__init__(lab, host)
        self.store = lab.folder / "host-local" / host
        self.strange = lab.folder / "strange"
        self.strange.mkdir(exist_ok=True)
        self.config = dict(self.config, name=name, ipam=ipam)
        if ipam["type"] == "host-local":
            self.config["ipam"] = dict(ipam, dataDir=str(self.store))

    def variables(self, command, container, ifname="eth0", args=""):
        args = args or "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=" + container
        return dict(super().variables(command, container, ifname, args),
                    CNI_PATH="%s:%s:%s" % (self.strange, self.plugin.parent, PLUGINS))

    def call(self, command, container="", version="1.0.0", **more):
        return super().call(command, container, version, **more)

    def add(self, container, **more):
        self.make(container)
        return [ip["address"].partition("/")[0] for ip in self.call("ADD", container, **more)["ips"]]

    def delete(self, container):
        self.call("DEL", container)
        self.end(container)

    def kept(self):
        """The addresses in host-local's store."""
        folder = self.store / self.config["name"]
        return sorted(path.name for path in folder.iterdir()
                      if not path.name.startswith("last") and path.name != "lock") if folder.exists() else []

    def reaches(self, container, address):
        return subprocess.run(["ip", "netns", "exec", self.namespace(container), "ping", "-c", "1", "-W", "2", address],
                              capture_output=True).returncode == 0


def with_pod_nets(lab):
    for host, nets in POD_NETS.items():
        node = lab.json("get", "node", host)
        lab.apply(dict(node, status=dict(node.get("status", {}), podCIDRs=nets)))


@pytest.fixture(scope="module")
def lab(make_lab, dataplane):
    lab = make_lab(2, dataplane)
    lab.run("lab", "namespace", "shop")
    return lab


@pytest.fixture(scope="module")
def network(lab):
    return Network(lab, "host1", HOST_LOCAL)


def nothing_is_left(lab, network):
    found = {"store": network.kept(), "endpoints": [item["metadata"]["name"] for item in
                                                    lab.json("get", "wep", "-A")["items"]],
             "links": [line for line in lab.host_exec("host1", "ip", "-o", "link").stdout.splitlines()
                       if "cali" in line],
             "notes": os.listdir(lab.folder / "cni" / "host1" / "attachments")}
    return {what: rest for what, rest in found.items() if rest} == {}


def test_pod_nets_are_the_nodes_and_nothing_is_done_where_it_has_none(lab, network):
    network.make("early")
    error = network.refused(network.variables("ADD", "early"), network.with_version("1.0.0"))
    assert error["code"] == 7 and "usePodCidr" in error["details"] and "status.podCIDRs" in error["details"]
    network.end("early")
    with_pod_nets(lab)
    assert lab.json("get", "node", "host1")["status"]["podCIDRs"] == POD_NETS["host1"]
    assert nothing_is_left(lab, network)


def test_two_containers_talk_policy_holds_and_del_frees(lab, network, eventually):
    with_pod_nets(lab)
    first, second = network.add("one"), network.add("two")
    assert len(first) == 2 and all(a.startswith(("10.90.1.", "fd90:0:0:1:")) for a in first + second)
    assert network.kept() == sorted(first + second)
    assert given_to(network, "one") == [], "no block has it"
    for address in second:
        eventually(lambda address=address: network.reaches("one", address), 30)
    routes = lab.host_exec("host1", "ip", "route").stdout
    assert all(address + " dev cali" in routes for address in (first[0], second[0]))

    deny = policy("shop", "nobody", {"selector": "all()", "types": ["Ingress"]})
    lab.apply(deny)
    lab.wait()
    assert not any(network.reaches("one", address) for address in second)
    lab.delete(deny)
    lab.wait()
    assert network.reaches("one", second[0])
    # Whoever says that he is another is not heard.
    subprocess.run(["ip", "-n", network.namespace("one"), "address", "add", "10.90.1.99/32", "dev", "eth0"], check=True)
    assert subprocess.run(["ip", "netns", "exec", network.namespace("one"), "ping", "-c", "1", "-W", "1", "-I",
                           "10.90.1.99", second[0]], capture_output=True).returncode != 0

    code, printed = network.run(network.variables("ADD", "one"), json.dumps(network.with_version("1.0.0")))
    assert code == 0 and [ip["address"].partition("/")[0] for ip in json.loads(printed)["ips"]] == first
    network.call("CHECK", "one", prevResult=json.loads(printed))
    for container in ("one", "two"):
        network.delete(container)
        network.call("DEL", container)
    assert nothing_is_left(lab, network)


def test_routes_of_the_section_are_all_that_there_are(lab):
    ipam = {"type": "host-local", "ranges": [[{"subnet": "10.91.0.0/24"}]], "routes": [{"dst": "10.91.0.0/16"}]}
    network = Network(lab, "host1", ipam, "some")
    network.add("some")
    shown = subprocess.run(["ip", "-n", network.namespace("some"), "route"], check=True, text=True,
                           capture_output=True).stdout
    assert "10.91.0.0/16 via 169.254.1.1" in shown and "default" not in shown
    network.delete("some")
    network.add("all", include_default_routes=True)
    shown = subprocess.run(["ip", "-n", network.namespace("all"), "route"], check=True, text=True,
                           capture_output=True).stdout
    assert "10.91.0.0/16 via 169.254.1.1" in shown and "default via 169.254.1.1" in shown
    network.delete("all")
    assert nothing_is_left(lab, network)


def test_static_addresses(lab):
    network = Network(lab, "host1", {"type": "static", "addresses": [{"address": "10.92.0.7/24"}]}, "static")
    assert network.add("static") == ["10.92.0.7"]
    network.make("again")
    error = network.refused(network.variables("ADD", "again"), network.with_version("1.0.0"))
    assert error["code"] == 101 and "static" in error["details"]
    network.end("again")
    network.delete("static")
    assert nothing_is_left(lab, network)


@pytest.mark.parametrize("script, code, says", [
    ("exit 1", 106, "ended with 1"),
    ("echo '{\"code\":11,\"msg\":\"full\"}'; exit 1", 11, "strange: full"),
    ("echo well; exit 0", 106, "no JSON object"),
    ("yes", 106, "prints more than"),
    ("echo '{\"ips\":[]}'", 106, "no address is there"),
    ("echo '{\"ips\":[{\"address\":\"224.0.0.1/32\"}]}'", 106, "224.0.0.1")])
def test_what_a_plugin_does_wrong_is_said_and_leaves_nothing(lab, network, script, code, says):
    strange = Network(lab, "host1", {"type": "strange"}, "strange")
    program = pathlib.Path(strange.strange, "strange")
    program.write_text('#!/bin/sh\necho $CNI_COMMAND >> %s.log\n[ $CNI_COMMAND = ADD ] || exit 0\n%s\n'
                       % (program, script))
    program.chmod(program.stat().st_mode | stat.S_IEXEC)
    strange.make("wrong")
    error = strange.refused(strange.variables("ADD", "wrong"), strange.with_version("1.0.0"))
    assert error["code"] == code and says in error["details"] and "strange" in error["msg"] + error["details"]
    log = program.with_name("strange.log")
    assert log.read_text() == "ADD\nDEL\n"
    log.unlink()
    assert list(links(strange, "wrong")) == ["lo"]
    strange.end("wrong")
    assert nothing_is_left(lab, network)


def test_del_without_an_agent_frees_the_address_and_the_rest_is_made_up_for(lab, network, eventually):
    with_pod_nets(lab)
    network.add("late")
    lab.run("lab", "agent", "kill", "host1")
    network.call("DEL", "late")
    assert network.kept() == [] and list(links(network, "late")) == ["lo"]
    network.end("late")
    lab.run("lab", "agent", "start", "host1")
    eventually(lambda: nothing_is_left(lab, network), 30)


def test_under_containerd(lab, network, eventually):
    with_pod_nets(lab)
    runtime = cri.Runtime(lab, "host1", dict(HOST_LOCAL, dataDir=str(network.store)))
    try:
        server, client = [runtime.run_sandbox("shop", name) for name in ("server", "client")]
        runtime.run_container(server, cri.SERVE)
        inside = runtime.run_container(client, ["/bin/busybox", "sleep", "1000000"])
        addresses = runtime.addresses(server)
        assert [address.startswith(("10.90.1.", "fd90:0:0:1:")) for address in addresses] == [True, True]

        def fetched(address):
            ask = "printf 'GET / HTTP/1.0\\r\\n\\r\\n' | /bin/busybox nc -w 2 %s 80" % address
            return runtime.exec(inside, ["/bin/busybox", "sh", "-c", ask])[1].endswith(cri.GREETING)

        for address in addresses:
            eventually(lambda address=address: fetched(address), 30)
        for sandbox in (server, client):
            runtime.remove_sandbox(sandbox)
    finally:
        runtime.stop()
    assert [path for path in (network.store / "k8s-pod-network").iterdir()
            if not path.name.startswith("last") and path.name != "lock"] == []
    assert nothing_is_left(lab, network)


def test_other_hosts_are_led_to_them_by_bgp_where_a_pool_is_around_them(make_lab, eventually):
    lab = make_lab(2, network="bgp")
    lab.run("lab", "namespace", "shop")
    with_pod_nets(lab)
    pool = {"apiVersion": "projectcalico.org/v3", "kind": "IPPool", "metadata": {"name": "pod-nets"},
            "spec": {"cidr": "10.90.0.0/16", "assignmentMode": "Manual"}}
    here, there = [Network(lab, host, dict(HOST_LOCAL, ranges=HOST_LOCAL["ranges"][:1])) for host in lab.hosts]
    here.add("here")
    far = there.add("there")[0]
    assert not here.reaches("here", far), "nobody tells of it"
    lab.apply(pool)
    eventually(lambda: here.reaches("here", far), 30)
    here.delete("here")
    there.delete("there")
    assert here.kept() == there.kept() == []
