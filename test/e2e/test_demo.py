"""`./do demo` as a newcomer runs it, and as one who loses patience."""
import os
import signal
import subprocess
import sys

import pytest


def demo(root, binary, **environment):
    build = binary.parent.parent
    return subprocess.Popen([sys.executable, "-u", str(root / "tools/demo"), str(build)], text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
                            env=dict(os.environ, **environment))


def namespaces_of(process):
    return [name for name in os.listdir("/run/netns") if name.startswith("demo-%d-" % process.pid)]


@pytest.fixture(autouse=True)
def as_it_is_built(binary):
    if binary.parts[-2:] != ("apps", "ocicat"):
        pytest.skip("the demo wants a build folder")


def test_every_claim_of_the_demo_holds(root, binary):
    process = demo(root, binary)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    assert "✗" not in output
    assert namespaces_of(process) == []


def test_an_interrupted_demo_cleans_up(root, binary):
    process = demo(root, binary)
    for line in process.stdout:
        if "1. Five workloads" in line:
            break
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=120)
    assert process.returncode != 0
    assert namespaces_of(process) == [], output
