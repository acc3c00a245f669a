"""A container runtime, as ocicat-cni sees one."""
import json
import os
import pathlib
import subprocess

from cni_errors import names_cause_and_command


class Runtime:
    """Calls the plugin on a host of the lab, as a container runtime does."""

    def __init__(self, lab, host="host1"):
        self.lab, self.host = lab, host
        self.plugin = pathlib.Path(lab.binary).parent / "ocicat-cni"
        self.config = {"name": "specified", "type": "ocicat-cni", "agent_dir": str(lab.folder / "cni" / host),
                       "ipam": {"type": "calico-ipam", "assign_ipv4": True, "assign_ipv6": True}}

    def namespace(self, container):
        return "%s-%s" % (self.lab.name, container)

    def make(self, container):
        subprocess.run(["ip", "netns", "add", self.namespace(container)], check=True)

    def end(self, container):
        subprocess.run(["ip", "netns", "del", self.namespace(container)], check=True)

    def variables(self, command, container, ifname="eth0", args=""):
        more = {"CNI_ARGS": args} if args else {}
        return {"CNI_COMMAND": command, "CNI_CONTAINERID": container, "CNI_IFNAME": ifname, **more,
                "CNI_NETNS": "/run/netns/" + self.namespace(container), "CNI_PATH": str(self.plugin.parent)}

    def run(self, variables, text, through=()):
        """Exit code and what it printed; `through` is a command that runs it."""
        environment = {key: value for key, value in os.environ.items() if not key.startswith("CNI_")}
        done = subprocess.run(["ip", "netns", "exec", "%s-%s" % (self.lab.name, self.host), *through, str(self.plugin)],
                              env=dict(environment, **variables), input=text, text=True, capture_output=True)
        assert done.stderr == "", "what is said goes to standard output"
        return done.returncode, done.stdout

    def call(self, command, container="", version="1.1.0", ifname="eth0", args="", **config):
        """What it answers; it must succeed."""
        code, printed = self.run(self.variables(command, container, ifname, args),
                                 json.dumps(dict(self.config, cniVersion=version, **config)))
        assert code == 0, printed
        return json.loads(printed) if printed.strip() else None

    def refused(self, variables, config, through=()):
        """The error it answers with; it must fail. `config` is text, or an object."""
        code, printed = self.run(variables, config if isinstance(config, str) else json.dumps(config), through)
        assert code != 0, printed
        error = json.loads(printed)
        assert set(error) == {"cniVersion", "code", "msg", "details"}
        assert isinstance(error["code"], int) and names_cause_and_command(error), error
        if isinstance(config, dict) and "cniVersion" in config:
            assert error["cniVersion"] == config["cniVersion"]
        return error

    def with_version(self, version="1.1.0", **more):
        return dict(self.config, cniVersion=version, **more)


def given_to(runtime, container):
    """Handles of addresses that the container has."""
    return [item["metadata"]["name"] for item in runtime.lab.json("get", "ipamhandles")["items"]
            if container in item["metadata"]["name"]]


def links(runtime, container):
    text = subprocess.run(["ip", "-n", runtime.namespace(container), "-j", "addr"], check=True, text=True,
                          capture_output=True).stdout
    return {link["ifname"]: link for link in json.loads(text)}
