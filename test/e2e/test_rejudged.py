"""Of a change, whether of policy or of a label, connections hear that it may concern, and no others: by the counters
that `ocicat bpf` shows."""
import os

import pytest

import shop

PORTS = {"stream": [80], "udp": [53]}
FAMILIES = (4, 6)
COLOURS = shop.policy("shop", "by-colour", {"selector": "has(colours)", "types": ["Ingress"], "ingress": [
    {"action": "Allow", "source": {"selector": "colour == 'red'"}},
    {"action": "Allow", "protocol": "TCP", "source": {"selector": "colour == 'blue'"}},
    {"action": "Allow", "protocol": "UDP", "source": {"selector": "colour == 'blue'"}}]})
TINTS = shop.policy("shop", "by-tint", {"selector": "has(tints)", "types": ["Ingress"], "ingress": [
    {"action": "Allow", "source": {"selector": "tint == 'light'"}}]})
MORE = shop.policy("shop", "more", {"selector": "has(more)", "types": ["Ingress"], "ingress": [
    {"action": "Allow"}]})


@pytest.fixture(scope="module")
def lab(make_lab):
    lab = make_lab(2, "ebpf")
    lab.together([lab.pod_words("shop/one", "host1", {"colour": "red"}),
                  lab.pod_words("shop/other", "host1", {"tint": "dark"}),
                  lab.pod_words("shop/server", "host1", {"colours": "all"}, "tcp/80,udp/53"),
                  lab.pod_words("shop/quiet", "host1", {"tints": "all", "silent": "yes"}, "tcp/80,udp/53")])
    lab.apply(COLOURS, TINTS, MORE)
    lab.wait()
    return lab


@pytest.fixture
def flows(lab):
    """From one to server, open all the time."""
    flows = [lab.start_traffic("shop/one", kind, lab.address("shop/server", family), *ports)
             for kind, ports in PORTS.items() for family in FAMILIES]
    yield flows
    for flow in flows:
        flow.end()
    for flow in flows:
        report = flow.stop()
        assert (report["missing"], report["error"]) == ([], ""), report


def counted(lab, what):
    return {one["counter"]: one["count"] for one in lab.json("bpf", "counters", "--host", "host1")["counters"]}[what]


def rejudged_by(lab, eventually, change, least=0):
    """How many connections the change has judged again: so many at least, and those that had packets after that."""
    before = counted(lab, "rejudged")
    change()
    lab.wait()
    eventually(lambda: counted(lab, "rejudged") - before >= least, 30)
    forwarded = counted(lab, "forwarded")
    eventually(lambda: counted(lab, "forwarded") > forwarded + 200, 30)
    return counted(lab, "rejudged") - before


@pytest.mark.parametrize("change", ["label of another client", "label of another server", "policy of another server"])
def test_what_concerns_others_judges_nothing_again(lab, flows, eventually, change):
    def make():
        if change == "label of another client":
            lab.relabel("shop/other", tint="light")
        elif change == "label of another server":
            lab.relabel("shop/quiet", more="yes")
        else:
            lab.apply(shop.policy("shop", "quiet", {"selector": "has(silent)", "types": ["Ingress"]}))
    assert rejudged_by(lab, eventually, make) == 0


@pytest.mark.parametrize("side", ["one", "server"])
def test_a_label_of_either_side_judges_each_of_its_connections_again(lab, flows, eventually, side):
    def make():
        if side == "one":
            lab.relabel("shop/one", colour="blue")
        else:
            lab.relabel("shop/server", more="yes")
    # Once; but packets of one connection that are on different processors at once may all see what has changed.
    assert rejudged_by(lab, eventually, make, len(flows)) <= os.cpu_count() * len(flows)
