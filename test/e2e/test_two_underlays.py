"""A host in two underlay networks, with VXLAN: its Node has one address, and one of the peers is reached by the other
network, whose addresses no Node has."""
import json

import pytest
from transfer import transfer

LINK = "second"  # the interface at both hosts
PORTS = "tcp/80,tcp/81,udp/53"
POLICY = {"apiVersion": "projectcalico.org/v3", "kind": "NetworkPolicy",
          "metadata": {"name": "web", "namespace": "shop"},
          "spec": {"selector": "app == 'web'", "types": ["Ingress"],
                   "ingress": [{"action": "Allow", "protocol": "TCP", "destination": {"ports": [80]},
                                "source": {"selector": "app == 'client'"}}]}}
WATCH = ("add table inet watcher; add counter inet watcher {0}; add chain inet watcher {0} "
         "{{ type filter hook prerouting priority -300; }}; "
         "add rule inet watcher {0} iifname {0} udp dport 4789 counter name {0}")


def address(number, family):
    return {4: "10.77.0.%d", 6: "fd77::%d"}[family] % number


def join(lab):
    """A second network between host1 and host2. The first one ends between them, and there are routes by the second;
    they say nothing of the address to send from, which then is the second network's."""
    lab.host_exec("host1", "ip", "link", "add", LINK, "type", "veth", "peer", "name", LINK, "netns",
                  "%s-host2" % lab.name)
    for number in (1, 2):
        ip = ["host%d" % number, "ip"]
        lab.host_exec(*ip, "link", "set", LINK, "up")
        lab.host_exec(*ip, "addr", "add", address(number, 4) + "/24", "dev", LINK)
        lab.host_exec(*ip, "addr", "add", address(number, 6) + "/64", "dev", LINK, "nodad")
        lab.host_exec(*ip, "link", "set", "to-host%d" % (3 - number), "down")
    for number in (1, 2):
        for family in (4, 6):
            lab.host_exec("host%d" % number, "ip", "route", "replace", lab.host_address(3 - number, family), "via",
                          address(3 - number, family), "dev", LINK)


@pytest.fixture(scope="module")
def lab(make_lab, dataplane):
    lab = make_lab(3, dataplane, network="vxlan")
    join(lab)
    lab.together([lab.pod_words("shop/client", "host1", {"app": "client"}, "tcp/80,udp/53"),
                  lab.pod_words("shop/stranger", "host1", {}, "tcp/80,udp/53"),
                  lab.pod_words("shop/second", "host2", {"app": "web"}, PORTS),
                  lab.pod_words("shop/first", "host3", {"app": "web"}, PORTS)])
    lab.wait()
    for link in (LINK, "to-host3"):
        lab.host_exec("host1", "nft", WATCH.format(link.replace("-", "_")).replace("iifname to_", "iifname to-"))
    return lab


def arrived(lab):
    """VXLAN packets that have come to host1 since the last call, by each of the networks."""
    counters = json.loads(lab.host_exec("host1", "nft", "-j", "reset", "counters", "table", "inet", "watcher").stdout)
    return {item["counter"]["name"]: item["counter"]["packets"]
            for item in counters["nftables"] if "counter" in item}


@pytest.mark.parametrize("family", [4, 6])
def test_each_peer_is_reached_by_the_network_that_leads_to_it(lab, family):
    route, = json.loads(lab.host_exec("host1", "ip", "-j", "route", "get", lab.host_address(2, family)).stdout)
    assert (route["dev"], route["prefsrc"]) == (LINK, address(1, family)), "no Node has this address"
    for target, by, other in (("shop/second", LINK, "to_host3"), ("shop/first", "to_host3", LINK)):
        arrived(lab)
        lab.exec("shop/client", "ping", "-c", "3", "-i", "0.2", "-W", "10", lab.address(target, family))
        came = arrived(lab)
        assert came[by] >= 3 and came[other] == 0, target


@pytest.mark.parametrize("family", [4, 6])
def test_hosts_and_pods_reach_each_other_by_the_second_network(lab, family):
    lab.host_exec("host1", "ping", "-c", "1", "-W", "5", lab.address("shop/second", family))
    lab.host_exec("host2", "ping", "-c", "1", "-W", "5", lab.address("shop/client", family))
    lab.exec("shop/second", "ping", "-c", "1", "-W", "5", lab.address("shop/first", family))


@pytest.mark.parametrize("family", [4, 6])
def test_a_large_transfer_arrives_whole_by_the_second_network(lab, family):
    transfer(lab, "shop/client", "shop/second", family)


def test_policy_holds_in_both_networks(lab):
    with lab.applied(POLICY):
        cells = lab.probe(PORTS)
        assert cells == lab.matrix(PORTS)
        for far in ("shop/first", "shop/second"):
            for family in (4, 6):
                assert cells["shop/client", far, "tcp/80", family] == "allow"
                assert cells["shop/client", far, "tcp/81", family] == "deny"
                assert cells["shop/stranger", far, "tcp/80", family] == "deny"


@pytest.mark.parametrize("family", [4, 6])
def test_a_peer_that_moves_to_the_other_network_loses_no_connection(lab, eventually, family):
    """The second network ends, and the first is there again. eBPF remembers a way for a quarter of a second."""
    flow = lab.start_traffic("shop/client", "stream", lab.address("shop/second", family), 80)
    for number in (1, 2):
        link = "to-host%d" % (3 - number)
        lab.host_exec("host%d" % number, "ip", "link", "set", link, "up")
        lab.host_exec("host%d" % number, "ip", "addr", "replace", lab.host_address(number, 6), "dev", link, "nodad")
    back = [("host%d" % number, "ip", "route", "replace", lab.host_address(3 - number, family)) for number in (1, 2)]
    for number, words in enumerate(back, 1):
        lab.host_exec(*words, "dev", "to-host%d" % (3 - number), "src", lab.host_address(number, family))

    def has_moved():
        arrived(lab)
        lab.exec("shop/client", "ping", "-c", "3", "-i", "0.2", "-W", "10", lab.address("shop/second", family))
        return arrived(lab)[LINK] == 0

    eventually(has_moved, 10)
    for number, words in enumerate(back, 1):
        lab.host_exec(*words, "via", address(3 - number, family), "dev", LINK)
    flow.end()
    report = flow.stop()
    assert report["sent"] > 10
    assert (report["missing"], report["outOfOrder"], report["error"]) == ([], 0, "")
