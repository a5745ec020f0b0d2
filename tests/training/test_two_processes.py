"""Two processes that train together: one pair goes through all stages, and both end with the same weights.

Their clocks differ by a day, so that a process that decides for itself waits for the other for ever. A pair of which
neither has ended a stage for a while is dead, and the failure says where each of them was.
"""

import errno
import faulthandler
import hashlib
import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import nullcontext
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
import torch
import torch.multiprocessing as mp
from accelerate.state import AcceleratorState, GradientState
from safetensors.torch import load_file
from tiny_runs import tiny_crisp, tiny_end_to_end, tiny_ldbfr, tiny_refldm, tiny_restoring, tiny_vqgan

import faceref.data.decoded
import faceref.training.run
from faceref.devices import PEAK_SIDE
from faceref.errors import DataError, FacerefError, OutputError
from faceref.processes import from_main
from faceref.training.config import StageConfig
from faceref.training.loop import TrainingSummary, train
from faceref.training.run import train_from
from faceref.training.stages.configs import DiffusionConfig, FusionConfig, TrainConfig, VQGANConfig
from faceref.training.stages.stage import Stage
from faceref.training.stages.vqgan import VQGANStage
from faceref.training.trainer import Trainer, seeded_generator

A_DAY = 86400
PATIENCE = 120  # seconds for a stage, which takes two
UNET = "unet/diffusion_pytorch_model.safetensors"


def weights_of(stage: Stage) -> str:
    return hashlib.sha256(b"".join(t.numpy().tobytes() for t in stage.state_dict().values())).hexdigest()


def trained_together(config: TrainConfig, folder: Path) -> None:
    """Train, and write what this process holds afterwards to FOLDER.RANK."""

    def watched(config: StageConfig, stage: Stage, *args, **kwargs) -> TrainingSummary:
        summary = train(config, stage, *args, **kwargs)
        folder.with_suffix(f".{os.environ['RANK']}").write_text(weights_of(stage))
        return summary

    faceref.training.run.train = watched
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
    assert train_from(config, folder).finished


def stages(photographs: Path, folder: Path, tiny_model: Path, one_step_model: Path) -> dict[str, TrainConfig]:
    """Every stage, in the order in which they are trained; a checkpoint would be due once an hour."""
    vqgan = tiny_vqgan(photographs, 3, checkpoint_minutes=60, validation_samples=3).model_dump(mode="json")
    vqgan["autoencoder"]["arguments"] |= {"quantize": True, "codebook_size": 16}
    vqgan["data"]["cache"] = str(folder / "cache")
    refldm = tiny_refldm(photographs, folder, steps=2)
    ldm = refldm.model_dump(mode="json") | {"stage": "ldm", "identity": {"scaling": "none"}}
    fusion = {
        "stage": "fusion",
        "model": tiny_model,
        "data": refldm.data.model_dump() | {"resolution": 64, "references": 1},
        "fusion": {"channels": 32, "residual_blocks": 1},
        "weights": {"perceptual": 0.0, "adversarial_from": 1},
        "optimizer": {"learning_rate": 1e-3},
        "loop": refldm.loop,
    }
    return {
        "vqgan": VQGANConfig.model_validate(vqgan | {"quantize_from": 2}),
        "restoring_vq": tiny_restoring(photographs, folder, steps=2),
        "ldm": DiffusionConfig.model_validate(ldm),
        "refldm": refldm,
        "ldbfr": tiny_ldbfr(photographs, folder, steps=2),
        "fusion": FusionConfig.model_validate(fusion),
        "end_to_end": tiny_end_to_end(photographs, one_step_model),
        "crisp": tiny_crisp(photographs, one_step_model, loop={"pool": {"samples": 4, "at_once": 2, "visits": 2}}),
    }


def fails() -> None:
    raise DataError("something is damaged")


def one_of_two(rank: int, photographs: Path, folder: Path, tiny_model: Path, one_step_model: Path) -> None:
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "ACCELERATE_USE_CPU": "true"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}  # nobody meets there: see `meet`
    torch.set_num_threads(1)
    PEAK_SIDE["cpu"] = 64  # as tests/conftest.py does in its process
    pytest.MonkeyPatch().setattr(Trainer, "flops", lambda *_: 1e9)
    with (folder / f"stacks.{rank}").open("w") as stacks:
        faulthandler.register(signal.SIGUSR2, stacks)
        go_through_all_stages(rank, photographs, folder, tiny_model, one_step_model)


def go_through_all_stages(rank: int, photographs: Path, folder: Path, tiny_model: Path, one_step_model: Path) -> None:
    if rank:
        sys.setswitchinterval(A_DAY)  # threads get Python's lock when it is let go, and no sooner
        clock = time.monotonic
        started = clock()
        time.monotonic = lambda: clock() + (A_DAY if clock() > started + 1 else 0)
        faceref.data.decoded._fill = forbidden
        VQGANStage._begin_codebook = forbidden  # type: ignore[method-assign]
    meet(rank, folder / "first.group")
    with pytest.raises(DataError, match="something is damaged"):  # in both, though only one has seen it
        from_main(fails)
    with pytest.raises(FacerefError if rank else ZeroDivisionError, match="division by zero"):  # none of ours
        from_main(lambda: 1 / 0)
    torch.distributed.destroy_process_group()
    for name, config in stages(photographs, folder, tiny_model, one_step_model).items():
        meet(rank, folder / f"{name}.group")
        trained_together(config, folder / name)
    meet(rank, folder / "full.group")
    VQGANStage.export = on_a_full_disk  # type: ignore[method-assign]
    config = tiny_vqgan(photographs, 1)
    with pytest.raises(OutputError, match="disk is full") if rank == 0 else nullcontext():
        trained_together(config, folder / "full")


def on_a_full_disk(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def meet(rank: int, file: Path) -> None:
    """A group of its own for each stage: training ends with the end of the group."""
    torch.distributed.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=2)


def forbidden(*_: object) -> None:
    raise AssertionError("this is for one process to do")


def stacks_of(processes: Sequence[BaseProcess], folder: Path) -> str:
    """Where each of them is; they are ended."""
    for process in processes:
        if process.is_alive():
            os.kill(process.pid, signal.SIGUSR2)  # type: ignore[arg-type]
            time.sleep(1)  # for the signal
            process.kill()
            process.join()
    return "\n".join(f"{path.name}\n{path.read_text()}" for path in sorted(folder.glob("stacks.*")))


@pytest.fixture(scope="module")
def together(
    photographs: Path, tmp_path_factory: pytest.TempPathFactory, tiny_model: Path, one_step_model: Path
) -> Path:
    folder = tmp_path_factory.mktemp("together")
    torch.manual_seed(0)
    stages(photographs, folder, tiny_model, one_step_model)  # the networks that they begin from are written once
    pair = mp.spawn(one_of_two, (photographs, folder, tiny_model, one_step_model), nprocs=2, join=False)
    assert pair is not None
    ended, since = 0, time.monotonic()
    while not pair.join(timeout=1):
        if (now := len(list(folder.glob("*.[01]")))) > ended:
            ended, since = now, time.monotonic()
        if time.monotonic() > since + PATIENCE:
            stacks = stacks_of(pair.processes, folder)  # type: ignore[arg-type]
            pytest.fail(f"two processes wait for each other for ever:\n{stacks}")
    return folder


@pytest.mark.parametrize("stage", ["vqgan", "restoring_vq", "ldm", "refldm", "ldbfr", "fusion", "end_to_end", "crisp"])
def test_both_hold_the_same_weights_after_each_stage(together: Path, stage: str):
    one, other = ((together / f"{stage}.{rank}").read_text() for rank in (0, 1))
    assert one == other


def test_two_processes_train_as_one_that_takes_both_batches(together: Path, photographs: Path, tmp_path, monkeypatch):
    """One process that accumulates their two micro-batches, each with the noise that its process had."""

    def of_the_process(device: str, *key: int) -> torch.Generator:
        if len(key) == 4:
            seed, step, micro, process = key
            key = (seed, step, process, micro)
        return seeded_generator(device, *key)

    monkeypatch.setattr("faceref.training.trainer.seeded_generator", of_the_process)
    config = tiny_refldm(photographs, tmp_path, steps=2)
    config = config.model_copy(update={"loop": config.loop.model_copy(update={"accumulate": 2})})
    train_from(config, tmp_path / "alone")
    alone, both = (load_file(run / "model" / UNET) for run in (tmp_path / "alone", together / "refldm"))
    torch.testing.assert_close(alone, both, rtol=0, atol=1e-5)  # a step moves a weight by up to 5e-4


def test_an_export_that_fails_ends_the_process_that_exports_and_keeps_nobody_waiting(together: Path):
    assert not (together / "full.0").exists()  # it raised, as `one_of_two` has seen
    assert (together / "full.1").exists()
    assert (together / "full" / "checkpoints" / "step_00000001").is_dir()
    assert not (together / "full" / "model").exists()


def test_one_of_them_writes(together: Path):
    lines = (together / "refldm" / "validation.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [2]
    assert len((together / "refldm" / "starts.jsonl").read_text().splitlines()) == 1
    assert len(list((together / "cache").iterdir())) == 1  # the same photographs train and validate
