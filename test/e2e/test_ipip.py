"""IPIP in a user-mode Linux, whose kernel has it and can be kept from having it; this machine's may be of either
kind."""
import pathlib
import shutil

import uml

HERE = pathlib.Path(__file__).resolve().parent


def test_packets_travel_in_ipip_where_the_kernel_has_it(binary, tmp_path):
    assert shutil.which("linux.uml"), "there is no user-mode Linux: install user-mode-linux, as ./do test does"
    words = ["/usr/bin/python3", "-m", "pytest", "-q", "--color=no", "-p", "no:cacheprovider", "-p", "no:xdist",
             "-o", "addopts=", "--durations=5", str(HERE / "ipip_guest.py")]
    printed, code = uml.run(words, tmp_path, {"OCICAT_BIN": str(binary)})
    print(printed)
    assert code == 0
