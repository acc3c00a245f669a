"""Packets and bytes of a connection are those that a link would carry, however large those are that the kernel hands
on (GSO, GRO), or puts together for the host's own hooks: by the counters of the sockets at both ends, and by
arithmetic."""
import json
import subprocess
import sys

import pytest

PORT = 5400
SIZE = 8 << 20
# Both print what struct tcp_info says, once the stream has ended at both: segments in and out, repeated ones, bytes
# received; and the segments' size.
TCP_INFO = """
import json, socket, struct, sys
def told(one):
    info = one.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
    acked, received, out, into = struct.unpack_from("=QQII", info, 120)
    repeated, = struct.unpack_from("=I", info, 100)
    print(json.dumps({"received": received, "out": out, "in": into, "repeated": repeated}), flush=True)
"""
RECEIVE = TCP_INFO + """
listener = socket.create_server(("::", int(sys.argv[1])), family=socket.AF_INET6, dualstack_ipv6=True)
print("+", flush=True)
one = listener.accept()[0]
while one.recv(1 << 20): pass
one.shutdown(socket.SHUT_WR)
sys.stdin.read()
told(one)
"""
SEND = TCP_INFO + """
one = socket.create_connection((sys.argv[1], int(sys.argv[2])), 10)
one.sendall(bytes(int(sys.argv[3])))
one.shutdown(socket.SHUT_WR)
while one.recv(1): pass
told(one)
"""
ETHERNET, IP, TCP, OF_SYN = 14, {4: 20, 6: 40}, 32, 8  # headers; TCP's with time stamps, and what SYN has more
ICMP, OF_FRAGMENTS = 8, {4: 20, 6: 48}  # headers of those
PINGS, PING, FRAGMENTS = 3, 4000, 3
HOST2, ITSELF = {4: "172.31.0.2", 6: "fd31::2"}, {4: "127.0.0.1", 6: "::1"}


@pytest.fixture(scope="module")
def lab(make_lab):
    lab = make_lab(2, "ebpf")
    lab.together([lab.pod_words("shop/client", "host1"), lab.pod_words("shop/near", "host1"),
                  lab.pod_words("shop/far", "host2")])
    return lab


def connection(lab, host, address, traffic=f"tcp/{PORT}", at="workload"):
    found = [one for one in lab.json("bpf", "connections", "--host", host, "--address", address)["connections"]
             if one["traffic"].startswith(traffic) and one["at"] == at]
    assert len(found) == 1, found
    return found[0]


def stream(lab, sender, receiver, address):
    """Sends SIZE bytes from a pod or host to another; what both ends' sockets have counted."""
    run = lab.exec if "/" in sender else lab.host_exec
    where = ["lab", "exec", receiver] if "/" in receiver else ["lab", "host", "exec", receiver]
    receiver = subprocess.Popen([lab.binary, *where, "--", sys.executable, "-c", RECEIVE, str(PORT)],
                                env=lab.environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert receiver.stdout.readline() == "+\n"
    sent = json.loads(run(sender, sys.executable, "-c", SEND, address, str(PORT), str(SIZE)).stdout)
    received = json.loads(receiver.communicate()[0])
    assert received["received"] in (SIZE, SIZE + 1)  # the end counts as one
    return sent, received


def check_stream(counted, sent, received, headers):
    print(counted, sent, received)
    assert counted["sent"] == sent["out"]
    if sent["repeated"] == 0:
        assert counted["sent"] == received["in"]
        assert counted["sentBytes"] == SIZE + received["in"] * headers + OF_SYN


def ping(lab, sender, address):
    run = lab.exec if "/" in sender else lab.host_exec
    report = run(sender, "ping", "-c", str(PINGS), "-i", "0.1", "-W", "10", "-M", "dont", "-s", str(PING), address)
    assert f"{PINGS} received" in report.stdout


def check_pings(counted, headers):
    for sent in ("sent", "answered"):
        assert counted[sent] == PINGS * FRAGMENTS, counted
        assert counted[sent + "Bytes"] == PINGS * (ICMP + PING + FRAGMENTS * headers), counted


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("server", ["near", "far"])
def test_a_streams_packets_and_bytes_are_those_on_a_link(lab, server, family):
    address = lab.address("shop/" + server, family)
    ends = stream(lab, "shop/client", "shop/" + server, address)
    for host in ("host1",) if server == "near" else ("host1", "host2"):
        check_stream(connection(lab, host, address), *ends, ETHERNET + IP[family] + TCP)


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("server", ["near", "far"])
def test_fragments_count_for_the_connection_of_their_first_one(lab, server, family):
    address = lab.address("shop/" + server, family)
    ping(lab, "shop/client", address)
    for host in ("host1",) if server == "near" else ("host1", "host2"):
        check_pings(connection(lab, host, address, "icmp"), ETHERNET + OF_FRAGMENTS[family])


@pytest.mark.parametrize("family", [4, 6])
def test_what_a_host_sends_its_own_workload_counts_in_fragments(lab, family):
    address = lab.address("shop/near", family)
    ping(lab, "host1", address)
    check_pings(connection(lab, "host1", address, "icmp", "workload, from the host"), ETHERNET + OF_FRAGMENTS[family])


def host_endpoint(number, interface=None):
    return {"apiVersion": "projectcalico.org/v3", "kind": "HostEndpoint",
            "metadata": {"name": f"{'all' if interface else 'link'}-{number}", "labels": {"host": "yes"}},
            "spec": {"node": f"host{number}", "interfaceName": interface or f"to-host{3 - number}",
                     "profiles": ["projectcalico-default-allow"]}}


ALLOWED = {"apiVersion": "projectcalico.org/v3", "kind": "GlobalNetworkPolicy", "metadata": {"name": "allowed"},
           "spec": {"selector": "has(host)", "applyOnForward": True, "types": ["Ingress", "Egress"],
                    "ingress": [{"action": "Allow"}], "egress": [{"action": "Allow"}]}}


@pytest.fixture(scope="module")
def host_endpoints(lab):
    with lab.applied(host_endpoint(1), host_endpoint(2), ALLOWED):
        yield


# At the host's own hooks a packet begins with its IP header.
@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("kind", ["forwarded", "own"])
def test_host_endpoints_count_a_stream_as_the_link_carries_it(lab, host_endpoints, kind, family):
    address = HOST2[family] if kind == "own" else lab.address("shop/far", family)
    ends = stream(lab, *(("host1", "host2") if kind == "own" else ("shop/client", "shop/far")), address)
    for host in ("host1", "host2"):
        check_stream(connection(lab, host, address, at="host endpoint"), *ends, IP[family] + TCP)


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("kind", ["forwarded", "own"])
def test_host_endpoints_count_the_fragments_that_the_link_carries(lab, host_endpoints, kind, family):
    address = HOST2[family] if kind == "own" else lab.address("shop/far", family)
    ping(lab, "host1" if kind == "own" else "shop/client", address)
    for host in ("host1", "host2"):
        check_pings(connection(lab, host, address, "icmp", at="host endpoint"), OF_FRAGMENTS[family])


# By the loopback interface, whose packets come by out and in.
@pytest.mark.parametrize("family", [4, 6])
def test_what_a_host_sends_itself_counts_once(lab, host_endpoints, family):
    with lab.applied(host_endpoint(1, "*")):
        ping(lab, "host1", ITSELF[family])
        counted = connection(lab, "host1", ITSELF[family], "icmp", at="host endpoint")
    for sent in ("sent", "answered"):
        assert counted[sent] == PINGS, counted
        assert counted[sent + "Bytes"] == PINGS * (IP[family] + ICMP + PING), counted
