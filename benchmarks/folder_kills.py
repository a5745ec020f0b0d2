"""Kill -9 at random moments while a folder is restored: what is left is whole, and nothing is done twice.

    python benchmarks/folder_kills.py --kills 100 --work runs/folder_kills

A folder of photographs made from NASA's portrait is restored by `restore_folder` in a process that is killed after a
random time (seed 0); the same is begun again until it ends by itself, and then another folder, until so many were
killed. After each kill every result must be, byte for byte, one of a run that nothing interrupted; at the end all must
be there, and no more. The model is loaded once, before the processes are forked, so that the kills fall into the work.
"""

import argparse
import json
import os
import random
import shutil
import signal
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from folder_memory import make_photographs

from faceref.people.person import Identity
from faceref.restore.folder import JOURNAL, restore_folder
from faceref.restore.options import RestoreOptions
from faceref.restore.request import Request
from faceref.restore.restorer import Restorer


@dataclass(frozen=True)
class LoadedRequest(Request):
    """A request whose model is loaded already."""

    loaded: Restorer | None = None

    def load(self) -> tuple[Restorer, list[Identity[Any]]]:
        assert self.loaded is not None
        return self.loaded, []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--photographs", type=int, default=10)
    parser.add_argument("--work", type=Path, default=Path("runs/folder_kills"))
    arguments = parser.parse_args()
    shutil.rmtree(arguments.work, ignore_errors=True)
    photos = arguments.work / "photos"
    make_photographs(photos, arguments.photographs)
    request = LoadedRequest("small", options=RestoreOptions(always=True), loaded=Restorer.from_pretrained(device="cpu"))
    start = time.perf_counter()
    list(restore_folder(photos, arguments.work / "straight", request))
    usual = (time.perf_counter() - start) / arguments.photographs  # seconds of a photograph
    expected = files(arguments.work / "straight")
    del expected[JOURNAL]
    rng, counts = random.Random(0), Counter[str]()
    while counts["kills"] < arguments.kills:
        counts["folders"] += 1
        out = arguments.work / "out"
        shutil.rmtree(out, ignore_errors=True)
        while not finished(photos, out, request, rng.uniform(0, 4 * usual)):
            counts["kills"] += 1
            left = files(out) if out.exists() else {}
            halves = {name for name in left if Path(name).name.startswith(".")}
            counts["left a hidden half"] += bool(halves)
            counts["left results"] += bool(left.keys() & expected.keys())
            check(left, expected, left.keys() - halves - {JOURNAL})
        left = files(out)
        assert left.keys() == expected.keys() | {JOURNAL}, left.keys() ^ expected.keys()
        check(left, expected, set(expected))
        items = Counter(json.loads(line)["item"] for line in left[JOURNAL].splitlines()[1:])
        counts["photographs remembered twice"] += sum(times > 1 for times in items.values())
    print(", ".join(f"{name}: {count}" for name, count in counts.items()))


def finished(photos: Path, out: Path, request: Request, seconds: float) -> bool:
    """Whether a process that restores the folder ends by itself before it is killed."""
    child = os.fork()
    if child == 0:
        for _ in restore_folder(photos, out, request):
            pass
        os._exit(0)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)  # which one that has ended does not notice
    _, status = os.waitpid(child, 0)
    return os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0


def files(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def check(left: dict[str, bytes], expected: dict[str, bytes], names: set[str]) -> None:
    for name in names:
        assert left[name] == expected[name], f"{name} is no result of an uninterrupted run"


if __name__ == "__main__":
    main()
