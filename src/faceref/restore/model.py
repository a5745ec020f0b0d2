"""A model as restoring uses it: checks what is asked of it, keeps what it made of people, restores faces in batches."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from threading import Lock
from typing import Any, cast

import torch
from PIL import Image

from faceref.checkpoints.info import ModelInfo
from faceref.checkpoints.store import Pipeline
from faceref.models.reference import ReferenceCache
from faceref.people.person import Person
from faceref.pipelines.scheduler_name import SchedulerName
from faceref.restore.options import RestoreOptions

BATCH = 8  # faces that go through the network together
KEPT = 8  # people whose references a model keeps encoded, those used last; a batch has no more
OnStep = Callable[[int, int], None]  # (steps done, steps in all)


@dataclass(frozen=True)
class Settings:
    """All that decides what the network makes of a face, beside the pictures.

    guidance: None for a model that takes no references.
    """

    model: str
    steps: int
    guidance: float | None
    scheduler: SchedulerName
    seed: int

    def by_name(self) -> dict[str, Any]:
        """Those that the model has."""
        return {key: value for key, value in asdict(self).items() if value is not None}


class Model:
    """A pipeline and its description. Threads may share it."""

    def __init__(self, pipeline: Pipeline, info: ModelInfo) -> None:
        self.pipeline = pipeline
        self.info = info
        self._caches: OrderedDict[tuple[Any, ...], ReferenceCache] = OrderedDict()  # used last at the end
        self._lock = Lock()

    @property
    def device(self) -> torch.device:
        return self.pipeline.device

    def settings(self, options: RestoreOptions) -> Settings:
        """The options with this model's defaults. Raises UsageError for what it cannot do."""
        info = self.info
        guidance = options.guidance
        if guidance is None and self.pipeline.takes_references:
            guidance = info.guidance
        settings = Settings(
            model=info.name,
            steps=info.steps if options.steps is None else options.steps,
            guidance=guidance if self.pipeline.takes_references else None,
            scheduler=options.scheduler or info.scheduler,
            seed=options.seed,
        )
        self.pipeline.check_options(
            steps=settings.steps, scheduler=settings.scheduler, guidance=guidance, called=self._called
        )
        return settings

    def check_takes_references(self) -> None:
        """Raises UsageError where references were given to a model that cannot use any."""
        self.pipeline.check_takes_references(self._called)

    @property
    def _called(self) -> str:
        return f"The model {self.info.name}"

    def cache(self, person: Person) -> ReferenceCache:
        """What the network keeps of a person's references, computed once while they are among the KEPT used last."""
        # One photograph may show two people, and a face may be cut from it in two ways: embeddings tell them apart.
        key = tuple((one.digest, one.embedding.tobytes()) for one in person.references)
        with self._lock:
            if (known := self._caches.get(key)) is not None:
                self._caches.move_to_end(key)
                return known
        cache = self.pipeline.encode_references([self.input(one.face) for one in person.references])
        with self._lock:
            self._caches[key] = cache
            if len(self._caches) > KEPT:
                self._caches.popitem(last=False)
        return cache

    def input(self, face: Image.Image) -> Image.Image:
        """An aligned face at the size that the network takes."""
        side = self.info.resolution
        return face if face.width == side else face.resize((side, side), Image.Resampling.LANCZOS)

    def steps(self, faces: int, settings: Settings) -> int:
        """How many times the network is called for so many faces, at most BATCH of them together."""
        return -(-faces // BATCH) * settings.steps

    def restore(
        self,
        faces: Sequence[Image.Image],
        people: Sequence[Person | None],
        settings: Settings,
        on_step: Callable[[int], None],
    ) -> list[Image.Image]:
        """Aligned faces of any size, each with its own person's references -> restored ones, in the same order.

        on_step: called with the steps done, of `self.steps(len(faces), settings)`.
        """
        restored: list[Image.Image] = []
        for start in range(0, len(faces), BATCH):
            part, whose = faces[start : start + BATCH], people[start : start + BATCH]
            before = self.steps(start, settings)
            caches = [person and self.cache(person) for person in whose]
            output = self.pipeline(
                [self.input(face) for face in part],
                references=caches if any(caches) else None,
                guidance=settings.guidance,
                steps=settings.steps,
                scheduler=settings.scheduler,
                generator=[torch.Generator().manual_seed(settings.seed) for _ in part],  # no face depends on another
                callback=lambda step, _, before=before: on_step(before + step),
            )
            restored += cast(list[Image.Image], output.images)
        return restored
