"""The runs of the blind test: group, old and degraded photographs restored as shipped, without and with references.

    python benchmarks/blind_runs.py data -o results/blind       # then benchmarks/blind_choice.py sheets results/blind

Which photographs are restored, and whose references there are, is in `cases`; of 100 of LFW's photographs as they are
(raw-people) those with several faces count as groups, with the person's other photographs as references. Writes
the results, and `runs.json`: for each run the photograph, its references, the result (none if it was refused or left
as it is), and the aligned squares of the restored faces. LFW's people here are of the split train: with their
references `small` has seen them.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from rich.progress import track

from faceref.errors import NoFaceError, NoReferenceError, OtherPersonError
from faceref.faces.detect import load_detector
from faceref.pictures.formats import PICTURE_SUFFIXES
from faceref.pictures.photo import open_photo
from faceref.restore.options import RestoreOptions
from faceref.restore.restorer import Restorer

PORTRAITS = 100  # of LFW, looked through for groups
LFW = "lfw128/lfw_"
# photograph below photos/group -> references, each a set of files and folders below the data folder
GROUPS: dict[str, list[list[str]]] = {
    "32bit.png": [  # obama/obama2.jpg is the same photograph
        ["photos/people/obama/obama.jpg", "photos/people/obama3.jpg"]
    ],
    "kit_with_rose.jpg": [["photos/people/rose_leslie"]],
    "obama_and_biden.jpg": [["photos/people/obama", "photos/people/obama3.jpg"], ["photos/people/biden"]],
    # cut out of obama/obama.jpg
    "obama_partial_face.jpg": [["photos/people/obama/obama2.jpg", "photos/people/obama3.jpg"]],
    # obama3.jpg is cut out of this one
    "two_people.jpg": [["photos/people/obama"], ["photos/people/biden/biden2.jpg"]],
}
ALBUM = ["photos/people"]  # everybody's, for each group
OLD: dict[str, list[list[str]]] = {
    "a_cropped_faces_Justin_Timberlake_crop.png": [[f"{LFW}Justin_Timberlake"]],
    "a_cropped_faces_Paris_Hilton_crop.png": [[f"{LFW}Paris_Hilton"]],
}


@dataclass(frozen=True)
class Run:
    """A photograph restored: `outcome` is "changed", "left alone", or begins with why it was refused."""

    photograph: str
    references: list[str]
    outcome: str
    result: str | None = None
    quads: tuple[list[list[float]], ...] = ()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("-o", "--out", type=Path, required=True)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    restorer, planned = Restorer.from_pretrained(), list(cases(arguments.data))
    runs = [
        run(restorer, photograph, references, arguments.out / f"{number:03}{photograph.suffix}")
        for number, (photograph, references) in enumerate(track(planned, description="restoring"), 1)
    ]
    (arguments.out / "runs.json").write_text(json.dumps([asdict(one) for one in runs], indent=1), encoding="utf-8")
    print(f"{len(runs)} runs, {sum(bool(one.quads) for one in runs)} photographs changed")


def cases(data: Path) -> Iterator[tuple[Path, list[Path]]]:
    """Each photograph with references, or with none."""
    for folder, table, always in (("group", GROUPS, [ALBUM]), ("old", OLD, [])):
        for photograph in _pictures(data / "photos" / folder):
            for references in ([], *table.get(photograph.name, []), *always):
                yield photograph, [data / one for one in references]
    for photograph in _pictures(data / "celebref9-512" / "lq"):  # ID_N.png, degraded by DMDNet's authors
        yield photograph, [data / "celebref9-512" / "people" / photograph.stem.split("_")[0]]
    detector = load_detector()
    for photograph in portraits(data)[0]:
        if len(detector.detect(open_photo(photograph).image)) > 1:
            yield photograph, []
            others = [one for one in _pictures(photograph.parent) if one != photograph]
            if others:
                yield photograph, others


def portraits(data: Path) -> tuple[list[Path], list[Path]]:
    """LFW's photographs as they are: those that are looked through here, and the others, for whoever chooses rules."""
    all_of_them = np.array(_pictures(data / "raw-people"))
    drawn = np.isin(np.arange(len(all_of_them)), np.random.default_rng(0).permutation(len(all_of_them))[:PORTRAITS])
    return all_of_them[drawn].tolist(), all_of_them[~drawn].tolist()


def run(restorer: Restorer, photograph: Path, references: list[Path], target: Path) -> Run:
    """Restore as the command does by default, and write the result as it would.

    A lone face that is refused as not surely the person is chosen by hand, as the refusal advises.
    """
    shown, refused = [str(one) for one in references], ""
    try:
        result = restorer.restore(photograph, references)
    except (NoFaceError, NoReferenceError) as error:
        return Run(str(photograph), shown, f"refused: {error}")
    except OtherPersonError as error:
        if len(restorer.match(photograph).assignments) > 1:
            return Run(str(photograph), shown, f"refused: {error}")
        refused = f"refused ({error}), then chosen: "
        result = restorer.restore(photograph, references, RestoreOptions(face=1))
    if not result.faces:
        return Run(str(photograph), shown, f"{refused}left alone")
    result.save(target)
    quads = tuple(one.face.crop.alignment.quad.tolist() for one in result.faces)
    return Run(str(photograph), shown, f"{refused}changed", str(target), quads)


def _pictures(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in PICTURE_SUFFIXES)


if __name__ == "__main__":
    main()
