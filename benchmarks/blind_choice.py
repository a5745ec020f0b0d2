"""Which is better, photograph or result? Numbered sheets to be judged without knowing, and the count afterwards.

    python benchmarks/blind_choice.py sheets PHOTOGRAPHS RESULTS -o JUDGE     # 001.png, ...; key.csv is kept aside
    python benchmarks/blind_choice.py count JUDGE/answers.csv KEY.csv         # answers: sheet,choice (left|right|equal)

Results have their photographs' names (whatever the suffix). The key says for each sheet which side is the result; it
is written beside the folder of the sheets, not into it. The face is shown at twice its pixels.
"""

import argparse
import csv
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image

from faceref.errors import DataError
from faceref.faces.align import ffhq_quad
from faceref.faces.detect import DlibDetector
from faceref.pictures.formats import PICTURE_SUFFIXES
from faceref.pictures.photo import open_photo

ENLARGED = 2
GAP = 16  # pixels between the two
LARGEST_SIDE = 700  # pixels of one side of a sheet, enlarged: larger faces are shown at less than twice
AROUND = 0.15  # of the aligned square's side, shown besides


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    sheets = commands.add_parser("sheets")
    sheets.add_argument("photographs", type=Path)
    sheets.add_argument("results", type=Path)
    sheets.add_argument("-o", "--out", type=Path, required=True)
    sheets.add_argument("--seed", type=int, default=0)
    count = commands.add_parser("count")
    count.add_argument("answers", type=Path)
    count.add_argument("key", type=Path)
    arguments = parser.parse_args()
    if arguments.command == "sheets":
        write_sheets(arguments.photographs, arguments.results, arguments.out, arguments.seed)
    else:
        for choice, number in sorted(counted(arguments.answers, arguments.key).items()):
            print(f"{choice}: {number}")


def write_sheets(photographs: Path, results: Path, out: Path, seed: int) -> None:
    """A sheet for every face that differs between a photograph and its result, in an order drawn by `seed`."""
    rng = np.random.default_rng(seed)
    pairs = [(name, *pair) for name, before, after in _files(photographs, results) for pair in _faces(before, after)]
    out.mkdir(parents=True, exist_ok=True)
    key_path = out.parent / f"{out.name}-key.csv"
    with key_path.open("w", newline="", encoding="utf-8") as file:
        key = csv.writer(file)
        key.writerow(("sheet", "photograph", "result"))
        for number, index in enumerate(rng.permutation(len(pairs)), 1):
            name, before, after = pairs[index]
            left = bool(rng.integers(2))
            _side_by_side(*((after, before) if left else (before, after))).save(out / f"{number:03}.png")
            key.writerow((f"{number:03}", name, "left" if left else "right"))
    print(f"{len(pairs)} sheets in {out}; the key is {key_path}")


def counted(answers: Path, key: Path) -> Counter[str]:
    """How often the result was better, equal and worse. Raises DataError for an answer that is none."""
    with key.open(newline="", encoding="utf-8") as file:
        side_of = {row["sheet"]: row["result"] for row in csv.DictReader(file)}
    counts: Counter[str] = Counter()
    with answers.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            sheet, choice = row["sheet"], row["choice"].strip().lower()
            if sheet not in side_of or choice not in ("left", "right", "equal"):
                raise DataError(f"has no answer for sheet {sheet!r} in {choice!r}", subject=answers)
            counts["equal" if choice == "equal" else "better" if choice == side_of[sheet] else "worse"] += 1
    return counts


def _files(photographs: Path, results: Path) -> list[tuple[str, Path, Path]]:
    pictures = sorted(path for path in photographs.rglob("*") if path.suffix.lower() in PICTURE_SUFFIXES)
    by_stem = {path.stem: path for path in results.rglob("*") if path.suffix.lower() in PICTURE_SUFFIXES}
    return [(path.name, path, by_stem[path.stem]) for path in pictures if path.stem in by_stem]


def _faces(photograph: Path, result: Path) -> list[tuple[Image.Image, Image.Image]]:
    """The surroundings of each face that the result has changed, before and after."""
    before, after = open_photo(photograph).image, open_photo(result).image
    if before.size != after.size:
        raise DataError(f"has not the size of {photograph}", subject=result)
    pairs = []
    for face in DlibDetector().detect(before):
        quad = ffhq_quad(face.landmarks)
        border = AROUND * float(np.hypot(*(quad[3] - quad[0])))
        box = (
            *np.floor(quad.min(0) - border).astype(int).tolist(),
            *np.ceil(quad.max(0) + border).astype(int).tolist(),
        )
        pair = before.crop(box), after.crop(box)
        if np.any(np.asarray(pair[0]) != np.asarray(pair[1])):
            pairs.append(pair)
    return pairs


def _side_by_side(left: Image.Image, right: Image.Image) -> Image.Image:
    scale = min(ENLARGED, LARGEST_SIDE / max(left.size))
    size = (round(left.width * scale), round(left.height * scale))
    sheet = Image.new("RGB", (2 * size[0] + GAP, size[1]), "white")
    for i, picture in enumerate((left, right)):
        sheet.paste(picture.resize(size, Image.Resampling.BICUBIC), (i * (size[0] + GAP), 0))
    return sheet


if __name__ == "__main__":
    main()
