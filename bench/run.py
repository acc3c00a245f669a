#!/usr/bin/env python3
"""Runs benchmarks and holds their figures against figures.toml.

Every figure has a name. Programs print `name value unit` lines; this prints each again as
`name value unit reach TARGET met|short` and writes all to one JSON file.
"""
import argparse
import json
import os
import platform
import shlex
import subprocess
import sys
import time
import tomllib
from pathlib import Path

HERE = Path(__file__).resolve().parent


def holds(value, target):
    """Whether `value` is within `target`, such as "<= 0.6"."""
    sign, limit = target.split()
    return value <= float(limit) if sign == "<=" else value >= float(limit)


def judge(value, figure):
    """How a figure stands against its goal."""
    return "met" if holds(value, figure["reach"]) else "short"


def fails(value, figure):
    """Whether a figure misses even what must hold for a change to land."""
    return "gate" in figure and not holds(value, figure["gate"])


def belongs(figure, name):
    """Whether a figure is the one named, or one of those whose names begin so."""
    return figure == name or figure.startswith(name + "-")


def near(name, figures, most=6):
    """The figures that somebody who asks for this name may mean: those with its words, in their names or in what they
    tell, best first."""
    def alike(figure):
        own = figure.split("-")
        told = figures[figure]["what"].lower()
        return sum(2 * (word in own) + (word in told) for word in name.lower().split("-") if word)

    return sorted(filter(alike, figures), key=alike, reverse=True)[:most]


def measure(command, build):
    """Runs one program; returns {figure: (value, unit)} of the lines it printed."""
    words = shlex.split(command)
    program = HERE / words[0] if words[0].endswith(".py") else build / words[0]
    env = dict(os.environ, OCICAT_BIN=str(build / "apps" / "ocicat"))
    argv = ([sys.executable] if program.suffix == ".py" else []) + [str(program)] + words[1:]
    done = subprocess.run(argv, stdout=subprocess.PIPE, text=True, env=env, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{command}: exit code {done.returncode}")
    found = {}
    for line in done.stdout.splitlines():
        parts = line.split()
        try:
            found[parts[0]] = (float(parts[1]), parts[2])
        except (IndexError, ValueError):
            print(line)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*",
                        help="figures to measure, or how their names begin: engine-s1 for engine-s1-time and "
                             "engine-s1-memory; all without")
    parser.add_argument("--build", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--list", action="store_true", help="print the figures there are")
    args = parser.parse_args()

    figures = tomllib.loads((HERE / "figures.toml").read_text())
    if args.list:
        for name, figure in figures.items():
            print(f"{name:32} {figure['reach']:12} {figure['what']}")
        return 0
    unknown = [name for name in args.names if not any(belongs(figure, name) for figure in figures)]
    if unknown:
        for name in unknown:
            others = near(name, figures)
            print(f"no figure named {name}" + (f"; near it: {', '.join(others)}" if others else ""), file=sys.stderr)
        print("`./do bench --list` prints those there are", file=sys.stderr)
        return 2
    wanted = [figure for figure in figures
              if not args.names or any(belongs(figure, name) for name in args.names)]
    results, failed, measured = {}, [], {}
    for name in wanted:
        command = figures[name]["run"]
        if command not in measured:
            print(f"==> {command}", file=sys.stderr)
            try:
                measured[command] = measure(command, args.build)
            except (RuntimeError, OSError) as error:
                print(f"==> {error}", file=sys.stderr)
                measured[command] = {}
        if name not in measured[command]:
            failed.append(name)
            continue
        value, unit = measured[command][name]
        verdict = judge(value, figures[name])
        reach = figures[name]["reach"]
        print(f"{name} {value:g} {unit} reach {reach} {verdict}", flush=True)
        results[name] = {"value": value, "unit": unit, "reach": reach, "gate": figures[name].get("gate"),
                         "verdict": verdict, "what": figures[name]["what"]}
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps({"taken": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                                    "kernel": platform.release(), "cpus": os.cpu_count(),
                                    "figures": results}, indent=2) + "\n")
    for name in failed:
        print(f"{name}: not measured", file=sys.stderr)
    return 1 if failed or any(fails(r["value"], figures[name]) for name, r in results.items()) else 0


if __name__ == "__main__":
    sys.exit(main())
