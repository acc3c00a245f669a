#!/usr/bin/env python3
"""How time and memory of the engine grow with the cluster.

Loads S1 and S3 at five sizes from 10,000 to 1,000,000 endpoints, each in a process of its own, and fits
`cost = a * size ** exponent`. Time is divided by that of a pass which only parses and interns the same input,
measured just before, so that it is not the cache that is measured; one is added for that pass.
"""
import math
import os
import subprocess
import sys
from pathlib import Path

SIZES = (10_000, 31_623, 100_000, 316_228, 1_000_000)
PROGRAM = Path(os.environ["OCICAT_BIN"]).resolve().parent.parent / "bench" / "engine_load_bench"


def figures(name, size):
    """What one benchmark measures at one size."""
    done = subprocess.run([PROGRAM, f"--benchmark_filter=^{name}/{size}/"], stdout=subprocess.PIPE, text=True,
                          check=True)
    return {line.split()[0]: float(line.split()[1]) for line in done.stdout.splitlines()}


def exponent(costs):
    """The slope of log(cost) over log(size), by least squares."""
    xs = [math.log(size) for size in SIZES]
    ys = [math.log(cost) for cost in costs]
    middle_x, middle_y = sum(xs) / len(xs), sum(ys) / len(ys)
    return (sum((x - middle_x) * (y - middle_y) for x, y in zip(xs, ys)) /
            sum((x - middle_x) ** 2 for x in xs))


def main():
    for shape in ("s1", "s3"):
        ratios, memory = [], []
        for size in SIZES:
            passes = figures(f"{shape}_interned", size)[f"interned-{shape}-time"]
            loaded = figures(shape, size)
            ratios.append(loaded[f"engine-{shape}-time"] / passes)
            memory.append(loaded[f"engine-{shape}-memory"])
            print(f"{shape} {size}: {ratios[-1]:.2f} passes, {memory[-1]:.1f} MB", file=sys.stderr)
        print(f"engine-scaling-{shape}-time {1 + exponent(ratios):.3f} exponent")
        print(f"engine-scaling-{shape}-memory {exponent(memory):.3f} exponent")


if __name__ == "__main__":
    main()
