"""What a restoration leaves behind: the picture, its faces, how it was made."""

import dataclasses
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from faceref.people.references import EncodedReferences
from faceref.pictures.output import save_picture
from faceref.pictures.photo import Photo
from faceref.pictures.sheets import below, comparison
from faceref.pipelines.sampling import SchedulerName


@dataclass(frozen=True)
class Settings:
    """All that decides the result beside the pictures; written into the files that `faceref restore` makes.

    guidance: None for a model that takes no references.
    """

    model: str
    steps: int
    guidance: float | None
    scheduler: SchedulerName
    seed: int
    match_color: bool

    def by_name(self) -> dict[str, Any]:
        """Those that the model has."""
        return {key: value for key, value in dataclasses.asdict(self).items() if value is not None}


@dataclass(frozen=True, eq=False)
class RestoredFace:
    """One restored face.

    number: its place among the faces of the photograph, from the left, beginning with 1.
    box: (left, top, right, bottom) and landmarks float32 [68, 2] in pixels of the photograph; None with `aligned`.
    aligned_before, aligned_after: the square that the model saw and what became of it, both at the model's resolution.
    similarity_to_references, similarity_to_input: of aligned_after, cosine of dlib's embeddings in [-1, 1] (mean over
        the references, None without them). Between sharp photographs of one person 0.92 and more, of two 0.89 and less.
    """

    number: int
    box: tuple[float, float, float, float] | None
    landmarks: np.ndarray | None
    aligned_before: Image.Image
    aligned_after: Image.Image
    similarity_to_references: float | None
    similarity_to_input: float


@dataclass(frozen=True, eq=False)
class Result:
    """What `Restorer.restore` made: `image` is the photograph with its faces restored, RGB, or RGBA if it had alpha.

    photo: the photograph as it was opened; faces: the restored ones, of `faces_found`; warnings: a sentence each;
    timings: seconds by phase.
    """

    image: Image.Image
    photo: Photo
    faces: tuple[RestoredFace, ...]
    faces_found: int
    references: EncodedReferences | None
    warnings: tuple[str, ...]
    timings: dict[str, float]
    settings: Settings

    @property
    def metadata(self) -> dict[str, str]:
        """What files made from this result say of its origin."""
        settings = {key: str(value) for key, value in self.settings.by_name().items()}
        return {
            "Software": f"faceref {version('faceref')}",
            "Description": "AI-restored: the faces in this picture were made by a trained model.",
            "references": str(len(self.references.used) if self.references else 0),
            **settings,
        }

    def save(self, path: str | Path) -> tuple[str, ...]:
        """Write the picture, with the photograph's EXIF, XMP and colour profile and this result's metadata.

        PNG, JPEG, WebP or TIFF by the suffix; an older file of that name is replaced. Returns a sentence for
        what a JPEG could not hold and was left out. Raises OutputError.
        """
        return save_picture(self.image, path, file=self.photo.file, metadata=self.metadata)

    def comparison(self) -> Image.Image:
        """Before, after and references side by side, RGB; a row for each restored face."""
        references = [reference.face for reference in self.references.used] if self.references else []
        return below([comparison(face.aligned_before, face.aligned_after, references) for face in self.faces])

    def save_comparison(self, path: str | Path) -> None:
        """Write the comparison as `save` writes the picture."""
        save_picture(self.comparison(), path, metadata=self.metadata)
