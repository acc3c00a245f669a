"""Limits of bandwidth, held on both datapaths: what a workload receives and sends is counted where it arrives, over
the time since the sender began. Whatever else the machine does, that never comes to more than the limit allows."""
import json
import os
import subprocess
import sys

import pytest

PORT = 7100
RATE = 16_000_000  # bits a second
BURST = 800_000    # bits
OPEN = {"apiVersion": "projectcalico.org/v3", "kind": "NetworkPolicy", "metadata": {"name": "open", "namespace": "net"},
        "spec": {"types": ["Ingress"], "ingress": [{"action": "Allow"}]}}
# Takes one connection; tells how much came, and when the last of it had.
SINK = """
import socket, sys, time
listener = socket.create_server(("::", int(sys.argv[1])), family=socket.AF_INET6, dualstack_ipv6=True)
print("ready", flush=True)
client, _ = listener.accept()
size = 0
while data := client.recv(1 << 20):
    size += len(data)
print(size, time.monotonic(), flush=True)
"""
SEND = """
import socket, sys, time
print(time.monotonic(), flush=True)
server = socket.create_connection((sys.argv[1], int(sys.argv[2])), 20)
server.sendall(bytes(int(sys.argv[3])))
"""


@pytest.fixture(scope="module")
def lab(make_lab, dataplane):
    lab = make_lab(2, dataplane)
    lab.together([lab.pod_words("net/limited", "host1", {}, "tcp/80,udp/53"),
                  lab.pod_words("net/near", "host1", {}, "tcp/80,udp/53"),
                  lab.pod_words("net/far", "host2", {}, "tcp/80,udp/53")])
    lab.apply(OPEN)
    lab.wait()
    return lab


@pytest.fixture
def limited(lab):
    yield lambda **controls: lab.limit("net/limited", **controls)
    lab.limit("net/limited")


class Transfer:
    """So many bytes from one pod to another, by TCP."""

    def __init__(self, lab, source, target, family, port, size):
        self.size = size
        self.sink = subprocess.Popen([lab.binary, "lab", "exec", target, "--", sys.executable, "-c", SINK, str(port)],
                                     env=lab.environment, text=True, stdout=subprocess.PIPE)
        assert self.sink.stdout.readline() == "ready\n"
        self.sender = subprocess.Popen([lab.binary, "lab", "exec", source, "--", sys.executable, "-c", SEND,
                                        lab.address(target, family), str(port), str(size)],
                                       env=lab.environment, text=True, stdout=subprocess.PIPE)

    def times(self):
        """From when, to when; all has arrived."""
        begin = float(self.sender.communicate(timeout=60)[0])
        size, end = self.sink.communicate(timeout=60)[0].split()
        assert int(size) == self.size and self.sender.returncode == 0
        return begin, float(end)


def transfer_times(lab, flows, size):
    """Bytes by several flows at once: from when, to when."""
    running = [Transfer(lab, source, target, family, PORT + number, size)
               for number, (source, target, family) in enumerate(flows)]
    begins, ends = zip(*[each.times() for each in running])
    return min(begins), max(ends)


def transfer(lab, flows, size):
    """The same; gives all of the bytes, and how long it took."""
    begin, end = transfer_times(lab, flows, size)
    return size * len(flows), end - begin


def is_held(total, took, rate=RATE, burst=BURST):
    assert total * 8 <= burst + rate * took, "%d bytes in %.3f s" % (total, took)
    # And it is no other, lower limit.
    assert took < 3 * total * 8 / rate + 5


TO = [("net/near", "net/limited", 4), ("net/far", "net/limited", 6)]
FROM = [("net/limited", "net/near", 6), ("net/limited", "net/far", 4)]


@pytest.mark.parametrize("direction,flows", [("ingress", TO), ("egress", FROM)])
def test_all_streams_of_both_families_together_are_held_to_the_limit(lab, limited, direction, flows):
    limited(**{direction + "Bandwidth": RATE, direction + "Burst": BURST})
    is_held(*transfer(lab, flows, 1_500_000))
    # The other direction is free: one of three times it is faster, whatever else the machine is at.
    other = FROM if direction == "ingress" else TO
    assert any(total * 8 > 2 * RATE * took for total, took in (transfer(lab, other, 3_000_000) for _ in range(3)))


@pytest.fixture(scope="module")
def tunnelled(make_lab, dataplane):
    lab = make_lab(2, dataplane, network="vxlan")
    lab.together([lab.pod_words("net/limited", "host1", {}, "tcp/80"), lab.pod_words("net/far", "host2", {}, "tcp/80")])
    lab.apply(OPEN)
    lab.wait()
    return lab


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("direction,flow", [("ingress", ("net/far", "net/limited")),
                                            ("egress", ("net/limited", "net/far"))])
def test_what_goes_through_a_tunnel_is_held_to_the_limit(tunnelled, direction, flow, family):
    def pass_on(source, target, size):
        return transfer(tunnelled, [(source, target, family)], size)

    def is_free(source, target):  # one of three times it is faster, whatever else the machine is at
        tries = (pass_on(source, target, 3_000_000) for _ in range(3))
        return any(total * 8 > 2 * RATE * took for total, took in tries)

    tunnelled.limit("net/limited", **{direction + "Bandwidth": RATE, direction + "Burst": BURST})
    is_held(*pass_on(*flow, 1_500_000))
    assert is_free(*flow[::-1])
    tunnelled.limit("net/limited")
    assert is_free(*flow)


def test_a_burst_passes_at_once_and_what_follows_does_not(lab, limited):
    rate, burst = 400_000, 8_000_000
    limited(ingressBandwidth=rate, ingressBurst=burst)
    begin, passed = transfer_times(lab, [("net/near", "net/limited", 4)], 900_000)
    assert passed - begin < 900_000 * 8 / rate / 2
    _, end = transfer_times(lab, [("net/far", "net/limited", 6)], 250_000)
    assert (900_000 + 250_000) * 8 <= burst + rate * (end - begin)  # and not before


def limits(lab, host="host1"):
    """Index of what has the queue, and bytes a second, of each limit."""
    found = json.loads(lab.host_exec(host, "tc", "-j", "qdisc", "show").stdout)
    indexes = {link["ifname"]: link["ifindex"] for link in json.loads(lab.host_exec(host, "ip", "-j", "link").stdout)}
    return sorted((indexes[queue["dev"]], queue["options"]["rate"]) for queue in found
                  if queue["handle"] == "c1c:" and queue["dev"] in indexes)  # it may have gone in between


def left(lab, host="host1"):
    return limits(lab, host) or "ocicat-" in lab.host_exec(host, "ip", "link").stdout


def interface_of(lab, pod):
    index = json.loads(lab.exec(pod, "ip", "-j", "link", "show", "dev", "eth0").stdout)[0]["link_index"]
    links = json.loads(lab.host_exec(lab.pod(pod)["host"], "ip", "-j", "link").stdout)
    return next(link["ifname"] for link in links if link["ifindex"] == index)


def queues(lab, interface, host="host1"):
    return [queue["kind"] for queue in
            json.loads(lab.host_exec(host, "tc", "-j", "qdisc", "show", "dev", interface).stdout)]


def test_changing_a_limit_loses_nothing(lab, limited):
    limited(ingressBandwidth=90_000_000, egressBandwidth=90_000_000)
    flows = [lab.start_traffic(source, kind, lab.address(target, family), *ports)
             for source, target in (("net/near", "net/limited"), ("net/limited", "net/far")) for family in (4, 6)
             for kind, ports in (("stream", [80]), ("udp", [53]), ("ping", []))]
    for rate in (50_000_000, 100_000_000, 40_000_000):
        limited(ingressBandwidth=rate, egressBandwidth=2 * rate)
        assert [bytes * 8 for _, bytes in limits(lab)] == [rate, 2 * rate]
        limited(ingressBandwidth=2 * rate, egressBandwidth=rate, ingressBurst=1_000_000, egressBurst=2_000_000)
    for flow in flows:
        flow.end()
    for flow in flows:
        report = flow.stop()
        assert report["sent"] > 10
        # Datagrams may overtake each other where their sender is moved to another processor: queues are by processor.
        assert (report["missing"], report["error"]) == ([], "")


def test_what_a_limit_needs_goes_with_it_and_what_others_have_there_stays(lab, limited, eventually):
    interface = interface_of(lab, "net/limited")
    without = queues(lab, interface_of(lab, "net/near"))  # what a test before needed here may be about to go
    limited(ingressBandwidth=RATE, egressBandwidth=RATE)
    assert sorted(queues(lab, interface)) == ["clsact", "tbf"]
    limited()
    eventually(lambda: not left(lab) and queues(lab, interface) == without, 30)

    lab.host_exec("host1", "tc", "qdisc", "add", "dev", interface, "clsact")
    try:
        limited(egressBandwidth=RATE, egressBurst=BURST)
        is_held(*transfer(lab, FROM, 1_000_000))
        limited()
        eventually(lambda: not left(lab), 30)
        assert "clsact" in queues(lab, interface)
    finally:
        lab.host_exec("host1", "tc", "qdisc", "del", "dev", interface, "clsact")


def test_limits_hold_while_no_agent_runs_and_the_next_one_takes_them_over(lab, limited, eventually):
    limited(ingressBandwidth=RATE, ingressBurst=BURST, egressBandwidth=RATE, egressBurst=BURST)
    there = limits(lab)
    lab.run("lab", "agent", "kill", "host1")
    try:
        is_held(*transfer(lab, TO, 1_000_000))
    finally:
        lab.run("lab", "agent", "start", "host1")
    lab.wait()
    assert limits(lab) == there
    # What somebody takes away is made again.
    lab.host_exec("host1", "sh", "-c", "ip link del $(ip -o link | grep -o 'ocicat-i[0-9a-f]*')")
    lab.host_exec("host1", "tc", "qdisc", "del", "dev", interface_of(lab, "net/limited"), "root")
    eventually(lambda: [rate for _, rate in limits(lab)] == [RATE / 8, RATE / 8], 30)
    lab.wait()
    is_held(*transfer(lab, TO, 1_000_000))
    is_held(*transfer(lab, FROM, 1_000_000))


def plugin(lab, command, name, config, host="host1"):
    return subprocess.run(
        [os.path.join(os.path.dirname(lab.binary), "ocicat-cni")], text=True, capture_output=True, timeout=60,
        input=json.dumps({"cniVersion": "1.1.0", "name": "net", "type": "ocicat-cni",
                          "agent_dir": str(lab.folder / "cni" / host), **config}),
        env={"CNI_COMMAND": command, "CNI_CONTAINERID": name, "CNI_NETNS": "/run/netns/" + name, "CNI_IFNAME": "eth0",
             "CNI_PATH": "/", "CNI_ARGS": "IgnoreUnknown=1;K8S_POD_NAMESPACE=net;K8S_POD_NAME=bounded"})


def test_a_pods_annotations_and_the_runtime_limit_it_from_its_first_packet(lab, eventually):
    name = "%s-bounded" % lab.name
    pod = {"apiVersion": "v1", "kind": "Pod",
           "metadata": {"name": "bounded", "namespace": "net",
                        "annotations": {"kubernetes.io/egress-bandwidth": str(RATE),
                                        "qos.projectcalico.org/egressBurst": str(BURST)}},
           "spec": {"nodeName": "host1", "containers": [{"name": "c", "image": "i"}]}}
    config = {"runtimeConfig": {"bandwidth": {"ingressRate": 2 * RATE, "ingressBurst": BURST}}}
    lab.apply(pod)
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        done = plugin(lab, "ADD", name, config)
        assert done.returncode == 0, done.stdout
        assert sorted(rate * 8 for _, rate in limits(lab)) == [RATE, 2 * RATE]
        pod["metadata"]["annotations"] = {"kubernetes.io/egress-bandwidth": "1Mbit"}
        refused = plugin(lab, "DEL", name, config)
        assert refused.returncode == 0
        eventually(lambda: not left(lab), 30)
        lab.apply(pod)
        refused = plugin(lab, "ADD", name, {})
        assert refused.returncode != 0 and "kubernetes.io/egress-bandwidth" in refused.stdout
    finally:
        plugin(lab, "DEL", name, config)
        subprocess.run(["ip", "netns", "del", name], check=True)
        lab.delete(pod)
    eventually(lambda: not left(lab), 30)
