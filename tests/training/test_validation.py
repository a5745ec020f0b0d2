"""Validation: who is looked at, how good each picture is, and that references are shown as they are."""

from pathlib import Path

import pytest
import torch
from tiny_runs import items_of, tiny_refldm, tiny_restoring, tiny_vqgan

from faceref.training.run import STAGES, load_faces, train_from
from faceref.training.stages.configs import TrainConfig
from faceref.training.stages.stage import Stage


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
