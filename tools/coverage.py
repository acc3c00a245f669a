#!/usr/bin/env python3
"""tools/coverage.py: which test holds each statement of docs/spec/semantics.md, sections 1 to 6.

Reads docs/spec/coverage.md, whose rows are `| statement | tests |`. A statement is the text of a bold passage, or
`row: FIRST CELL` for a row of a table (`row: TABLE / FIRST CELL` where two tables share one). Of the sections that are
read whole each item of a list has a row as well, `item: ITS FIRST WORDS`. Tests are named as
`Suite.Name`, `test/e2e/FILE.py::NAME` or `KIND of FILE` for a fuzz target; a row may say `open: WHY` instead, where
what it is about is not built. Fails where a statement has no row, a row no statement, or a test does not exist.
"""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
SPEC = ROOT / "docs/spec/semantics.md"
COVERAGE = ROOT / "docs/spec/coverage.md"
SECTIONS = ("1", "2", "3", "4", "5", "6")
WHOLE = ("4.1", "5", "6")
WORDS_OF_AN_ITEM = 5


def flat(text):
    return re.sub(r"\s+", " ", text).strip()


def cells(line):
    """The cells of a table's line; a bar behind a backslash is text."""
    return [flat(cell.replace(r"\|", "|")) for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))]


def section(text, number):
    head = re.search(rf"^##+ {re.escape(number)}\.? ", text, re.M)
    end = re.search(r"^##", text[head.end():], re.M) if "." in number else re.search(r"^## ", text[head.end():], re.M)
    return text[head.start():head.end() + end.start()] if end else text[head.start():]


def items(part):
    """What stands in lists, each by its first words."""
    texts = re.findall(r"^(?:-|\d+\.) (.+(?:\n  .+)*)", part, re.M)
    return ["item: " + " ".join(flat(text.replace("**", "")).split()[:WORDS_OF_AN_ITEM]) for text in texts]


def statements(text):
    """Bold passages and first cells of tables, in order."""
    found = []
    for number in SECTIONS:
        part = section(text, number)
        found += [flat(bold) for bold in re.findall(r"\*\*(.+?)\*\*", part, re.S)]
        header = True
        for line in part.splitlines():
            if not line.startswith("|"):
                header = True
            elif line.startswith("|---"):
                header = False
            elif not header:
                found.append("row: " + cells(line)[0])
    for number in WHOLE:
        found += items(section(text, number))
    return found


def tests_of_the_repository():
    names = set()
    for path in list((ROOT / "src").rglob("*_test.cc")) + list((ROOT / "test").rglob("*_test.cc")):
        names |= {f"{suite}.{name}" for suite, name in
                  re.findall(r"^TEST(?:_[FP])?\((\w+),\s*(\w+)\)", path.read_text(), re.M)}
    for path in (ROOT / "test/e2e").glob("test_*.py"):
        names |= {f"test/e2e/{path.name}::{name}" for name in re.findall(r"^def (test_\w+)", path.read_text(), re.M)}
    return names


def rows(text):
    """Statement to tests, and to why there are none."""
    table = {}
    for line in text.splitlines():
        if not line.startswith("| ") or line.startswith("| statement"):
            continue
        statement, tests = cells(line)[:2]
        table[statement] = tests
    return table


def main():
    wanted = statements(SPEC.read_text())
    table = rows(COVERAGE.read_text())
    known = tests_of_the_repository()
    mistakes = [f"no row for: {statement}" for statement in wanted if statement not in table]
    mistakes += [f"no such statement: {statement}" for statement in table if statement not in wanted]
    covered = 0
    for statement, tests in table.items():
        named = re.findall(r"`([^`]+)`", tests)
        mistakes += [f"no such test: {name} (for {statement})" for name in named if name not in known]
        covered += bool(named)
        if not named and not tests.startswith("open: "):
            mistakes.append(f"neither tests nor `open: WHY`: {statement}")
    for mistake in mistakes:
        print(mistake)
    print(f"{covered} of {len(set(wanted))} statements have tests; {len(table) - covered} are open")
    return 1 if mistakes else 0


if __name__ == "__main__":
    sys.exit(main())
