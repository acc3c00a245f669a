"""IPIP in a user-mode Linux, whose kernel has it and can be kept from having it; this machine's may be of either
kind."""
import pathlib
import shutil
import subprocess

import pytest
import uml

HERE = pathlib.Path(__file__).resolve().parent


def test_packets_travel_in_ipip_where_the_kernel_has_it(binary, tmp_path):
    assert shutil.which("linux.uml"), "there is no user-mode Linux: install user-mode-linux, as ./do test does"
    words = ["/usr/bin/python3", "-m", "pytest", "-q", "--color=no", "-p", "no:cacheprovider", "-p", "no:xdist",
             "-o", "addopts=", "--durations=5", str(HERE / "ipip_guest.py")]
    printed, code = uml.run(words, tmp_path, {"OCICAT_BIN": str(binary)})
    print(printed)
    assert code == 0


def test_a_lab_with_ipip_on_a_kernel_that_has_none_says_so_and_leaves_nothing(binary):
    probe = ["ip", "link", "add", "ocicat-probe", "type", "ipip", "remote", "127.0.0.1"]
    if subprocess.run(probe, capture_output=True).returncode == 0:
        subprocess.run(["ip", "link", "del", "ocicat-probe"], check=True)
        pytest.skip("this kernel has IPIP")
    up = subprocess.run([binary, "lab", "up", "--name", "no-ipip", "--network", "ipip"], capture_output=True, text=True)
    assert up.returncode == 1
    assert "this kernel has no IPIP: load its module ipip, or choose another --network" in up.stderr
    assert "agent" not in up.stderr, "before any was started"
    assert "no-ipip" not in subprocess.run(["ip", "netns"], capture_output=True, text=True).stdout
