"""A workload that is allowed source prefixes sends from there as well, where workloadSourceSpoofing is Any."""
import contextlib
import pathlib
import subprocess
import sys
import time

import pytest

from revocation import AT_MOST, watch

PACKETS = pathlib.Path(__file__).with_name("packets.py")
ALLOWED = {4: "192.0.2.0/28", 6: "2001:db8:5::/64"}
INSIDE = {4: ["192.0.2.0", "192.0.2.15"], 6: ["2001:db8:5::", "2001:db8:5:0:ffff:ffff:ffff:ffff"]}
DENIED, OTHER = {4: "192.0.2.9", 6: "2001:db8:5::9"}, {4: "192.0.2.3", 6: "2001:db8:5::3"}
HOST1 = {4: "172.31.0.1", 6: "fd31::1"}
OUTSIDE = {4: ["192.0.2.16", "192.0.1.255", "10.65.77.77"], 6: ["2001:db8:5:1::", "2001:db8:4::1", "fd65::7777"]}
ANY = {"apiVersion": "projectcalico.org/v3", "kind": "FelixConfiguration", "metadata": {"name": "default"},
       # The other host has no route to where they send from.
       "spec": {"workloadSourceSpoofing": "Any", "bpfEnforceRPF": "Disabled"}}
# What rules say of the sender's side is asked of the address that it sends from.
NOT_FROM_ONE = {"apiVersion": "projectcalico.org/v3", "kind": "GlobalNetworkPolicy",
                "metadata": {"name": "not-from-one"},
                "spec": {"selector": "app == 'gateway'", "types": ["Egress"],
                         "egress": [{"action": "Deny", "source": {"nets": [DENIED[4] + "/32"]}},
                                    {"action": "Deny", "source": {"nets": [DENIED[6] + "/128"]}},
                                    {"action": "Allow"}]}}

STAY = {"apiVersion": "ocicat.io/v1", "kind": "AgentConfiguration", "metadata": {"name": "default"},
        "spec": {"openConnections": "Stay"}}
# Until its input closes: sends back, every 20 ms, to whoever has asked last.
POUR = """
import select, socket, sys
one = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
one.bind(("::", 10))
whom = None
print("+", flush=True)
while not select.select([sys.stdin], [], [], 0.02)[0]:
    if select.select([one], [], [], 0)[0]:
        whom = one.recvfrom(10)[1]
    if whom:
        one.sendto(b"x", whom)
"""
# Asks once, from an address; prints "+" at the first answer, and once its input closes when the last one came.
ASK = """
import select, socket, sys, time
one = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM)
one.bind((sys.argv[1], 0))
one.connect((sys.argv[2], 10))
one.send(b"x")
last = 0
while True:
    ready = select.select([one, sys.stdin], [], [], None if last else 10)[0]
    if sys.stdin in ready or not ready:
        break
    one.recv(10)
    if not last:
        print("+", flush=True)
    last = time.monotonic()
print(last)
"""


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


@contextlib.contextmanager
def address_elsewhere(lab, source, family):
    """The address is at the gateway, and all ways to it lead there."""
    length, ip = (32, ["ip"]) if family == 4 else (128, ["ip", "-6"])
    quick = ["nodad"] if family == 6 else []
    lab.exec("shop/gateway", *ip, "addr", "add", "%s/%d" % (source, length), "dev", "eth0", *quick)
    prefix = "%s/%d" % (source, length)
    lab.host_exec("host1", *ip, "route", "add", prefix, "dev", lab.pod("shop/gateway")["interface"])
    lab.host_exec("host2", *ip, "route", "add", prefix, "via", HOST1[family])
    try:
        yield
    finally:
        for host in lab.hosts:
            lab.host_exec(host, *ip, "route", "del", prefix)
        lab.exec("shop/gateway", *ip, "addr", "del", "%s/%d" % (source, length), "dev", "eth0")


def python_at(lab, pod, code, *words):
    words = [lab.binary, "lab", "exec", pod, "--name", lab.name, "--", sys.executable, "-c", code, *words]
    return subprocess.Popen(words, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


@contextlib.contextmanager
def answered(lab, target, source, family):
    """While the target answers what the gateway has asked it from the address; when the last answer came, once that
    is over."""
    last = []
    with address_elsewhere(lab, source, family), python_at(lab, target, POUR) as pouring:
        assert pouring.stdout.readline() == "+\n"
        with python_at(lab, "shop/gateway", ASK, source, lab.address(target, family)) as asking:
            assert asking.stdout.readline() == "+\n"
            yield last
            last.append(float(asking.communicate()[0]))


def watch_it_for_a_while(lab):
    """From the moment that it is in force."""
    lab.wait()
    since = time.monotonic()
    watch()
    return since


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("target", ["shop/near", "shop/far"])
def test_a_new_deny_ends_what_is_open_from_there(lab, allowed, family, target):
    bystander = "shop/far" if target == "shop/near" else "shop/near"
    try:
        with answered(lab, target, DENIED[family], family) as last, \
                answered(lab, bystander, OTHER[family], family) as other:
            lab.apply(NOT_FROM_ONE)
            since = watch_it_for_a_while(lab)
    finally:
        lab.run("delete", "globalnetworkpolicy", "not-from-one", "--ignore-not-found")
        lab.wait()
    assert last[0] < since + AT_MOST < other[0]


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("stays", [False, True])
def test_prefixes_that_go_end_what_is_open_from_there(lab, allowed, family, stays):
    document = lab.request("GET", allowed)
    document["spec"]["allowSpoofedSourcePrefixes"] = [OTHER[4] + "/32", OTHER[6] + "/128"]
    with contextlib.ExitStack() as stack:
        if stays:
            lab.apply(STAY)
            stack.callback(lab.delete, STAY)
            lab.wait()
        with answered(lab, "shop/near", DENIED[family], family) as last, \
                answered(lab, "shop/far", OTHER[family], family) as other:
            lab.request("PUT", allowed, document)
            since = watch_it_for_a_while(lab)
    assert last[0] < since + AT_MOST < other[0]


@pytest.mark.parametrize("family", [4, 6])
def test_without_its_own_address_a_workload_is_not_answered_there_either(lab, allowed, family):
    whole = lab.request("GET", allowed)
    own, kept = lab.address("shop/gateway", family), lab.address("shop/gateway", 10 - family)
    less = dict(whole, spec=dict(whole["spec"], ipNetworks=[n for n in whole["spec"]["ipNetworks"] if kept in n]))
    with python_at(lab, "shop/near", POUR) as pouring:
        assert pouring.stdout.readline() == "+\n"
        with python_at(lab, "shop/gateway", ASK, own, lab.address("shop/near", family)) as asking:
            assert asking.stdout.readline() == "+\n"
            lab.request("PUT", allowed, less)
            since = watch_it_for_a_while(lab)
            last = float(asking.communicate()[0])
    lab.request("PUT", allowed, dict(whole, metadata=lab.request("GET", allowed)["metadata"]))
    lab.wait()
    assert last < since + AT_MOST


def test_without_the_prefixes_or_without_the_setting_nothing_is_allowed(lab, allowed):
    lab.delete(ANY)
    status = lab.run("status", "--wait", "--timeout", "60s", check=False)
    assert "workloadSourceSpoofing is not Any" in status.stdout + status.stderr
    near = lab.address("shop/near")
    ping = ["ping", "-c", "1", near, "-W"]
    assert ", 0 received" in lab.exec("shop/gateway", *ping, "1", check=False).stdout, "it counts as absent"
    lab.apply(ANY)
    lab.wait()
    assert ", 1 received" in lab.exec("shop/gateway", *ping, "10").stdout
    assert heard(lab, "shop/near", 4, ["192.0.2.6"]) == ["192.0.2.6"]
