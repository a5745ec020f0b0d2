"""An invented album: two people, of whom transformed portraits stand in for several photographs."""

from pathlib import Path

from PIL import Image, ImageEnhance, ImageOps

from faceref.faces.detect import Detector, Face
from faceref.faces.dlib_detector import DlibDetector


def save_album(folder: Path, portrait: Image.Image) -> Path:
    """1-3.png show the astronaut, 4-5.png somebody else (for dlib's recogniser a solarised portrait is), 6.png both."""
    folder.mkdir(parents=True)
    for number, picture in enumerate(variants(portrait)[:3], start=1):
        picture.save(folder / f"{number}.png")
    for number, picture in enumerate(strangers(portrait)[:2], start=4):
        picture.save(folder / f"{number}.png")
    both = Image.new("RGB", (2 * portrait.width, portrait.height))
    both.paste(strangers(portrait)[2], (0, 0))
    both.paste(variants(portrait)[3], (portrait.width, 0))
    both.save(folder / "6.png")
    return folder


def variants(picture: Image.Image) -> list[Image.Image]:
    """Other photographs of the same face: mirrored, and so brighter, paler, duller."""
    mirrored = ImageOps.mirror(picture)
    return [
        mirrored,
        ImageEnhance.Brightness(mirrored).enhance(1.15),
        ImageEnhance.Color(mirrored).enhance(0.6),
        ImageEnhance.Contrast(mirrored).enhance(0.85),
    ]


def strangers(portrait: Image.Image) -> list[Image.Image]:
    """Photographs of somebody else."""
    return variants(ImageOps.solarize(portrait, 150))


class CountingDetector:
    """dlib's, which also finds a solarised face; it counts the pictures that it was shown."""

    def __init__(self) -> None:
        self.shown = 0
        self._detector: Detector = DlibDetector()

    def detect(self, image: Image.Image) -> list[Face]:
        self.shown += 1
        return self._detector.detect(image)
