#!/usr/bin/python3
"""Whether what we ship works on other kernels than this one: each program of eBPF is loaded, by the agent's own code,
and its tests are run. On this kernel at once; on Debian's in an emulated machine."""
import argparse
import os
import pathlib
import subprocess
import sys

from guest import Guest
from kernel_image import PACKAGES, KernelImage

TIMEOUT_SECONDS = 3000  # for all that one kernel is to do
# An emulated machine takes its time: there, of all tests, those that say something about its kernel. 6.1 has neither
# links at interfaces nor programs at netfilter hooks, and nor has this kernel where it is asked not to.
OLDER = {"OCICAT_WITHOUT_TCX": "1", "OCICAT_WITHOUT_NETFILTER": "1"}
PACKET_TESTS = {"here": "*",
                "6.1": "WorkloadPrograms*:FloatingPrograms.*:*/HostPrograms.*/by_rules:ReversePath.*:WithoutAFrame.*",
                "6.12": "WorkloadPrograms*:FloatingPrograms.*:*/HostPrograms.*:ReversePath.*:WithoutAFrame.*"}
NETNS_TESTS = {"here": "*Ebpf*",
               "6.1": "EbpfFilters.*:*/HostConnections.*/by_rules:*IpipHost*:*NextHops*/0:*NextHops*/1:"
                      "*EbpfTranslation.LooksLike*-*MakeRoom*",
               "6.12": "*IpipHost*:*EbpfTranslation.LooksLike*"}


def calls_for(kernel, build):
    def tests(program, those):
        return [str(build / program), "--gtest_brief=1", "--gtest_color=no", f"--gtest_filter={those}"]

    calls = [[str(build / "test/kernels/kernel_programs")],
             tests("test/bpf/bpf_test", PACKET_TESTS[kernel])]
    if kernel in NETNS_TESTS:
        calls.append(tests("test/netns/netns_test", NETNS_TESTS[kernel]))
    return calls


def name_of(call):
    return pathlib.Path(call[0]).name


def run_on(kernel, calls, work):
    if kernel == "here":
        return {name_of(call): subprocess.run(call, env={**os.environ, **OLDER}).returncode for call in calls}
    guest = Guest(KernelImage(kernel, work / "images"), work / f"guest-{kernel}", calls)
    return guest.run(TIMEOUT_SECONDS, lambda line: print(f"  {line}", flush=True))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", type=pathlib.Path, required=True, help="folder with what is to be tried")
    parser.add_argument("--work", type=pathlib.Path, required=True, help="folder for kernels and machines")
    parser.add_argument("kernels", nargs="*", default=["here", *PACKAGES], help="here, " + ", ".join(PACKAGES))
    options = parser.parse_args()
    passed, failed = 0, []
    for kernel in options.kernels:
        print(f"==> kernel {kernel}", flush=True)
        calls = calls_for(kernel, options.build)
        statuses = run_on(kernel, calls, options.work)
        for name in map(name_of, calls):
            if statuses.get(name) == 0:
                passed += 1
            else:
                failed.append(f"{name} on {kernel}: " + ("did not end" if name not in statuses else "failed"))
    print(*failed, sep="\n")
    print(f"{passed} passed, {len(failed)} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
