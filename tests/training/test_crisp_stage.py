"""A decoder that learns to draw photographs: what is judged of whom, whose turn it is, and exact resuming."""

from pathlib import Path
from typing import cast

import pytest
import torch
from safetensors.torch import load_file
from tiny_runs import DECODER, items_of, same_weights, tiny_crisp
from torch import Tensor

from faceref.checkpoints.store import load_pipeline, read_info, save_model
from faceref.data.dataset import FaceDataset
from faceref.errors import UsageError
from faceref.models.detail_decoder import DetailDecoder
from faceref.pipelines.refldm import ReFLDMPipeline
from faceref.training.pictures import median_sharpness
from faceref.training.run import train_from
from faceref.training.stages.crisp import CrispStage
from faceref.training.views import Place, place_of

JUDGED = {"perceptual", "matching", "adversarial"}  # what makes a drawing a photograph
SOFT, BETWEEN, CRISP, CRISP_TOO = range(4)  # how the faces of a batch of four are drawn


@pytest.fixture(scope="module")
def with_decoder(one_step_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose decoder is shown no texture."""
    pipeline, info = load_pipeline(one_step_model)
    pipeline.register_modules(detail=DetailDecoder(**DECODER))
    folder = tmp_path_factory.mktemp("models") / "with-decoder"
    save_model(pipeline, info.model_copy(update={"resolution": 128}), folder)
    return folder


@pytest.fixture
def stage(photographs: Path, with_decoder: Path, recogniser: Path) -> CrispStage:
    """One whose decoder draws something already."""
    torch.manual_seed(0)
    weights = {"perceptual": 0.1, "adversarial": 0.1, "adversarial_from": 1}
    config = tiny_crisp(photographs, with_decoder, weights=weights, recogniser=recogniser)
    stage = CrispStage.build(config, cast(FaceDataset, None))
    torch.nn.init.normal_(stage.detail.conv_out.weight, std=0.1)
    stage.discriminator.eval()  # its spectral norms are estimated anew in each pass of training
    return stage


@pytest.fixture
def batch(stage: CrispStage) -> dict[str, Tensor]:
    items = items_of() | {"coarse": torch.zeros(4, dtype=torch.bool)}
    return stage.make_batch(items, torch.Generator().manual_seed(0))


def numbers_of(stage: CrispStage, batch: dict[str, Tensor], turn: str = "generator") -> dict[str, float]:
    """Of the generator's turn or, after it, the discriminator's; with its loss."""
    batch, generator = dict(batch), torch.Generator().manual_seed(0)
    loss, numbers = stage(batch, generator, 1, "generator")
    if turn == "discriminator":
        loss, numbers = stage(batch, generator, 1, turn)
    return {name: value.item() for name, value in (numbers | {"loss": loss}).items()}


def other(batch: dict[str, Tensor], which: int) -> dict[str, Tensor]:
    """The same, but for what one face is drawn of."""
    sign = torch.where(torch.arange(4) == which, -1.0, 1.0).view(-1, 1, 1, 1)
    return batch | {"latents": sign * batch["latents"], "decoded": sign * batch["decoded"]}


def test_a_model_gains_a_textured_decoder_and_else_stays_what_it_was_to_the_bit(
    photographs: Path, tmp_path: Path, with_decoder: Path
):
    assert train_from(tiny_crisp(photographs, with_decoder), tmp_path).finished
    model = tmp_path / "model"
    assert read_info(with_decoder).crisp is None
    assert (read_info(model).crisp, read_info(model).resolution) == (0.5, 128)
    assert all(same_weights(model / part, with_decoder / part) for part in ("unet", "vae"))

    pipeline = cast(ReFLDMPipeline, load_pipeline(model)[0])
    assert pipeline.is_textured
    lq, reference = torch.rand(2, 1, 3, 128, 128, generator=torch.Generator().manual_seed(1)) * 2 - 1

    def restore(crisp: float) -> Tensor:
        generator = torch.Generator().manual_seed(0)
        return cast(Tensor, pipeline(lq, [reference], generator=generator, output_type="raw", crisp=crisp).images)

    assert restore(1.0).shape == lq.shape
    assert not torch.equal(restore(1.0), restore(0.0))


def test_a_textured_decoder_goes_on(photographs: Path, tmp_path: Path, with_decoder: Path):
    train_from(tiny_crisp(photographs, with_decoder, steps=1), tmp_path / "once")
    train_from(tiny_crisp(photographs, tmp_path / "once/model", steps=1, detail={}), tmp_path / "twice")
    places = (tmp_path / name / "model/detail/diffusion_pytorch_model.safetensors" for name in ("once", "twice"))
    begun, ended = map(load_file, places)
    far = max((ended[name] - weight).abs().max() for name, weight in begun.items())
    assert 0 < far < 0.01


def test_stops_and_a_finish_are_one_straight_run_to_the_bit_in_the_middle_of_a_pool_too(
    photographs: Path, tmp_path: Path, with_decoder: Path
):
    loop = {"pool": {"samples": 2, "at_once": 1, "visits": 2}, "validate_every": 4, "validation_samples": 1}
    config = tiny_crisp(photographs, with_decoder, steps=4, loop=loop)
    assert train_from(config, tmp_path / "straight").finished
    for step in (1, 2, 3):
        assert train_from(config, tmp_path / "parts", max_minutes=0, resume=step > 1).step == step
    assert train_from(config, tmp_path / "parts", resume=True).finished
    assert same_weights(tmp_path / "straight/model/detail", tmp_path / "parts/model/detail")
    states = (tmp_path / run / "checkpoints/step_00000004/networks.safetensors" for run in ("straight", "parts"))
    straight, parts = map(load_file, states)
    assert any(name.startswith("discriminator.") for name in straight)
    assert all(torch.equal(straight[name], parts[name]) for name in straight | parts)


def test_faces_are_drawn_softly_in_between_and_crisply(stage: CrispStage, batch: dict[str, Tensor]):
    stage(batch, torch.Generator().manual_seed(0), 1, "generator")
    crisp = batch["crisp"][..., 0, 0].flatten().tolist()
    assert (crisp[SOFT], crisp[CRISP], crisp[CRISP_TOO]) == (0, 1, 1)
    assert 0 < crisp[BETWEEN] < 1


def test_mouths_are_drawn_less_crisply_than_faces_by_any_share(stage: CrispStage, batch: dict[str, Tensor]):
    hq = batch["hq"]
    mouth = (..., slice(round(0.72 * hq.shape[-2]), round(0.79 * hq.shape[-2])), hq.shape[-1] // 2)
    shares = []
    for seed in range(40):
        stage(batch, torch.Generator().manual_seed(seed), 1, "generator")
        crisp = batch["crisp"][[CRISP, CRISP_TOO], 0]
        assert (crisp[..., 0, :] == 1).all()
        assert (crisp[mouth].amax(1) - crisp[mouth].amin(1)).max() < 0.05
        shares.append(crisp[mouth].mean(1))
    least, *_, most = torch.cat(shares).sort().values.tolist()
    assert 0 <= least < 0.1
    assert 0.9 < most <= 1


def test_a_place_is_judged_as_much_as_it_is_drawn_crisply(
    stage: CrispStage, batch: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch
):
    """Where only the left half is drawn crisply, what lies far from it counts for nothing."""
    columns = torch.arange(128)
    stage.judged = 128
    drawn = {"crisp": (columns < 64).float().expand_as(batch["mask"]), "drawn": torch.zeros_like(batch["hq"])}
    monkeypatch.setattr(stage, "_draw_each", lambda seen, _: seen.update(drawn))
    for turn, name in (("generator", "matching"), ("discriminator", "loss")):
        before, left, right = (
            numbers_of(stage, batch | {"hq": batch["hq"].masked_fill(place, 1)}, turn)[name]
            for place in (columns < 0, columns < 40, columns >= 120)
        )
        assert 100 * abs(right - before) < abs(left - before), turn


def test_a_face_that_is_drawn_softly_is_not_judged_as_a_photograph(stage: CrispStage, batch: dict[str, Tensor]):
    before = numbers_of(stage, batch)
    assert before.keys() > JUDGED
    soft, between, crisp = (numbers_of(stage, other(batch, which)) for which in (SOFT, BETWEEN, CRISP))
    for name in JUDGED:
        assert soft[name] == pytest.approx(before[name], rel=1e-6)
        assert between[name] != pytest.approx(before[name], rel=2e-5)
        assert crisp[name] != pytest.approx(before[name], rel=2e-5)
    assert soft["l1"] != pytest.approx(before["l1"], rel=1e-3), "but compared"


def test_a_face_is_judged_as_much_as_it_is_drawn_crisply(stage: CrispStage, batch: dict[str, Tensor]):
    def judged(*faces: int) -> dict[str, float]:
        return numbers_of(stage, batch | {"coarse": torch.tensor([face not in faces for face in range(4)])})

    stage.judged = 128  # all of it
    between, crisp, both = judged(BETWEEN), judged(CRISP), judged(BETWEEN, CRISP)
    stage(batch, torch.Generator().manual_seed(0), 1, "generator")
    shares = {face: batch["crisp"][face].mean().item() for face in (BETWEEN, CRISP)}
    for name in JUDGED:
        mean = (shares[BETWEEN] * between[name] + shares[CRISP] * crisp[name]) / sum(shares.values())
        assert both[name] == pytest.approx(mean, rel=1e-4)
        assert both[name] != pytest.approx((between[name] + crisp[name]) / 2, rel=1e-4)


@pytest.mark.parametrize("turn", ["generator", "discriminator"])
def test_what_is_no_example_of_detail_is_neither_judged_nor_shown_as_a_photograph(
    stage: CrispStage, batch: dict[str, Tensor], turn: str
):
    names = JUDGED if turn == "generator" else {"loss"}
    for coarse in (False, True):
        judged = batch | {"coarse": torch.tensor([False, False, False, coarse])}
        changed = other(judged, CRISP_TOO) | {"hq": judged["hq"] * torch.tensor([1.0, 1, 1, -1]).view(-1, 1, 1, 1)}
        before, after = (numbers_of(stage, one, turn) for one in (judged, changed))
        for name in names:
            assert (after[name] == pytest.approx(before[name], rel=1e-5)) is coarse, name


def test_only_coarse_photographs_teach_the_discriminator_nothing(stage: CrispStage, batch: dict[str, Tensor]):
    nothing = batch | {"coarse": torch.ones(4, dtype=torch.bool)}
    assert numbers_of(stage, nothing, "discriminator")["loss"] == 0
    judged = numbers_of(stage, nothing)
    assert all(judged[name] == 0 for name in JUDGED)


def test_padding_is_judged_in_no_turn(stage: CrispStage, batch: dict[str, Tensor]):
    empty = batch | {"mask": torch.zeros_like(batch["mask"])}
    shown = []
    stage.discriminator.register_forward_pre_hook(lambda _, pictures: shown.append(pictures[0]))
    for turns in (("generator", "discriminator"), ("discriminator",)):  # in a process of several it sees no other turn
        seen = dict(empty)
        for turn in turns:
            stage(seen, torch.Generator().manual_seed(0), 1, turn)
    assert len(shown) == 6
    assert not any(pictures.any() for pictures in shown)


def test_each_side_learns_in_its_own_turn_alone(stage: CrispStage, batch: dict[str, Tensor]):
    generator = torch.Generator().manual_seed(0)
    sides = {"generator": stage.detail, "discriminator": stage.discriminator}
    for turn in stage.turns(1):
        loss, _ = stage(batch, generator, 1, turn)
        loss.backward()
        for name, network in sides.items():
            weights = [weight for weight in network.parameters() if weight.ndim > 1]
            has = [weight.grad is not None and bool(weight.grad.any()) for weight in weights]
            assert all(has) if name == turn else not any(has), (turn, name)
        stage.zero_grad(set_to_none=True)
    assert all(weight.grad is None for weight in stage.unet.parameters())
    assert all([*stage.trainable(turn)] == [network] for turn, network in sides.items())


def test_the_discriminator_comes_when_it_is_said_to(stage: CrispStage, batch: dict[str, Tensor]):
    assert stage.turns(0) == ("generator",)
    assert stage.turns(1) == ("generator", "discriminator")
    _, numbers = stage(batch, torch.Generator().manual_seed(0), 0, "generator")
    assert not {"matching", "adversarial"} & numbers.keys()


def test_the_discriminator_sees_a_square_somewhere_and_both_turns_of_a_step_the_same(stage: CrispStage, batch):
    def squares() -> list[Place]:
        return [view.place for step in range(20) for view in stage._views(batch["hq"], step)]

    assert squares() == squares()
    assert len(set(map(str, squares()))) > 10
    assert {batch["hq"][0, 0][square].shape for square in squares()} == {(64, 64)}


def test_eyes_and_the_mouth_are_judged_by_discriminators_of_their_own(
    photographs: Path, with_decoder: Path, recogniser: Path, batch: dict[str, Tensor], monkeypatch
):
    torch.manual_seed(0)
    shares, weights = {"eyes": 0.5, "mouth": 0.25}, {"adversarial": 0.1, "adversarial_from": 1}
    config = tiny_crisp(photographs, with_decoder, weights=weights, parts=shares, recogniser=recogniser)
    stage = CrispStage.build(config, cast(FaceDataset, None))
    torch.nn.init.normal_(stage.detail.conv_out.weight, std=0.1)
    stage.eval()
    assert stage.trainable("discriminator").keys() == {stage.discriminator, *stage.parts.values()}

    before = numbers_of(stage, batch)
    mouth = torch.zeros(128, 128, dtype=torch.bool)
    mouth[place_of("mouth", 128)] = True
    after = numbers_of(stage, batch | {"hq": batch["hq"].masked_fill(mouth, 1)})
    assert after["matching_eyes"] == before["matching_eyes"]
    assert after["matching_mouth"] != before["matching_mouth"]
    parts = sum(
        share * (stage.matching * before[f"matching_{part}"] + 0.1 * before[f"adversarial_{part}"])
        for part, share in shares.items()
    )
    monkeypatch.setattr(stage, "parts_weights", dict.fromkeys(shares, 0.0))
    assert before["loss"] - numbers_of(stage, batch)["loss"] == pytest.approx(parts, rel=1e-3)

    numbers = numbers_of(stage, batch, "discriminator")
    assert numbers["loss"] == pytest.approx(sum(numbers[f"discriminator{part}"] for part in ("", "_eyes", "_mouth")))


def test_what_the_decoder_is_shown_is_made_of_the_references_that_count(stage: CrispStage, batch: dict[str, Tensor]):
    texture = batch["texture"]  # of every second face of a batch, or, in training, of fewer
    assert texture.shape == (4, 4, 128, 128)
    assert not texture[1::2].any()
    everybody = stage.eval().make_batch(items_of(), torch.Generator().manual_seed(0))["texture"]
    assert everybody[::2].flatten(1).any(1).all()


def test_sharpness_is_measured_on_the_face_as_much_as_it_has(stage: CrispStage, batch: dict[str, Tensor]):
    metrics, sheet = stage.validate(batch, torch.Generator().manual_seed(0))
    assert {f"sharpness_{name}" for name in ("lq", "soft", "crisp", "untextured")} < metrics.keys()
    assert sheet.size == (4 * 128, 5 * 128)
    checks = 0.5 * (1 - 2 * ((torch.arange(64)[:, None] + torch.arange(64)) % 2)).float().expand(2, 3, 64, 64)
    # each pixel differs from its four neighbours by one, so that the Laplacian is -4 or 4 times it: of 127.5 levels
    assert median_sharpness(checks) == pytest.approx((4 * 127.5) ** 2, rel=2e-2)


def test_a_decoder_that_is_shown_no_texture_is_refused(photographs: Path, tmp_path: Path, with_decoder: Path):
    with pytest.raises(UsageError, match="shown no texture"):
        train_from(tiny_crisp(photographs, with_decoder, detail={}), tmp_path)
