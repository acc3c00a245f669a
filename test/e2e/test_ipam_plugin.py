"""Addresses for other plugins: Debian's ptp and bridge wire containers, ocicat-ipam gives the addresses."""
import json
import os
import pathlib
import subprocess

import pytest

from cni_errors import names_cause_and_command

PLUGINS = "/usr/lib/cni"
ADDRESSES = "ocicat-ipam"


class Network:
    """A network configuration of one plugin on one host of a lab, and the calls that a runtime would make."""

    def __init__(self, lab, host, plugin, **more):
        self.lab, self.host, self.plugin = lab, host, plugin
        self.namespace = "%s-%s" % (lab.name, host)
        self.programs = pathlib.Path(lab.binary).parent
        self.ipam = {"type": ADDRESSES, "agent_dir": str(lab.folder / "cni" / host), "assign_ipv4": True,
                     "assign_ipv6": True, "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]}
        self.config = dict({"cniVersion": "1.0.0", "name": plugin + "-net", "type": plugin, "ipam": self.ipam}, **more)

    def call(self, command, container, plugin=None, config=None, args="", check=True):
        environment = dict(os.environ, CNI_COMMAND=command, CNI_CONTAINERID=container, CNI_IFNAME="eth0",
                           CNI_NETNS="/run/netns/%s" % self.container_namespace(container), CNI_ARGS=args,
                           CNI_PATH="%s:%s" % (PLUGINS, self.programs))
        path = self.programs / ADDRESSES if plugin == ADDRESSES else "%s/%s" % (PLUGINS, self.plugin)
        done = subprocess.run(["ip", "netns", "exec", self.namespace, str(path)], env=environment, text=True,
                              input=json.dumps(config or self.config), capture_output=True)
        assert done.returncode == 0 or not check, done.stdout + done.stderr
        answer = json.loads(done.stdout) if done.stdout.strip() else {}
        if done.returncode != 0 and plugin == ADDRESSES:
            assert names_cause_and_command(answer), answer
        return answer

    def container_namespace(self, container):
        return "%s-%s" % (self.lab.name, container)

    def add(self, container, **more):
        subprocess.run(["ip", "netns", "add", self.container_namespace(container)], check=True)
        return self.call("ADD", container, **more)

    def delete(self, container):
        self.call("DEL", container)
        subprocess.run(["ip", "netns", "del", self.container_namespace(container)], check=True)

    def inside(self, container, *words, check=True):
        return subprocess.run(["ip", "netns", "exec", self.container_namespace(container), *words], check=check,
                              text=True, capture_output=True)


@pytest.fixture(scope="module")
def lab(make_lab):
    return make_lab(2)


@pytest.fixture(scope="module", params=["ptp", "bridge"])
def networks(request, lab):
    more = {"isGateway": True, "bridge": "br0"} if request.param == "bridge" else {}
    return [Network(lab, host, request.param, **more) for host in lab.hosts]


def addresses(result):
    return [ip["address"].partition("/")[0] for ip in result["ips"]]


def held(lab):
    """Addresses that were given to containers: those of hosts themselves stay."""
    handles = lab.json("get", "ipamhandles")["items"]
    return sorted(item["metadata"]["name"] for item in handles if not item["metadata"]["name"].startswith("gateway."))


def test_a_plugin_of_others_gets_addresses_of_both_families_in_blocks_of_its_host(lab, networks, eventually):
    one, two = networks
    name = one.plugin
    first = one.add(name + "1")
    second = one.add(name + "2")
    far = two.add(name + "3")
    assert len(addresses(first)) == 2
    blocks = {item["spec"]["cidr"]: item["spec"]["affinity"] for item in lab.json("get", "ipamblocks")["items"]}
    for ip in first["ips"]:
        assert ip["gateway"] not in addresses(first) + addresses(second)
        assert not ip["address"].endswith("/32") and not ip["address"].endswith("/128")
    assert set(blocks.values()) == {"host:host1", "host:host2"}
    one.call("CHECK", name + "1", config=dict(one.config, prevResult=first))
    assert len(held(lab)) == 3
    for family in (0, 1):  # a neighbour, the host, and over the other host's block
        one.inside(name + "1", "ping", "-c", "1", "-W", "5", addresses(second)[family])
        one.inside(name + "1", "ping", "-c", "1", "-W", "5", first["ips"][family]["gateway"])

        def reached(family=family):
            return one.inside(name + "1", "ping", "-c", "1", "-W", "1", addresses(far)[family],
                              check=False).returncode == 0

        eventually(reached, 30)
    for network, container in ((one, "1"), (one, "2"), (two, "3")):
        network.delete(name + container)
    assert held(lab) == []


def test_it_answers_by_itself_as_the_specification_says(lab):
    network = Network(lab, "host1", "ptp")
    given = network.add("alone", plugin=ADDRESSES)
    assert set(given) == {"cniVersion", "ips", "routes", "dns"}, "no interfaces"
    assert all("interface" not in ip for ip in given["ips"])
    assert given["routes"] == network.ipam["routes"]
    assert network.call("ADD", "alone", plugin=ADDRESSES) == given, "the same for the same container"
    network.call("CHECK", "alone", plugin=ADDRESSES, config=dict(network.config, prevResult=given))
    wrong = dict(given, ips=given["ips"][:1])
    answer = network.call("CHECK", "alone", plugin=ADDRESSES, check=False,
                          config=dict(network.config, prevResult=wrong))
    assert "prevResult does not have" in answer["details"]
    version = network.call("VERSION", "alone", plugin=ADDRESSES)
    assert "1.1.0" in version["supportedVersions"]
    asked = addresses(given)[0]
    taken = network.call("ADD", "other", plugin=ADDRESSES, args="IP=%s" % asked, check=False)
    assert taken["code"] == 101 and asked in taken["details"]
    network.delete("alone")
    network.call("DEL", "alone", plugin=ADDRESSES)
    network.call("DEL", "never", plugin=ADDRESSES)
    assert held(lab) == []
    answer = network.call("CHECK", "never", plugin=ADDRESSES, check=False,
                          config=dict(network.config, prevResult=given))
    assert answer["code"] == 3
    network.call("STATUS", "alone", plugin=ADDRESSES, config=dict(network.config, cniVersion="1.1.0"))
    answer = network.call("ADD", "x", plugin=ADDRESSES, check=False,
                          config=dict(network.config, ipam=dict(network.ipam, subnet="10.0.0.0/24")))
    assert answer["code"] == 2 and "ipam.subnet" in answer["details"]


def test_del_without_an_agent_is_made_up_for_when_it_is_back(lab, eventually):
    network = Network(lab, "host1", "ptp")
    network.add("late")
    lab.run("lab", "agent", "kill", "host1")
    network.delete("late")
    assert len(held(lab)) == 1, "nobody could give it back"
    lab.run("lab", "agent", "start", "host1")
    eventually(lambda: held(lab) == [], 30)


def test_a_container_that_is_collected_gives_its_addresses_back(lab):
    network = Network(lab, "host1", "ptp")
    network.config["cniVersion"] = "1.1.0"
    network.add("kept", plugin=ADDRESSES)
    network.add("lost", plugin=ADDRESSES)
    valid = [{"containerID": "kept", "ifname": "eth0"}]
    network.call("GC", "kept", plugin=ADDRESSES, config=dict(network.config, **{"cni.dev/valid-attachments": valid}))
    assert [name for name in held(lab) if "lost" in name] == []
    assert len(held(lab)) == 1
    network.call("DEL", "kept", plugin=ADDRESSES)
    for container in ("kept", "lost"):
        subprocess.run(["ip", "netns", "del", network.container_namespace(container)], check=True)
    assert held(lab) == []
