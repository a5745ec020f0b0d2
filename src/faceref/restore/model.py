"""A model as restoring uses it: checks what is asked of it, keeps what it made of people, restores faces in batches."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from threading import Lock
from typing import Any, cast

import torch
from accelerate.utils.memory import clear_device_cache
from PIL import Image

from faceref.checkpoints.info import ModelInfo
from faceref.devices import is_out_of_memory
from faceref.errors import FacerefError
from faceref.models.reference import ReferenceCache
from faceref.people.person import Person
from faceref.pipelines.protocol import FacePipeline
from faceref.pipelines.scheduler_name import SchedulerName
from faceref.pipelines.settings import Sampling
from faceref.restore.options import RestoreOptions

BATCH = 8  # faces that go through the network together
KEPT = 8  # people whose references a model keeps encoded, those used last; a batch has no more
OnStep = Callable[[int, int], None]  # (steps done, steps in all)


@dataclass(frozen=True)
class Settings:
    """All that decides what the network makes of a face, beside the pictures.

    guidance: None for a model that takes no references; crisp: None for one that cannot be told. dtype: of
    the network; None for float32. backend: what computes it; None for torch.
    """

    model: str
    steps: int
    guidance: float | None
    scheduler: SchedulerName
    crisp: float | None
    seed: int
    dtype: str | None = None
    backend: str | None = None

    @property
    def sampling(self) -> Sampling:
        """As the pipeline is to sample."""
        return Sampling(self.steps, 1.0 if self.guidance is None else self.guidance, self.scheduler, self.crisp)

    def by_name(self) -> dict[str, Any]:
        """Those that the model has."""
        return {key: value for key, value in asdict(self).items() if value is not None}


class Model:
    """A pipeline and its description. Threads may share it."""

    def __init__(self, pipeline: FacePipeline, info: ModelInfo) -> None:
        """pipeline: its weights are laid out anew (`FacePipeline.use_channels_last`)."""
        pipeline.use_channels_last()
        self.pipeline = pipeline
        self.info = info
        self._caches: OrderedDict[tuple[Any, ...], ReferenceCache] = OrderedDict()  # used last at the end
        self._lock = Lock()

    @property
    def device(self) -> torch.device:
        return self.pipeline.execution_device

    def settings(self, options: RestoreOptions) -> Settings:
        """The options with this model's defaults. Raises UsageError for what it cannot do."""
        sampling = self.pipeline.defaults.changed(
            steps=options.steps, guidance=options.guidance, scheduler=options.scheduler, crisp=options.crisp
        )
        self.pipeline.check(sampling, self._called)
        return Settings(
            model=self.info.name,
            steps=sampling.steps,
            guidance=sampling.guidance if self.pipeline.takes_references else None,
            scheduler=sampling.scheduler,
            crisp=sampling.crisp,
            seed=options.seed,
            dtype=None if self.pipeline.unet.dtype == torch.float32 else str(self.pipeline.unet.dtype)[len("torch.") :],
            backend=None if self.pipeline.backend == "torch" else self.pipeline.backend,
        )

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
            restored += self._restore_batch(part, whose, settings, lambda step, before=before: on_step(before + step))
        return restored

    def _restore_batch(
        self,
        faces: Sequence[Image.Image],
        people: Sequence[Person | None],
        settings: Settings,
        on_step: Callable[[int], None],
    ) -> list[Image.Image]:
        """At most BATCH faces together; in halves where they are too many for the device, the last one in strips."""
        try:
            return self._restore_together(faces, people, settings, on_step)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        self._free_memory()  # not before the error is gone, whose traceback holds tensors
        if (half := len(faces) // 2) > 0:
            return [
                *self._restore_batch(faces[:half], people[:half], settings, lambda step: on_step(step // 2)),
                *self._restore_batch(
                    faces[half:], people[half:], settings, lambda step: on_step((settings.steps + step) // 2)
                ),
            ]
        if not self.pipeline.in_strips and self.pipeline.backend == "torch":
            self.pipeline.enable_vae_tiling()
            return self._restore_batch(faces, people, settings, on_step)
        raise FacerefError(
            f"{self.device} has too little memory for a face of {self.info.resolution} px",
            hint="end other programs that use it, load the model with low memory, or compute on the CPU",
            code="out_of_memory",
        )

    def _restore_together(
        self,
        faces: Sequence[Image.Image],
        people: Sequence[Person | None],
        settings: Settings,
        on_step: Callable[[int], None],
    ) -> list[Image.Image]:
        """In one call of the pipeline."""
        caches = [person and self.cache(person) for person in people]
        output = self.pipeline(
            [self.input(face) for face in faces],
            references=caches if any(caches) else None,
            generator=[torch.Generator().manual_seed(settings.seed) for _ in faces],  # no face depends on another
            callback_on_step_end=lambda _, step, *__: on_step(step + 1),
            **settings.sampling.arguments(),
        )
        return cast(list[Image.Image], output.images)

    def forget(self) -> None:
        """Give up what is kept of people."""
        with self._lock:
            self._caches.clear()

    def _free_memory(self) -> None:
        """Give up what was kept of people, and give back to the device what nothing uses."""
        self.forget()
        self.pipeline.forget()
        clear_device_cache(garbage_collection=True)
