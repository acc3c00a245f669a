"""The sums of flows say how many packets and bytes allowed connections have carried: as many as were sent, at both ends
of each, whoever has asked meanwhile and whichever agents have come and gone."""
import json
import subprocess
import sys
import time

import pytest

from own_agent import Agent
from test_accounting import SEND, RECEIVE, SIZE, IP, TCP, OF_SYN

UDP, ICMP = 8, 8  # headers
FAMILIES = pytest.mark.parametrize("family", [4, 6])
SERVERS = pytest.mark.parametrize("server", ["shop/near", "shop/far"])
# From one port, so all of it is one connection; not faster than a processor's queue takes it.
DATAGRAMS = """
import socket, sys, time
address, port, count, size = sys.argv[1], *map(int, sys.argv[2:])
one = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
one.bind(("", 40000))
for number in range(count):
    one.sendto(bytes(size), (address, port))
    if number % 20 == 19: time.sleep(0.002)
"""
# Takes them, and answers nothing.
SINK = """
import select, socket, sys
ears = [socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) for _ in sys.argv[1:]]
for ear, port in zip(ears, sys.argv[1:]): ear.bind(("::", int(port)))
print("+", flush=True)
while sys.stdin not in (ready := select.select([sys.stdin, *ears], [], [])[0]):
    for ear in ready: ear.recv(65536)
"""
# Two from each of many ports.
MANY = """
import socket, sys
for number in range(int(sys.argv[3])):
    one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    one.bind(("", 41000 + number))
    for _ in range(2): one.sendto(bytes(100), (sys.argv[1], int(sys.argv[2])))
"""
# All connections that the kernel tracks.
FORGET = """
import socket, struct
one = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)
one.send(struct.pack("=IHHII BBH", 20, 1 << 8 | 2, 1 | 4, 1, 0, 0, 0, 0))
assert struct.unpack_from("=i", one.recv(4096), 16) == (0,)
"""
PORTS = (5304, 5306, 5310)


@pytest.fixture(scope="module")
def lab(make_lab, dataplane):
    lab = make_lab(2, dataplane)
    # In one window: of what goes on, each says that it does, and sums() adds them up.
    lab.apply({"apiVersion": "projectcalico.org/v3", "kind": "FelixConfiguration", "metadata": {"name": "default"},
               "spec": {"flowLogsFlushInterval": "3600s"}})
    lab.together([lab.pod_words("shop/client", "host1"), lab.pod_words("shop/near", "host1"),
                  lab.pod_words("shop/far", "host2")])
    lab.wait()
    if dataplane == "nftables":
        # Pings as is the default with eBPF. All else outlives the moments without an agent: of a connection that ends
        # then nobody can tell what it has carried since the last look, so it counts as lost.
        timeouts = {"icmp_timeout": 5, "icmpv6_timeout": 5, "udp_timeout": 3600, "tcp_timeout_time_wait": 3600,
                    "tcp_timeout_close": 3600}
        for host in ("host1", "host2"):
            for name, seconds in timeouts.items():
                lab.host_exec(host, "sysctl", "-qw", "net.netfilter.nf_conntrack_%s=%d" % (name, seconds))
    sinks = [subprocess.Popen([lab.binary, "lab", "exec", pod, "--", sys.executable, "-c", SINK, *map(str, PORTS)],
                              env=lab.environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
             for pod in ("shop/near", "shop/far")]
    for sink in sinks:
        assert sink.stdout.readline() == "+\n"
    yield lab
    for sink in sinks:
        sink.communicate()


def sums(lab, server, traffic):
    """{reporter: what all its flows of this kind from the client to the server add up to}."""
    totals = {}
    for host in lab.json("flows")["hosts"]:
        assert host["untold"] == 0 and host["lost"] == 0
        for flow in host["flows"]:
            if (flow["source"]["nameAggregated"], flow["destination"]["nameAggregated"]) == (
                    "client", server.removeprefix("shop/")) and flow["traffic"].startswith(traffic):
                total = totals.setdefault(flow["reporter"], {})
                for name in ("flows", "completed", "live", "packetsIn", "packetsOut", "bytesIn", "bytesOut"):
                    total[name] = total.get(name, 0) + flow[name]
    return totals


def expected(sent, sent_bytes, answered=0, answered_bytes=0):
    def end(packets_out, bytes_out, packets_in, bytes_in):
        return {"packetsOut": packets_out, "bytesOut": bytes_out, "packetsIn": packets_in, "bytesIn": bytes_in}
    return {"src": end(sent, sent_bytes, answered, answered_bytes),
            "dst": end(answered, answered_bytes, sent, sent_bytes)}


def carried(lab, server, traffic):
    return {reporter: {name: total[name] for name in ("packetsOut", "bytesOut", "packetsIn", "bytesIn")}
            for reporter, total in sums(lab, server, traffic).items()}


def send(lab, server, family, port, count, size=100):
    lab.exec("shop/client", sys.executable, "-c", DATAGRAMS, lab.address(server, family), str(port), str(count),
             str(size))


@SERVERS
@FAMILIES
def test_datagrams_sent_are_datagrams_told(lab, eventually, server, family):
    port, each = 5300 + family, IP[family] + UDP + 100
    send(lab, server, family, port, 1)
    eventually(lambda: carried(lab, server, "udp/%d" % port) == expected(1, each), 30)
    send(lab, server, family, port, 1000)
    eventually(lambda: carried(lab, server, "udp/%d" % port) == expected(1001, 1001 * each), 30)
    for total in sums(lab, server, "udp/%d" % port).values():
        assert (total["flows"], total["live"], total["completed"]) == (1, 1, 0)


@SERVERS
@FAMILIES
def test_pings_and_their_answers_are_told(lab, eventually, server, family):
    report = lab.exec("shop/client", "ping", "-c", "50", "-i", "0.01", "-s", "56", lab.address(server, family))
    assert "50 received" in report.stdout
    total, traffic = 50 * (IP[family] + ICMP + 56), {4: "icmp/8", 6: "icmpv6/128"}[family]
    eventually(lambda: carried(lab, server, traffic) == expected(50, total, 50, total), 30)

    def ended():
        """Five seconds without packets, by default."""
        return {(total["live"], total["completed"]) for total in sums(lab, server, traffic).values()}

    eventually(lambda: ended() == {(0, 1)}, 30)
    assert carried(lab, server, traffic) == expected(50, total, 50, total)


@SERVERS
@FAMILIES
def test_a_stream_is_told_as_its_sockets_and_links_count_it(lab, dataplane, eventually, server, family):
    """Links by eBPF: the kernel counts what it hands on in one piece as one."""
    port = 5400 + family
    receiver = subprocess.Popen([lab.binary, "lab", "exec", server, "--", sys.executable, "-c", RECEIVE, str(port)],
                                env=lab.environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert receiver.stdout.readline() == "+\n"
    sent = json.loads(lab.exec("shop/client", sys.executable, "-c", SEND, lab.address(server, family), str(port),
                               str(SIZE)).stdout)
    json.loads(receiver.communicate()[0])

    def told():
        return {reporter: (end["packetsOut"], end["packetsIn"]) for reporter, end in
                carried(lab, server, "tcp/%d" % port).items()}

    if dataplane == "nftables":
        def arrived():
            ends = carried(lab, server, "tcp/%d" % port)
            return len(ends) == 2 and min(ends["src"]["bytesOut"], ends["dst"]["bytesIn"]) > SIZE
        eventually(arrived, 30)
        for end, way in (("src", "Out"), ("dst", "In")):
            total = carried(lab, server, "tcp/%d" % port)[end]
            assert 0 < total["packets" + way] <= sent["out"]
            assert total["bytes" + way] < 1.2 * SIZE
        return
    eventually(lambda: len(told()) == 2 and told()["src"][0] == sent["out"] and told()["dst"][1] == sent["out"], 30)
    assert told()["src"] == told()["dst"][::-1]
    if sent["repeated"] == 0:
        end = carried(lab, server, "tcp/%d" % port)["src"]
        assert end["bytesOut"] == SIZE + sent["out"] * (IP[family] + TCP) + OF_SYN


@SERVERS
def test_what_passes_while_no_agent_runs_is_told_by_the_next_one_and_nothing_twice(lab, dataplane, eventually, server):
    port, each = 5310, IP[4] + UDP + 100
    send(lab, server, 4, port, 100)
    eventually(lambda: carried(lab, server, "udp/%d" % port) == expected(100, 100 * each), 30)
    if dataplane == "nftables":
        time.sleep(2.5)  # how far the counters of its rules have been told is noted once a second
    for host in ("host1", "host2"):
        lab.run("lab", "agent", "kill", host)
    send(lab, server, 4, port, 200)
    for host in ("host1", "host2"):
        lab.run("lab", "agent", "start", host)
    lab.wait()
    send(lab, server, 4, port, 300)
    eventually(lambda: carried(lab, server, "udp/%d" % port) == expected(500, 500 * each), 30)


def test_what_comes_and_goes_between_two_looks_is_told(lab, dataplane, eventually):
    """Each a connection of its own, which somebody has the kernel forget at once."""
    server, port = "shop/near", 5311
    receiver = subprocess.Popen([lab.binary, "lab", "exec", server, "--", sys.executable, "-c", SINK, str(port)],
                                env=lab.environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert receiver.stdout.readline() == "+\n"
    lab.exec("shop/client", sys.executable, "-c", MANY, lab.address(server), str(port), "50")
    if dataplane == "nftables":
        lab.host_exec("host1", sys.executable, "-c", FORGET)
    each = IP[4] + UDP + 100
    eventually(lambda: carried(lab, server, "udp/%d" % port) == expected(100, 100 * each), 30)
    assert {total["flows"] for total in sums(lab, server, "udp/%d" % port).values()} == {50}
    receiver.communicate()


def test_the_kernel_counts_unless_the_agent_is_to_leave_that_to_others(lab, dataplane, eventually):
    if dataplane == "ebpf":
        pytest.skip("its programs count")
    setting = "/proc/sys/net/netfilter/nf_conntrack_acct"

    def value():
        return lab.host_exec("host1", "cat", setting).stdout.strip()

    assert value() == "1"
    lab.host_exec("host1", "sh", "-c", "echo 0 > " + setting)
    agent = Agent(lab, "host1", "--leave-conntrack-acct")
    lab.wait()
    eventually(lambda: "nf_conntrack_acct is off" in lab.run("status").stdout, 30)
    assert value() == "0"
    agent.end()
    lab.wait()
    assert value() == "1"


def test_connections_that_end_while_no_agent_runs_are_counted_as_lost(lab, dataplane, eventually):
    """Behind all others here that count on none."""
    if dataplane == "ebpf":
        pytest.skip("its programs count, and what they have counted waits for the next agent")

    def lost():
        return sum(host["lost"] for host in lab.json("flows", "--host", "host1")["hosts"])

    send(lab, "shop/near", 4, PORTS[0], 1)
    eventually(lambda: any(total["live"] for total in sums(lab, "shop/near", "udp/%d" % PORTS[0]).values()), 30)
    lab.run("lab", "agent", "kill", "host1")
    lab.host_exec("host1", sys.executable, "-c", FORGET)
    lab.run("lab", "agent", "start", "host1")
    lab.wait()
    eventually(lambda: lost() > 0, 60)


def test_status_says_that_the_kernel_does_not_tell_of_connections_that_end(lab, dataplane, eventually):
    if dataplane == "ebpf":
        pytest.skip("its programs count")
    setting = "/proc/sys/net/netfilter/nf_conntrack_events"
    before = lab.host_exec("host1", "cat", setting).stdout.strip()
    lab.host_exec("host1", "sh", "-c", "echo 0 > " + setting)
    try:
        agent = Agent(lab, "host1")
        lab.wait()
        eventually(lambda: "nf_conntrack_events is off" in lab.run("status").stdout, 30)
    finally:
        lab.host_exec("host1", "sh", "-c", f"echo {before} > {setting}")
    agent.end()
    lab.wait()
    assert "nf_conntrack_events" not in lab.run("status").stdout
