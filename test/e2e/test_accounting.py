"""Packets and bytes of a connection are those that a link would carry, however large those are that the kernel hands on
(GSO, GRO): by the counters of the sockets at both ends."""
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


@pytest.fixture(scope="module")
def lab(make_lab):
    lab = make_lab(2, "ebpf")
    lab.together([lab.pod_words("shop/client", "host1"), lab.pod_words("shop/near", "host1"),
                  lab.pod_words("shop/far", "host2")])
    return lab


def connection(lab, host, server):
    found = [one for one in lab.json("bpf", "connections", "--host", host, "--address", server)["connections"]
             if one["traffic"] == "tcp/%d" % PORT]
    assert len(found) == 1, found
    return found[0]


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("server", ["near", "far"])
def test_a_streams_packets_and_bytes_are_those_on_a_link(lab, server, family):
    address = lab.address("shop/" + server, family)
    receiver = subprocess.Popen([lab.binary, "lab", "exec", "shop/" + server, "--", sys.executable, "-c", RECEIVE,
                                 str(PORT)], env=lab.environment, text=True, stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE)
    assert receiver.stdout.readline() == "+\n"
    sender = json.loads(lab.exec("shop/client", sys.executable, "-c", SEND, address, str(PORT), str(SIZE)).stdout)
    received = json.loads(receiver.communicate()[0])
    assert received["received"] in (SIZE, SIZE + 1)  # the end counts as one
    for host in ("host1",) if server == "near" else ("host1", "host2"):
        counted = connection(lab, host, address)
        print(host, counted, sender, received)
        assert counted["sent"] == sender["out"]
        if sender["repeated"] == 0:
            assert counted["sent"] == received["in"]
            headers = ETHERNET + IP[family] + TCP
            assert counted["sentBytes"] == SIZE + received["in"] * headers + OF_SYN
