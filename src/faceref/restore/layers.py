"""Restored faces as they are put into their photograph: at any strength, also later, without restoring them again."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
from PIL import Image
from pydantic import Base64Bytes, BaseModel

from faceref.faces.align import AlignedFace
from faceref.faces.blend import Colour, blend_aligned, blend_face
from faceref.pictures.output import encode_picture
from faceref.pictures.photo import Photo
from faceref.restore.faces import RestoredFace, crop_of
from faceref.restore.result import Result


@dataclass(frozen=True, eq=False)
class Layer:
    """A restored face over its photograph.

    image: the aligned face, restored fully, RGB; crop: as it was in the photograph; landmarks: where it was cut out,
    float32 [68, 2], None if the whole picture is the face; strength: how much of it is shown, in [0, 1]; seed: of its
    grain.
    """

    image: Image.Image
    crop: AlignedFace
    landmarks: np.ndarray | None
    strength: float
    seed: int

    @classmethod
    def of(cls, one: RestoredFace) -> Self:
        landmarks = one.face.place.landmarks if one.face.place else None
        return cls(one.image, one.face.crop, landmarks, one.assignment.strength, one.settings.seed)


def compose_layers(photo: Photo, layers: Sequence[Layer], colour: Colour) -> Image.Image:
    """The photograph under its layers; see `faceref.restore.steps.compose`."""
    image = photo.image
    for layer in layers:
        if layer.landmarks is None:
            image = blend_aligned(layer.image, layer.crop, strength=layer.strength, colour=colour)
        else:
            rng = np.random.default_rng(layer.seed)
            image = blend_face(
                image, layer.image, layer.crop, layer.landmarks, strength=layer.strength, colour=colour, rng=rng
            )
    if photo.alpha is not None:
        image = image.copy()
        image.putalpha(photo.alpha.resize(image.size))
    return image


class _LayerFile(BaseModel):
    png: Base64Bytes
    landmarks: list[tuple[float, float]] | None
    strength: float
    seed: int

    @classmethod
    def of(cls, layer: Layer) -> Self:
        buffer = io.BytesIO()
        layer.image.save(buffer, "PNG")
        return cls.model_construct(
            png=buffer.getvalue(),
            landmarks=None if layer.landmarks is None else [(x, y) for x, y in layer.landmarks.tolist()],
            strength=layer.strength,
            seed=layer.seed,
        )

    def over(self, photo: Photo, strength: float) -> Layer:
        image = Image.open(io.BytesIO(self.png), formats=("PNG",)).convert("RGB")
        landmarks = None if self.landmarks is None else np.array(self.landmarks, dtype=np.float32)
        return Layer(image, crop_of(photo, landmarks), landmarks, strength, self.seed)


class Layers(BaseModel):
    """The layers of a result as JSON, to be shown at another strength later; the photograph is kept beside it.

    enlarged: the result is larger than the photograph, which the layers do not know how to make.
    """

    faces: list[_LayerFile]
    colour: Literal["keep", "allow"]
    metadata: dict[str, str]
    enlarged: bool = False

    @classmethod
    def of(cls, result: Result, colour: Colour) -> Self:
        faces = [_LayerFile.of(Layer.of(one)) for one in result.faces]
        enlarged = result.enlargement > 1
        return cls.model_construct(faces=faces, colour=colour, metadata=result.metadata, enlarged=enlarged)

    def encode(self, photo: Photo, format: str, strength: float) -> tuple[bytes, tuple[str, ...]]:
        """The picture with all its restored faces shown so much, as `Result.encode` of that strength gives it."""
        image = compose_layers(photo, [face.over(photo, strength) for face in self.faces], self.colour)
        metadata = self.metadata | {"strength": f"{strength:.2f}"}
        return encode_picture(image, format, file=photo.file, metadata=metadata)
