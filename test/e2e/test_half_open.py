"""A workload's flood, of half-open TCP connections or of queries that are answered: others' connections that say
nothing meanwhile are known afterwards, on its host and on those of whom it floods, and its own that were pushed out
begin anew. Nobody may begin anything but those who ask, so an answer tells what is known."""
import pathlib
import subprocess
import sys

import pytest

TOOL = pathlib.Path(__file__).with_name("half_open.py")
SERVERS = ("shop/near", "shop/far")
PORT = 5300
ON_THE_WAY = ("host1", "host2")  # of both floods
FLOODED = ["81", "82", "83", "84", "85"]  # of one server
FLOOD = 300_000  # more than a host keeps connections of
WAITING = 40  # of each protocol with each server
# Times 65,536 is more than a host keeps: so each of them has little of the table there, and who floods has most.
TARGETS = ["shop/far", *("shop/more%d" % number for number in range(4))]


def policy(name, apps, ingress, egress):
    return {"apiVersion": "projectcalico.org/v3", "kind": "NetworkPolicy",
            "metadata": {"name": name, "namespace": "shop"},
            "spec": {"selector": f"app in {{{apps}}}", "types": ["Ingress", "Egress"], "ingress": ingress,
                     "egress": egress}}


@pytest.fixture(scope="module")
def lab(make_lab):
    lab = make_lab(2, "ebpf")
    listen = ",".join("tcp/" + port for port in FLOODED)
    lab.together([lab.pod_words("shop/client", "host1", {"app": "client"}),
                  lab.pod_words("shop/flooder", "host1", {"app": "flooder"}),
                  lab.pod_words("shop/near", "host1", {"app": "near"}, listen),
                  lab.pod_words("shop/far", "host2", {"app": "far"}, listen)])
    lab.together([lab.pod_words(name, "host2", {"app": "far"}) for name in TARGETS if name not in SERVERS])
    # Else it asks thousands again at one moment, more than a processor's queue has room for, which all labs share.
    lab.exec("shop/far", "sysctl", "-qw", "net.ipv4.tcp_synack_retries=0")
    lab.apply({"apiVersion": "projectcalico.org/v3", "kind": "FelixConfiguration", "metadata": {"name": "default"},
               "spec": {"bpfConntrackTimeouts": {"icmpTimeout": "1h", "udpTimeout": "1h"}}},
              policy("who-asks", "'client', 'flooder'", [], [{"action": "Allow"}]),
              policy("who-answers", "'near', 'far'", [{"action": "Allow"}], []))
    lab.wait()
    return lab


class Tool:
    def __init__(self, lab, pod, *words):
        self.process = subprocess.Popen([lab.binary, "lab", "exec", pod, "--", sys.executable, str(TOOL),
                                         *map(str, words)], env=lab.environment, text=True, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE)
        assert self.process.stdout.readline() == "+\n"

    def go(self, line="go"):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def end(self):
        self.process.stdin.close()
        self.process.wait(60)


def counters(lab, host):
    return {one["counter"]: one["count"] for one in lab.json("bpf", "counters", "--host", host)["counters"]}


@pytest.mark.parametrize("family", [4, 6])
def test_connections_that_wait_outlive_a_flood_of_half_open_ones(lab, family):
    addresses = [lab.address(server, family) for server in SERVERS]
    servers = [Tool(lab, server, "serve", family, PORT) for server in SERVERS]
    waiting = Tool(lab, "shop/client", "wait", PORT, WAITING, *addresses)
    before = {host: counters(lab, host) for host in ON_THE_WAY}
    sent = lab.exec("shop/flooder", sys.executable, str(TOOL), "flood", lab.address("shop/flooder", family),
                    str(FLOOD), lab.address("shop/far", family), *FLOODED).stdout
    assert int(sent) == FLOOD
    after = {host: counters(lab, host) for host in ON_THE_WAY}
    for host in ON_THE_WAY:
        assert after[host]["judged"] - before[host]["judged"] >= FLOOD
    waiting.go()
    for server in servers:
        server.go()
    everybody = 2 * WAITING * len(SERVERS)
    assert waiting.process.stdout.readline() == f"{everybody} of {everybody}\n"
    for tool in (waiting, *servers):
        tool.end()


@pytest.mark.parametrize("family", [4, 6])
def test_a_flood_that_is_answered_pushes_out_its_own_which_go_on_once_who_may_begin_speaks(lab, family):
    addresses = [lab.address(server, family) for server in SERVERS]
    servers = [Tool(lab, server, "serve", family, PORT) for server in SERVERS]
    others = Tool(lab, "shop/client", "wait", PORT, WAITING, *addresses)
    own = Tool(lab, "shop/flooder", "wait", PORT, WAITING, *addresses)
    answered = lab.exec("shop/flooder", sys.executable, str(TOOL), "echoes", lab.address("shop/flooder", family),
                        *(lab.address(target, family) for target in TARGETS)).stdout
    assert int(answered) > 0.9 * 65536 * len(TARGETS)
    everybody = 2 * WAITING * len(SERVERS)
    others.go()
    own.go("some")
    for server in servers:
        server.go()
    assert others.process.stdout.readline() == f"{everybody} of {everybody}\n"
    heard = int(own.process.stdout.readline().split()[0])
    assert heard < everybody / 2, "a flood that pushes out nothing shows nothing"
    own.go("say")
    for server in servers:
        server.go()
    assert own.process.stdout.readline() == f"{everybody} of {everybody}\n"
    for tool in (own, others, *servers):
        tool.end()
