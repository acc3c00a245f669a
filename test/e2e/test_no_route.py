"""Who sends to where no route leads is told so at once, as by a kernel without policy; the host itself stays silent."""
import sys

import pytest

NOWHERE = {4: "203.0.113.9", 6: "3fff::9"}
HOST = {4: "172.31.0.1", 6: "fd31::1"}
# What becomes of one try: the word for its error, or "nothing" for so many seconds.
ASK = """
import errno, socket, sys
address, kind, patience = sys.argv[1:]
family = socket.AF_INET6 if ":" in address else socket.AF_INET
one = socket.socket(family, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
one.settimeout(float(patience))
one.setsockopt(*((41, 25) if ":" in address else (0, 11)), 1)  # IP_RECVERR: to hear of what may pass as well
try:
    one.connect((address, 9))
    one.send(b"x")
    one.recv(10)
    print("answer")
except socket.timeout:
    print("nothing")
except OSError as failed:
    print(errno.errorcode[failed.errno])
"""


@pytest.fixture(scope="module")
def lab(make_lab, dataplane):
    lab = make_lab(2, dataplane)
    lab.together([lab.pod_words("shop/client", "host1"), lab.pod_words("shop/far", "host2", listen="tcp/80")])
    return lab


def ask(lab, address, kind, patience):
    return lab.exec("shop/client", sys.executable, "-c", ASK, address, kind, str(patience)).stdout.strip()


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("kind", ["tcp", "udp"])
def test_no_route_is_told_and_what_is_for_the_host_is_dropped(lab, family, kind):
    assert ask(lab, NOWHERE[family], kind, 20) == "ENETUNREACH"
    assert ask(lab, HOST[family], kind, 0.5) == "nothing"


def test_drops_tell_them_apart(lab, dataplane, eventually):
    if dataplane == "nftables":
        pytest.skip("there the stack answers before policy is asked, and tells nobody")

    def reasons():
        return {flow["reason"] for host in lab.json("drops")["hosts"] for flow in host["flows"]}
    ask(lab, NOWHERE[4], "udp", 20)
    ask(lab, HOST[4], "udp", 0.5)
    eventually(lambda: {"no-route", "to-host"} <= reasons(), 30)


def test_an_address_that_the_host_gets_is_its_own_from_then_on(lab, eventually):
    address = NOWHERE[4] + "/32"
    lab.host_exec("host1", "ip", "addr", "add", address, "dev", "lo")
    try:
        eventually(lambda: ask(lab, NOWHERE[4], "udp", 0.5) == "nothing", 30)
    finally:
        lab.host_exec("host1", "ip", "addr", "del", address, "dev", "lo")
    eventually(lambda: ask(lab, NOWHERE[4], "udp", 0.5) == "ENETUNREACH", 30)
