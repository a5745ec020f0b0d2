"""What restoring noisy photographs brings: the table of docs/evaluation.md.

    python benchmarks/noisy.py DATA/celebref9-512/people

Three photographs of each person, 512 px, get noise: fine, or drawn on a third of the pixels and enlarged with the
photograph. They are restored as users' photographs are (found, judged, put back), with up to five others of the person,
and so again with the whole picture cleaned (`--background clean`). PSNR is of the face at the photograph's size,
identity (dlib, centred cosine) of the face at 256 px.
"""

import itertools

import numpy as np
from faded import comparison, given
from PIL import Image
from rich.console import Console
from rich.progress import track
from rich.table import Table
from strength import SIZE, photographs, psnr_of

from faceref.data.lq_set import seed_for
from faceref.faces.align import AlignedFace
from faceref.faces.quality import face_pixels
from faceref.restore.options import CLEAN, RestoreOptions
from faceref.restore.restorer import Restorer

OF_EACH_PERSON = 3
NOISES = {"none": (0, 1), "fine, 8": (8, 1), "fine, 25": (25, 1), "coarse, 8": (8, 3), "coarse, 25": (25, 3)}


def main() -> None:
    arguments = given(__doc__)
    cases = photographs(arguments.folder, None, arguments.people, arguments.seed)
    people = [list(of_one) for _, of_one in itertools.groupby(cases, lambda case: case[0].parent)]
    cases = [case for of_one in people for case in of_one[:OF_EACH_PERSON]]
    compare, restorer = comparison([path for path, _ in cases]), Restorer.from_pretrained()
    table = Table("noise, levels", "background", "restored", "PSNR: input", "result", "identity: input", "result")
    for (name, (deviation, pixel)), background in itertools.product(NOISES.items(), (None, CLEAN)):
        bad, results, psnr, restored = [], [], [], 0
        for path, references in track(cases, description=name):
            rng = np.random.default_rng(seed_for(arguments.seed, path.name, name))
            truth = Image.open(path).convert("RGB")
            noisy = with_noise(truth, deviation, pixel, rng)
            result = restorer.restore(noisy, references, RestoreOptions(seed=arguments.seed, background=background))
            restored += bool(result.faces)
            psnr.append([in_the_face(one, truth) for one in (noisy, result.image.convert("RGB"))])
            bad.append(_at_size(noisy))
            results.append(_at_size(result.image.convert("RGB")))
        (_, before), (_, after) = compare(bad), compare(results)
        first, second = np.mean(psnr, axis=0)
        table.add_row(
            name,
            background or "-",
            f"{restored / len(cases):.0%}",
            *(f"{one:.2f}" for one in (first, second)),
            f"{before:.3f}",
            f"{after:.3f}",
        )
    Console(width=120).print(table)


def with_noise(picture: Image.Image, deviation: float, pixel: int, rng: np.random.Generator) -> Image.Image:
    """White noise in each channel, on a picture made smaller by `pixel` and enlarged again."""
    size = (picture.width // pixel, picture.height // pixel)
    small = np.asarray(picture.resize(size, Image.Resampling.BOX), dtype=np.float64)
    noisy = np.rint(small + rng.normal(0, deviation, small.shape)).clip(0, 255).astype(np.uint8)
    return Image.fromarray(noisy).resize(picture.size, Image.Resampling.BICUBIC)


def in_the_face(picture: Image.Image, truth: Image.Image) -> float:
    """PSNR in dB between brow and chin."""
    _, where = face_pixels(AlignedFace.whole(truth))
    return psnr_of(np.asarray(picture)[where], np.asarray(truth)[where])


def _at_size(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture.resize((SIZE, SIZE), Image.Resampling.LANCZOS))


if __name__ == "__main__":
    main()
