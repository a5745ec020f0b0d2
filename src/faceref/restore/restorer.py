"""The whole of "restore" on one screen: from a photograph and references to the photograph with its faces restored."""

import functools
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from PIL import Image

from faceref.checkpoints.store import ModelInfo, Pipeline, load_blind, load_pipeline
from faceref.devices import best_device
from faceref.errors import UsageError
from faceref.faces.align import AlignedFace
from faceref.faces.detect import Detector, DlibDetector
from faceref.faces.paste import match_color as match_color_of
from faceref.faces.paste import paste
from faceref.faces.recognise import DlibRecogniser, distance, similarity
from faceref.people.references import EncodedReferences, PhotoSource, read_references
from faceref.pictures.photo import Photo, open_photo
from faceref.pipelines.ldbfr import LDBFRPipeline
from faceref.pipelines.sampling import SchedulerName, check_guidance
from faceref.restore.candidates import Candidate, FaceChoice, choose_faces, find_faces, photo_name, whole_picture
from faceref.restore.result import RestoredFace, Result, Settings

# A face may be this many times larger in the photograph than the model's pictures before that is worth a warning.
MUCH_LARGER = 1.5
# dlib's distance of a degraded face to references from which on somebody should look. Moderately degraded LFW faces
# stay below it (95 % below 0.61; other people's median is 0.80); severely degraded ones (median 0.65) do not always.
DOUBTFUL_DISTANCE = 0.7


class Restorer:
    """A model with all that is needed to restore photographs with it. It may be shared between threads."""

    def __init__(
        self,
        pipeline: Pipeline,
        info: ModelInfo,
        detector: Detector | None = None,
        recogniser: DlibRecogniser | None = None,
        blind: "Restorer | None" = None,
    ) -> None:
        """blind: restores photographs that come without references; this one does by default."""
        self.pipeline = pipeline
        self.blind = blind
        self.info = info
        self.detector = detector or DlibDetector()
        self.recogniser = recogniser or DlibRecogniser()

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | Path = "small",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        detector: Detector | None = None,
    ) -> "Restorer":
        """Load a named model or a model folder, by default in float32 on the best device that there is.

        detector: dlib's by default; see `faceref.faces.detect.load_detector`.
        Raises UsageError (no such model) or CheckpointError (a damaged one).
        """
        device, dtype = device or best_device(), dtype or torch.float32
        detector, recogniser = detector or DlibDetector(), DlibRecogniser()
        blind = load_blind(name_or_path, device, dtype)
        return cls(
            *load_pipeline(name_or_path, device, dtype),
            detector,
            recogniser,
            blind and cls(*blind, detector, recogniser),
        )

    def encode_references(
        self,
        sources: PhotoSource | Iterable[PhotoSource],
        *,
        aligned: bool = False,
        largest_face: bool = False,
        exclude: Sequence[PhotoSource] = (),
    ) -> EncodedReferences:
        """Read and encode one person's references (files, folders, pictures) once, for several photographs.

        See `faceref.people.references.read_references` for the arguments and what is raised; UsageError, too, if the
        model cannot use references.
        """
        if isinstance(self.pipeline, LDBFRPipeline):
            raise self._cannot_use_references()
        used, skipped = read_references(
            _as_list(sources),
            self.detector,
            self.recogniser,
            self.info.resolution,
            aligned=aligned,
            largest_face=largest_face,
            exclude=exclude,
        )
        return EncodedReferences(used, skipped, self.pipeline.encode_references([one.face for one in used]))

    def restore(
        self,
        photo: PhotoSource,
        references: EncodedReferences | PhotoSource | Iterable[PhotoSource] = (),
        *,
        aligned: bool = False,
        face: FaceChoice | None = None,
        largest_reference_face: bool = False,
        steps: int | None = None,
        guidance: float | None = None,
        scheduler: SchedulerName | None = None,
        seed: int = 0,
        match_color: bool = True,
        on_step: Callable[[int, int], None] | None = None,
    ) -> Result:
        """Restore faces of a photograph so that they look like the person in the references.

        Without references the model that this one brings along for that (`blind`) does it, if there is one.

        photo, references: files or PIL pictures of any size; references may be folders, or encoded beforehand.
        aligned: photo and references are FFHQ-aligned square faces already; the result has the model's resolution.
        face: which one; by default the one most like the references, or all when there are no references.
        largest_reference_face: of a reference with several faces take the largest; else it is left out.
        steps, guidance, scheduler: the model's own by default. The same seed gives the same pixels.
        match_color: give each restored face the mean colour that it has in the photograph.
        on_step: called with (steps done, steps in all) after each step.

        Raises PhotoError, NoFaceError or UsageError (see `faceref.errors`).
        """
        given = references if isinstance(references, EncodedReferences) else _as_list(references)
        if self.blind is not None and given == []:
            return self.blind.restore(
                photo,
                aligned=aligned,
                face=face,
                steps=steps,
                guidance=guidance,
                scheduler=scheduler,
                seed=seed,
                match_color=match_color,
                on_step=on_step,
            )
        settings = self._settings(steps, guidance, scheduler, seed, match_color)
        timings: dict[str, float] = {}
        with _timed(timings, "open"):
            original = open_photo(photo)
        with _timed(timings, "detect"):
            candidates = self._candidates(original, aligned)
        with _timed(timings, "references"):
            if isinstance(given, EncodedReferences):
                person = given
            elif given:
                person = self.encode_references(
                    given, aligned=aligned, largest_face=largest_reference_face, exclude=[photo]
                )
            else:
                person = None
        run = self._pipeline_for(person, settings)
        chosen = choose_faces(candidates, person, face, original)
        faces_after: list[Image.Image] = []
        with _timed(timings, "restore"):
            for done, candidate in enumerate(chosen):
                restored = run(
                    [candidate.crop.image],
                    steps=settings.steps,
                    scheduler=settings.scheduler,
                    generator=torch.Generator().manual_seed(seed),  # one each: no face depends on those beside it
                    callback=_counting(on_step, done * settings.steps, len(chosen) * settings.steps),
                ).images[0]
                faces_after.append(_in_colours_of(original, candidate.crop, restored, match_color))
        with _timed(timings, "paste"):
            image = faces_after[0].copy() if aligned else _paste_all(original, chosen, faces_after)
            if original.alpha is not None:
                image.putalpha(original.alpha.resize(image.size))
        with _timed(timings, "compare"):
            faces = self._describe(chosen, faces_after, person)
        return Result(
            image=image,
            photo=original,
            faces=faces,
            faces_found=len(candidates),
            references=person,
            warnings=self._warnings(original, chosen, person),
            timings=timings,
            settings=settings,
        )

    def _pipeline_for(self, person: EncodedReferences | None, settings: Settings) -> Callable[..., Any]:
        """The pipeline with what only one family takes."""
        if not isinstance(self.pipeline, LDBFRPipeline):
            cache = person.cache if person else None
            guidance = cast(float, settings.guidance)  # None for the other family alone
            return functools.partial(self.pipeline, references=cache, guidance=guidance)
        if person is not None:
            raise self._cannot_use_references()
        return self.pipeline

    def _cannot_use_references(self) -> UsageError:
        return UsageError(
            f"The model {self.info.name} restores without references and cannot use any; "
            "give none, or choose a model of the family refldm."
        )

    def _settings(
        self,
        steps: int | None,
        guidance: float | None,
        scheduler: SchedulerName | None,
        seed: int,
        match_color: bool,
    ) -> Settings:
        """The request with the model's defaults filled in; steps and scheduler are checked by the pipeline."""
        if not isinstance(self.pipeline, LDBFRPipeline):
            guidance = self.info.guidance if guidance is None else guidance
            check_guidance(guidance)
        elif guidance is not None:
            raise UsageError(
                f"The model {self.info.name} restores without references, so that there is no guidance towards them; "
                "leave it out, or choose a model of the family refldm."
            )
        steps = self.info.steps if steps is None else steps
        return Settings(self.info.name, steps, guidance, scheduler or self.info.scheduler, seed, match_color)

    def _candidates(self, photo: Photo, aligned: bool) -> list[Candidate]:
        if aligned:
            return [whole_picture(photo, self.recogniser, self.info.resolution)]
        return find_faces(photo, self.detector, self.recogniser, self.info.resolution)

    def _describe(
        self, chosen: Sequence[Candidate], after: Sequence[Image.Image], person: EncodedReferences | None
    ) -> tuple[RestoredFace, ...]:
        embeddings = self.recogniser.embed_aligned(after)
        return tuple(
            RestoredFace(
                number=candidate.number,
                box=candidate.face and candidate.face.box,
                landmarks=candidate.face and candidate.face.landmarks,
                aligned_before=candidate.crop.image,
                aligned_after=image,
                similarity_to_references=float(similarity(embedding, person.embeddings).mean()) if person else None,
                similarity_to_input=float(similarity(embedding, candidate.embedding)),
            )
            for candidate, image, embedding in zip(chosen, after, embeddings, strict=True)
        )

    def _warnings(self, photo: Photo, chosen: Sequence[Candidate], person: EncodedReferences | None) -> tuple[str, ...]:
        warnings = [*photo.warnings, *photo.losses]
        if person is None:
            warnings.append("No references were given: the face is a guess from the photograph alone.")
        else:
            warnings += person.warnings
        for candidate in chosen:
            far = float(distance(candidate.embedding, person.embeddings).mean()) if person else 0.0
            if far > DOUBTFUL_DISTANCE:
                warnings.append(
                    f"Face {candidate.number} of {photo_name(photo)} may be somebody else than the references "
                    f"(distance {far:.2f}; the same person is usually below {DOUBTFUL_DISTANCE})."
                )
            side, resolution = candidate.crop.alignment.side, self.info.resolution
            if side > MUCH_LARGER * resolution:
                warnings.append(
                    f"Face {candidate.number} of {photo_name(photo)} fills {side:.0f} pixels, but {self.info.name} "
                    f"works at {resolution}: if the photograph is sharp at its full size, restoring it loses detail."
                )
        return tuple(warnings)


def _in_colours_of(photo: Photo, crop: AlignedFace, restored: Image.Image, matched: bool) -> Image.Image:
    """The restored face without a tint from the references; a grayscale photograph stays one."""
    if photo.grayscale:
        restored = restored.convert("L").convert("RGB")
    return match_color_of(restored, crop.image, crop.mask) if matched else restored


def _paste_all(photo: Photo, chosen: Sequence[Candidate], faces: Sequence[Image.Image]) -> Image.Image:
    image = photo.image
    for candidate, face in zip(chosen, faces, strict=True):
        image = paste(image, face, candidate.crop.alignment)
    return image


def _counting(on_step: Callable[[int, int], None] | None, before: int, total: int) -> Callable[..., None] | None:
    return on_step and (lambda step, latents: on_step(before + step, total))


def _as_list(sources: PhotoSource | Iterable[PhotoSource]) -> list[PhotoSource]:
    return [sources] if isinstance(sources, PhotoSource) else list(sources)


@contextmanager
def _timed(timings: dict[str, float], phase: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    timings[phase] = time.perf_counter() - start
