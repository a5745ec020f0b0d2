"""How much faster and smaller the fast mode is than the original one, at the released sizes: a table of ratios.

    git worktree add ../before dde09ed
    OMP_NUM_THREADS=1 python benchmarks/fast_mode.py --before ../before

Original: references side by side in one strip, float32, 50 steps of DDIM, guidance in each. Fast: references one by one
(or kept from before: "enrolled"), bfloat16, 8 steps of DPM-Solver++, guidance where there is a fifth of the noise or
more. Random weights (seed 0), 4 references, 512 px. CPU seconds of a process of its own for each mode, one at a time,
the median of the rounds; the original's 50 steps are worked out from the median of few. Peak memory is the process's.
--before: a checkout whose original mode is measured too; ratios are to the first row.
"""

import argparse
import os
import statistics
from dataclasses import dataclass
from pathlib import Path

from restoring_process import Request, Told, Worker
from rich.console import Console
from rich.table import Table

HERE = Path(__file__).parents[1]
ORIGINAL, FAST = {"guidance_scale": 1.5}, {"guidance_scale": 1.5, "guidance_interval": (0.2, 1.0)}
FAST["scheduler"] = "dpmsolver++"


@dataclass(frozen=True, eq=False)
class Mode:
    """steps: of a whole restoration; request.steps are done."""

    name: str
    steps: int
    request: Request
    dtype: str = "float32"
    checkout: Path = HERE


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, help="another checkout, for its original mode")
    parser.add_argument("--steps", type=int, default=8, help="of the fast mode")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--dtype", default="bfloat16", help="of the fast mode")
    given = parser.parse_args()
    told = {mode: [measured(mode) for _ in range(given.rounds)] for mode in modes(given)}
    seconds = {mode: statistics.median(in_all(mode, one) for one in rows) for mode, rows in told.items()}
    first = next(iter(told))
    table = Table(title=f"4 references, 512 px, {os.environ.get('OMP_NUM_THREADS', 'all')} thread(s)")
    for column in ("mode", "references", "a step", "decode", "in all, s", "ratio", "peak MiB", "ratio "):
        table.add_column(column, justify="left" if column == "mode" else "right")
    for mode, rows in told.items():
        stages = [statistics.median(getattr(one, name) for one in rows) for name in ("references", "step", "decode")]
        peak, largest = (max(one.peak for one in told[which]) for which in (mode, first))
        table.add_row(
            mode.name,
            *(f"{one:.2f}" for one in stages),
            f"{seconds[mode]:.1f}",
            f"{seconds[first] / seconds[mode]:.1f}",
            f"{peak / 2**20:.0f}",
            f"{peak / largest:.2f}",
        )
    Console(width=110).print(table)


def modes(given: argparse.Namespace) -> list[Mode]:
    original, fast = Request(steps=4, joint=True, call=ORIGINAL), Request(steps=given.steps, call=FAST)
    enrolled = Request(steps=given.steps, enrolled=True, call=FAST)
    before = [] if given.before is None else [Mode("original, before", 50, original, checkout=given.before)]
    return [
        *before,
        Mode("original, today's code", 50, original),
        Mode("fast, float32", given.steps, fast),
        Mode("fast", given.steps, fast, given.dtype),
        Mode("fast, enrolled", given.steps, enrolled, given.dtype),
    ]


def measured(mode: Mode) -> Told:
    worker = Worker(mode.checkout, mode.dtype)
    told = worker.ask(mode.request)
    worker.end()
    print(f"{mode.name}: {in_all(mode, told):.1f} s, load {os.getloadavg()[0]:.0f}", flush=True)
    return told


def in_all(mode: Mode, told: Told) -> float:
    return told.of_steps(mode.steps, mode.request.steps)


if __name__ == "__main__":
    main()
