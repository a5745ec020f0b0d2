"""Seconds to restore a photograph, of two checkouts in turn: is the newer one slower?

    git worktree add ../before 3bf092f
    taskset -c 0 python benchmarks/restore_seconds.py ../before . --photos a.png b.png

Each checkout has a process of its own, with its model loaded and one photograph restored before anything is timed; only
one works at a time. CPU seconds tell most where other programs run. A photograph whose face is left alone is not timed
like one that is restored: the number of restored faces is printed.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

REPETITIONS = 5
WORK = "--work"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkouts", nargs=2, type=Path)
    parser.add_argument("--photos", nargs="+", type=Path, required=True)
    arguments = parser.parse_args()
    workers = {checkout: start(checkout) for checkout in arguments.checkouts}
    for photo in arguments.photos:
        times: dict[Path, list[dict[str, Any]]] = {checkout: [] for checkout in workers}
        for _ in range(1 + REPETITIONS):
            for checkout, worker in workers.items():
                times[checkout].append(ask(worker, str(photo.resolve())))
        for checkout, rows in times.items():
            cpu, wall = (statistics.median(row[kind] for row in rows[1:]) for kind in ("cpu", "wall"))
            told = f"CPU {cpu:.2f} s, wall {wall:.2f} s, {rows[0]['faces']} faces, load {os.getloadavg()[0]:.0f}"
            print(f"{photo.name} {checkout}: {told}")


def start(checkout: Path) -> subprocess.Popen[str]:
    """A process that restores with the code of a checkout."""
    environment = os.environ | {"PYTHONPATH": str(checkout.resolve() / "src"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, __file__, WORK]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)


def ask(worker: subprocess.Popen[str], photo: str) -> dict[str, Any]:
    """What the process says of restoring one photograph."""
    assert worker.stdin is not None
    assert worker.stdout is not None
    worker.stdin.write(photo + "\n")
    worker.stdin.flush()
    return json.loads(worker.stdout.readline())


def work() -> None:
    """The other process: photographs in, seconds out, a line each. `Restorer` is what both checkouts have."""
    import cv2
    import torch

    from faceref import Restorer

    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    restorer = Restorer.from_pretrained("small", device="cpu")
    for line in sys.stdin:
        cpu, wall = time.process_time(), time.perf_counter()
        faces = len(restorer.restore(line.strip()).faces)
        times = {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall, "faces": faces}
        print(json.dumps(times), flush=True)


if __name__ == "__main__":
    work() if sys.argv[1:] == [WORK] else main()
