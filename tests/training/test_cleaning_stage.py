"""A cleaner is trained on parts of photographs."""

from pathlib import Path

import pytest
import torch
from tiny_runs import same_weights, tiny_vqgan

from faceref.data.degradation import DegradationRanges
from faceref.data.photographic import PhotographicRanges
from faceref.errors import UsageError
from faceref.models.cleaner import PictureCleaner
from faceref.models.loading import load_component
from faceref.training.config import DataConfig, LoopConfig, OptimizerConfig
from faceref.training.run import train_from
from faceref.training.stages.cleaning import CleaningStage, as_strong
from faceref.training.stages.configs import CleaningConfig

NOISE = {"sigma": [0, 0], "downsample": [1, 1], "noise": [40, 40], "quality": [100, 100], "kernel_size": 1}


def data(**settings) -> DataConfig:
    given = {"sources": [{"root": "."}], "validation": [{"root": "."}], "resolution": 64, "degradation": NOISE}
    return DataConfig(references=0, **(given | settings))


def config(**settings) -> CleaningConfig:
    given = {"cleaner": {"channels": (16, 16), "blocks": 1}, "crop": 32, "data": data()} | settings
    return CleaningConfig(
        stage="cleaning",
        optimizer=OptimizerConfig(learning_rate=1e-3),
        loop=LoopConfig(steps=1, batch_size=1),
        **given,
    )


def items(photographs: torch.Tensor, mask: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
    return {
        "hq": photographs,
        "mask": torch.full_like(photographs[:, :1], 255) if mask is None else mask,
        "references": photographs[:, None, :][:, :0],
        "has_references": torch.zeros(len(photographs), dtype=torch.bool),
        "coarse": torch.zeros(len(photographs), dtype=torch.bool),
    }


def stage_of(config: CleaningConfig) -> CleaningStage:
    return CleaningStage.build(config, faces=None)  # type: ignore[arg-type]


def ramps(number: int = 4) -> torch.Tensor:
    """Photographs uint8 [N, 3, 64, 64] in which brightness says where a crop was taken from."""
    y, x = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
    return (2 * y + x)[None, None].expand(number, 3, -1, -1).to(torch.uint8).contiguous()


def test_crops_differ_and_lie_in_the_photograph_where_they_can():
    mask = torch.zeros(64, 1, 64, 64, dtype=torch.uint8)
    mask[..., :40, :40] = 255
    batch = stage_of(config()).make_batch(items(ramps(64), mask), torch.Generator().manual_seed(0))
    assert batch["hq"].shape == batch["lq"].shape == (64, 3, 32, 32)
    assert len({float(one.mean()) for one in batch["hq"]}) > 20
    anywhere = (40 / 64) ** 2
    assert batch["mask"].mean() > 1.3 * anywhere


def test_jpegs_grid_begins_anywhere():
    """Of wider crops: what is trained on begins in the midst of a block, too."""
    blocky = NOISE | {"noise": [0, 0], "quality": [5, 5]}
    stage = stage_of(config(white=0.0, data=data(degradation=blocky)))
    noise = torch.rand(64, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    photographs = (ramps(64) // 2 + 60 * noise).to(torch.uint8)
    lq = stage.make_batch(items(photographs), torch.Generator().manual_seed(0))["lq"]
    for axis in (2, 3):
        steps = lq.mean(1, keepdim=True).diff(dim=axis).abs().mean(dim=(1, 5 - axis))  # [64, 31]: from pixel to pixel
        borders = steps[:, :24].view(64, 3, 8).mean(1).argmax(1)
        assert len(set(borders.tolist())) == 8


def test_a_crop_that_is_the_photograph_is_degraded_as_it_is():
    batch = stage_of(config(crop=64)).make_batch(items(ramps()), torch.Generator().manual_seed(0))
    assert batch["hq"].shape == batch["lq"].shape == (4, 3, 64, 64)


def test_wider_crops_are_degraded_as_those_of_the_configuration_are():
    equation = DegradationRanges(sigma=(1, 4), downsample=(1, 4), noise=(0, 9), quality=(50, 90), kernel_size=41)
    photographic = PhotographicRanges(side=(32, 256))
    as_given = (equation.at(128).model_copy(update={"resolution": 144}), PhotographicRanges(side=(36, 288)))
    assert as_strong((equation, photographic), 128, 144) == as_given  # a pixel that is stored is as many of these


def test_it_learns_to_take_noise_away():
    torch.manual_seed(0)
    stage, generator = stage_of(config()), torch.Generator().manual_seed(0)
    batch = stage.make_batch(items(ramps()), generator)
    optimizer = torch.optim.Adam(stage.parameters(), lr=3e-3)
    for step in range(60):
        loss, _ = stage(batch, generator, step, "model")
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        measured, sheet = stage.validate(stage.make_batch(items(ramps()), generator), generator)
    assert measured["psnr_cleaned"] > measured["psnr_lq"] + 3
    assert sheet.size == (4 * 32, 3 * 32)


def test_what_is_not_in_the_photograph_says_nothing():
    stage, generator = stage_of(config()), torch.Generator().manual_seed(0)
    batch = stage.make_batch(items(ramps()), generator)
    batch["mask"][..., 16:] = 0
    loss, _ = stage(batch, generator, 0, "model")
    batch["hq"][..., 16:] = 1
    assert stage(batch, generator, 0, "model")[0] == loss


def test_what_is_exported_is_gone_on_from(tmp_path: Path):
    stage = stage_of(config())
    torch.nn.init.normal_(stage.cleaner.conv_out.weight, std=0.1)
    stage.export(tmp_path)
    assert all(weight.dtype == torch.float32 for weight in stage.parameters())
    picture = torch.rand(1, 3, 32, 32)
    again = load_component(tmp_path, (PictureCleaner,), "cleaner")
    torch.testing.assert_close(again(picture), stage.cleaner(picture), atol=5e-3, rtol=0)
    on = stage_of(config(initial=tmp_path, cleaner={}))
    assert torch.equal(on.cleaner.conv_in.weight, again.conv_in.weight)


def test_a_stop_and_a_finish_are_one_straight_run_to_the_bit(photographs: Path, tmp_path: Path):
    tiny = tiny_vqgan(photographs, 4)
    ours = config(crop=16).model_copy(update={"data": tiny.data, "loop": tiny.loop, "optimizer": tiny.optimizer})
    assert train_from(ours, tmp_path / "straight").finished
    assert train_from(ours, tmp_path / "halves", max_minutes=0).step == 1
    assert train_from(ours, tmp_path / "halves", resume=True).finished
    assert same_weights(tmp_path / "straight" / "model", tmp_path / "halves" / "model")


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"crop": 128}, "crop is larger than the photographs"),
        ({"crop": 16, "cleaner": {"channels": (8, 8, 8, 8, 8)}}, "crop has to be a multiple of 32"),
        ({"cleaner": {"width": 8}}, "The cleaner cannot be built from its arguments"),
    ],
)
def test_what_does_not_fit_is_one_sentence(settings, sentence):
    with pytest.raises(UsageError, match=sentence):
        stage_of(config(**settings))
