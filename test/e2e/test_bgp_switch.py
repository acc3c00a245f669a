"""Hosts that come to have BIRD while their workloads speak with each other: no packet is lost on the way."""
import json
import subprocess

import pytest

HOSTS = 3
STAND_IN = 4000000000  # metric of an agent's routes by other hosts where BIRD is to tell of them


@pytest.fixture(scope="module")
def lab(make_lab):
    lab = make_lab(HOSTS, network="plain")
    lab.together([lab.pod_words("net/%s" % host.replace("host", "pod"), host) for host in lab.hosts])
    lab.wait()
    return lab


def switch(lab, network):
    """Agents that start from now on do as in a lab of this network."""
    record = lab.folder / "lab.json"
    record.write_text(json.dumps(dict(json.loads(record.read_text()), network=network)))
    lab.network = network


def by_hosts(lab, host, family, protocol):
    """Routes by other hosts: {destination: metric}; whether the kernel looks at them is its affair."""
    text = lab.host_exec(host, "ip", "-%d" % family, "-j", "route", "show", "proto", protocol).stdout
    return {route["dst"]: route.get("metric", 0) for route in json.loads(text or "[]") if "gateway" in route}


def all_by_bird(lab, hosts):
    return all(len(by_hosts(lab, host, family, "bird")) == HOSTS - 1 and not by_hosts(lab, host, family, "80")
               for host in hosts for family in (4, 6))


def restart(lab, host):
    lab.run("lab", "agent", "stop", host)
    lab.run("lab", "agent", "start", host, "--no-wait")


def test_no_packet_is_lost_while_hosts_are_given_bird_one_after_the_other(lab, eventually):
    flows = {}
    for number in range(1, HOSTS + 1):
        for family in (4, 6):
            target = "net/pod%d" % (number % HOSTS + 1)
            flows[target, family] = lab.start_traffic("net/pod%d" % number, "ping", lab.address(target, family))
    before = {host: set(by_hosts(lab, host, 4, "80")) for host in lab.hosts}
    assert all(len(nets) == HOSTS - 1 for nets in before.values())
    switch(lab, "bgp")
    for host in lab.hosts[:-1]:
        restart(lab, host)
    # The last one has no BIRD yet, so the others go on by what the server says.
    for host in lab.hosts[:-1]:
        eventually(lambda host=host: by_hosts(lab, host, 4, "80") == {net: STAND_IN for net in before[host]}, 30)
        assert eventually(lambda host=host: by_hosts(lab, host, 4, "bird"), 30), "beside them is what BIRD has heard"
    restart(lab, lab.hosts[-1])
    eventually(lambda: all_by_bird(lab, lab.hosts), 60)
    assert {host: set(by_hosts(lab, host, 4, "bird")) for host in lab.hosts} == before
    for key, flow in flows.items():
        report = flow.stop()
        assert report["sent"] > 100, key
        assert (key, report["missing"]) == (key, [])


def test_an_agent_that_finds_bird_at_work_writes_no_route_in_its_place(lab, eventually):
    eventually(lambda: all_by_bird(lab, lab.hosts), 60)
    lab.run("lab", "agent", "stop", "host1")
    namespace = "%s-host1" % lab.name
    with subprocess.Popen(["ip", "-n", namespace, "monitor", "route"], stdout=subprocess.PIPE, text=True) as monitor:
        lab.run("lab", "agent", "start", "host1")
        lab.wait()
        monitor.terminate()
        heard = monitor.stdout.read()
    assert "metric %d" % STAND_IN not in heard
    assert all_by_bird(lab, ["host1"])


def test_routes_that_somebody_else_calls_birds_are_named_before_they_go_and_all_others_stay(make_lab, eventually):
    lab = make_lab(2, network="plain")
    via = ["via", lab.host_address(2), "dev", "to-host2", "onlink"]
    nets = {"bird": "203.0.113.0/25", "static": "203.0.113.128/25"}
    for protocol, net in nets.items():
        lab.host_exec("host1", "ip", "route", "add", net, *via, "proto", protocol)
    switch(lab, "bgp")
    for host in lab.hosts:
        restart(lab, host)
    eventually(lambda: nets["bird"] not in by_hosts(lab, "host1", 4, "bird"), 60)
    assert list(by_hosts(lab, "host1", 4, "static")) == [nets["static"]]
    warned = [line for line in (lab.folder / "log" / "agent-host1.log").read_text().splitlines()
              if "1 routes of protocol bird are there" in line]
    assert len(warned) == 1 and nets["bird"] in warned[0] and "ip route show proto bird" in warned[0]
