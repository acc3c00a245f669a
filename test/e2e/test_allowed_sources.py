"""A workload that is allowed source prefixes sends from there as well, where workloadSourceSpoofing is Any."""
import pathlib
import subprocess
import sys

import pytest

PACKETS = pathlib.Path(__file__).with_name("packets.py")
ALLOWED = {4: "192.0.2.0/28", 6: "2001:db8:5::/64"}
INSIDE = {4: ["192.0.2.0", "192.0.2.15"], 6: ["2001:db8:5::", "2001:db8:5:0:ffff:ffff:ffff:ffff"]}
DENIED, OTHER = {4: "192.0.2.9", 6: "2001:db8:5::9"}, {4: "192.0.2.3", 6: "2001:db8:5::3"}
OUTSIDE = {4: ["192.0.2.16", "192.0.1.255", "10.65.77.77"], 6: ["2001:db8:5:1::", "2001:db8:4::1", "fd65::7777"]}
ANY = {"apiVersion": "projectcalico.org/v3", "kind": "FelixConfiguration", "metadata": {"name": "default"},
       "spec": {"workloadSourceSpoofing": "Any"}}
# What rules say of the sender's side is asked of the address that it sends from.
NOT_FROM_ONE = {"apiVersion": "projectcalico.org/v3", "kind": "GlobalNetworkPolicy",
                "metadata": {"name": "not-from-one"},
                "spec": {"selector": "app == 'gateway'", "types": ["Egress"],
                         "egress": [{"action": "Deny", "source": {"nets": [DENIED[4] + "/32"]}},
                                    {"action": "Deny", "source": {"nets": [DENIED[6] + "/128"]}},
                                    {"action": "Allow"}]}}


@pytest.fixture(scope="module")
def lab(make_lab, dataplane):
    lab = make_lab(2, dataplane)
    lab.together([lab.pod_words("shop/gateway", "host1", labels={"app": "gateway"}, listen="udp/9"),
                  lab.pod_words("shop/near", "host1", listen="udp/9"),
                  lab.pod_words("shop/far", "host2", listen="udp/9")])
    lab.wait()
    return lab


def allow_sources(lab):
    path = lab.endpoint_path("shop/gateway")
    document = lab.request("GET", path)
    document["spec"]["allowSpoofedSourcePrefixes"] = list(ALLOWED.values())
    lab.apply(ANY)
    lab.request("PUT", path, document)
    return path


@pytest.fixture
def allowed(lab):
    path = allow_sources(lab)
    lab.wait()
    yield path
    document = lab.request("GET", path)
    document["spec"].pop("allowSpoofedSourcePrefixes")
    lab.request("PUT", path, document)
    lab.delete(ANY)
    lab.wait()


def heard(lab, target, family, sources):
    """What arrives of one datagram from each source, and of a last, honest one."""
    address = lab.address(target, family)
    words = [lab.binary, "lab", "exec", target, "--name", lab.name, "--", sys.executable, str(PACKETS), "hear", "last"]
    ear = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert ear.stdout.readline() == "+\n"
    for source in sources:
        lab.exec("shop/gateway", sys.executable, str(PACKETS), "send", source, address, "9", source)
    lab.exec("shop/gateway", sys.executable, str(PACKETS), "send", lab.address("shop/gateway", family), address, "9",
             "last")
    return ear.communicate(timeout=60)[0].split()[:-1]


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("target", ["shop/near", "shop/far"])
def test_only_what_is_sent_from_within_the_prefixes_arrives(lab, allowed, family, target):
    assert heard(lab, target, family, INSIDE[family] + OUTSIDE[family]) == INSIDE[family]


@pytest.mark.parametrize("family", [4, 6])
def test_policy_judges_by_the_address_that_is_sent_from_and_explain_says_so(lab, allowed, family):
    lab.apply(NOT_FROM_ONE)
    try:
        lab.wait()
        sources = [DENIED[family], OTHER[family], OUTSIDE[family][0]]
        for source in sources:
            explained = lab.json("explain", "shop/gateway", "shop/near", "udp/9", "--source-address", source)
            assert explained["verdict"] == ("allow" if source == OTHER[family] else "deny"), source
        assert heard(lab, "shop/near", family, sources) == [OTHER[family]]
    finally:
        lab.delete(NOT_FROM_ONE)
        lab.wait()


def test_a_connection_from_there_gets_its_replies_and_nobody_can_begin_one(lab, allowed):
    source, near = "192.0.2.5", lab.address("shop/near")
    lab.exec("shop/gateway", "ip", "addr", "add", source + "/32", "dev", "eth0")
    lab.host_exec("host1", "ip", "route", "add", source + "/32", "dev", lab.pod("shop/gateway")["interface"])
    try:
        ping = ["ping", "-c", "2", "-W", "2", "-i", "0.2"]
        assert ", 2 received" in lab.exec("shop/gateway", *ping, "-I", source, near).stdout
        assert ", 0 received" in lab.exec("shop/near", *ping, source, check=False).stdout
    finally:
        lab.host_exec("host1", "ip", "route", "del", source + "/32")
        lab.exec("shop/gateway", "ip", "addr", "del", source + "/32", "dev", "eth0")


def test_without_the_prefixes_or_without_the_setting_nothing_is_allowed(lab, allowed):
    lab.delete(ANY)
    status = lab.run("status", "--wait", "--timeout", "20s", check=False)
    assert "workloadSourceSpoofing is not Any" in status.stdout + status.stderr
    near = lab.address("shop/near")
    ping = ["ping", "-c", "1", "-W", "1", near]
    assert ", 0 received" in lab.exec("shop/gateway", *ping, check=False).stdout, "it counts as absent"
    lab.apply(ANY)
    lab.wait()
    assert ", 1 received" in lab.exec("shop/gateway", *ping).stdout
    assert heard(lab, "shop/near", 4, ["192.0.2.6"]) == ["192.0.2.6"]
