"""Real containers: Debian's containerd and runc on two hosts of a lab, spoken to by CRI, with ocicat-cni for a network.

OCICAT_STORM=200 sets how many containers come and go (`./do containers`)."""
import concurrent.futures
import json
import os
import pathlib
import time

import pytest

import cri
from shop import policy

STORM = int(os.environ.get("OCICAT_STORM", "12"))


@pytest.fixture(scope="module")
def lab(make_lab, dataplane):
    lab = make_lab(2, dataplane)
    lab.run("lab", "namespace", "shop")
    return lab


@pytest.fixture(scope="module")
def runtimes(lab):
    running = []
    try:
        for host in lab.hosts:
            running.append(cri.Runtime(lab, host))
        yield running
    finally:
        for runtime in running:
            runtime.stop()


def fetch(runtime, container, address):
    """What the container is answered by HTTP, or None."""
    ask = "printf 'GET / HTTP/1.0\\r\\n\\r\\n' | /bin/busybox nc -w 2 %s 80" % address
    code, output = runtime.exec(container, ["/bin/busybox", "sh", "-c", ask])
    return output.partition("\r\n\r\n")[2] if code == 0 else None


def workloads(lab):
    return lab.json("get", "wep", "-A")["items"]


def left(lab):
    """Everything of containers that could be left behind."""
    found = {"endpoints": [item["metadata"]["name"] for item in workloads(lab)],
             "handles": [item["metadata"]["name"] for item in lab.json("get", "ipamhandles")["items"]],
             "used": sum(pool["used"] for pool in lab.json("ipam", "show")["pools"])}
    for host in lab.hosts:
        found["links " + host] = [line for line in lab.host_exec(host, "ip", "-o", "link").stdout.splitlines()
                                  if "cali" in line]
        found["routes " + host] = [line for family in ("-4", "-6")
                                   for line in lab.host_exec(host, "ip", family, "route").stdout.splitlines()
                                   if "proto 80" in line and "/" not in line]  # routes of blocks stay with these
        for folder in ("attachments", "deletes"):
            found["%s %s" % (folder, host)] = os.listdir(lab.folder / "cni" / host / folder)
    return {what: rest for what, rest in found.items() if rest}


def lines(lab, host, *words):
    return sorted(lab.host_exec(host, *words).stdout.splitlines())


def kept(lab, runtimes):
    """{what: all of it} that is on the hosts, and could grow with containers that have gone."""
    found = {}
    for runtime, host in zip(runtimes, lab.hosts):
        pins = pathlib.Path("/sys/fs/bpf/ocicat-lab") / lab.name / host
        here = {"links": [line.split(": ")[1] for line in lines(lab, host, "ip", "-o", "link")],
                "addresses": [line.split()[1:4] for line in lines(lab, host, "ip", "-o", "address")],
                "limits": lines(lab, host, "tc", "qdisc", "show"),
                "nftables": lab.host_exec(host, "nft", "-s", "list", "ruleset").stdout.splitlines(),
                "pins": sorted(str(path.relative_to(pins)) for path in pins.rglob("*")),
                "tasks": os.listdir(runtime.folder / "state/io.containerd.runtime.v2.task/k8s.io")}
        for family in ("-4", "-6"):
            here["routes " + family] = lines(lab, host, "ip", family, "route", "show", "table", "all")
            here["rules " + family] = lines(lab, host, "ip", family, "rule")
        if lab.dataplane == "ebpf":
            for what in ("endpoints", "programs", "classes"):
                here["bpf " + what] = lab.json("bpf", what, "--host", host)
        found.update({"%s %s" % (host, what): there for what, there in here.items()})
    return found


def cgroups(names):
    """Those of containers of these names, of whatever controller."""
    return [path for path, folders, _ in os.walk("/sys/fs/cgroup") for folder in folders if folder in names]


def namespace(lab, host, container):
    """The network namespace that ADD was told of."""
    notes = [json.loads(path.read_text()) for path in (lab.folder / "cni" / host / "attachments").iterdir()
             if container in path.name]
    return pathlib.Path(notes[0]["netns"])


def test_containers_on_two_hosts_talk_and_policy_holds(lab, runtimes, eventually):
    client_host, server_host = runtimes
    server = server_host.run_sandbox("shop", "server")
    client = client_host.run_sandbox("shop", "client")
    server_host.run_container(server, cri.SERVE)
    inside = client_host.run_container(client, ["/bin/busybox", "sleep", "1000000"])
    addresses = server_host.addresses(server)
    assert len(addresses) == 2
    assert sorted(address for item in workloads(lab) for address in item["spec"]["ipNetworks"]) == sorted(
        address + ("/128" if ":" in address else "/32")
        for address in addresses + client_host.addresses(client))
    for address in addresses:
        eventually(lambda address=address: fetch(client_host, inside, address) == cri.GREETING, 30)

    deny = policy("shop", "nobody", {"selector": "all()", "types": ["Ingress"]})
    lab.apply(deny)
    lab.wait()
    for address in addresses:
        assert fetch(client_host, inside, address) is None
    lab.delete(deny)
    lab.wait()
    assert fetch(client_host, inside, addresses[0]) == cri.GREETING

    client_host.remove_sandbox(client)
    server_host.remove_sandbox(server)
    lab.wait()
    eventually(lambda: left(lab) == {}, 30)


def test_containers_that_come_and_go_in_a_storm_leave_nothing(lab, runtimes, eventually):
    def life(number):
        runtime = runtimes[number % 2]
        sandbox = runtime.run_sandbox("shop", "storm-%d" % number)
        addresses = runtime.addresses(sandbox)
        groups, network = cgroups({sandbox[0]}), namespace(lab, lab.hosts[number % 2], sandbox[0])
        assert len(addresses) == 2 and groups and network.exists()
        runtime.remove_sandbox(sandbox)
        return sandbox[0], network

    for number in (0, 1):  # what stays with a host that has had a container
        life(number)
    lab.wait()
    before = kept(lab, runtimes)
    begin = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(max_workers=8) as pool:
        lives = list(pool.map(life, range(STORM)))
    print("%d containers came and went in %.1f s" % (STORM, time.monotonic() - begin))
    lab.wait()
    eventually(lambda: left(lab) == {}, 30)
    after = kept(lab, runtimes)
    assert {what: there for what, there in after.items() if there != before[what]} == {}
    assert cgroups({name for name, _ in lives}) == []
    assert [network for _, network in lives if network.exists()] == []


def test_containers_that_end_without_an_agent_are_forgotten_when_it_comes(lab, runtimes, eventually):
    sandboxes = [runtimes[0].run_sandbox("shop", "orphan-%d" % number) for number in range(3)]
    lab.run("lab", "agent", "kill", "host1")
    for sandbox in sandboxes[:2]:
        runtimes[0].remove_sandbox(sandbox)
    assert len(workloads(lab)) == 3
    lab.run("lab", "agent", "start", "host1")
    eventually(lambda: len(workloads(lab)) == 1, 30)
    runtimes[0].remove_sandbox(sandboxes[2])
    lab.wait()
    eventually(lambda: left(lab) == {}, 30)
