"""What stretching the levels of faded and of dark photographs brings: the table of docs/evaluation.md.

    python benchmarks/faded.py DATA/celebref9-512/people

Six photographs of each person are degraded moderately, then faded or darkened in a known way, restored as they are and
with their levels stretched (`faceref.pictures.levels`), with up to five others of the person. What was done to the
levels is then undone: PSNR and identity (dlib, centred cosine) are of that and the truth.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import numpy as np
from PIL import Image
from rich.console import Console
from rich.progress import track
from rich.table import Table
from strength import SIZE, photographs, psnr_of

from faceref.data.degradation import MODERATE, degrade
from faceref.data.lq_set import seed_for
from faceref.evaluation.faces import FaceDescriber, read_face
from faceref.faces.centre import Centre
from faceref.faces.recognise import DlibRecogniser
from faceref.pictures import levels
from faceref.restore.options import RestoreOptions
from faceref.restore.restorer import Restorer

# level -> contrast * level + black, of red, green and blue
FADES = {
    "not at all": ((1, 1, 1), (0, 0, 0)),
    "a little faded": ((0.7, 0.7, 0.7), (60, 60, 60)),
    "faded": ((0.4, 0.4, 0.4), (120, 120, 120)),
    "faded and yellow": ((0.45, 0.4, 0.3), (120, 105, 70)),
    "dark": ((0.25, 0.25, 0.25), (0, 0, 0)),
}


def main() -> None:
    arguments = given(__doc__)
    cases = photographs(arguments.folder, None, arguments.people, arguments.seed)
    compare = comparison([path for path, _ in cases])
    restorer = Restorer.from_pretrained()
    table = Table("", "stretched", "PSNR: input", "as it is", "stretched", "identity: input", "as it is", "stretched")
    for name, (contrast, black) in FADES.items():
        bad, by_stretch, were_stretched = [], {False: [], True: []}, []
        for path, references in track(cases, description=name):
            rng = np.random.default_rng(seed_for(arguments.seed, path.name, "moderate"))
            truth = Image.fromarray(read_face(path, SIZE).pixels)
            degraded = np.asarray(degrade(truth, MODERATE.at(SIZE).sample(rng), rng), np.float64)
            faded = Image.fromarray(to_uint8(degraded * contrast + black))
            were_stretched.append(levels.Levels.of(faded) != levels.FULL)
            bad.append(unfaded(faded, contrast, black))
            for stretch, results in by_stretch.items():
                with mock.patch.object(levels, "FADED", levels.FADED if stretch else 0):
                    options = RestoreOptions(aligned=True, always=True, face=1, seed=arguments.seed)
                    results.append(unfaded(restorer.restore(faded, references, options).image, contrast, black))
        psnr, identity = zip(*map(compare, (bad, *by_stretch.values())), strict=True)
        share = f"{np.mean(were_stretched):.0%}"
        table.add_row(name, share, *(f"{one:.2f}" for one in psnr), *(f"{one:.3f}" for one in identity))
    Console(width=120).print(table)


def given(description: str | None) -> argparse.Namespace:
    """The command line of a benchmark on folders of people."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="the folders in it are people")
    parser.add_argument("--people", type=int, default=9)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def comparison(paths: list[Path]) -> Callable[[list[np.ndarray]], tuple[float, float]]:
    """What measures pictures uint8 [SIZE, SIZE, 3] against these photographs: mean PSNR and identity."""
    describer, centre = FaceDescriber(DlibRecogniser(), SIZE), Centre.shipped()
    described = describer.photographs(paths)
    landmarks, truth = [one.landmarks for one in described], np.stack([one.embedding for one in described])

    def compare(pictures: list[np.ndarray]) -> tuple[float, float]:
        psnr = [psnr_of(one, read_face(path, SIZE).pixels) for one, path in zip(pictures, paths, strict=True)]
        identity = centre.cosine(describer.embed(np.stack(pictures), landmarks), truth)
        return float(np.mean(psnr)), float(identity.mean())

    return compare


def unfaded(image: Image.Image, contrast: tuple[float, ...], black: tuple[float, ...]) -> np.ndarray:
    return to_uint8((np.asarray(image, np.float64) - black) / contrast)


def to_uint8(pixels: np.ndarray) -> np.ndarray:
    return np.rint(pixels).clip(0, 255).astype(np.uint8)


if __name__ == "__main__":
    main()
