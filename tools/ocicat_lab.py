"""A lab seen from Python: what the demo and the end-to-end tests share. Standard library only.

    with Lab("try1", binary) as lab:
        lab.add_pod("shop/db", "host1", labels={"app": "db"}, listen="tcp/5432")
        lab.apply(documents)
        lab.wait()
        lab.probe("tcp/5432")
"""
import concurrent.futures
import contextlib
import http.client
import json
import os
import pathlib
import socket
import subprocess
import sys
import time

TRAFFIC = pathlib.Path(__file__).with_name("traffic.py")


class Failed(Exception):
    """A command that ended with another exit code than 0."""

    def __init__(self, words, code, output, errors):
        super().__init__("%s: exit code %d\n%s%s" % (" ".join(words), code, output, errors))
        self.code = code
        self.output = output
        self.errors = errors


MOST_AT_ONCE = 10  # seconds that count from one look to the next


def eventually(question, seconds):
    """Asks until the answer is true; gives how long it took, or fails. While the machine stood still nobody could do
    anything, though the clock went on: of that little counts."""
    begin = before = time.monotonic()
    waited = 0
    while True:
        answer = question()
        now = time.monotonic()
        if answer:
            return now - begin
        waited += min(now - before, MOST_AT_ONCE)
        before = now
        assert waited < seconds, "still not so after %.1f s" % waited
        time.sleep(0.02)  # between two looks at the condition


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=30)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Traffic:
    """A running traffic.py; stop() gives its report."""

    def __init__(self, process):
        self.process = process
        first = process.stdout.readline()
        if first.strip() != "+":
            raise Failed(["traffic"], process.wait(), first + process.stdout.read(), process.stderr.read())

    def end(self):
        """Lets it come to its end, without waiting: stop() gives its report."""
        self.process.stdin.close()
        self.process.stdin = None

    def stop(self):
        output, errors = self.process.communicate(timeout=60)  # closes its input
        if self.process.returncode != 0:
            raise Failed(["traffic"], self.process.returncode, output, errors)
        return json.loads(output)


class Lab:
    def __init__(self, name, binary, hosts=3, dataplane="auto", network="plain", racks=1):
        self.name = name
        self.binary = str(binary)
        self.dataplane = dataplane
        self.network = network
        self.racks = racks
        self.hosts = ["host%d" % number for number in range(1, hosts + 1)]
        self.folder = pathlib.Path("/run/ocicat/lab") / name
        # What agents and plugins note where the folder of an agent, cni/HOST, takes nothing.
        self.memory = pathlib.Path("/run/ocicat/cni") / self.folder.relative_to("/")
        self.socket = self.folder / "server.sock"
        self.environment = dict(os.environ, OCICAT_LAB=name, OCICAT_SERVER="unix://%s" % self.socket)

    def __enter__(self):
        self.up()
        return self

    def __exit__(self, *_):
        self.down()

    # Commands.

    def run(self, *words, stdin=None, check=True, timeout=120):
        done = subprocess.run([self.binary, *words], input=stdin, text=True, capture_output=True,
                              env=self.environment, timeout=timeout)
        if check and done.returncode != 0:
            raise Failed(["ocicat", *words], done.returncode, done.stdout, done.stderr)
        return done

    def json(self, *words, **options):
        return json.loads(self.run(*words, "-o", "json", **options).stdout)

    def together(self, commands):
        """Runs several commands at once; each is a list of words."""
        with concurrent.futures.ThreadPoolExecutor(max_workers=8) as pool:
            return list(pool.map(lambda words: self.run(*words), commands))

    # The lab.

    def up(self):
        return self.run("lab", "up", "--hosts", str(len(self.hosts)), "--dataplane", self.dataplane,
                        "--network", self.network, "--racks", str(self.racks))

    def down(self):
        return self.run("lab", "down")

    @staticmethod
    def pod_words(name, host, labels=None, listen="", service_account="", addresses="", floating=""):
        words = ["lab", "pod", "add", name, "--host", host]
        if labels:
            words += ["--labels", ",".join("%s=%s" % item for item in labels.items())]
        for option, value in (("--listen", listen), ("--service-account", service_account), ("--ip", addresses),
                              ("--floating-ip", floating)):
            if value:
                words += [option, value]
        return words

    def switch(self, dataplane, how="stop"):
        """Every host's agent ends, and another begins with that datapath."""
        for host in self.hosts:
            self.run("lab", "agent", how, host)
            self.run("lab", "agent", "start", host, "--dataplane", dataplane)

    def add_pod(self, name, host, **options):
        return self.run(*self.pod_words(name, host, **options))

    def exec(self, pod, *command, **options):
        return self.run("lab", "exec", pod, "--", *command, **options)

    def host_exec(self, host, *command, **options):
        return self.run("lab", "host", "exec", host, "--", *command, **options)

    def status(self):
        return self.json("lab", "status")

    def pod(self, name):
        for pod in self.status()["pods"]:
            if "%s/%s" % (pod["namespace"], pod["name"]) == name:
                return pod
        raise KeyError(name)

    def address(self, pod, family=4):
        return next(text for text in self.pod(pod)["addresses"] if (":" in text) == (family == 6))

    def host_address(self, number, family=4):
        """Of the n-th host, from 1."""
        addresses = self.status()["hosts"][number - 1]["addresses"]
        return next(text for text in addresses if (":" in text) == (family == 6))

    def start_traffic(self, pod, kind, address, *more):
        words = [self.binary, "lab", "exec", pod, "--", sys.executable, str(TRAFFIC), kind, address]
        return Traffic(subprocess.Popen(words + [str(word) for word in more], env=self.environment, text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE))

    # Policy.

    def apply(self, *documents, check=True):
        return self.run("apply", "-f", "-", stdin="\n---\n".join(json.dumps(d) for d in documents), check=check)

    def apply_files(self, *paths):
        return self.run("apply", *[word for path in paths for word in ("-f", str(path))])

    def delete(self, *documents):
        return self.run("delete", "-f", "-", stdin="\n---\n".join(json.dumps(d) for d in documents))

    def wait(self, timeout="60s"):
        return self.run("status", "--wait", "--timeout", timeout)

    def settle(self):
        """Until every host is up to date, whatever agents refuse: tests look at that themselves."""
        done = self.run("status", "--wait", "--timeout", "60s", check=False)
        if done.returncode != 0 and "every host is up to date" not in done.stderr:
            raise Failed(["status", "--wait"], done.returncode, done.stdout, done.stderr)

    @contextlib.contextmanager
    def applied(self, *documents):
        """The documents are in force inside, and are no more behind."""
        self.apply(*documents)
        self.settle()
        try:
            yield
        finally:
            self.delete(*documents)
            self.settle()

    def probe(self, ports, *more):
        """{(from, to, port, family): verdict} with real packets."""
        return self.cells(self.json("lab", "probe", "--ports", ports, *more))

    def matrix(self, ports):
        """The same from the decision tables."""
        return self.cells(self.json("matrix", "--ports", ports))

    def explain(self, source, target, traffic, family=4):
        return self.json("explain", source, target, traffic, "--family", str(family))

    def explain_all(self, cells):
        """{cell: verdict} of the evaluator, one `ocicat explain` for each cell."""
        with concurrent.futures.ThreadPoolExecutor(max_workers=4) as pool:
            keys = list(cells)
            return dict(zip(keys, pool.map(lambda key: self.explain(*key)["verdict"], keys)))

    @staticmethod
    def cells(entries):
        return {(entry["from"], entry["to"], Lab.port_text(entry), entry["family"]): entry["verdict"]
                for entry in entries}

    @staticmethod
    def port_text(entry):
        return "%s/%d" % (entry["protocol"], entry["port"]) if "port" in entry else entry["protocol"]

    # The server, without a process in between, for what is timed.

    def request(self, method, path, body=None):
        connection = UnixConnection(str(self.socket))
        try:
            connection.request(method, path, json.dumps(body) if body is not None else None,
                               {"Content-Type": "application/json"})
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        if answer.status >= 300:
            raise Failed([method, path], answer.status, text.decode(), "")
        return json.loads(text)

    def endpoint_path(self, pod):
        about = self.pod(pod)
        name = "-".join(part.replace("-", "--") for part in (about["host"], "k8s", about["name"], "eth0"))
        return "/apis/projectcalico.org/v3/namespaces/%s/workloadendpoints/%s" % (about["namespace"], name)

    def limit(self, pod, **controls):
        """Gives a pod these limits (qosControls) and no others; in force when it returns."""
        path = self.endpoint_path(pod)
        document = self.request("GET", path)
        document["spec"]["qosControls"] = controls
        self.request("PUT", path, document)
        self.wait()

    def relabel(self, pod, **labels):
        """Sets labels by one PUT; gives the time just before it (CLOCK_MONOTONIC)."""
        path = self.endpoint_path(pod)
        document = self.request("GET", path)
        document["metadata"].setdefault("labels", {}).update(labels)
        begin = time.monotonic()
        self.request("PUT", path, document)
        return begin


def differences(left, right):
    """The cells in which two matrices differ, as readable lines."""
    lines = []
    for key in sorted(set(left) | set(right)):
        if left.get(key) != right.get(key):
            source, target, port, family = key
            lines.append("%s -> %s %s IPv%s: %s, not %s"
                         % (source, target, port, family, left.get(key), right.get(key)))
    return lines
