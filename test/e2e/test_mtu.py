"""How large packets may be follows from the host's ways out, for workloads that are there as well; and what the kernel
is kept from doing with packets in tunnels."""
import json

import pytest

FELIX = {"apiVersion": "projectcalico.org/v3", "kind": "FelixConfiguration", "metadata": {"name": "default"}}
HEADER = {4: 28, 6: 48}


@pytest.fixture(scope="module", params=["plain", "vxlan"])
def lab(make_lab, dataplane, request):
    lab = make_lab(2, dataplane, network=request.param)
    lab.together([lab.pod_words("net/client", "host1", {}, ""), lab.pod_words("net/far", "host2", {}, "tcp/80")])
    lab.wait()
    return lab


def uplink(lab, host="host1"):
    route, = json.loads(lab.host_exec(host, "ip", "-j", "route", "get", lab.host_address(2)).stdout)
    return route["dev"]


def set_mtu(lab, mtu, host="host1"):
    lab.host_exec(host, "ip", "link", "set", uplink(lab, host), "mtu", str(mtu))


def mtus(lab, pod="net/client", host="host1"):
    """Of the pod's interface, seen from both sides."""
    own, = json.loads(lab.exec(pod, "ip", "-j", "link", "show", "dev", "eth0").stdout)
    links = json.loads(lab.host_exec(host, "ip", "-j", "link").stdout)
    other, = [link for link in links if link["ifindex"] == own["link_index"]]
    return own["mtu"], other["mtu"]


def ping(lab, family, size):
    report = lab.exec("net/client", "ping", "-c", "2", "-i", "0.2", "-W", "10", "-M", "do",
                      "-s", str(size - HEADER[family]), lab.address("net/far", family), check=False).stdout
    return ", 2 received" in report


def told(lab):
    return lab.json("node", "status", "host1")["nodes"][0]


def test_workloads_follow_the_uplink_both_ways(lab, eventually):
    usual, _ = mtus(lab)
    room = 1500 - usual  # for tunnels
    assert told(lab)["mtu"] == usual
    try:
        set_mtu(lab, 1400)
        eventually(lambda: mtus(lab) == (1400 - room, 1400 - room), 20)
        lab.add_pod("net/late", "host1")
        assert mtus(lab, "net/late") == mtus(lab)
        eventually(lambda: told(lab)["mtu"] == 1400 - room, 20)
        for family in (4, 6):
            assert ping(lab, family, 1400 - room)
            assert not ping(lab, family, 1401 - room)
    finally:
        set_mtu(lab, 1500)
    eventually(lambda: mtus(lab) == (usual, usual) == mtus(lab, "net/late"), 20)
    for family in (4, 6):
        assert ping(lab, family, usual)


def test_what_has_changed_while_no_agent_ran_is_followed_when_one_runs(lab, eventually):
    usual, _ = mtus(lab)
    lab.run("lab", "agent", "kill", "host1")
    set_mtu(lab, 1420)
    assert mtus(lab) == (usual, usual)
    lab.run("lab", "agent", "start", "host1")
    try:
        eventually(lambda: mtus(lab) == (usual - 80, usual - 80), 20)
    finally:
        set_mtu(lab, 1500)
    eventually(lambda: mtus(lab) == (usual, usual), 20)


def test_settings_bound_the_tunnels_and_with_them_the_workloads(lab, eventually):
    if lab.network != "vxlan":
        pytest.skip("there are no tunnels")
    usual, _ = mtus(lab)
    lab.apply({**FELIX, "spec": {"vxlanMTU": 1340, "vxlanMTUV6": 1350}})
    try:
        eventually(lambda: mtus(lab) == (1340, 1340), 20)
    finally:
        lab.delete({**FELIX, "spec": {}})
    eventually(lambda: mtus(lab) == (usual, usual), 20)


def test_the_ways_out_are_those_that_a_field_names(lab, eventually):
    """Where it names none that is there, all but workloads'."""
    if lab.network != "plain":
        pytest.skip("tunnels have their own")
    usual, _ = mtus(lab)
    lab.host_exec("host1", "sh", "-c", "ip link add slow0 mtu 1300 type veth peer name slow1 && "
                  "ip link set slow0 up && ip link set slow1 up")
    try:
        eventually(lambda: mtus(lab) == (1300, 1300), 30)
        with lab.applied({**FELIX, "spec": {"mtuIfacePattern": "^to-host"}}):
            eventually(lambda: mtus(lab) == (usual, usual), 30)
            eventually(lambda: told(lab)["mtu"] == usual, 30)
        eventually(lambda: mtus(lab) == (1300, 1300), 30)
    finally:
        lab.host_exec("host1", "ip", "link", "del", "slow0")
    eventually(lambda: mtus(lab) == (usual, usual), 30)


def offload(lab, name):
    text = lab.host_exec("host1", "ethtool", "-k", name).stdout
    return next(line.split()[1] for line in text.splitlines() if "tx-checksum-ip-generic:" in line)


def test_checksums_in_tunnels_are_left_to_the_kernel_unless_it_is_said_to_make_wrong_ones(lab, eventually):
    if lab.network != "vxlan":
        pytest.skip("there are no tunnels")
    names = ("vxlan.calico", "vxlan-v6.calico")
    assert [offload(lab, name) for name in names] == ["on", "on"]
    assert told(lab)["notes"] == []
    lab.apply({**FELIX, "spec": {"featureDetectOverride": "ChecksumOffloadBroken=true"}})
    try:
        eventually(lambda: [offload(lab, name) for name in names] == ["off", "off"], 20)
        eventually(lambda: len(told(lab)["notes"]) == 2, 20)
        assert "vxlan.calico does not offload checksums" in lab.run("node", "status", "host1").stdout
        for family in (4, 6):
            assert ping(lab, family, mtus(lab)[0])
    finally:
        lab.delete({**FELIX, "spec": {}})
    eventually(lambda: [offload(lab, name) for name in names] == ["on", "on"], 20)
