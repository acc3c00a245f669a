"""While policy changes, no packet is judged by half of it: what is denied before and after is denied in between."""
import json
import pathlib
import subprocess
import sys
import time

import pytest

import shop

FLOOD = pathlib.Path(__file__).with_name("flood.py")
SECONDS = 2  # at least, and
FEWEST_FLIPS = 100


@pytest.fixture(scope="module")
def lab(make_lab, dataplane):
    lab = make_lab(2, dataplane)
    lab.together([lab.pod_words("shop/a", "host1", labels={"app": "a"}),
                  lab.pod_words("shop/b", "host1", labels={"app": "b"})])
    return lab


class Tool:
    """A running flood.py; stop() gives its report."""

    def __init__(self, lab, where, *words):
        self.process = subprocess.Popen([lab.binary, "lab", *where, "--", sys.executable, str(FLOOD), *map(str, words)],
                                        env=lab.environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.process.stdout.readline() == "+\n"

    def stop(self):
        return json.loads(self.process.communicate(timeout=60)[0])


ALLOW = {"action": "Allow"}
DENY = {"action": "Deny"}
DENY_A = {"action": "Deny", "source": {"selector": "app == 'a'"}}


def allow_a(number):
    """To another port, so that a's table is another each time."""
    return {"action": "Allow", "protocol": "UDP", "source": {"selector": "app == 'a'"},
            "destination": {"ports": [9000 + number % 1000]}}


def deny_net(number):
    """The node's net and another one, so that the net is in another set each time."""
    return {"action": "Deny", "source": {"nets": ["172.31.0.0/16", "198.51.%d.%d/32" % divmod(number, 256)]}}


# Both deny what is flooded; everybody else may.
FLIPS = {
    "the peer's table changes": lambda n: [DENY_A, ALLOW] if n % 2 else [allow_a(n), DENY_A, ALLOW],
    "the peer's table comes and goes": lambda n: [DENY] if n % 2 else [DENY_A, ALLOW],
    "the class of the peer's net changes": lambda n: [deny_net(n), ALLOW],
    "the peer's net comes and goes": lambda n: [DENY] if n % 2 else [deny_net(0), ALLOW],
}


@pytest.mark.parametrize("flip", FLIPS)
def test_nothing_passes_while_policy_flips_between_two_that_deny_it(lab, flip):
    policy = shop.policy("shop", "flips", {"selector": "app == 'b'", "types": ["Ingress"], "ingress": FLIPS[flip](1)})
    lab.apply(policy)
    lab.wait()
    path = "/apis/projectcalico.org/v3/namespaces/shop/networkpolicies/flips"
    where = ["host", "exec", "host2"] if "net" in flip else ["exec", "shop/a"]
    count = Tool(lab, ["exec", "shop/b"], "count", lab.address("shop/b"), 5353)
    flood = Tool(lab, where, "send", lab.address("shop/b"), 5353)
    flips, end = 0, time.monotonic() + SECONDS
    while time.monotonic() < end or flips <= FEWEST_FLIPS:  # on a busy machine it takes longer
        flips += 1
        policy["spec"]["ingress"] = FLIPS[flip](flips)
        lab.request("PUT", path, policy)
    flooded = flood.stop()
    lab.wait()
    arrived = count.stop()
    lab.delete(policy)
    print("%d flips, flooded: %s, arrived: %s" % (flips, flooded, arrived))
    assert flooded["sent"] > 10 * FEWEST_FLIPS  # a sender that gets little of a busy machine is no failure
    assert arrived == {"datagrams": 0, "ports": 0}
