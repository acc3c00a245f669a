"""Holds the kernel of its network namespace to what the GoBGP there has chosen, until it is killed: as zebra for FRR.

GoBGP 3.10 (Debian 12) speaks zebra's protocol as FRR had it up to 8.1, and ends when it hears Debian's 8.4. So this
asks its own tool.
"""
import json
import subprocess
import time

PROTOCOL = "bgp"
MULTIPROTOCOL, NEXT_HOP = 14, 3  # types of path attributes (RFC 4760, RFC 4271)
BETWEEN_TRIES = 0.1  # seconds, until it answers


def chosen(family):
    """{net: next hop} of the best paths that others have told."""
    text = subprocess.run(["gobgp", "global", "rib", "-a", "ipv%d" % family, "-j"], text=True,
                          capture_output=True).stdout
    try:
        table = json.loads(text)
    except ValueError:
        return {}  # of an empty table it says so in words
    routes = {}
    for net, paths in table.items():
        hops = [attribute["nexthop"] for path in paths if path.get("best") for attribute in path["attrs"]
                if attribute["type"] in (MULTIPROTOCOL, NEXT_HOP)]
        if hops and hops[0] not in ("0.0.0.0", "::"):
            routes[net] = hops[0]
    return routes


def write(family, before, after):
    lines = ["route del %s proto %s" % (net, PROTOCOL) for net in before if net not in after]
    lines += ["route replace %s via %s proto %s" % (net, hop, PROTOCOL) for net, hop in after.items()
              if before.get(net) != hop]
    if lines:
        subprocess.run(["ip", "-%d" % family, "-force", "-batch", "-"], input="\n".join(lines) + "\n", text=True)


def main():
    there = {4: {}, 6: {}}
    while True:
        # A line for each change, and one for what there is at first.
        with subprocess.Popen(["gobgp", "monitor", "global", "rib", "-j", "--current"], stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, bufsize=0) as changes:
            while changes.stdout.read(65536):
                for family, before in there.items():
                    after = chosen(family)
                    write(family, before, after)
                    there[family] = after
        time.sleep(BETWEEN_TRIES)


main()
