"""Runs clang-tidy over the program's sources: those that have changed since they were last found clean.

tools/tidy.py BUILD_DIR [TEXT...]   everything in src/ and apps/ but the tests, or what has TEXT in its name; JOBS=N
                                    at once

It looks at them as they are compiled there, many as one. They are found clean together with all that the verdict
depends on: the compile command, .clang-tidy, the version of clang-tidy, and the content of every file included, the
system's too. BUILD_DIR/tidy keeps a fingerprint of these.
"""
import concurrent.futures
import functools
import hashlib
import json
import os
import pathlib
import shlex
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
TIDY = "clang-tidy-19"


def output(command, folder=ROOT):
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout


@functools.cache
def digest_of(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


class Unit:
    """What one compiler is given."""

    def __init__(self, entry, build, rules):
        self.file = entry["file"]
        self.folder = pathlib.Path(entry["directory"])
        self.command = [word for word in shlex.split(entry["command"]) if not word.endswith("ccache")]
        self.name = self.command[self.command.index("-o") + 1].removesuffix(".o").replace("CMakeFiles/", "")
        self.build = build
        self.rules = rules
        self.stamp = build / "tidy" / (self.name.replace("/", "__") + ".json")

    def is_ours(self):
        """Not generated, and no test or benchmark."""
        written = "/Unity/" in self.file or not pathlib.Path(self.file).is_relative_to(self.build)
        return written and self.name.startswith(("src/", "apps/")) and "_test.dir/" not in self.name

    def headers(self):
        """All files that it is made of, as the compiler finds them."""
        until = self.command.index("-o")
        rule = output([*self.command[:until], "-M", self.file], self.folder)
        return sorted({str((self.folder / word).resolve()) for word in rule.replace("\\\n", " ").split()[1:]})

    def fingerprint(self, headers):
        digest = hashlib.sha256(self.rules.encode())
        for word in [*self.command, *headers]:
            digest.update(word.encode() + b"\0")
        for header in headers:
            digest.update(digest_of(pathlib.Path(header)).encode())
        return digest.hexdigest()

    def known_clean(self):
        try:
            kept = json.loads(self.stamp.read_text())
            return kept["clean"] == self.fingerprint(kept["headers"])
        except (OSError, ValueError):
            return False

    def check(self):
        """What clang-tidy has to say; nothing where the file is clean."""
        try:
            headers = self.headers()
        except subprocess.CalledProcessError as error:
            return error.stderr
        looked_at = self.fingerprint(headers)  # before: what is edited meanwhile is looked at again
        done = subprocess.run([TIDY, "-p", self.build, "--quiet", self.file], cwd=ROOT, capture_output=True, text=True)
        if done.returncode != 0:
            return done.stdout + done.stderr
        self.stamp.parent.mkdir(exist_ok=True)
        self.stamp.write_text(json.dumps({"clean": looked_at, "headers": headers}))
        return ""


def main():
    build = pathlib.Path(sys.argv[1]).resolve()
    rules = (ROOT / ".clang-tidy").read_text() + output([TIDY, "--version"])
    units = [Unit(entry, build, rules) for entry in json.loads((build / "compile_commands.json").read_text())]
    units = [unit for unit in units if unit.is_ours()]
    if sys.argv[2:]:
        units = [unit for unit in units if any(text in unit.name for text in sys.argv[2:])]
    changed = [unit for unit in units if not unit.known_clean()]
    print("%d units, %d of them to be looked at" % (len(units), len(changed)), flush=True)
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(int(os.environ.get("JOBS", os.cpu_count()))) as pool:
        looks = {pool.submit(unit.check): unit for unit in changed}
        for look in concurrent.futures.as_completed(looks):
            said = look.result().strip()
            failed += said != ""
            if said:
                print("%s\n%s" % (looks[look].name, said), flush=True)
    if failed:
        print("%d units are not clean" % failed)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
