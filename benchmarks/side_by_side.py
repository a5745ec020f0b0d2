"""The released sizes restored by two checkouts in turn: seconds of each stage, and whether the pixels are the same.

    git worktree add ../before dde09ed
    OMP_NUM_THREADS=1 python benchmarks/side_by_side.py ../before . --references 4 --steps 3 --rounds 2

Random weights (seed 0), guidance 1.5, DDIM; each checkout has a process of its own, and only one works at a time.
CPU seconds are told, which tell most where other programs run; 50 steps are worked out from the median of one.
"""

import argparse
import math
import os
import statistics
from pathlib import Path

from restoring_process import Request, Told, Worker

STEPS = 50


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkouts", nargs=2, type=Path)
    parser.add_argument("--references", type=int, default=4)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--dtype", default="float32", help="float64: whether anything but rounding differs")
    given = parser.parse_args()
    workers = {checkout: Worker(checkout, given.dtype) for checkout in given.checkouts}
    told: dict[Path, list[Told]] = {checkout: [] for checkout in workers}
    for _ in range(given.rounds):
        for checkout, worker in workers.items():
            told[checkout].append(worker.ask(Request(given.references, given.steps)))
            print(f"{checkout}: {stages(told[checkout][-1], given.steps)}, load {os.getloadavg()[0]:.0f}", flush=True)
    before, now = told.values()
    wholes = [statistics.median(row.of_steps(STEPS, given.steps) for row in rows) for rows in (before, now)]
    pixels = before[-1].pixels, now[-1].pixels
    deviation, most = statistics.pstdev(pixels[0]), max(abs(a - b) for a, b in zip(*pixels, strict=True))
    mean_square = math.dist(*pixels) / len(pixels[0]) ** 0.5
    print(
        f"{wholes[0]:.1f} and {wholes[1]:.1f} s, {wholes[0] / wholes[1]:.2f} times as fast; pixels differ by "
        f"{most / deviation:.1e} of their deviation at most, {mean_square / deviation:.1e} as root mean square"
    )


def stages(told: Told, steps: int) -> str:
    encode = told.call - told.decode - steps * told.step  # the LQ picture, the cache of no reference
    return f"references {told.references:.2f}, LQ {encode:.2f}, step {told.step:.2f}, decode {told.decode:.2f}"


if __name__ == "__main__":
    main()
