"""Restored faces as they are put into their photograph: at any strength, also later, without restoring them again."""

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, Self

import numpy as np
from PIL import Image
from pydantic import Base64Bytes, BaseModel

from faceref.errors import UsageError
from faceref.faces.align import AlignedFace
from faceref.faces.blend import Blend, Colour, blend_aligned
from faceref.faces.surroundings import Outline, Sharpened, sharpen_around
from faceref.pictures.output import encode_picture
from faceref.pictures.photo import Photo
from faceref.restore.background import kept_around
from faceref.restore.faces import RestoredFace, crop_of
from faceref.restore.options import RestoreOptions, Strength
from faceref.restore.result import Result, of_faces
from faceref.threads import in_threads

FAST = 1  # compression of whole pictures: a fifth of the time, an eighth larger


@dataclass(frozen=True, eq=False)
class Layer:
    """A restored face over its photograph.

    image: the aligned face, restored fully, RGB; crop: as it was in the photograph; landmarks: where it was cut out,
    float32 [68, 2], None if the whole picture is the face; strength: how much of it is shown, in [0, 1]; seed: of its
    grain; head: whether hair, ears and neck are shown with it.
    """

    image: Image.Image
    crop: AlignedFace
    landmarks: np.ndarray | None
    strength: float
    seed: int
    head: bool

    @classmethod
    def of(cls, one: RestoredFace) -> Self:
        landmarks = one.face.place.landmarks if one.face.place else None
        return cls(one.image, one.face.crop, landmarks, one.assignment.strength, one.settings.seed, one.face.head)


def compose_layers(
    photo: Photo, layers: Sequence[Layer], colour: Colour, kept: Sequence[Outline] | None = None
) -> Image.Image:
    """The photograph under its layers; see `faceref.restore.steps.compose`."""
    if kept is not None:
        photo, layers = _sharpened(photo, layers, kept)
    image = photo.image.copy()
    for layer in layers:
        if layer.landmarks is None:
            image = blend_aligned(layer.image, layer.crop, strength=layer.strength, colour=colour)
    placed = [(layer, layer.landmarks) for layer in layers if layer.landmarks is not None]
    for blend in in_threads(lambda one: _blend(photo.image, *one, colour), placed):
        blend.onto(image)
    if photo.alpha is not None:
        image.putalpha(photo.alpha.resize(image.size))
    return image


def _sharpened(photo: Photo, layers: Sequence[Layer], kept: Sequence[Outline]) -> tuple[Photo, list[Layer]]:
    """The photograph, as much sharper around its layers as these are, and the layers over that."""
    outlines = [None if layer.landmarks is None else Outline(layer.landmarks, layer.head) for layer in layers]
    faces = [
        Sharpened.of(outline, layer.crop, layer.image, layer.strength)
        for outline, layer in zip(outlines, layers, strict=True)
        if outline
    ]
    if not any(face.gains.any() for face in faces):
        return photo, list(layers)
    sharper = replace(photo, image=sharpen_around(photo.image, faces, kept))
    return sharper, [replace(layer, crop=crop_of(sharper, layer.landmarks)) for layer in layers]


def _blend(photo: Image.Image, layer: Layer, landmarks: np.ndarray, colour: Colour) -> Blend:
    return Blend.of(
        photo,
        layer.image,
        layer.crop,
        landmarks,
        strength=layer.strength,
        colour=colour,
        rng=np.random.default_rng(layer.seed),
        head=layer.head,
    )


class _OutlineFile(BaseModel):
    landmarks: list[tuple[float, float]]
    head: bool

    @classmethod
    def of(cls, outline: Outline) -> Self:
        return cls.model_construct(landmarks=_listed(outline.landmarks), head=outline.head)

    @property
    def outline(self) -> Outline:
        return Outline(np.array(self.landmarks, dtype=np.float32), self.head)


class _LayerFile(BaseModel):
    number: int
    png: Base64Bytes
    landmarks: list[tuple[float, float]] | None
    strength: float
    seed: int
    head: bool = False
    metadata: dict[str, str]

    @classmethod
    def of(cls, one: RestoredFace) -> Self:
        layer = Layer.of(one)
        return cls.model_construct(
            number=one.face.number,
            png=_png(layer.image),
            landmarks=None if layer.landmarks is None else _listed(layer.landmarks),
            strength=layer.strength,
            seed=layer.seed,
            head=layer.head,
            metadata=one.metadata,
        )

    def shown(self, strength: float) -> Self:
        """The same, shown so much."""
        metadata = self.metadata | {"strength": f"{strength:.2f}"}
        return self.model_copy(update={"strength": strength, "metadata": metadata})

    @property
    def kept(self) -> _OutlineFile:
        """Where it is, in a picture that shows nothing of it; it is no whole picture."""
        return _OutlineFile(landmarks=self.landmarks or [], head=self.head)

    def over(self, photo: Photo) -> Layer:
        landmarks = None if self.landmarks is None else np.array(self.landmarks, dtype=np.float32)
        return Layer(_opened(self.png), crop_of(photo, landmarks), landmarks, self.strength, self.seed, self.head)


class Layers(BaseModel):
    """The layers of a result as JSON, to be shown at another strength later; the photograph is kept beside it.

    metadata: of the result, but for its faces; below: what they lie on, a PNG, where that is not the photograph itself,
    and its metadata; kept: faces that stay as they are while it becomes sharper around the layers', None where it does
    not; enlarged: the result is larger than the photograph, which the layers do not know how to make.
    """

    faces: list[_LayerFile]
    colour: Literal["keep", "allow"]
    metadata: dict[str, str]
    below: Base64Bytes | None = None
    metadata_below: dict[str, str] = {}
    kept: list[_OutlineFile] | None = None
    enlarged: bool = False

    @classmethod
    def of(cls, result: Result, colour: Colour) -> Self:
        faces = [_LayerFile.of(one) for one in result.faces]
        below = None if result.under is None else _png(result.under.image, compress_level=FAST)
        return cls.model_construct(
            faces=faces,
            colour=colour,
            metadata=result.origin(with_faces=True),
            below=below,
            metadata_below=result.origin(with_faces=False),
            kept=None if below is None else [_OutlineFile.of(one) for one in kept_around(result.assignments)],
            enlarged=result.enlargement > 1,
        )

    @property
    def is_new(self) -> bool:
        """Whether the picture is another one than the photograph."""
        return bool(self.faces) or self.below is not None

    def at(self, strength: Strength) -> Self:
        """As restoring these faces with that strength gives them: one of which nothing is shown has no layer.

        Faces that are not named are shown as much as they were. Raises UsageError for a face that was not restored, and
        for what is no strength.
        """
        given = RestoreOptions.of(strength=strength).strength
        numbers = [face.number for face in self.faces]
        by_face = given if isinstance(given, dict) else dict.fromkeys(numbers, given or 0.0)
        if missing := by_face.keys() - set(numbers):
            raise UsageError(f"Face {min(missing)} was not restored", hint="restore it first")
        faces = [face.shown(by_face[face.number]) if face.number in by_face else face for face in self.faces]
        hidden = [face.kept for face in faces if face.strength == 0 and face.landmarks]
        kept = None if self.kept is None else self.kept + hidden
        return self.model_copy(update={"faces": [face for face in faces if face.strength > 0], "kept": kept})

    def encode(self, photo: Photo, format: str) -> tuple[bytes, tuple[str, ...]]:
        """The picture with its restored faces, as `Result.encode` gives it."""
        if self.below is not None:
            photo = replace(photo, image=_opened(self.below))
        kept = None if self.kept is None else [one.outline for one in self.kept]
        image = compose_layers(photo, [face.over(photo) for face in self.faces], self.colour, kept)
        told = self.metadata | of_faces([face.metadata for face in self.faces]) if self.faces else self.metadata_below
        metadata = told if self.is_new else None
        return encode_picture(image, format, file=photo.file, metadata=metadata)


def _listed(landmarks: np.ndarray) -> list[tuple[float, float]]:
    return [(x, y) for x, y in landmarks.tolist()]


def _png(image: Image.Image, **settings: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", **settings)
    return buffer.getvalue()


def _opened(png: bytes) -> Image.Image:
    return Image.open(io.BytesIO(png), formats=("PNG",)).convert("RGB")
