"""What `--background clean` makes of what is around restored faces: the table of docs/background.md.

    python benchmarks/surroundings.py DATA/raw-people

One photograph of each person is made worse in several ways (lengths in 256ths of the side of the face's square),
restored with up to five others of the person, and its surroundings compared with the truth: PSNR in dB within 1.2 sides
of the face's centre, but for what is drawn anew. Cleaned alone, and as much sharper as the face became.
"""

import io
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from faded import given
from PIL import Image, ImageFilter
from rich.console import Console
from rich.progress import track
from rich.table import Table
from strength import psnr_of

from faceref.data.lq_set import seed_for
from faceref.errors import FacerefError
from faceref.evaluation.statistics import estimate_mean
from faceref.faces.align import Alignment
from faceref.faces.blend import warp
from faceref.faces.mask import MASK_SIZE, face_weights
from faceref.faces.surroundings import REACH, SIZE
from faceref.restore.background import kept_around, over
from faceref.restore.options import CLEAN, RestoreOptions
from faceref.restore.restorer import Restorer
from faceref.restore.result import Result
from faceref.restore.steps import compose

REFERENCES = 5
# The constants of `faceref.faces.surroundings` were chosen on these, and on ten portraits of photos.zip
CHOSEN_ON = (
    "John_Travolta",
    "Jonathan_Edwards",
    "Liza_Minnelli",
    "Mick_Jagger",
    "Mitchell_Daniels",
    "Sepp_Blatter",
    "Walter_Mondale",
)
# blur, times smaller, noise in levels, JPEG's quality
WAYS: dict[str, tuple[float, float, float, int]] = {
    "blur 1.5": (1.5, 1, 0, 95),
    "blur 3": (3, 1, 0, 90),
    "blur 2, noise 8, JPEG 60": (2, 1, 8, 60),
    "half, JPEG 50": (0.7, 2, 3, 50),
    "a third, noise 10, JPEG 70": (0.7, 3, 10, 70),
}


def main() -> None:
    arguments = given(__doc__)
    cases, restorer = list(whole_photographs(arguments.folder, arguments.people)), Restorer.from_pretrained()
    table = Table("made worse by", "faces", "input", "cleaned", "sharper, too", "gain", "worst", "best")
    for name, way in WAYS.items():
        measured = []
        for path, references in track(cases, description=name):
            truth = Image.open(path).convert("RGB")
            try:
                found = restorer.match(truth, (), RestoreOptions()).assignments
                side = max(one.face.crop.alignment.side for one in found)
                rng = np.random.default_rng(seed_for(arguments.seed, path.name, name))
                bad = worse(truth, side / SIZE, *way, rng)
                result = restorer.restore(bad, references, RestoreOptions(seed=arguments.seed, background=CLEAN))
            except FacerefError as error:  # of a person who is not found again
                print(f"{path.name}, {name}: {error}")
                continue
            if result.faces:
                measured.append(compared(truth, bad, result))
        before, cleaned, sharper = np.array(measured).T
        gain = sharper - cleaned
        mean = estimate_mean(gain, np.arange(len(gain)), seed=arguments.seed)
        table.add_row(
            name,
            str(len(measured)),
            *(f"{one.mean():.2f}" for one in (before, cleaned, sharper)),
            f"{mean.mean:+.2f} [{mean.low:+.2f}, {mean.high:+.2f}]",
            f"{gain.min():+.2f}",
            f"{gain.max():+.2f}",
        )
    Console(width=120).print(table)


def whole_photographs(folder: Path, people: int) -> Iterator[tuple[Path, list[Path]]]:
    """A photograph of each person who has several, and up to five others of them."""
    several = [sorted(person.iterdir()) for person in sorted(folder.iterdir()) if person.name not in CHOSEN_ON]
    for paths in [paths for paths in several if len(paths) > 1][:people]:
        yield paths[0], paths[1 : 1 + REFERENCES]


def worse(
    picture: Image.Image,
    pixel: float,
    blur: float,
    smaller: float,
    noise: float,
    quality: int,
    rng: np.random.Generator,
) -> Image.Image:
    """Blurred, made smaller, noisy, compressed, as large again; pixel: of the aligned face, in the picture's."""
    smaller = max(smaller * pixel, 1.0) if smaller > 1 else 1.0
    blurred = np.asarray(picture.filter(ImageFilter.GaussianBlur(blur * pixel)), dtype=np.float32)
    size = [max(round(length / smaller), 1) for length in picture.size]
    small = cv2.resize(blurred, size, interpolation=cv2.INTER_AREA)
    small = np.rint(small + rng.normal(0, noise, small.shape)).clip(0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(small).save(buffer, "JPEG", quality=quality)
    return Image.open(buffer).convert("RGB").resize(picture.size, Image.Resampling.BICUBIC)


def compared(truth: Image.Image, bad: Image.Image, result: Result) -> list[float]:
    """PSNR around the restored faces: of the input, of what was cleaned, and of what became sharper, too."""
    assert result.under is not None
    where = around(result)
    faces, others = over(result.under, result.faces), kept_around(result.assignments)
    pictures = [bad, *(compose(result.under, faces, RestoreOptions(), kept) for kept in (None, others))]
    return [psnr_of(np.asarray(picture)[where], np.asarray(truth)[where]) for picture in pictures]


def around(result: Result) -> np.ndarray:
    """bool [h, w]: what is near a restored face and not drawn anew."""
    width, height = result.image.size
    near, drawn = np.zeros((height, width), bool), np.zeros((height, width), bool)
    points = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1).reshape(-1, 2)
    for one in result.faces:
        place, alignment = one.face.place, Alignment(one.face.crop.alignment.quad, SIZE)
        assert place is not None
        away = np.hypot(*(alignment.to_crop(points) / SIZE - 0.5).T).reshape(height, width)
        near |= away < REACH[1]
        weights = face_weights(place.landmarks, alignment, head=one.face.head)
        drawn |= warp(weights, Alignment(alignment.quad, MASK_SIZE), (0, 0, width, height))[..., 0] > 0.02
    return near & ~drawn


if __name__ == "__main__":
    main()
