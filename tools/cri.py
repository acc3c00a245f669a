"""Debian's containerd on hosts of a lab, spoken to by CRI as the kubelet does. Standard library and python3-grpcio.

    runtime = Runtime(lab, "host1")
    sandbox = runtime.run_sandbox("shop", "db")
    container = runtime.run_container(sandbox, SERVE)
    runtime.exec(container, ["/bin/busybox", "ip", "address"])
    runtime.remove_sandbox(sandbox)
    runtime.stop()

Of CRI's messages only the fields that are used are written and read here, by their numbers
(kubernetes/cri-api, runtime/v1/api.proto).
"""
import hashlib
import io
import json
import os
import pathlib
import subprocess
import tarfile
import time

import grpc

IMAGE = "localhost/busybox:1"
# A container that answers HTTP on port 80 with GREETING.
SERVE = ["/bin/busybox", "httpd", "-f", "-p", "80", "-h", "/www"]
GREETING = "hello from a container\n"
SERVICE = "/runtime.v1.RuntimeService/"

CONFIG = """version = 2
root = "{folder}/root"
state = "{folder}/state"
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper",
                    "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.aufs",
                    "io.containerd.internal.v1.opt"]
[grpc]
  address = "{folder}/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{image}"
  restrict_oom_score_adj = true
  disable_apparmor = true
  disable_hugetlb_controller = true
  tolerate_missing_hugetlb_controller = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{folder}/cni/bin"
    conf_dir = "{folder}/cni/net.d"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "native"
"""


def varint(number):
    written = bytearray()
    while number > 0x7f:
        written.append(number & 0x7f | 0x80)
        number >>= 7
    return bytes(written + bytes([number]))


def message(**fields):
    """message(f1="text", f3=7, f6={"key": "value"}, f8=[…]): fields by number."""
    written = b""
    for name, value in fields.items():
        number = int(name[1:])
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, dict):
                for key, text in one.items():
                    written += message(**{name: message(f1=key, f2=text)})
            elif isinstance(one, int):
                written += varint(number << 3) + varint(one)
            else:
                raw = one.encode() if isinstance(one, str) else one
                written += varint(number << 3 | 2) + varint(len(raw)) + raw
    return written


def fields_of(raw):
    """{number: [value, …]} of a message: numbers, and bytes."""
    fields, at = {}, 0

    def number():
        nonlocal at
        value = shift = 0
        while True:
            byte = raw[at]
            at += 1
            value |= (byte & 0x7f) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(raw):
        tag = number()
        value = number()
        if tag & 7 == 2:
            value, at = raw[at:at + value], at + value
        fields.setdefault(tag >> 3, []).append(value)
    return fields


def image_archive():
    """An image of Debian's busybox-static that waits, as `ctr images import` takes it."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        for folder in ("bin", "etc", "proc", "sys", "dev", "tmp", "www"):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(entry)
        tar.add("/bin/busybox", "bin/busybox")
        page = tarfile.TarInfo("www/index.html")
        page.size = len(GREETING)
        tar.addfile(page, io.BytesIO(GREETING.encode()))
    config = json.dumps({
        "architecture": "amd64", "os": "linux",
        "config": {"Entrypoint": ["/bin/busybox", "sleep", "1000000"], "Env": ["PATH=/bin"]},
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(layer.getvalue()).hexdigest()]}}).encode()
    manifest = json.dumps([{"Config": "config.json", "RepoTags": [IMAGE], "Layers": ["layer.tar"]}]).encode()
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for name, content in (("manifest.json", manifest), ("config.json", config), ("layer.tar", layer.getvalue())):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return archive.getvalue()


class Runtime:
    """containerd in the network namespace of a lab's host, and mounts, folders and a socket of its own."""

    def __init__(self, lab, host, ipam=None):
        self.folder = lab.folder / "containerd" / host
        self.plugin = pathlib.Path(lab.binary).with_name("ocicat-cni")
        self.namespace = "%s-%s" % (lab.name, host)
        self.write_files(lab, host, ipam or {"type": "calico-ipam", "assign_ipv4": "true", "assign_ipv6": "true"})
        log = open(self.folder / "log", "ab")
        self.process = subprocess.Popen(
            ["nsenter", "--net=/run/netns/" + self.namespace, "unshare", "-m", "containerd", "-c",
             str(self.folder / "config.toml")], stdout=log, stderr=log, start_new_session=True)
        self.channel = self.await_ready()
        subprocess.run(["ctr", "-a", str(self.folder / "containerd.sock"), "-n", "k8s.io", "images", "import",
                        "--snapshotter", "native", "-"], input=image_archive(), check=True, capture_output=True)

    def write_files(self, lab, host, ipam):
        bin_folder, files = self.folder / "cni" / "bin", self.folder / "cni" / "net.d"
        for folder in (bin_folder, files):
            folder.mkdir(parents=True)
        (bin_folder / "ocicat-cni").symlink_to(self.plugin)
        for plugin in ("loopback", "host-local"):
            (bin_folder / plugin).symlink_to("/usr/lib/cni/" + plugin)
        (files / "10-ocicat.conflist").write_text(json.dumps({
            "cniVersion": "1.0.0", "name": "k8s-pod-network",
            "plugins": [{"type": "ocicat-cni", "agent_dir": str(lab.folder / "cni" / host),
                         "ipam": ipam}]}))
        (self.folder / "config.toml").write_text(CONFIG.format(folder=self.folder, image=IMAGE))

    def await_ready(self):
        until = time.monotonic() + 60
        while True:
            # A new one each time: one that found nobody waits a second before it looks again.
            self.channel = grpc.insecure_channel("unix://%s/containerd.sock" % self.folder)
            try:
                conditions = fields_of(fields_of(self.call("Status", b""))[1][0])[1]
                if all(fields_of(condition).get(2) == [1] for condition in conditions):
                    return self.channel
            except grpc.RpcError:
                pass
            self.channel.close()
            if self.process.poll() is not None or time.monotonic() > until:
                raise RuntimeError("containerd does not start: " + (self.folder / "log").read_text()[-2000:])
            time.sleep(0.05)  # between two looks

    def call(self, name, request, timeout=120):
        return self.channel.unary_unary(SERVICE + name, request_serializer=bytes, response_deserializer=bytes)(
            request, timeout=timeout)

    @staticmethod
    def sandbox_config(ns, name):
        return message(f1=message(f1=name, f2="%s-%s" % (ns, name), f3=ns), f2=name,
                       f8=message(f1="/ocicat-test"))

    def run_sandbox(self, ns, name):
        """A pod's sandbox: (id, ns, name)."""
        answer = self.call("RunPodSandbox", message(f1=self.sandbox_config(ns, name)))
        return fields_of(answer)[1][0].decode(), ns, name

    def addresses(self, sandbox):
        status = fields_of(fields_of(self.call("PodSandboxStatus", message(f1=sandbox[0])))[1][0])
        network = fields_of(status[5][0])
        more = [fields_of(entry)[1][0].decode() for entry in network.get(2, [])]
        return [network[1][0].decode()] + more

    def run_container(self, sandbox, command):
        config = message(f1=message(f1="main"), f2=message(f1=IMAGE), f3=command, f15=b"")
        created = self.call("CreateContainer", message(f1=sandbox[0], f2=config,
                                                       f3=self.sandbox_config(*sandbox[1:])))
        container = fields_of(created)[1][0].decode()
        self.call("StartContainer", message(f1=container))
        return container

    def exec(self, container, command, timeout=60):
        """(exit code, output)."""
        answer = fields_of(self.call("ExecSync", message(f1=container, f2=command, f3=timeout), timeout + 30))
        return answer.get(3, [0])[0], answer.get(1, [b""])[0].decode()

    def remove_sandbox(self, sandbox):
        self.call("StopPodSandbox", message(f1=sandbox[0]))
        self.call("RemovePodSandbox", message(f1=sandbox[0]))

    def stop(self):
        self.channel.close()
        self.process.terminate()
        self.process.wait()
        # Shims outlive containerd; each leads a session in the folder of what it runs.
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                words = pathlib.Path("/proc", pid, "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if b"%s/containerd.sock" % str(self.folder).encode() in words:
                os.kill(int(pid), 9)
