"""Log rules say a line each, in order, before the verdict: seen in the kernel's own trace of a packet.

A namespace does not write to the kernel's log (net.netfilter.nf_log_all_netns), but a traced packet tells every rule
that it passes, log rules with what they say. With eBPF the agent says the lines.
"""
import itertools
import re
import subprocess
import sys
import threading

import pytest

import shop

TRACE = ("add table inet watch; add chain inet watch pre { type filter hook prerouting priority -400; };"
         "add rule inet watch pre udp dport { 514, 515 } meta nftrace set 1")
SAID = re.compile(r'inet ocicat log_\w+ rule (?:limit .*? )?log prefix "(.*?)"')
VERDICT = re.compile(r"inet ocicat (forward policy accept|deny rule) ?.*")
SEND = ("import socket, sys; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('', int(sys.argv[3])));"
        "s.sendto(b'x', (sys.argv[1], int(sys.argv[2])))")


@pytest.fixture(scope="module")
def lab(make_lab):
    lab = make_lab(1, "nftables")
    lab.together([lab.pod_words("shop/a", "host1"), lab.pod_words("shop/b", "host1", labels={"app": "b"})])
    lab.host_exec("host1", "nft", TRACE)
    return lab


@pytest.fixture
def said_of(lab, eventually):
    """said_of(port) sends datagrams from a to b until the kernel has told of one: what is logged of it, its verdict.

    A listener knows the rules that were there when it began, so each question has one of its own.
    """
    source_ports = itertools.count(20000)

    def send_to(port):
        source_port = next(source_ports)
        send(lab, port, source_port)
        return source_port

    def told_of(source_port, lines):
        """All lines about a packet, once it has its verdict."""
        numbers = [line.split()[2] for line in lines if "udp sport %d " % source_port in line]
        about = [line for line in lines if numbers and line.startswith("trace id %s " % numbers[0])]
        return about if any(map(VERDICT.search, about)) else []

    def ask(port):
        words = [lab.binary, "lab", "host", "exec", "host1", "--", "stdbuf", "-oL", "nft", "monitor", "trace"]
        process = subprocess.Popen(words, env=lab.environment, text=True, stdout=subprocess.PIPE)
        lines, sent, told = [], [], []
        threading.Thread(target=lambda: [lines.append(line) for line in process.stdout], daemon=True).start()

        def is_told():
            sent.append(send_to(port))
            told[:] = [about for about in (told_of(one, list(lines)) for one in sent) if about]
            return told

        eventually(is_told, 30)
        process.terminate()
        process.wait()
        return [[match.group(1) for match in map(pattern.search, told[0]) if match] for pattern in (SAID, VERDICT)]

    return ask


TIER = {"apiVersion": "projectcalico.org/v3", "kind": "Tier", "metadata": {"name": "watch"},
        "spec": {"order": 1, "defaultAction": "Pass"}}
WATCH = shop.global_policy("watch.all", {"tier": "watch", "selector": "app == 'b'", "types": ["Ingress"],
                                         "ingress": [{"action": "Log"}, {"action": "Pass"}]})
SYSLOG = {"protocol": "UDP", "destination": {"ports": [514]}}
WEB = shop.policy("shop", "web", {"selector": "app == 'b'", "types": ["Ingress"], "ingress": [
    {"action": "Log", **SYSLOG}, {"action": "Allow", **SYSLOG}, {"action": "Deny"}]})


def log_prefix(text, **others):
    return {"apiVersion": "projectcalico.org/v3", "kind": "FelixConfiguration", "metadata": {"name": "default"},
            "spec": {"logPrefix": text, **others}}


def log_limit(rate):
    return log_prefix("%t %k %n %p", logActionRateLimit=rate, logActionRateLimitBurst=1)


def send(lab, port, source_port):
    lab.exec("shop/a", sys.executable, "-c", SEND, lab.address("shop/b"), str(port), str(source_port))


def test_a_packet_says_a_line_for_each_log_rule_it_passes_and_then_gets_its_verdict(lab, said_of):
    lab.apply(TIER, WATCH, WEB)
    lab.wait()
    assert said_of(514) == [["calico-packet: ", "calico-packet: "], ["forward policy accept"]]
    assert said_of(515) == [["calico-packet: "], ["deny rule"]]
    # Another prefix is in force without a restart.
    lab.apply(log_prefix("%t %k %n %p"))
    lab.wait()
    assert said_of(514) == [["watch gnp watch.all watch.all: ", "default np web shop/web: "], ["forward policy accept"]]
    assert said_of(515) == [["watch gnp watch.all watch.all: "], ["deny rule"]]
    lab.delete(WATCH)
    lab.wait()
    assert said_of(514) == [["default np web shop/web: "], ["forward policy accept"]]
    assert said_of(515) == [[], ["deny rule"]]
    lab.delete(WEB)
    lab.wait()
    assert said_of(515) == [[], ["forward policy accept"]]
    assert "log_" not in lab.host_exec("host1", "nft", "list", "chains").stdout


def test_what_is_above_the_limit_is_not_said_and_passes_as_ever(lab, said_of):
    lab.apply(TIER, WATCH, log_limit("9999/second"))
    lab.wait()
    assert said_of(514) == [["watch gnp watch.all watch.all: "], ["forward policy accept"]]
    lab.apply(log_limit("1/day"))
    lab.wait()
    for source_port in (31000, 31001):
        send(lab, 514, source_port)
    assert said_of(514) == [[], ["forward policy accept"]]
    lab.apply(log_prefix("%t %k %n %p"))
    lab.wait()
    assert said_of(514) == [["watch gnp watch.all watch.all: "], ["forward policy accept"]]
    lab.delete(WATCH, log_prefix(""))
    lab.wait()


def test_with_ebpf_the_agent_says_the_lines(make_lab, eventually):
    lab = make_lab(1, "ebpf")
    lab.together([lab.pod_words("shop/a", "host1"), lab.pod_words("shop/b", "host1", labels={"app": "b"})])
    lab.apply(TIER, WATCH, WEB, log_prefix("%t %k %n %p"))
    lab.wait()
    first, second = "watch gnp watch.all watch.all: ", "default np web shop/web: "
    source_ports = itertools.count(20000)
    log = lab.folder / "log" / "agent-host1.log"

    def says(port, *wanted):
        """Sends a datagram, of which the agent's log comes to say this."""
        source_port = next(source_ports)
        about = "SRC=%s DST=%s LEN=29 PROTO=UDP SPT=%d DPT=%d" % (
            lab.address("shop/a"), lab.address("shop/b"), source_port, port)
        send(lab, port, source_port)

        def said():
            lines = [line for line in log.read_text().splitlines() if line.endswith(about)]
            assert all("OUT=cali" in line for line in lines)
            return [next(text for text in (first, second) if text in line) for line in lines]

        eventually(lambda: said() == [*wanted], 30)

    says(514, first, second)
    says(515, first)
    # Of what a connection says later, no rule has anything to say.
    words = SEND.replace("s.sendto", "[s.sendto(b'x', (sys.argv[1], int(sys.argv[2]))) for _ in range(9)]; s.sendto")
    lab.exec("shop/a", sys.executable, "-c", words, lab.address("shop/b"), "514", "30000")
    says(514, first, second)
    assert sum("SPT=30000 DPT=514" in line for line in log.read_text().splitlines()) == 2
    # Above the limit nothing is said.
    lab.apply(log_limit("1/day"))
    lab.wait()
    says(514, first, second)
    for source_port in (31000, 31001):
        send(lab, 515, source_port)
    lab.apply(log_prefix("%t %k %n %p"))
    lab.wait()
    says(515, first)
    assert not [line for line in log.read_text().splitlines() if "SPT=3100" in line]
