"""Which restored faces look better? Pages of pairs to be judged without knowing which is whose, and the count.

    python benchmarks/blind_faces.py pages evaluation/new small lq -o JUDGE                      # against the inputs
    python benchmarks/blind_faces.py pages evaluation/new small evaluation/old/small -o JUDGE    # against another's
    python benchmarks/blind_faces.py count JUDGE                # JUDGE/votes.json: {"severe 1": "left", ...}

The faces are those that `faceref evaluate` has written: --faces of each degradation, drawn by --seed, restored with
five references unless --shown says otherwise; smaller pictures are enlarged (bicubic). Left and right are drawn by lot;
the reader looks at the pages and writes left, right or equal for each pair.
"""

import argparse
import json
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from faceref.pictures.sheets import below, beside

DEGRADATIONS = ("severe", "moderate")
SIDE, ROWS, COLUMNS, GAP = 300, 4, 2, 12  # SIDE: pixels of a face on a page


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    pages = commands.add_parser("pages")
    pages.add_argument("evaluation", type=Path)
    pages.add_argument("model")
    pages.add_argument("against", help="lq, or EVALUATION/MODEL")
    pages.add_argument("-o", "--out", type=Path, required=True)
    pages.add_argument("--faces", type=int, default=64)
    pages.add_argument("--shown", default="refs-5", help="references that they were restored with: refs-5, none, ...")
    pages.add_argument("--seed", type=int, default=0)
    count = commands.add_parser("count")
    count.add_argument("judged", type=Path)
    arguments = parser.parse_args()
    if arguments.command == "count":
        for degradation, counts in counted(arguments.judged).items():
            told = ", ".join(f"{choice} {counts[choice]}" for choice in ("better", "equal", "worse"))
            print(f"{degradation}: {told}, of {counts.total()}")
        return
    rng, key = np.random.default_rng(arguments.seed), {}
    for degradation in DEGRADATIONS:
        ours = arguments.evaluation / "pictures" / degradation / arguments.model / arguments.shown
        theirs = arguments.evaluation / "pictures" / degradation / "controls" / "lq"
        if arguments.against != "lq":
            evaluation, _, model = arguments.against.rpartition("/")
            theirs = Path(evaluation) / "pictures" / degradation / model / arguments.shown
        key |= write_pages(degradation, ours, theirs, arguments.faces, rng, arguments.out / "pages")
    (arguments.out / "key.json").write_text(json.dumps(key, indent=1), encoding="utf-8")


def write_pages(
    degradation: str, ours: Path, theirs: Path, faces: int, rng: np.random.Generator, out: Path
) -> dict[str, str]:
    """On which side ours is, by the pair's name. Writes out/severe_1.png and so on."""
    out.mkdir(parents=True, exist_ok=True)
    names = sorted(path.relative_to(ours) for path in ours.rglob("*.png"))
    chosen = [names[i] for i in rng.permutation(len(names))[:faces]]
    key = {f"{degradation} {number}": str(rng.choice(["left", "right"])) for number in range(1, len(chosen) + 1)}
    pairs = [pair(title, ours / name, theirs / name, key[title]) for title, name in zip(key, chosen, strict=True)]
    for start in range(0, len(pairs), ROWS * COLUMNS):
        shown = pairs[start : start + ROWS * COLUMNS]
        rows = [beside(shown[row : row + COLUMNS], 3 * GAP) for row in range(0, len(shown), COLUMNS)]
        below(rows, GAP).save(out / f"{degradation}_{start // (ROWS * COLUMNS) + 1}.png")
    return key


def pair(title: str, ours: Path, theirs: Path, side: str) -> Image.Image:
    """Both pictures beside each other, ours on that side, under their title."""
    pictures = [
        Image.open(path).convert("RGB").resize((SIDE, SIDE), Image.Resampling.BICUBIC) for path in (ours, theirs)
    ]
    heading = Image.new("RGB", (2 * SIDE + GAP, 18), "white")
    ImageDraw.Draw(heading).text((4, 2), title, "black")
    return below([heading, beside(pictures if side == "left" else pictures[::-1], GAP)], 0)


def counted(judged: Path) -> dict[str, Counter[str]]:
    """How often ours was better, equal and worse, by degradation. Raises KeyError for a vote that is missing."""
    key, votes = (json.loads((judged / name).read_text(encoding="utf-8")) for name in ("key.json", "votes.json"))
    counts: dict[str, Counter[str]] = {degradation: Counter() for degradation in DEGRADATIONS}
    for title, side in key.items():
        vote = votes[title]
        counts[title.partition(" ")[0]]["equal" if vote == "equal" else "better" if vote == side else "worse"] += 1
    return counts


if __name__ == "__main__":
    main()
