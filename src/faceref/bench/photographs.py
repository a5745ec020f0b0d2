"""The stages of a whole photograph: what happens before and after the networks that restore."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from faceref.bench.report import Stage
from faceref.bench.stopwatch import measure
from faceref.errors import NoFaceError
from faceref.pictures.formats import OUTPUT_FORMATS
from faceref.pictures.photo import open_photo
from faceref.restore.faces import crop_of
from faceref.restore.options import RestoreOptions
from faceref.restore.restorer import Restorer
from faceref.restore.steps import compose, judge


def photograph_stages(
    restorer: Restorer, path: Path, references: Sequence[Path], options: RestoreOptions, repetitions: int
) -> Iterator[Stage]:
    """Measure each on a photograph with a face, and last the whole of it, the model loaded and the references read.

    Raises as `Restorer.restore`, of a photograph without a face that is restored NoFaceError.
    """
    cpu = torch.device("cpu")  # where all of this computes
    people = restorer.people(references, options) if references else []
    result = restorer.restore(path, people, options)
    if not result.faces:
        raise NoFaceError(f"No face of {path.name} is restored", hint="measure with another photograph")
    photo = open_photo(path)
    landmarks = [face.landmarks for face in restorer.detector.detect(photo.image)]
    crops = [crop_of(photo, points) for points in landmarks]
    images = [photo.image] * len(landmarks)
    stages = {
        "open": lambda: open_photo(path),
        "detect": lambda: restorer.detector.detect(photo.image),
        "align": lambda: [crop_of(photo, points) for points in landmarks],
        "recognise": lambda: restorer.recogniser.embed_with_probes(images, landmarks),
        "judge": lambda: [judge(crop) for crop in crops],
        "paste": lambda: compose(photo, result.faces, options),
        "write": lambda: result.encode(OUTPUT_FORMATS.get(path.suffix.lower(), "PNG")),
        "whole photograph": lambda: restorer.restore(path, people, options),
    }
    if references:
        stages = {"read references": lambda: restorer.people(references, options), **stages}
    for name, work in stages.items():
        yield Stage.of(name, measure(work, cpu, repetitions))
