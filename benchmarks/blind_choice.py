"""Which is better, photograph or result? Sheets to be judged without knowing which side is which, and the count.

    python benchmarks/blind_choice.py sheets results/blind -o JUDGE    # of blind_runs.py: sheets, key.json
    python benchmarks/blind_choice.py count JUDGE                      # JUDGE/votes.json: {"001": "left", ...}

A sheet for each face that a result has changed: the face and what is around it, and above it the whole photograph where
that is small; photograph and result left and right as drawn by lot, both enlarged alike. The reader looks at the sheets
and writes left, right or equal for each. A photograph that was left alone is copied to the byte: equal without a sheet.
"""

import argparse
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from faceref.errors import DataError
from faceref.pictures.photo import open_photo
from faceref.pictures.sheets import below, beside

SIDE = 720  # pixels of one side of a sheet at the most: larger faces are shown smaller
ENLARGED = 4  # times, at the most
GAP = 16  # pixels between the two
AROUND = 0.15  # of the aligned square's side, shown besides


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    sheets = commands.add_parser("sheets")
    sheets.add_argument("runs", type=Path)
    sheets.add_argument("-o", "--out", type=Path, required=True)
    sheets.add_argument("--seed", type=int, default=0)
    count = commands.add_parser("count")
    count.add_argument("judged", type=Path)
    arguments = parser.parse_args()
    if arguments.command == "sheets":
        write_sheets(arguments.runs, arguments.out, arguments.seed)
    else:
        for kind, counts in counted(arguments.judged).items():
            told = ", ".join(f"{choice} {counts[choice]}" for choice in ("better", "equal", "worse"))
            print(f"{kind}: {told}, of {counts.total()}")


def write_sheets(runs: Path, out: Path, seed: int) -> None:
    """A sheet for each restored face of the runs, in an order and with sides drawn by `seed`; the key beside them."""
    rng = np.random.default_rng(seed)
    listed = json.loads((runs / "runs.json").read_text(encoding="utf-8"))
    faces = [(number, face) for number, run in enumerate(listed) for face in range(len(run["quads"]))]
    (out / "sheets").mkdir(parents=True, exist_ok=True)
    key = {}
    for place, index in enumerate(rng.permutation(len(faces)), 1):
        number, face = faces[index]
        side = str(rng.choice(["left", "right"]))
        sheet(listed[number], face, result_is=side).save(out / "sheets" / f"{place:03}.png")
        key[f"{place:03}"] = {"run": number, "face": face, "result": side}
    (out / "key.json").write_text(json.dumps({"sheets": key, "runs": listed}, indent=1), encoding="utf-8")
    print(f"{len(key)} sheets of {sum(bool(run['quads']) for run in listed)} photographs, of {len(listed)} runs")


def sheet(run: dict[str, Any], face: int, *, result_is: str) -> Image.Image:
    """Photograph and result side by side around a restored face. Raises DataError if their sizes differ."""
    before, after = (open_photo(run[name]).image.convert("RGB") for name in ("photograph", "result"))
    if before.size != after.size:
        raise DataError(f"has not the size of {run['photograph']}", subject=run["result"])
    sides = (after, before) if result_is == "left" else (before, after)
    rows = [beside([_enlarged(picture, box) for picture in sides], GAP) for box in _boxes(before.size, run, face)]
    return below(rows, GAP)


def counted(judged: Path) -> dict[str, Counter[str]]:
    """How often results were better, equal and worse than their photographs, by runs, and of the faces on sheets.

    A run is worse if one of its faces is, else better if one is. Raises DataError for a vote that is none, or missing.
    """
    key, votes = (json.loads((judged / name).read_text(encoding="utf-8")) for name in ("key.json", "votes.json"))
    of_runs: list[list[str]] = [[] for _ in key["runs"]]
    for number, row in key["sheets"].items():
        vote = votes.get(number)
        if vote not in ("left", "right", "equal"):
            raise DataError(f"says {vote!r} of sheet {number}", subject=judged / "votes.json")
        choice = "equal" if vote == "equal" else "better" if vote == row["result"] else "worse"
        of_runs[row["run"]].append(choice)
    counts = {"faces on sheets": Counter(choice for choices in of_runs for choice in choices)}
    for kind, numbers in _kinds(key["runs"]):
        counts[kind] = Counter(_of_run(of_runs[number]) for number in numbers)
    return counts


def _of_run(choices: list[str]) -> str:
    return "worse" if "worse" in choices else "better" if "better" in choices else "equal"


def _kinds(runs: list[dict[str, Any]]) -> Iterator[tuple[str, list[int]]]:
    """All runs, and those of each folder of photographs without and with references."""
    yield "all runs", list(range(len(runs)))
    for folder in ("group", "old", "lq", "raw-people"):
        for name, shown in (("without references", False), ("with references", True)):
            yield (
                f"{folder}, {name}",
                [
                    number
                    for number, run in enumerate(runs)
                    if folder in Path(run["photograph"]).parts and bool(run["references"]) == shown
                ],
            )


def _boxes(size: tuple[int, int], run: dict[str, Any], face: int) -> list[tuple[int, int, int, int]]:
    """What a sheet shows of pictures of this size: all, if they are small, and the face with what is around it."""
    quad = np.array(run["quads"][face])
    border = AROUND * float(np.hypot(*(quad[3] - quad[0])))
    left, top = np.maximum(np.floor(quad.min(0) - border), 0).astype(int).tolist()
    right, bottom = np.minimum(np.ceil(quad.max(0) + border), size).astype(int).tolist()
    is_small = max(size) <= SIDE and max(size) > max(right - left, bottom - top)
    return ([(0, 0, *size)] if is_small else []) + [(left, top, right, bottom)]


def _enlarged(picture: Image.Image, box: tuple[int, int, int, int]) -> Image.Image:
    width, height = box[2] - box[0], box[3] - box[1]
    scale = min(ENLARGED, SIDE / max(width, height))
    return picture.resize((round(width * scale), round(height * scale)), Image.Resampling.BICUBIC, box=box)


if __name__ == "__main__":
    main()
