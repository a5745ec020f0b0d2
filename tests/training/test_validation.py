"""Validation: who is looked at, how good each picture is, references as they are, and once a step in any run."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio
from tiny_runs import digest, items_of, tiny_refldm, tiny_restoring, tiny_vqgan
from torch.utils.data import Dataset

from faceref.models.recogniser_files import load_face_recogniser
from faceref.training import loop
from faceref.training.checkpoints import Checkpoints
from faceref.training.pictures import compare
from faceref.training.run import STAGES, load_faces, train_from
from faceref.training.stages.configs import TrainConfig
from faceref.training.stages.stage import Stage
from faceref.training.validation import validate


def stage_of(config: TrainConfig) -> Stage:
    faces = load_faces(config.data, config.data.sources, config.data.split, config.loop.seed)
    return STAGES[config.stage].build(config, faces).eval()


def test_few_samples_are_of_people_from_all_over_the_list(photographs: Path, tmp_path: Path, asked: list):
    """Photographs 0 to 3 are of one person, 7 is of the last."""
    train_from(tiny_vqgan(photographs, steps=1, validation_samples=3), tmp_path / "run")
    (first, *_), validation = asked, asked[-1][0]
    assert first[0] is not validation
    assert [key for dataset, key in asked if dataset is validation] == [0, 4, 7]


@pytest.mark.parametrize("make", [tiny_vqgan, tiny_restoring])
def test_a_number_of_a_batch_is_the_mean_of_those_of_its_pictures(photographs: Path, tmp_path: Path, make):
    config = make(photographs, 1) if make is tiny_vqgan else make(photographs, tmp_path, 1)
    stage = stage_of(config)
    hq = (
        torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
        * torch.tensor([0.1, 0.5, 1])[:, None, None, None]
    )
    batch = {"hq": hq, "lq": hq.roll(1, 3), "mask": torch.ones(3, 1, 64, 64)}

    def measured(rows: slice) -> dict[str, float]:
        with torch.no_grad():
            return stage.validate({name: values[rows] for name, values in batch.items()}, torch.Generator())[0]

    together, alone = measured(slice(3)), [measured(slice(i, i + 1)) for i in range(3)]
    assert {"psnr", "ssim"} <= set(together)
    for name, value in together.items():
        assert value == pytest.approx(sum(each[name] for each in alone) / 3, rel=1e-4), name


@pytest.mark.parametrize("make", [tiny_vqgan, tiny_restoring])
def test_padding_does_not_count(photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make):
    stage = stage_of(make(photographs, 1) if make is tiny_vqgan else make(photographs, tmp_path, 1))
    hq, restored = 2 * torch.rand(2, 2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) - 1
    mask = torch.ones(2, 1, 64, 64)
    mask[:, :, :16] = 0
    seen = []
    for padding in (0.0, 1.0):
        pictures = torch.where(mask > 0, restored, padding)
        monkeypatch.setattr(stage, "reconstruct", lambda batch, made=pictures: (made, torch.zeros(())))
        seen.append(stage.validate({"hq": hq, "lq": pictures, "mask": mask}, torch.Generator())[0])
    assert seen[0] == seen[1]
    each = [peak_signal_noise_ratio(*(one[i, :, 16:].numpy() for one in (hq, restored)), data_range=2) for i in (0, 1)]
    assert seen[0]["psnr"] == pytest.approx(sum(each) / 2, abs=1e-4)


def test_padding_makes_nobody_anybody_else(recogniser: Path):
    network = load_face_recogniser(recogniser)
    hq = 2 * torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) - 1
    mask = torch.ones(2, 1, 64, 64)
    mask[:, :, :16] = 0
    numbers = compare({"x": torch.where(mask > 0, hq, -1.0)}, hq, mask, network)
    assert numbers["identity_x"] == pytest.approx(1, abs=1e-5)


def test_references_are_shown_as_they_are_but_for_the_mirror(photographs: Path, tmp_path: Path):
    stage, items = stage_of(tiny_refldm(photographs, tmp_path, steps=1)), items_of()
    shown = stage.make_batch(items, torch.Generator().manual_seed(0))["references"]
    given = items["references"].float() / 127.5 - 1
    mirrored = [torch.equal(one, own.flip(-1)) for one, own in zip(shown, given, strict=True)]
    assert set(mirrored) == {True, False}
    assert all(torch.equal(one, own) for one, own, m in zip(shown, given, mirrored, strict=True) if not m)
    stage.train()
    trained = stage.make_batch(items, torch.Generator().manual_seed(0))["references"]
    assert not any(
        torch.equal(one, other) for one, other in zip(trained.flatten(0, 1), shown.flatten(0, 1), strict=True)
    )


def validated(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "validation.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("died_at", [4, 6])
def test_a_run_that_was_killed_between_checkpoint_and_validation_validates_as_a_straight_one(
    photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, died_at: int
):
    """In the middle, and in the last step, of which nothing but the validation and the model was left to do."""

    class Killed(BaseException):
        """As kill -9: nothing is written after it."""

    def killed(stage: Stage, validation: Dataset, step: int, *rest) -> dict[str, float]:
        if step == died_at:
            raise Killed
        return validate(stage, validation, step, *rest)

    config = tiny_vqgan(photographs, steps=6, validate_every=2, checkpoint_minutes=0)
    train_from(config, tmp_path / "straight")
    with monkeypatch.context() as patch:
        patch.setattr(loop, "validate", killed)
        with pytest.raises(Killed):
            train_from(config, tmp_path / "run")
    assert [line["step"] for line in validated(tmp_path / "run")] == list(range(2, died_at, 2))
    for _ in range(2):  # and a run that has finished has nothing to do
        assert train_from(config, tmp_path / "run", resume=True).finished
        assert validated(tmp_path / "run") == validated(tmp_path / "straight")
    assert Checkpoints(tmp_path / "run" / "checkpoints").best() == (
        Checkpoints(tmp_path / "straight" / "checkpoints").best()
    )
    assert digest(tmp_path / "run") == digest(tmp_path / "straight")


def test_validations_after_the_checkpoint_are_made_again_and_stand_once(photographs: Path, tmp_path: Path):
    config = tiny_vqgan(photographs, steps=6, validate_every=1, milestones=[3])
    train_from(config, tmp_path / "straight")
    run = shutil.copytree(tmp_path / "straight", tmp_path / "run")
    for folder in (run / "checkpoints").iterdir():  # as if it had been killed after step 5, the last state of step 3
        if folder.name != "step_00000003":
            folder.unlink() if folder.is_file() else shutil.rmtree(folder)
    with (run / "validation.jsonl").open("r+") as file:
        lines = file.readlines()[:5]
        file.seek(0)
        file.truncate()
        file.write("".join(lines) + '{"step": 6, "ps')
    train_from(config, run, resume=True)
    assert validated(run) == validated(tmp_path / "straight")
