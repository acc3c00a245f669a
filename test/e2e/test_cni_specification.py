"""ocicat-cni as the CNI specification has it, version by version: what goes in, what comes out, what each error says.

https://github.com/containernetworking/cni/blob/spec-v1.1.0/SPEC.md
"""
import contextlib
import ipaddress
import json
import re
import subprocess

import pytest
from cni_runtime import Runtime, given_to, links

VERSIONS = ["0.3.1", "0.4.0", "1.0.0", "1.1.0"]
# Where each command came to be.
SINCE = {"ADD": "0.3.1", "DEL": "0.3.1", "CHECK": "0.4.0", "STATUS": "1.1.0", "GC": "1.1.0"}


def commands_of(version):
    return [command for command, since in SINCE.items() if VERSIONS.index(version) >= VERSIONS.index(since)]


@pytest.fixture(scope="module")
def runtime(make_lab):
    lab = make_lab(1)
    profile = {"apiVersion": "projectcalico.org/v3", "kind": "Profile", "metadata": {"name": "specified"},
               "spec": {"ingress": [{"action": "Allow"}], "egress": [{"action": "Allow"}]}}
    lab.apply(profile)
    return Runtime(lab)


@pytest.fixture
def container(runtime, request):
    """A network namespace that is a container's; its attachments are gone afterwards."""
    name = re.sub("[^a-z0-9]", "-", request.node.name.lower())[-40:].strip("-")
    runtime.make(name)
    yield name
    for ifname in ("eth0", "eth1"):
        runtime.call("DEL", name, ifname=ifname)
    runtime.end(name)
    assert given_to(runtime, name) == []


@pytest.mark.parametrize("version", VERSIONS + ["0.1.0", "9.9.9"])
def test_version_is_answered_to_anybody_and_without_an_agent(runtime, version):
    answer = runtime.call("VERSION", version=version, agent_dir="/nowhere")
    assert answer == {"cniVersion": version, "supportedVersions": VERSIONS}
    code, printed = runtime.run({"CNI_COMMAND": "VERSION"}, json.dumps({"cniVersion": version}))
    assert (code, json.loads(printed)) == (0, answer), "it needs no other variable"


@pytest.mark.parametrize("version", VERSIONS)
def test_add_answers_with_what_it_made_in_the_form_of_the_version(runtime, container, version):
    result = runtime.call("ADD", container, version)
    assert result["cniVersion"] == version
    host, own = result["interfaces"]
    there = links(runtime, container)["eth0"]
    assert (own["name"], own["mac"], own["sandbox"]) == (
        "eth0", there["address"], "/run/netns/" + runtime.namespace(container))
    assert host["name"].startswith("cali") and "sandbox" not in host
    assert "state UP" in runtime.lab.host_exec("host1", "ip", "link", "show", host["name"]).stdout
    assert ("mtu" in own) == ("mtu" in host) == (version == "1.1.0")
    addresses = {"%s/%d" % (entry["local"], entry["prefixlen"]) for entry in there["addr_info"]
                 if entry["scope"] == "global"}
    assert {ip["address"] for ip in result["ips"]} == addresses and len(addresses) == 2
    for ip in result["ips"]:
        assert ip["interface"] == 1
        assert ("version" in ip) == (version < "1.0.0")
        assert ip.get("version", "6" if ":" in ip["address"] else "4") == ("6" if ":" in ip["address"] else "4")
    assert set(result) <= {"cniVersion", "interfaces", "ips", "routes", "dns"}
    assert runtime.call("ADD", container, version) == result, "again it is the same"
    assert len(given_to(runtime, container)) == 1


@pytest.mark.parametrize("version", VERSIONS)
def test_add_hands_on_what_plugins_before_it_in_the_chain_have_made(runtime, container, version):
    family = {"version": "4"} if version < "1.0.0" else {}
    before = {"cniVersion": version, "interfaces": [{"name": "br0"}, {"name": "net1", "sandbox": "/run/netns/x"}],
              "ips": [{"address": "192.0.2.7/24", "interface": 1, **family}], "dns": {"nameservers": ["192.0.2.1"]}}
    result = runtime.call("ADD", container, version, prevResult=before)
    assert result["interfaces"][:2] == before["interfaces"] and result["ips"][0] == before["ips"][0]
    assert [interface["name"] for interface in result["interfaces"][3:]] == ["eth0"]
    assert [ip["interface"] for ip in result["ips"][1:]] == [3, 3] and result["dns"] == before["dns"]
    if "CHECK" in commands_of(version):
        assert runtime.call("CHECK", container, version, prevResult=result) is None
    error = runtime.refused(runtime.variables("ADD", container, "eth1"), runtime.with_version(version, prevResult=[]))
    assert error["code"] == 7 and "prevResult" in error["details"]


def test_a_repeated_add_makes_anew_what_somebody_has_taken_away(runtime, container):
    lab, namespace = runtime.lab, runtime.namespace(container)
    result = runtime.call("ADD", container)

    def endpoints():
        return [item["metadata"]["name"] for item in lab.json("get", "wep", "-A")["items"]
                if item["spec"]["containerID"] == container]

    for taken in ("endpoint", "addresses", "route"):
        if taken == "endpoint":
            lab.run("delete", "wep", *endpoints())
        else:
            words = {"addresses": "addr flush dev eth0", "route": "route del default"}[taken]
            subprocess.run(["ip", "-n", namespace, *words.split()], check=True)
        assert runtime.refused(runtime.variables("CHECK", container),
                               runtime.with_version(prevResult=result))["code"] == 104, taken
        result = runtime.call("ADD", container)
        assert len(endpoints()) == 1 and len(given_to(runtime, container)) == 1
        assert runtime.call("CHECK", container, prevResult=result) is None, taken


def test_the_hosts_own_network_namespace_is_no_containers(runtime, container):
    """What is done in a container, as to end its forwarding, would befall the host."""
    lab = runtime.lab
    forwards = ("cat", "/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv6/conf/all/forwarding")
    before = lab.host_exec("host1", *forwards).stdout
    assert before.split() == ["1", "1"]
    for path in ("/proc/self/ns/net", "/run/netns/%s-host1" % lab.name):
        variables = {**runtime.variables("ADD", container), "CNI_NETNS": path}
        error = runtime.refused(variables, runtime.with_version())
        assert error["code"] == 4 and path in error["details"]
        assert given_to(runtime, container) == []
        assert runtime.run({**variables, "CNI_COMMAND": "DEL"}, json.dumps(runtime.with_version())) == (0, "")
    assert lab.host_exec("host1", *forwards).stdout == before
    assert "eth0" not in lab.host_exec("host1", "ip", "link").stdout


@pytest.mark.parametrize("version", VERSIONS)
def test_del_takes_all_back_says_nothing_and_may_come_again_and_late(runtime, container, version):
    result = runtime.call("ADD", container, version)
    more = {"prevResult": result} if version != "0.3.1" else {}
    assert runtime.call("DEL", container, version, **more) is None
    assert "eth0" not in links(runtime, container)
    gone = runtime.lab.host_exec("host1", "ip", "link", "show", result["interfaces"][0]["name"], check=False)
    assert gone.returncode != 0
    assert given_to(runtime, container) == []
    assert runtime.call("DEL", container, version) is None, "again"
    assert runtime.call("DEL", "never-added", version) is None, "whose namespace has gone as well"
    for netns in ({"CNI_NETNS": ""}, {"CNI_NETNS": "/run/netns/gone"}):
        assert runtime.call("ADD", container, version)
        code, printed = runtime.run({**runtime.variables("DEL", container), **netns},
                                    json.dumps(runtime.with_version(version)))
        assert (code, printed) == (0, ""), netns
        assert given_to(runtime, container) == []
    without = runtime.variables("DEL", container)
    del without["CNI_NETNS"]
    assert runtime.run(without, json.dumps(runtime.with_version(version))) == (0, "")


@pytest.mark.parametrize("missing", ["server", "agent", "both"])
def test_del_succeeds_whoever_is_away_and_what_is_left_is_given_back_when_they_return(
        runtime, container, missing, eventually):
    lab = runtime.lab
    result = runtime.call("ADD", container)
    if missing != "agent":
        lab.run("lab", "server", "kill")
    if missing != "server":
        lab.run("lab", "agent", "kill", "host1")
    try:
        assert runtime.call("DEL", container) is None
        assert "eth0" not in links(runtime, container)
        gone = lab.host_exec("host1", "ip", "link", "show", result["interfaces"][0]["name"], check=False)
        assert gone.returncode != 0
        if missing == "server":
            error = runtime.refused(runtime.variables("ADD", container), runtime.with_version())
            assert error["code"] == 11 and "ocicat status" in error["details"]
    finally:
        if missing != "agent":
            lab.run("lab", "server", "start")
        if missing != "server":
            lab.run("lab", "agent", "start", "host1")
    eventually(lambda: given_to(runtime, container) == [], 20)
    assert not any(container in item["metadata"]["name"] for item in lab.json("get", "wep", "-A")["items"])


@contextlib.contextmanager
def read_only(folder):
    """For the agent and for plugins; what is in the folder can be read."""
    subprocess.run(["mount", "--bind", folder, folder], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", folder], check=True)
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


@pytest.mark.parametrize("noted", ["noted", "not noted"])
@pytest.mark.parametrize("missing", ["server", "agent"])
def test_del_succeeds_on_a_read_only_disk_and_what_is_left_is_given_back_by_the_next_agent(
        runtime, container, missing, noted, eventually):
    lab = runtime.lab
    folder, memory = lab.folder / "cni" / "host1", lab.memory / "cni" / "host1"
    runtime.call("ADD", container)
    status = {"CNI_COMMAND": "STATUS", "CNI_PATH": str(runtime.plugin.parent)}
    if noted == "not noted":  # the note was lost, and the agent that began then never knew of it
        lab.run("lab", "agent", "kill", "host1")
        (folder / "attachments" / (container + "@eth0.json")).unlink()
        lab.run("lab", "agent", "start", "host1")
        eventually(lambda: runtime.run(status, json.dumps(runtime.with_version())) == (0, ""), 20)
    if missing == "agent":
        lab.run("lab", "agent", "kill", "host1")
    try:
        with read_only(folder):
            if missing == "server":
                lab.run("lab", "server", "kill")
            assert runtime.call("DEL", container) is None
            assert ("eth0" in links(runtime, container)) == (noted == "not noted"), "whose it is the server says"
            if missing == "server":
                lab.run("lab", "agent", "kill", "host1")
        assert len(list(memory.glob("*/%s@eth0.*" % container))) == 1
    finally:
        if missing == "server":
            lab.run("lab", "server", "start")
        lab.run("lab", "agent", "start", "host1")
    eventually(lambda: given_to(runtime, container) == [], 20)
    eventually(lambda: not [*memory.glob("*/*"), *folder.glob("*/%s@*" % container)], 20)
    assert "eth0" not in links(runtime, container)
    assert not any(container in item["metadata"]["name"] for item in lab.json("get", "wep", "-A")["items"])


FULL_DISK = ("unshare", "-m", "sh", "-c",
             'mount -t tmpfs -o size=4k none "$0" && head -c 4096 /dev/zero > "$0/full" && exec "$@"')
NO_RIGHTS = ("setpriv", "--bounding-set=-sys_admin")


def test_del_without_an_agent_fails_where_nothing_can_be_noted_at_all(runtime, container, eventually):
    lab = runtime.lab
    lab.memory.mkdir(parents=True, exist_ok=True)
    runtime.call("ADD", container)
    lab.run("lab", "agent", "kill", "host1")
    try:  # nor are there notes to rename
        through = (*FULL_DISK, str(lab.folder / "cni" / "host1"), *FULL_DISK, str(lab.memory))
        error = runtime.refused(runtime.variables("DEL", container), runtime.with_version(), through)
        assert error["code"] == 5 and error["details"].count("No space left") == 2
        assert "eth0" in links(runtime, container)
        assert runtime.call("DEL", container) is None
        assert "eth0" not in links(runtime, container)
    finally:
        lab.run("lab", "agent", "start", "host1")
    eventually(lambda: given_to(runtime, container) == [], 20)


@pytest.mark.parametrize("cause", ["disk full", "no rights"])
def test_del_without_an_agent_succeeds_where_the_disk_is_full_or_the_interface_cannot_be_removed(
        runtime, container, cause, eventually):
    lab = runtime.lab
    runtime.call("ADD", container)
    lab.run("lab", "agent", "kill", "host1")
    try:
        full = cause == "disk full"
        through = (*FULL_DISK, str(lab.folder / "cni" / "host1" / "deletes")) if full else NO_RIGHTS
        done = runtime.run(runtime.variables("DEL", container), json.dumps(runtime.with_version()), through)
        assert done == (0, ""), done
        assert ("eth0" in links(runtime, container)) == (not full), "then the next agent takes it"
    finally:
        lab.run("lab", "agent", "start", "host1")
    eventually(lambda: "eth0" not in links(runtime, container), 20)
    eventually(lambda: given_to(runtime, container) == [], 20)
    assert not any(container in item["metadata"]["name"] for item in lab.json("get", "wep", "-A")["items"])


def test_what_annotations_and_keys_ask_for_is_so_in_the_container(runtime, container):
    pools = [item["spec"]["cidr"].partition("/")[0] for item in runtime.lab.json("get", "ippools")["items"]]
    asked = {str(ipaddress.ip_address(pool) + 0x303) for pool in pools}
    assert len(asked) == 2, "one of each family"
    annotations = {"hwAddr": "02:11:22:33:44:55", "ipAddrs": json.dumps(sorted(asked))}
    config = runtime.with_version(
        num_queues=3, container_settings={"allow_ip_forwarding": True},
        args={"ocicat": {"annotations": {"cni.projectcalico.org/" + name: text for name, text in annotations.items()}}})
    result = json.loads(runtime.run(runtime.variables("ADD", container), json.dumps(config))[1])
    assert {ip["address"].partition("/")[0] for ip in result["ips"]} == asked
    there = links(runtime, container)["eth0"]
    assert there["address"] == "02:11:22:33:44:55"
    assert asked <= {entry["local"] for entry in there["addr_info"]}

    def inside(*words):
        return subprocess.run(["ip", "netns", "exec", runtime.namespace(container), *words], check=True, text=True,
                              capture_output=True).stdout.split()

    assert inside("cat", "/proc/sys/net/ipv4/ip_forward") == ["1"]
    queues = inside("ls", "/sys/class/net/eth0/queues")
    assert sum(queue.startswith("rx") for queue in queues) == sum(queue.startswith("tx") for queue in queues) == 3


def test_an_address_beside_ipam_is_the_containers_where_the_network_allows_it(runtime, container):
    asked = {"args": {"ocicat": {"annotations": {"cni.projectcalico.org/ipAddrsNoIpam": '["10.99.3.3"]'}}}}
    error = runtime.refused(runtime.variables("ADD", container), runtime.with_version(**asked))
    assert error["code"] == 2 and "ip_addrs_no_ipam" in error["details"]
    config = runtime.with_version(**asked, feature_control={"ip_addrs_no_ipam": True})
    result = json.loads(runtime.run(runtime.variables("ADD", container), json.dumps(config))[1])
    assert [ip["address"] for ip in result["ips"]] == ["10.99.3.3/32"]
    assert "10.99.3.3" in [entry["local"] for entry in links(runtime, container)["eth0"]["addr_info"]]
    assert given_to(runtime, container) == []


@pytest.mark.parametrize("version", [version for version in VERSIONS if "CHECK" in commands_of(version)])
def test_check_finds_what_is_not_as_add_left_it(runtime, container, version):
    result = runtime.call("ADD", container, version)
    assert runtime.call("CHECK", container, version, prevResult=result) is None
    variables = runtime.variables("CHECK", container)
    host, own = result["interfaces"]
    for change, what in (({"ips": [dict(result["ips"][0], address="10.65.200.1/32"), result["ips"][1]]}, "10.65.200.1"),
                         ({"ips": result["ips"][:1]}, result["ips"][1]["address"].partition("/")[0]),
                         ({"interfaces": [host, dict(own, name="eth7")]}, "eth0"),
                         ({"interfaces": [host, dict(own, mac="02:00:00:00:00:01")]}, "02:00:00:00:00:01")):
        error = runtime.refused(variables, runtime.with_version(version, prevResult={**result, **change}))
        assert error["code"] == 104 and what in error["details"], change
    error = runtime.refused(variables, runtime.with_version(version))
    assert error["code"] == 7 and "prevResult" in error["details"]
    namespace = runtime.namespace(container)
    for spoil, what in (("link set eth0 down", "is down"), ("link set eth0 address 02:00:00:00:00:01", "has MAC"),
                        ("addr del ADDRESS dev eth0", "does not have"),
                        ("route del default", "no IPv4 default route"), ("link del eth0", "missing")):
        spoil = spoil.replace("ADDRESS", result["ips"][0]["address"])
        subprocess.run(["ip", "-n", namespace, *spoil.split()], check=True)
        error = runtime.refused(variables, runtime.with_version(version, prevResult=result))
        assert error["code"] == 104 and what in error["details"], spoil
        runtime.call("DEL", container, version)
        result = runtime.call("ADD", container, version)
        assert runtime.call("CHECK", container, version, prevResult=result) is None
    error = runtime.refused(runtime.variables("CHECK", container, "eth7"),
                            runtime.with_version(version, prevResult=result))
    assert error["code"] == 3 and "eth7" in error["details"]


@pytest.mark.parametrize("version", VERSIONS)
def test_commands_that_a_version_does_not_have_are_refused(runtime, container, version):
    for command in set(SINCE) - set(commands_of(version)):
        error = runtime.refused(runtime.variables(command, container), runtime.with_version(version))
        assert error["code"] == 1 and command in error["msg"] and SINCE[command] in error["details"]


@pytest.mark.parametrize("command", SINCE)
@pytest.mark.parametrize("version", ["0.2.0", "0.1.0", "9.9.9", "1.1", "", None])
def test_versions_that_are_not_known_are_refused(runtime, command, version):
    config = runtime.with_version(version)
    if version is None:
        del config["cniVersion"]  # which means 0.1.0
    error = runtime.refused(runtime.variables(command, "any"), {**config} if version else json.dumps(config))
    assert error["code"] == 1 and all(known in error["details"] for known in VERSIONS)


WRONG = {"CNI_CONTAINERID": ["a/b", "../b", ".hidden", "-x", "x" * 300], "CNI_IFNAME": ["a/b", "a b", "x" * 16, ".."],
         "CNI_ARGS": ["no-equals", "=value", ";;"]}
MISSING = {"ADD": ["CNI_CONTAINERID", "CNI_IFNAME", "CNI_NETNS"], "DEL": ["CNI_CONTAINERID", "CNI_IFNAME"],
           "CHECK": ["CNI_CONTAINERID", "CNI_IFNAME", "CNI_NETNS"]}


@pytest.mark.parametrize("command", MISSING)
def test_variables_that_are_missing_are_named(runtime, command):
    good = runtime.variables(command, "any")
    for name in MISSING[command]:
        for variables in ({**good, name: ""}, {key: text for key, text in good.items() if key != name}):
            error = runtime.refused(variables, runtime.with_version())
            assert error["code"] == 4 and name in error["details"]


@pytest.mark.parametrize("name", WRONG)
def test_variables_that_are_wrong_are_named_and_keep_no_container_from_being_torn_down(runtime, container, name):
    for value in WRONG[name]:
        for command in ("ADD", "CHECK"):
            variables = {**runtime.variables(command, container), name: value}
            error = runtime.refused(variables, runtime.with_version())
            assert error["code"] == 4 and name in error["details"], value
        variables = {**runtime.variables("DEL", container), name: value}
        assert runtime.run(variables, json.dumps(runtime.with_version())) == (0, ""), value


def test_del_takes_a_container_back_of_which_the_arguments_cannot_be_read(runtime, container):
    runtime.call("ADD", container)
    runtime.call("DEL", container, args="foo;K8S_POD_NAME")
    assert "eth0" not in links(runtime, container) and given_to(runtime, container) == []


@pytest.mark.parametrize("agent", ["there", "away"])
def test_what_one_network_added_no_other_one_is_given_or_takes_back(runtime, container, agent, eventually):
    """As a runtime calls DEL that rolls back what it could not add."""
    lab = runtime.lab
    result = runtime.call("ADD", container)
    if agent == "away":
        lab.run("lab", "agent", "kill", "host1")
    try:
        error = runtime.refused(runtime.variables("ADD", container), runtime.with_version(name="other"))
        if agent == "there":
            assert error["code"] == 7 and "network specified" in error["details"]
        assert runtime.call("DEL", container, name="other") is None
        assert "eth0" in links(runtime, container)
    finally:
        if agent == "away":
            lab.run("lab", "agent", "start", "host1")
    check = runtime.variables("CHECK", container)
    eventually(lambda: runtime.run(check, json.dumps(runtime.with_version(prevResult=result))) == (0, ""), 20)
    assert len(given_to(runtime, container)) == 1
    error = runtime.refused(check, runtime.with_version(name="other", prevResult=result))
    assert error["code"] == 3 and "network other" in error["details"]


def test_a_command_that_is_missing_or_unknown_is_refused(runtime):
    for variables in ({}, {"CNI_COMMAND": ""}, {"CNI_COMMAND": "UPDATE"}, {"CNI_COMMAND": "add"}):
        error = runtime.refused(variables, runtime.with_version())
        assert error["code"] == 4 and "CNI_COMMAND" in error["details"]


@pytest.mark.parametrize("command", SINCE)
def test_configurations_that_cannot_be_read_or_are_wrong_say_what_is_wrong(runtime, command):
    variables = runtime.variables(command, "any")
    for text in ("", "{", "no JSON", "[]", "null", '"text"', '{"cniVersion": "1.1.0"} more'):
        assert runtime.refused(variables, text)["code"] == 6, text
    for name in ("", "a/b", 7, None):
        error = runtime.refused(variables, runtime.with_version(name=name))
        assert error["code"] == 7 and "name" in error["details"], name


def test_a_container_has_default_routes_whatever_include_default_routes_says(runtime, container):
    """It is for the routes of host-local address management, and false where nobody says it (Calico)."""
    for value in (False, True):
        result = runtime.call("ADD", container, include_default_routes=value)
        shown = subprocess.run(["ip", "-n", runtime.namespace(container), "route"], check=True, text=True,
                               capture_output=True).stdout
        assert "0.0.0.0/0" in [route["dst"] for route in result["routes"]]
        assert "default via 169.254.1.1 dev eth0" in shown
        runtime.call("CHECK", container, prevResult=result, include_default_routes=value)
        runtime.call("DEL", container)


def test_add_says_what_it_cannot_do_and_leaves_nothing(runtime, container):
    variables = runtime.variables("ADD", container)
    ipam = runtime.config["ipam"]

    def refused(**config):
        return runtime.refused(variables, {**runtime.with_version(), **config})

    cases = {
        2: [{"ipam": {"type": "no-such-plugin"}}, {"ipam": {"type": "ocicat-ipam"}}, {"device_type": "tap"},
            {"ipam": dict(ipam, subnet="10.0.0.0/24")}, {"readiness_gates": ["ftp://x"]}],
        7: [{"ipam": dict(ipam, ipv4_pools=["nowhere"])}, {"ipam": dict(ipam, assign_ipv4="maybe")},
            {"nodename": "host9"}, {"mtu": "large"}, {"args": {"cni": {"ips": ["10.65.0.300"]}}},
            {"args": {"cni": {"ips": ["192.0.2.1"]}}}],
        11: [{"agent_dir": "/nowhere"}, {"readiness_gates": ["http://127.0.0.1:1"]}]}
    for code, configs in cases.items():
        for config in configs:
            error = refused(**config)
            assert error["code"] == code, (config, error)
            assert "eth0" not in links(runtime, container) and given_to(runtime, container) == []
    error = runtime.refused({**variables, "CNI_NETNS": "/run/netns/gone"}, runtime.with_version())
    assert error["code"] == 3 and "/run/netns/gone" in error["details"]


@pytest.mark.parametrize("agent", ["there", "away"])
def test_an_interface_by_somebody_else_stays(runtime, container, agent, eventually):
    subprocess.run(["ip", "-n", runtime.namespace(container), "link", "add", "eth0", "type", "veth", "peer", "eth9"],
                   check=True)
    error = runtime.refused(runtime.variables("ADD", container), runtime.with_version())
    assert error["code"] == 102 and "ip link show eth0" in error["details"]
    if agent == "away":
        runtime.lab.run("lab", "agent", "kill", "host1")
    try:
        assert runtime.call("DEL", container) is None
    finally:
        if agent == "away":
            runtime.lab.run("lab", "agent", "start", "host1")
    eventually(lambda: not list((runtime.lab.folder / "cni" / "host1").glob("*/%s@*" % container)), 20)  # carried out
    assert "eth0" in links(runtime, container)
    assert given_to(runtime, container) == []


def test_an_address_that_somebody_has_and_a_pool_that_is_full_have_codes_of_their_own(runtime, container):
    runtime.lab.apply({"apiVersion": "projectcalico.org/v3", "kind": "IPPool", "metadata": {"name": "narrow"},
                       "spec": {"cidr": "10.70.0.0/31", "blockSize": 31, "assignmentMode": "Manual"}})
    narrow = {"type": "calico-ipam", "assign_ipv4": True, "assign_ipv6": False, "ipv4_pools": ["narrow"]}
    given = [runtime.call("ADD", container, ipam=narrow), runtime.call("ADD", container, ifname="eth1", ipam=narrow)]
    assert {ip["address"] for result in given for ip in result["ips"]} == {"10.70.0.0/32", "10.70.0.1/32"}
    full = runtime.refused(runtime.variables("ADD", container, "eth2"), runtime.with_version() | {"ipam": narrow})
    assert full["code"] == 100 and "ocicat ipam show" in full["details"]
    status = {"CNI_COMMAND": "STATUS", "CNI_PATH": str(runtime.plugin.parent)}
    none_left = runtime.refused(status, runtime.with_version() | {"ipam": narrow})
    assert none_left["code"] == 50 and "no IPv4 address is left" in none_left["details"]
    assert runtime.call("STATUS") is None, "other pools have some"
    taken = runtime.refused(runtime.variables("ADD", container, "eth2"),
                            runtime.with_version(args={"cni": {"ips": ["10.70.0.1"]}}) | {"ipam": narrow})
    assert taken["code"] == 101 and "10.70.0.1" in taken["details"]
    runtime.call("DEL", container, ifname="eth1")
    assert runtime.call("STATUS", ipam=narrow) is None, "one has been given back"


def test_status_says_whether_add_would_be_served(runtime, eventually):
    assert runtime.call("STATUS") is None
    variables = {"CNI_COMMAND": "STATUS", "CNI_PATH": str(runtime.plugin.parent)}
    named = {"ipam": {"type": "calico-ipam", "ipv4_pools": ["nowhere"]}}
    nowhere = runtime.refused(variables, runtime.with_version() | named)
    assert nowhere["code"] == 50 and "nowhere" in nowhere["details"]
    for away in ("agent", "server"):
        words = [away, "kill"] + (["host1"] if away == "agent" else [])
        runtime.lab.run("lab", *words)
        refused = runtime.refused(variables, runtime.with_version())
        assert refused["code"] == 50 and "ocicat status" in refused["details"], away
        runtime.lab.run("lab", words[0], "start", *words[2:])
        eventually(lambda: runtime.run(variables, json.dumps(runtime.with_version())) == (0, ""), 20)


def test_nothing_is_added_while_the_datastore_is_not_ready(runtime, container, eventually):
    """ClusterInformation's lock, as Calico's tools set it while they move a cluster's data."""
    lab = runtime.lab
    status = {"CNI_COMMAND": "STATUS", "CNI_PATH": str(runtime.plugin.parent)}

    def lock(locked):
        lab.apply({"apiVersion": "projectcalico.org/v3", "kind": "ClusterInformation", "metadata": {"name": "default"},
                   "spec": {"clusterType": "k8s", "datastoreReady": not locked}})

    def is_refused():
        code, printed = runtime.run(runtime.variables("ADD", container), json.dumps(runtime.with_version()))
        if code == 0:
            runtime.call("DEL", container)
            return False
        error = json.loads(printed)
        assert error["code"] == 11 and "datastoreReady" in error["details"], error
        assert "ocicat get clusterinformation" in error["details"]
        return True

    lock(False)
    runtime.call("ADD", container)
    lock(True)
    try:
        eventually(lambda: runtime.run(status, json.dumps(runtime.with_version()))[0] != 0, 20)
        error = runtime.refused(status, runtime.with_version())
        assert error["code"] == 50 and "datastoreReady" in error["details"]
        runtime.call("DEL", container)
        assert given_to(runtime, container) == []
        assert is_refused()
        assert "false" in lab.run("get", "clusterinformation").stdout
        lab.run("lab", "agent", "kill", "host1")  # the next one knows it before it adds anything
        lab.run("lab", "agent", "start", "host1")
        assert is_refused()
    finally:
        lock(False)
    eventually(lambda: not is_refused(), 20)
    lab.run("delete", "clusterinformation", "default")
    assert runtime.call("STATUS") is None


def test_containers_whose_names_begin_alike_keep_their_interfaces(runtime):
    """As those of `ctr run --cni`, which all begin with the namespace."""
    names = ["default-alike-1", "default-alike-2"]
    for name in names:
        runtime.make(name)
    try:
        results = [runtime.call("ADD", name) for name in names]
        for name, result in zip(names, results):
            assert runtime.call("CHECK", name, prevResult=result) is None
        runtime.call("DEL", names[0])
        assert runtime.call("CHECK", names[1], prevResult=results[1]) is None
    finally:
        for name in names:
            runtime.call("DEL", name)
            runtime.end(name)


@pytest.mark.parametrize("ifname, pod", [("eth0", ""), ("Eth_0", "K8S_POD_NAMESPACE=default;K8S_POD_NAME=oddly-named")])
def test_any_names_of_cni_are_served(runtime, ifname, pod, eventually):
    """What documents cannot be called: capitals, underscores, a dash at the end."""
    lab, container, config = runtime.lab, "Oddly_named.1-", {"name": "My_Net.1", "args": pod}
    runtime.make(container)
    try:
        result = runtime.call("ADD", container, ifname=ifname, **config)
        assert {interface["name"] for interface in result["interfaces"]} >= {ifname}
        assert runtime.call("ADD", container, ifname=ifname, **config) == result
        assert runtime.call("CHECK", container, ifname=ifname, prevResult=result, **config) is None
        handles = [item["spec"]["handleID"] for item in lab.json("get", "ipamhandles")["items"]]
        assert sum(handle.startswith("my-net-1-") for handle in handles) == 1
        ends = [item for item in lab.json("get", "wep", "-A")["items"]
                if item["spec"]["containerID"].startswith("oddly-named-1-")]
        assert len(ends) == 1 and ends[0]["spec"]["interfaceName"] == result["interfaces"][0]["name"]
        if not pod:
            assert [profile[:9] for profile in ends[0]["spec"]["profiles"]] == ["my-net-1-"]
        lab.run("lab", "agent", "kill", "host1")
        note, = (lab.folder / "cni" / "host1" / "attachments").glob(container + "@*")
        note.unlink()
        lab.run("lab", "agent", "start", "host1")
        gc = {"CNI_COMMAND": "GC", "CNI_PATH": str(runtime.plugin.parent)}
        for valid, left in (([{"containerID": container, "ifname": ifname}], True), ([], False)):
            call = json.dumps(runtime.with_version(**{"name": config["name"], "cni.dev/valid-attachments": valid}))
            eventually(lambda: runtime.run(gc, call) == (0, ""), 20)  # once the agent is ready
            assert (ifname in links(runtime, container)) == left
        assert not [item for item in lab.json("get", "ipamhandles")["items"]
                    if item["spec"]["handleID"].startswith("my-net-1-")]
    finally:
        runtime.call("DEL", container, ifname=ifname, **config)
        runtime.end(container)


def test_gc_frees_what_the_runtime_does_not_list_also_where_the_agent_has_lost_its_notes(runtime):
    names = ["noted-kept", "noted-lost"]
    for name in names:
        runtime.make(name)
    try:
        for name in names:
            runtime.call("ADD", name)
        runtime.lab.run("lab", "agent", "kill", "host1")
        notes = [note for name in names
                 for note in (runtime.lab.folder / "cni" / "host1" / "attachments").glob("*%s*" % name)]
        assert len(notes) == 2
        for note in notes:
            note.unlink()
        runtime.lab.run("lab", "agent", "start", "host1")
        valid = [{"containerID": names[0], "ifname": "eth0"}]
        variables = {"CNI_COMMAND": "GC", "CNI_PATH": str(runtime.plugin.parent)}
        for name, given in (("another-network", [1, 1]), (runtime.config["name"], [1, 0])):
            config = runtime.with_version() | {"name": name, "cni.dev/valid-attachments": valid}
            assert runtime.run(variables, json.dumps(config)) == (0, "")
            assert [len(given_to(runtime, each)) for each in names] == given
        assert set(links(runtime, names[0])) == {"lo", "eth0"} and set(links(runtime, names[1])) == {"lo"}
        endpoints = [item["metadata"]["name"] for item in runtime.lab.json("get", "wep", "-A")["items"]]
        assert [sum(name.replace("-", "--") in endpoint for endpoint in endpoints) for name in names] == [1, 0]
    finally:
        for name in names:
            runtime.call("DEL", name)
            runtime.end(name)
        assert [given_to(runtime, name) for name in names] == [[], []]


def test_gc_frees_what_the_runtime_does_not_list_and_nothing_else(runtime):
    names = ["collect-kept", "collect-lost", "collect-other"]
    for name in names:
        runtime.make(name)
    try:
        kept = runtime.call("ADD", names[0])
        runtime.call("ADD", names[0], ifname="eth1")
        runtime.call("ADD", names[1])
        runtime.call("ADD", names[2], name="another-network")
        valid = [{"containerID": names[0], "ifname": "eth0"}, {"containerID": "unheard-of", "ifname": "eth0"}]
        variables = {"CNI_COMMAND": "GC", "CNI_PATH": str(runtime.plugin.parent)}
        for wrong in ({}, {"cni.dev/valid-attachments": "all"}, {"cni.dev/valid-attachments": [{"containerID": "x"}]}):
            error = runtime.refused(variables, runtime.with_version() | wrong)
            assert error["code"] == 7 and "cni.dev/valid-attachments" in error["details"]
        for _ in range(2):  # again it finds nothing to do
            config = runtime.with_version() | {"cni.dev/valid-attachments": valid}
            assert runtime.run(variables, json.dumps(config)) == (0, "")
            assert set(links(runtime, names[0])) == {"lo", "eth0"}
            assert set(links(runtime, names[1])) == {"lo"}
            assert set(links(runtime, names[2])) == {"lo", "eth0"}
            assert [len(given_to(runtime, name)) for name in names] == [1, 0, 1]
            assert runtime.call("CHECK", names[0], prevResult=kept) is None
        endpoints = [item["metadata"]["name"] for item in runtime.lab.json("get", "wep", "-A")["items"]]
        assert [sum(name.replace("-", "--") in endpoint for endpoint in endpoints) for name in names] == [1, 0, 1]
        # As libcni writes it where there is none any more.
        none = {"cni.dev/valid-attachments": None, "cni.dev/attachments": None}
        assert runtime.run(variables, json.dumps(runtime.with_version() | none)) == (0, "")
        assert [len(given_to(runtime, name)) for name in names] == [0, 0, 1]
    finally:
        for name in names:
            for ifname in ("eth0", "eth1"):
                runtime.call("DEL", name, ifname=ifname)
            runtime.end(name)
