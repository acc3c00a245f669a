"""`./do demo` as a newcomer runs it, and as one who loses patience."""
import os
import signal
import subprocess
import sys

import pytest


@pytest.fixture
def build(binary, tmp_path):
    """A build folder, wherever the binary is."""
    (tmp_path / "apps").mkdir()
    (tmp_path / "apps/ocicat").symlink_to(binary)
    return tmp_path


def demo(root, build, **environment):
    return subprocess.Popen([sys.executable, "-u", str(root / "tools/demo"), str(build)], text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
                            env=dict(os.environ, **environment))


def namespaces_of(process):
    return [name for name in os.listdir("/run/netns") if name.startswith("demo-%d-" % process.pid)]


def test_every_claim_of_the_demo_holds(root, build):
    process = demo(root, build)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    assert "✗" not in output
    assert namespaces_of(process) == []


def test_an_interrupted_demo_cleans_up(root, build):
    process = demo(root, build)
    for line in process.stdout:
        if "1. Five workloads" in line:
            break
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=120)
    assert process.returncode != 0
    assert namespaces_of(process) == [], output
