#!/usr/bin/env python3
"""Writes docs/reference/cli.md from what the program itself says with --help.

    tools/cli_reference.py build/release/apps/ocicat            # writes the page
    tools/cli_reference.py build/release/apps/ocicat --check    # fails where the page says something else
"""
import os
import pathlib
import re
import subprocess
import sys

PAGE = pathlib.Path(__file__).resolve().parent.parent / "docs" / "reference" / "cli.md"
HEAD = """# The command line

Made by `tools/cli_reference.py` from `ocicat COMMAND --help`: change the help, then run it.
"""


def help_of(binary, words):
    environment = {key: value for key, value in os.environ.items() if not key.startswith("OCICAT_")}
    done = subprocess.run([binary, *words, "--help"], text=True, capture_output=True, check=True, env=environment)
    return done.stdout.rstrip()


def commands_in(text):
    """The names under "Subcommands:", in order."""
    match = re.search(r"^Subcommands:\n((?:  .*\n?)+)", text, re.MULTILINE)
    return re.findall(r"^  (\S+)", match.group(1), re.MULTILINE) if match else []


def sections(binary, words):
    text = help_of(binary, words)
    title = " ".join(["ocicat", *words])
    yield "\n%s `%s`\n\n```\n%s\n```\n" % ("#" * min(2 + len(words), 4), title, text)
    for name in commands_in(text):
        yield from sections(binary, [*words, name])


def main():
    binary = sys.argv[1]
    page = HEAD + "".join(sections(binary, []))
    if "--check" in sys.argv[2:]:
        if PAGE.read_text() != page:
            sys.exit("%s is not what the program says: run tools/cli_reference.py" % PAGE)
        return
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(page)


if __name__ == "__main__":
    main()
