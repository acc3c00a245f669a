"""A large amount of data from one pod to another, over TCP."""
import subprocess
import sys

SIZE = 20_000_000
PORT = 7000
# Takes one connection and tells how much came and what it was.
SINK = """
import hashlib, socket, sys
listener = socket.create_server(("::", %d), family=socket.AF_INET6, dualstack_ipv6=True)
print("ready", flush=True)
client, _ = listener.accept()
digest, size = hashlib.sha256(), 0
while data := client.recv(1 << 20):
    digest.update(data)
    size += len(data)
client.sendall(digest.digest())
print(size, flush=True)
""" % PORT
SEND = """
import hashlib, random, socket, sys
data = random.Random(7).randbytes(int(sys.argv[2]))
server = socket.create_connection((sys.argv[1], %d), 20)
server.sendall(data)
server.shutdown(socket.SHUT_WR)
assert server.recv(100) == hashlib.sha256(data).digest()
""" % PORT


def transfer(lab, client, pod, family, size=SIZE):
    """From one pod to the other, over TCP: all of it, and nothing else."""
    words = [lab.binary, "lab", "exec", pod, "--", sys.executable, "-c", SINK]
    with subprocess.Popen(words, env=lab.environment, text=True, stdout=subprocess.PIPE) as sink:
        assert sink.stdout.readline() == "ready\n"
        lab.exec(client, sys.executable, "-c", SEND, lab.address(pod, family), str(size))
        assert int(sink.stdout.readline()) == size
