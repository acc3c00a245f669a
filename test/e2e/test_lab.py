"""The lab itself: several at once, and nothing left behind."""
import os
import pathlib
import signal
import subprocess

import pytest

from ocicat_lab import Failed


def traces(lab):
    """Whatever is left of a lab: namespaces, processes, files."""
    found = [name for name in os.listdir("/run/netns") if name.startswith(lab.name + "-")]
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes()
        except OSError:
            continue
        if ("/run/ocicat/lab/%s/" % lab.name).encode() in words:
            found.append(words.replace(b"\0", b" ").decode())
    return found + [str(folder) for folder in (lab.folder, lab.memory) if folder.exists()]


def test_down_removes_everything_also_after_a_crash(make_lab):
    lab = make_lab(2)
    lab.add_pod("shop/a", "host1", listen="tcp/80,udp/53,sctp/81")
    assert len(traces(lab)) > 5
    leftover = subprocess.Popen([lab.binary, "lab", "exec", "shop/a", "--name", lab.name, "--",
                                 "sh", "-c", "echo inside; exec sleep 1000"], stdout=subprocess.PIPE, text=True)
    assert leftover.stdout.readline() == "inside\n"
    # As a crash leaves it: nobody in charge, records damaged.
    status = lab.status()
    for pid in [status["serverPid"]] + [host["agentPid"] for host in status["hosts"]]:
        os.kill(pid, signal.SIGKILL)
    (lab.folder / "lab.json").write_text("{")
    for pod in (lab.folder / "pods").iterdir():
        pod.unlink()
    (lab.memory / "cni" / "host1" / "deletes").mkdir(parents=True)
    lab.down()
    assert traces(lab) == []
    assert leftover.wait(timeout=30) == -signal.SIGKILL


def test_down_finds_namespaces_even_without_the_folder(make_lab):
    lab = make_lab(1)
    status = lab.status()
    lab.down()
    name = status["hosts"][0]["networkNamespace"]
    subprocess.run(["ip", "netns", "add", name], check=True)
    lab.down()
    assert traces(lab) == []


def test_a_failed_start_takes_itself_back(make_lab, binary):
    lab = make_lab(1)
    lab.down()
    subprocess.run(["ip", "netns", "add", lab.name + "-host2"], check=True)
    done = lab.run("lab", "up", "--hosts", "2", check=False)
    assert done.returncode == 1 and "host2 is there already" in done.stderr
    assert traces(lab) == []


def test_labs_do_not_see_each_other(make_lab):
    first, second = make_lab(1), make_lab(2)
    first.add_pod("shop/a", "host1", listen="tcp/80")
    second.add_pod("shop/a", "host2", listen="tcp/80")
    second.add_pod("shop/b", "host1", listen="tcp/80")
    assert len(first.status()["pods"]) == 1
    assert len(second.probe("tcp/80")) == 4
    second.down()
    assert first.run("status", "--wait").returncode == 0


def test_a_second_lab_of_the_same_name_is_refused_and_does_no_harm(make_lab):
    lab = make_lab(1)
    done = lab.run("lab", "up", check=False)
    assert done.returncode == 1 and "lab down" in done.stderr
    assert lab.run("status", "--wait").returncode == 0


def test_a_deleted_pod_is_gone_and_its_address_is_free_again(make_lab):
    lab = make_lab(2)
    lab.add_pod("shop/a", "host1", listen="tcp/80")
    lab.add_pod("shop/b", "host2", listen="tcp/80")
    address = lab.address("shop/a")
    interface = lab.pod("shop/a")["interface"]
    lab.run("lab", "pod", "delete", "shop/a")
    assert lab.host_exec("host1", "ip", "link", "show", interface, check=False).returncode != 0
    left = [line.split()[0] for line in lab.host_exec("host1", "ip", "route").stdout.splitlines()]
    assert address not in left, "its block is there still, and it is not"
    with pytest.raises(Failed, match="there is no pod shop/a"):
        lab.run("lab", "pod", "delete", "shop/a")
    lab.add_pod("shop/c", "host2", listen="tcp/80", addresses=address)
    assert lab.address("shop/c") == address
    assert set(lab.probe("tcp/80").values()) == {"allow"}


def test_a_pod_that_no_server_takes_is_taken_back(make_lab):
    lab = make_lab(1)
    lab.run("lab", "server", "kill")
    done = lab.run(*lab.pod_words("shop/a", "host1", listen="tcp/80"), check=False)
    assert done.returncode == 1 and "server.sock" in done.stderr
    assert lab.status()["pods"] == []
    assert [name for name in os.listdir("/run/netns") if name.startswith(lab.name + "-pod")] == []
    lab.run("lab", "server", "start")
    lab.add_pod("shop/a", "host1", listen="tcp/80")


def test_several_pods_may_be_added_at_the_same_moment(make_lab):
    lab = make_lab(2)
    lab.together([lab.pod_words("crowd/p%d" % n, lab.hosts[n % 2], listen="tcp/80") for n in range(8)])
    addresses = [text for pod in lab.status()["pods"] for text in pod["addresses"]]
    assert len(set(addresses)) == 16
    assert set(lab.probe("tcp/80,icmp").values()) == {"allow"}


def test_wrong_usage_says_what_is_wrong(make_lab):
    lab = make_lab(1)
    for code, words, text in [(2, ["pod", "add", "shop", "--host", "host1"], "NAMESPACE/NAME"),
                              (1, ["pod", "add", "shop/a", "--host", "host9"], "the hosts are host1"),
                              (2, ["pod", "add", "shop/a", "--host", "host1", "--listen", "ftp/21"], "ftp/21"),
                              (1, ["pod", "move", "shop/a", "--host", "host1"], "no pod shop/a"),
                              (2, ["probe", "--ports", "47"], "cannot be probed"),
                              (1, ["agent", "kill", "host7"], "not running")]:
        done = lab.run("lab", *words, check=False)
        assert done.returncode == code and text in done.stderr, (words, done.returncode, done.stderr)
