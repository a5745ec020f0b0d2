"""From a configuration to a trained model: builds the data sets and networks of a stage and hands them to the loop."""

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import torch

from faceref.data.dataset import FaceDataset, FaceSource, sharpness_weights
from faceref.devices import is_out_of_memory
from faceref.errors import DataError, FacerefError
from faceref.jobs import OnItem
from faceref.models.loading import weights_fingerprint
from faceref.processes import from_main
from faceref.training.checkpoints import Checkpoints
from faceref.training.config import DataConfig
from faceref.training.loop import TrainingSummary, make_accelerator, measure, train
from faceref.training.run_folder import check_made_of, check_run_folder, claimed
from faceref.training.stages.begun_from import with_folders
from faceref.training.stages.cleaning import CleaningStage
from faceref.training.stages.configs import TrainConfig, check_used
from faceref.training.stages.crisp import CrispStage
from faceref.training.stages.diffusion import DiffusionStage
from faceref.training.stages.end_to_end import EndToEndStage
from faceref.training.stages.fusion import FusionStage
from faceref.training.stages.ldbfr import LDBFRStage, RestoringVQStage
from faceref.training.stages.recognition import RecognitionStage
from faceref.training.stages.stage import Stage
from faceref.training.stages.vqgan import VQGANStage

log = logging.getLogger(__name__)

STAGES: dict[str, type[Stage]] = {
    "vqgan": VQGANStage,
    "restoring_vq": RestoringVQStage,
    "ldm": DiffusionStage,
    "refldm": DiffusionStage,
    "ldbfr": LDBFRStage,
    "fusion": FusionStage,
    "end_to_end": EndToEndStage,
    "crisp": CrispStage,
    "recognition": RecognitionStage,
    "cleaning": CleaningStage,
}


@contextmanager
def _memory_is_enough() -> Iterator[None]:
    """What there is too little memory for is a step, as the settings have it: photographs are decoded as they fit."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise FacerefError(
            "There is too little memory for a step",
            hint="lower loop.batch_size (loop.accumulate makes up for it), loop.pool.at_once where there is a pool, "
            "loop.validation_samples where it is in validation, or set loop.gradient_checkpointing",
            code="step_too_large",
        ) from error


@_memory_is_enough()
def train_from(
    config: TrainConfig,
    run_dir: Path,
    *,
    resume: bool = False,
    max_minutes: float | None = None,
    dry_run: bool = False,
    on_step: OnItem = lambda *_: None,
) -> TrainingSummary:
    """Run a stage as its configuration says; see `faceref.training.loop.train` for the arguments and what is written.

    With `dry_run` one step is computed and nothing is written, but that decoded photographs stay in
    `config.data.cache`, if that is set: the run itself will want them.

    Raises DataError, CheckpointError or UsageError where data, weights or settings do not fit; UsageError where
    `run_dir` already holds a run and `resume` is not set, or the other way round, or with other settings, frozen
    networks or names of photographs; OutputError (code "in_use") while another run writes there; FacerefError (code
    "step_too_large") where there is too little memory.
    """
    if not resume:
        check_used(config)
    accelerator = make_accelerator(config.loop, None if dry_run else run_dir)
    if not dry_run:
        from_main(lambda: check_run_folder(config, run_dir, resume))
    state = Checkpoints(run_dir / "checkpoints").read_latest() if resume and not dry_run else None
    resolved = with_folders(config)
    torch.manual_seed(config.loop.seed)  # initial weights
    faces = load_faces(config.data, config.data.sources, config.data.split, config.loop.seed)
    validation = load_faces(config.data, config.data.validation, config.data.validation_split, config.loop.seed)
    stage = STAGES[config.stage].build(resolved, faces)
    if dry_run:
        return measure(config, stage, faces, accelerator)
    made_of = from_main(lambda: _made_of(stage, faces, validation))
    if resume:
        from_main(lambda: check_made_of(run_dir, made_of))
    if accelerator.is_main_process:
        log.info("%d photographs to train on, %d to validate on", len(faces), len(validation))
    with ExitStack() as until_the_end:
        from_main(lambda: until_the_end.enter_context(claimed(run_dir)))
        return train(
            config,
            stage,
            faces,
            validation,
            run_dir,
            accelerator=accelerator,
            state=state,
            max_minutes=max_minutes,
            sample_weights=_sample_weights(config.data, faces),
            made_of=made_of,
            on_step=on_step,
        )


def _made_of(stage: Stage, faces: FaceDataset, validation: FaceDataset) -> dict[str, str]:
    """What no setting tells: fingerprints of the networks that nobody trains and no checkpoint holds, and of names."""
    frozen = {
        f"weights of the frozen {name}": weights_fingerprint(one)
        for name, one in stage.frozen.items()
        if one is not None
    }
    named = {"data.sources": faces, "data.validation": validation}
    return frozen | {f"targets or references in {name}": dataset.names for name, dataset in named.items()}


def load_faces(data: DataConfig, sources: tuple[FaceSource, ...], split: str, seed: int) -> FaceDataset:
    located = [
        source.model_copy(
            update={"root": data.root / source.root, "mapping": source.mapping and data.root / source.mapping}
        )
        for source in sources
    ]
    return FaceDataset(
        located, split, data.resolution, seed, data.references, data.cache, data.memory_gb, data.skip_damaged
    )


def _sample_weights(data: DataConfig, faces: FaceDataset) -> np.ndarray | None:
    weights = sharpness_weights(faces.sharpness) if data.prefer_sharp else np.ones(len(faces))
    if data.only_with_references:
        weights = weights * [bool(references) for references in faces.references]
        if not weights.any():
            raise DataError("Nobody in the training data has a second photograph to be a reference")
    return None if np.all(weights == 1) else weights
