"""A machine outside, that one host of a lab alone is joined to, and programs by which it tells how it is spoken to."""
import json
import os
import subprocess
import sys

ADDRESS = {4: "198.51.100.2", 6: "2001:db8:51::2"}
HOST = {4: "198.51.100.1", 6: "2001:db8:51::1"}  # of the host that it is joined to, on this link
LENGTH = {4: 24, 6: 64}
PORT = 8000
# Tells each client how it is seen.
MIRROR = """
import json, socket, sys
listener = socket.create_server(("::", %d), family=socket.AF_INET6, dualstack_ipv6=True)
print("ready", flush=True)
while True:
    client, peer = listener.accept()
    client.sendall(json.dumps([peer[0].removeprefix("::ffff:"), peer[1]]).encode())
    client.close()
""" % PORT
# As somebody at an address and port sees who asks, who is patient for so many seconds.
ASK = """
import socket, sys
patience = int(sys.argv[3]) if len(sys.argv) > 3 else 20
print(socket.create_connection((sys.argv[1], int(sys.argv[2])), patience).recv(200).decode())
"""


class Outside:
    """A network namespace with a route by `host` to everything, so that it can answer pods themselves as well."""

    def __init__(self, lab, host="host1"):
        self.lab = lab
        self.host = host
        self.namespace = "outside-%d-%s-%s" % (os.getpid(), lab.dataplane, lab.network)
        self.programs = []

    def up(self, programs=(MIRROR,), more_of_host=()):
        """`more_of_host`: further addresses of the host on this link, with their lengths."""
        lab = self.lab
        subprocess.run(["ip", "netns", "add", self.namespace], check=True)
        lab.host_exec(self.host, "ip", "link", "add", "out0", "type", "veth", "peer", "name", "in0", "netns",
                      self.namespace)
        for address in (*("%s/%d" % (HOST[family], LENGTH[family]) for family in HOST), *more_of_host):
            lab.host_exec(self.host, "ip", "addr", "add", address, "dev", "out0", *["nodad"] * (":" in address))
        lab.host_exec(self.host, "ip", "link", "set", "out0", "up")
        for words in ("link set lo up", "link set in0 up", "addr add %s/24 dev in0" % ADDRESS[4],
                      "addr add %s/64 dev in0 nodad" % ADDRESS[6], "route add default via " + HOST[4],
                      "-6 route add default via " + HOST[6]):
            subprocess.run(["ip", "-n", self.namespace, *words.split()], check=True)
        for program in programs:
            self.start(program)

    def start(self, program, where=None):
        """Runs the program, there or by the words of `where`, until down(); it has said that it is ready."""
        where = where or ("ip", "netns", "exec", self.namespace)
        self.programs.append(subprocess.Popen([*map(str, where), sys.executable, "-c", program],
                                              env=self.lab.environment, stdout=subprocess.PIPE, text=True))
        assert self.programs[-1].stdout.readline() == "ready\n"

    def down(self):
        for program in self.programs:
            program.kill()
            program.wait()
        subprocess.run(["ip", "netns", "delete", self.namespace], check=False)

    def seen(self, pod, address):
        """The address and port that the mirror at an address sees the pod by."""
        return tuple(json.loads(self.lab.exec(pod, sys.executable, "-c", ASK, address, str(PORT)).stdout))
