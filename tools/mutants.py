"""Makes chosen mistakes in the policy compiler and around it, one at a time, and shows that the tests catch each.

tools/mutants.py [--work DIR] [NAME...]   all mutants, or those named; --list prints them, --check only sees whether
                                          each still applies to the checkout

Works on a copy of the tree in DIR (build/mutants), never in the checkout. Exits with 1 where a mutant survives, does
not compile or no longer applies; with 2 where the tests fail without any.
"""
import argparse
import os
import pathlib
import re
import subprocess
import sys
import time

from mutants_list import MUTANTS

ROOT = pathlib.Path(__file__).resolve().parent.parent
SEED = "20250101"  # what a mutant is judged by does not depend on luck
PATIENCE_SECONDS = 300


class Copy:
    """The tree as it stands in the checkout, changes that are not committed included, and what is built of it."""

    def __init__(self, tree):
        self.tree = tree
        self.built = tree / "build" / "release"

    def update(self):
        listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, check=True,
                                capture_output=True, text=True).stdout.split("\n")
        wanted = {name for name in listed if name and (ROOT / name).is_file()}
        for present in [path for path in self.tree.rglob("*") if path.is_file() and self.built not in path.parents]:
            if str(present.relative_to(self.tree)) not in wanted:
                present.unlink()
        for name in wanted:
            content, target = (ROOT / name).read_bytes(), self.tree / name
            if target.exists() and target.read_bytes() == content:
                continue  # keeps its time, so that it is not built again
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)

    def quietly(self, command):
        return subprocess.run(["nice", *command], cwd=self.tree, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True)

    def build(self, suites):
        if not (self.built / "build.ninja").exists():
            done = self.quietly(["cmake", "--preset", "release"])
            if done.returncode != 0:
                return done
        jobs = os.environ.get("JOBS", str(os.cpu_count()))
        return self.quietly(["ninja", "-C", str(self.built), "-j", jobs, *suites])

    def first_failure(self, suites):
        """The name of the first test that fails, or nothing."""
        for suite in suites.values():
            failure = self.failure_of(suite)
            if failure:
                return failure
        return ""

    def failure_of(self, suite):
        command = ["nice", str(self.built / suite), "--gtest_fail_fast", "--gtest_color=no"]
        try:
            done = subprocess.run(command, env=dict(os.environ, OCICAT_SEED=SEED), stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, text=True, errors="replace", timeout=PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            return suite + " (does not end)"
        if done.returncode == 0:
            return ""
        failed = re.search(r"\[  FAILED  \] (\S+?)(,| \()", done.stdout)
        running = re.findall(r"\[ RUN      \] (\S+)", done.stdout)
        return failed.group(1) if failed else "%s (crashes)" % (running[-1] if running else suite)


def places(mutant, tree):
    """How often what it replaces stands in its file: once, where it applies."""
    path = tree / mutant.file
    return path.read_text().count(mutant.old) if path.is_file() else 0


def check(mutants):
    wrong = [mutant for mutant in mutants if places(mutant, ROOT) != 1]
    for mutant in wrong:
        print("%-42s %s: no longer applies: found %d times" % (mutant.name, mutant.file, places(mutant, ROOT)))
    return 1 if wrong else 0


def judge(mutant, copy):
    """What becomes of it, and whether that is as it should be."""
    if places(mutant, copy.tree) != 1:
        return "no longer applies: found %d times" % places(mutant, copy.tree), False
    path = copy.tree / mutant.file
    sound = path.read_text()
    path.write_text(sound.replace(mutant.old, mutant.new))
    try:
        if copy.build(mutant.suites).returncode != 0:
            return "does not compile", False
        failure = copy.first_failure(mutant.suites)
        return ("caught by " + failure, True) if failure else ("SURVIVES", False)
    finally:
        path.write_text(sound)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--work", type=pathlib.Path, default=ROOT / "build" / "mutants", metavar="DIR")
    arguments = parser.parse_args()
    unknown = set(arguments.names) - {mutant.name for mutant in MUTANTS}
    if unknown:
        parser.error("no such mutant: " + ", ".join(sorted(unknown)))
    chosen = [mutant for mutant in MUTANTS if not arguments.names or mutant.name in arguments.names]
    if arguments.list:
        for mutant in chosen:
            print("%-42s %s" % (mutant.name, mutant.file))
        return 0
    if arguments.check:
        return check(chosen)

    copy = Copy(arguments.work.resolve())
    copy.update()
    suites = {target: path for mutant in chosen for target, path in mutant.suites.items()}
    built = copy.build(suites)
    if built.returncode != 0:
        print(built.stdout[-4000:], file=sys.stderr)
        return 2
    failure = copy.first_failure(suites)
    if failure:
        print("without any mutant, %s fails already" % failure, file=sys.stderr)
        return 2
    wrong = 0
    for mutant in chosen:
        began = time.monotonic()
        fate, right = judge(mutant, copy)
        wrong += not right
        print("%-42s %-18s %4d s  %s" % (mutant.name, pathlib.PurePath(mutant.file).name, time.monotonic() - began,
                                         fate), flush=True)
    print("%d of %d mutants caught" % (len(chosen) - wrong, len(chosen)))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
