"""Makes the photograph and the reference of `make demo` from the portrait that scikit-image carries (see README.md)."""

from pathlib import Path

import numpy as np
import skimage.data
from PIL import Image, ImageOps

from faceref.data.degradation import Degradation, degrade

FOLDER = Path(__file__).parent
PAGE = FOLDER.parent / "src" / "faceref" / "app" / "page" / "example"  # the page shows the same
# In pixels of the 512 px portrait, whose aligned face is 173 px wide.
DEGRADATION = Degradation(sigma_x=2.5, sigma_y=2.5, angle=0, downsample=3, noise=6, quality=60, kernel_size=21)


def main() -> None:
    portrait = Image.fromarray(skimage.data.astronaut())
    photo = degrade(portrait, DEGRADATION, np.random.default_rng(0))
    photo.save(FOLDER / "photo.png")
    photo.save(PAGE / "photo.jpg", quality=95)
    (FOLDER / "references").mkdir(exist_ok=True)
    reference = ImageOps.mirror(portrait).crop((160, 0, 460, 300))
    for path in (FOLDER / "references" / "mirrored.jpg", PAGE / "reference.jpg"):
        reference.save(path, quality=95)


if __name__ == "__main__":
    main()
