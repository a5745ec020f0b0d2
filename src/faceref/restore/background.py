"""The whole picture: cleaned, or made larger; faces are then enlarged by Lanczos, whatever draws the rest."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from threading import Lock

import numpy as np
import torch
from diffusers.utils import SAFETENSORS_WEIGHTS_NAME
from PIL import Image

from faceref.faces.blend import placed_weights
from faceref.faces.surroundings import Outline
from faceref.models.cleaner import CLEANER, load_cleaner
from faceref.models.upscaler import Upscaler, find_realesrgan, load_realesrgan, load_upscaler
from faceref.pictures.output import check_side
from faceref.pictures.photo import Photo, PhotoSource, sides
from faceref.pictures.search import photo_digest
from faceref.pictures.tiles import enlarge_in_tiles
from faceref.restore.faces import Assignment, FoundFace, RestoredFace
from faceref.restore.model import OnStep
from faceref.restore.options import CLEAN, LANCZOS, NAMED_BACKGROUNDS, REALESRGAN, RestoreOptions


class Upscalers:
    """Those that were asked for, each loaded once. Threads may share it."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._loaded: dict[str, Upscaler] = {}
        self._lock = Lock()

    def check(self, options: RestoreOptions) -> None:
        """Raises as `get`. A file is loaded, since nothing else tells what it is worth; Real-ESRGAN is not."""
        if options.background == REALESRGAN:
            find_realesrgan()
        else:
            self.get(options)

    def get(self, options: RestoreOptions) -> Upscaler | None:
        """What the options name; None for Lanczos, and where nothing is made larger. Raises as `load_upscaler`,
        and UsageError for a scale that it cannot make."""
        name = options.background
        if name is None or name == LANCZOS:
            return None
        with self._lock:
            if name not in self._loaded:
                self._loaded[name] = self._load(name)
        found = self._loaded[name]
        if found.factor > 1:
            found.check(options.enlargement)
        return found

    def _load(self, name: str) -> Upscaler:
        if name == CLEAN:
            return load_cleaner(self._device)
        return load_realesrgan() if name == REALESRGAN else load_upscaler(Path(name), self._device)


def clean(photo: Photo, cleaner: Upscaler, on_step: OnStep = lambda *_: None) -> Photo:
    """The photograph without noise and compression, its faces too; one without colours gets none.

    on_step: (tiles done, tiles in all).
    """
    return replace(photo, image=_drawn(photo, cleaner, 1, on_step))


def over(photo: Photo, restored: Sequence[RestoredFace]) -> tuple[RestoredFace, ...]:
    """Restored faces as corrections of the cleaned photograph."""
    return tuple(_over(one, replace(one.face, crop=one.face.crop_in(photo))) for one in restored)


def kept_around(assignments: Sequence[Assignment], scale: int = 1) -> tuple[Outline, ...]:
    """The faces that stay as they are while it becomes sharper around others, in a picture so many times larger."""
    left = [one.face for one in assignments if one.left_alone]
    return tuple(Outline(at_scale(face.place.landmarks, scale), face.head) for face in left if face.place)


def enlarge(
    photo: Photo,
    faces: Sequence[FoundFace],
    restored: Sequence[RestoredFace],
    scale: int,
    upscaler: Upscaler | None = None,
    on_step: OnStep = lambda *_: None,
) -> tuple[Photo, tuple[RestoredFace, ...]]:
    """The photograph `scale` times larger, and the restored faces where they lie in that.

    faces: all that were found; each is enlarged by Lanczos where it would be restored, since an upscaler invents noses
    and lips. upscaler: by default Lanczos enlarges everything. A photograph without colours gets none. on_step: (tiles
    done, tiles in all) of an upscaler.

        >>> larger, placed = enlarge(photo, faces, restored, 2)
    """
    width, height = scale * photo.image.width, scale * photo.image.height
    if upscaler is None:
        image = photo.image.resize((width, height), Image.Resampling.LANCZOS)
    else:
        image = _drawn(photo, upscaler, scale, on_step)
        for face in faces:
            _keep_face(image, photo.image, _at_scale(face, scale), scale)
    left, top, right, bottom = (scale * edge for edge in photo.readable)
    alpha = photo.alpha and photo.alpha.resize((width, height), Image.Resampling.BICUBIC)
    larger = [_at_scale(one.face, scale) for one in restored]
    if upscaler is not None:  # it has drawn the hair already
        larger = [replace(face, head=False) for face in larger]
    placed = tuple(_over(one, face) for one, face in zip(restored, larger, strict=True))
    return replace(photo, image=image, alpha=alpha, readable=(left, top, right, bottom)), placed


def background_fingerprint(options: RestoreOptions) -> str | None:
    """What draws the picture: its name, or of a file by what is in it, ours too. Raises PhotoError if it is gone."""
    name = options.background
    if name == CLEAN:
        return photo_digest(CLEANER / SAFETENSORS_WEIGHTS_NAME)
    return name if name is None or name in NAMED_BACKGROUNDS else photo_digest(Path(name))


def check_result(photo: PhotoSource, options: RestoreOptions, format: str, name: str) -> None:
    """Raises OutputError about `name` before any work if the photograph's result is larger than its format holds."""
    if options.enlargement > 1 and (size := sides(photo)):
        check_side(options.enlargement * max(size), format, name)


def at_scale(points: np.ndarray, scale: int) -> np.ndarray:
    """Points [N, 2] of a photograph in one that is so many times larger; the centre of the first pixel is (0, 0)."""
    return (points + 0.5) * scale - 0.5


def _drawn(photo: Photo, upscaler: Upscaler, scale: int, on_step: OnStep) -> Image.Image:
    """The picture as a network draws it; without colours if the photograph has none."""
    image = enlarge_in_tiles(
        photo.image,
        upscaler.enlarge,
        upscaler.factor,
        scale,
        tile=upscaler.tile,
        overlap=upscaler.overlap,
        multiple=upscaler.multiple,
        on_tile=on_step,
    )
    return image.convert("L").convert("RGB") if photo.grayscale else image


def _over(restored: RestoredFace, face: FoundFace) -> RestoredFace:
    """The restored face over another picture of it."""
    return replace(restored, assignment=replace(restored.assignment, face=face))


def _at_scale(face: FoundFace, scale: int) -> FoundFace:
    """The face as it lies in the enlarged photograph; its crop is the same picture."""
    if face.place is None:
        return face
    left, top, right, bottom = (scale * edge for edge in face.place.box)
    place = replace(face.place, box=(left, top, right, bottom), landmarks=at_scale(face.place.landmarks, scale))
    alignment = replace(face.crop.alignment, quad=at_scale(face.crop.alignment.quad, scale))
    return replace(face, place=place, crop=replace(face.crop, alignment=alignment))


def _keep_face(image: Image.Image, photo: Image.Image, face: FoundFace, scale: int) -> None:
    """Put the photograph's own face, enlarged by Lanczos, into the enlarged picture `image`, as if it were restored."""
    placed = face.place and placed_weights(image.size, face.place.landmarks, face.crop.alignment)
    if not placed:
        return
    box, weights = placed
    left, top, right, bottom = (edge / scale for edge in box)
    size = (box[2] - box[0], box[3] - box[1])
    plain = photo.resize(size, Image.Resampling.LANCZOS, box=(left, top, right, bottom))
    mask = Image.fromarray(np.rint(255 * weights[..., 0]).astype(np.uint8))
    image.paste(plain, box[:2], mask)
