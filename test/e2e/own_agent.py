"""An agent with options of its own, and policy that is too large for some."""
import pathlib
import subprocess


class Agent:
    """The agent of a host, with options of its own, until the end."""

    def __init__(self, lab, host, *options):
        self.lab, self.host = lab, host
        pid = next(there["agentPid"] for there in lab.status()["hosts"] if there["name"] == host)
        words = pathlib.Path("/proc/%d/cmdline" % pid).read_text().split("\0")[:-1]
        lab.run("lab", "agent", "stop", host)
        self.log = (lab.folder / "log" / "agent-with-options.log").open("a")
        # Not by `ip netns exec`, which would hide from it what agents before it have pinned in /sys/fs/bpf.
        self.process = subprocess.Popen(["nsenter", "--net=/run/netns/%s-%s" % (lab.name, host), *words, *options],
                                        stdout=self.log, stderr=self.log)

    def end(self):
        self.process.terminate()
        self.process.wait()
        self.log.close()
        self.lab.run("lab", "agent", "start", self.host)


def more_than_1000_entries(selector):
    """Of tables, for whoever has them."""
    rules = [[{"action": "Allow", "protocol": "TCP", "source": {"nets": ["198.%d.%d.2/32" % (18 + i, n)]},
               "destination": {"ports": [n]}} for n in range(1, 250)] for i in range(4)]
    return [{"apiVersion": "projectcalico.org/v3", "kind": "GlobalNetworkPolicy", "metadata": {"name": "large-%d" % i},
             "spec": {"selector": selector, "types": ["Ingress"], "order": 2000, "ingress": rules[i]}}
            for i in range(4)]
