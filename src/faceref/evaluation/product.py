"""The product beside the bare pipeline: faces in photographs, found, aligned, restored and pasted as users have it."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from faceref.errors import NoFaceError, NoReferenceError, OtherPersonError
from faceref.evaluation.families import MeasuredModel
from faceref.pictures.cut import cut_out
from faceref.pipelines.settings import Sampling
from faceref.restore.model import Model
from faceref.restore.options import RestoreOptions
from faceref.restore.restorer import Restorer

MARGIN = 0.5  # of the face's side: how much photograph there is around it


@dataclass(frozen=True, eq=False)
class ProductRestoration:
    """What the product makes of B faces.

    pixels: uint8 [B, S, S, 3], cut out of the restored photographs where the faces lay. seconds: [B], of everything
    that a user waits for once the model is loaded. found: [B], 1 where a face was found; where none was, the
    photograph is as it came.
    """

    pixels: np.ndarray
    seconds: np.ndarray
    found: np.ndarray


class Product:
    """A measured model with the finding, aligning and pasting around it."""

    def __init__(self, model: MeasuredModel) -> None:
        self._sampling: dict[str, Any] = {
            field.name: model.settings[field.name] for field in fields(Sampling) if field.name in model.settings
        }
        self._model = Model(model.pipeline, model.info)
        self._blind = model.blind and Model(*model.blind)
        self._restorer = Restorer(self._model, self._blind)

    def restore(
        self, faces: np.ndarray, references: Sequence[Sequence[Path]], seeds: Sequence[int]
    ) -> ProductRestoration:
        """Restore LQ faces uint8 [B, S, S, 3], each in a photograph of its own, with its references (aligned faces)."""
        pixels, seconds, found = [], [], []
        for face, paths, seed in zip(faces, references, seeds, strict=True):
            photo, box = in_a_photograph(face)
            self._model.forget()  # or the next degradation of a person's face would not wait for their references
            start = time.perf_counter()
            restored = self._restore(photo, paths, seed)
            seconds.append(time.perf_counter() - start)
            found.append(restored is not None)
            pixels.append(np.asarray(cut_out((restored or photo).convert("RGB"), box)))
        return ProductRestoration(np.stack(pixels), np.array(seconds), np.array(found, float))

    def _restore(self, photo: Image.Image, references: Sequence[Path], seed: int) -> Image.Image | None:
        """The photograph with its face restored, if that may be the person; None if no face is found in it."""
        people = [self._restorer.person(references, RestoreOptions(aligned=True))] if references else []
        try:
            options = RestoreOptions(seed=seed, max_refs=max(len(references), 1), **self._given(references))
            return self._restorer.restore(photo, people, options).image
        except (OtherPersonError, NoReferenceError):  # somebody else's, or the photograph itself
            return photo
        except NoFaceError:
            return None

    def _given(self, references: Sequence[Path]) -> dict[str, Any]:
        """How the model samples; one that is there for faces without references has its own way."""
        if references:
            return self._sampling
        return {} if self._blind else {**self._sampling, "guidance": None}


def in_a_photograph(face: np.ndarray) -> tuple[Image.Image, tuple[int, int, int, int]]:
    """A photograph with the face uint8 [S, S, 3] in its middle, and where it lies there (left, top, right, bottom).

    What is around it continues its edges: nothing else to find, and no frame around the face.
    """
    margin = round(MARGIN * len(face))
    photo = cv2.copyMakeBorder(face, margin, margin, margin, margin, cv2.BORDER_REPLICATE)
    return Image.fromarray(photo), (margin, margin, margin + len(face), margin + len(face))
