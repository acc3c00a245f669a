"""A sample of the Kubernetes NetworkPolicy cases through real packets; `./do conformance` runs all."""
import subprocess
import sys


def test_a_sample_of_the_kubernetes_cases_passes_with_real_packets(binary, root):
    done = subprocess.run([sys.executable, str(root / "test/conformance/run_lab.py"), "--binary", str(binary),
                           "--sample", "14"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "14 of 14 cases passed" in done.stdout
