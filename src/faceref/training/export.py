"""The model of any checkpoint that a run has kept."""

from pathlib import Path

import torch

from faceref.errors import UsageError
from faceref.files import new_folder
from faceref.training.checkpoints import Checkpoints
from faceref.training.config_files import load_config
from faceref.training.run import STAGES, load_faces
from faceref.training.run_folder import CONFIG
from faceref.training.stages.begun_from import with_folders
from faceref.training.trainer import check_names, load_networks


def export_step(run_dir: Path, step: int | None, folder: Path) -> int:
    """Write the averaged weights of a checkpoint as the run itself would have at its end; returns the step.

    step: of a checkpoint in `run_dir`; None: the best by validation. Raises UsageError or CheckpointError where there
    is none or it cannot be read, OutputError if `folder` exists already or cannot be written.
    """
    checkpoints = Checkpoints(run_dir / "checkpoints")
    if step is None:
        best = checkpoints.best()
        if best is None:
            raise UsageError("has no best checkpoint yet", subject=run_dir, hint="name a step")
        step = best.step
    if step not in checkpoints.steps():
        known = ", ".join(map(str, checkpoints.steps())) or "none"
        raise UsageError(f"has no checkpoint of step {step}", subject=run_dir, hint=f"it has {known}")
    config = load_config(run_dir / CONFIG)
    state = checkpoints.read(step)
    data, resolved = config.data, with_folders(config)
    stage = STAGES[config.stage].build(resolved, load_faces(data, data.sources, data.split, config.loop.seed))
    stage.to(memory_format=torch.channels_last)  # as the run has it: what is measured for the export is rounded alike
    load_networks(stage, state)
    parameters = dict(stage.averaged().named_parameters())
    check_names(parameters, state.average, "average")
    for name, parameter in parameters.items():
        parameter.data.copy_(state.average[name])
    with new_folder(folder) as scratch:
        stage.export(scratch)
    return step
