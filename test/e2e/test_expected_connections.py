"""With nftables, connections for which a helper of the kernel opens the way stand and fall with the one that asked for
them. Here TFTP's: a server answers from another port."""
import contextlib
import json
import subprocess
import sys
import time

import pytest

from revocation import AT_MOST, watch

FLOATING = {4: "192.0.2.77", 6: "2001:db8:ffff::77"}
TRANSLATES = {"apiVersion": "projectcalico.org/v3", "kind": "FelixConfiguration", "metadata": {"name": "default"},
              "spec": {"floatingIPs": "Enabled"}}
# How long the kernel remembers who asks, once nobody does any more.
TIMEOUT = "/proc/sys/net/netfilter/nf_conntrack_udp_timeout"
HELPER = """
table inet helpers {
  ct helper tftp { type "tftp" protocol udp; }
  chain prerouting {
    type filter hook prerouting priority 0;
    udp dport 69 ct helper set "tftp"
  }
}
"""

# Each until its input closes. The server answers once it is told to; the client says at each line when answers have
# arrived (time.monotonic()).
SERVER = """
import select, socket, sys
family = socket.AF_INET6 if sys.argv[1] == "6" else socket.AF_INET
asked, answering = (socket.socket(family, socket.SOCK_DGRAM) for _ in range(2))
asked.bind(("", 69))
print("+", flush=True)
asker = asked.recvfrom(100)[1]
sys.stdin.readline()
while not select.select([sys.stdin], [], [], 0.01)[0]:
    answering.sendto(b"\\0\\3\\0\\1data", asker)
"""
CLIENT = """
import json, select, socket, sys, time
s = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM)
s.sendto(b"\\0\\1file\\0octet\\0", (sys.argv[1], 69))
print("+", flush=True)
arrived = []
while True:
    ready = select.select([sys.stdin, s], [], [])[0]
    if s in ready:
        s.recv(100)
        arrived.append(time.monotonic())
    elif sys.stdin.readline():
        print(json.dumps(arrived), flush=True)
    else:
        break
"""


def policy(name, types, **rules):
    return {"apiVersion": "projectcalico.org/v3", "kind": "NetworkPolicy",
            "metadata": {"name": name, "namespace": "shop"},
            "spec": {"selector": "app == '%s'" % name, "types": types, **rules}}


def served(*sources):
    """Nobody but these may ask."""
    rules = [{"action": "Allow", "protocol": "UDP", "source": {"selector": "app == '%s'" % source},
              "destination": {"ports": [69]}} for source in sources]
    return policy("server", ["Ingress"], ingress=rules)


# It takes nothing that it has not asked for.
ASKS = policy("client", ["Ingress", "Egress"],
              egress=[{"action": "Allow", "destination": {"selector": "app == 'server'"}}])


@pytest.fixture(scope="module")
def lab(make_lab):
    lab = make_lab(1, "nftables")
    lab.apply(TRANSLATES, ASKS)
    lab.add_pod("shop/server", "host1", labels={"app": "server"}, floating=",".join(FLOATING.values()))
    lab.add_pod("shop/client", "host1", labels={"app": "client"})
    lab.host_exec("host1", "nft", "-f", "-", stdin=HELPER)
    return lab


@pytest.fixture(autouse=True)
def it_may_ask(lab):
    in_force(lab, served("client"))


def in_force(lab, document):
    """The moment when the host has it."""
    lab.apply(document)
    lab.wait()
    return time.monotonic()


@contextlib.contextmanager
def python(lab, pod, code, *words):
    """A program at work in a pod, that has said "+"."""
    with subprocess.Popen([lab.binary, "lab", "exec", pod, "--", sys.executable, "-c", code, *words],
                          env=lab.environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout.readline() == "+\n", pod
            yield process
        finally:
            process.kill()


@contextlib.contextmanager
def asked(lab, address):
    """A server that has been asked, and answers once it is told to; and the client."""
    with python(lab, "shop/server", SERVER, "6" if ":" in address else "4") as server, \
            python(lab, "shop/client", CLIENT, address) as client:
        yield server, client


def say(process):
    print(file=process.stdin, flush=True)


def arrived(client):
    say(client)
    return json.loads(client.stdout.readline())


def askers(lab):
    """The ends of connections to a server that the kernel remembers."""
    lines = lab.host_exec("host1", "cat", "/proc/net/nf_conntrack").stdout.splitlines()
    return {tuple(word for word in line.split() if word.startswith(("src=", "dst=", "sport=")))
            for line in lines if "dport=69 " in line}


@contextlib.contextmanager
def short_memory(lab):
    before = lab.host_exec("host1", "cat", TIMEOUT).stdout.strip()
    lab.host_exec("host1", "sh", "-c", "echo 2 > " + TIMEOUT)
    yield
    lab.host_exec("host1", "sh", "-c", "echo %s > %s" % (before, TIMEOUT))


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("by", ["its own address", "another"])
@pytest.mark.parametrize("memory", ["of who asked", "of nobody"])
def test_it_ends_with_the_one_that_asked_for_it_and_goes_on_with_it(lab, eventually, family, by, memory):
    address = FLOATING[family] if by == "another" else lab.address("shop/server", family)

    def goes_on(client, since):
        eventually(lambda: arrived(client)[-1:] > [since], 20)

    with contextlib.ExitStack() as stack:
        if memory == "of nobody":
            stack.enter_context(short_memory(lab))
        before = askers(lab)
        server, client = stack.enter_context(asked(lab, address))
        own = askers(lab) - before
        assert own
        say(server)
        goes_on(client, 0)
        if memory == "of nobody":
            eventually(lambda: not own & askers(lab), 20)
        goes_on(client, in_force(lab, served("client", "another")) + AT_MOST)
        denied = in_force(lab, served("another"))
        watch()
        assert arrived(client)[-1] < denied + AT_MOST
        goes_on(client, in_force(lab, served("client")))


def test_what_has_been_asked_for_does_not_begin_either_once_that_is_denied(lab):
    with asked(lab, lab.address("shop/server")) as (server, client):
        in_force(lab, served())
        watch()
        say(server)
        time.sleep(1)
        assert not arrived(client)
