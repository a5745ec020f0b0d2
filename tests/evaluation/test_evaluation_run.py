"""Restorations are the pipeline's own; rows do not depend on batches, order or interruptions."""

import math
import shutil
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from faceref.compute import Compute
from faceref.data.lq_set import seed_for
from faceref.data.mapping import mapping_from_index
from faceref.errors import OutputError, UsageError
from faceref.evaluation.cases import Case, CaseSet, load_cases
from faceref.evaluation.conditions import Plan
from faceref.evaluation.faces import FaceDescriber
from faceref.evaluation.families import MeasuredModel
from faceref.evaluation.groups import Row
from faceref.evaluation.measurement import Instruments
from faceref.evaluation.models import ModelSpec, SamplingChanges, load_models
from faceref.evaluation.pictures import picture_path, to_pixels, to_tensor
from faceref.evaluation.restorer import Batch, Photographs
from faceref.evaluation.run import measure_cases, read_rows, settings_of
from faceref.faces.centre import Centre
from faceref.faces.dlib_torch import TorchDlibRecogniser
from faceref.models.identity import MobileFaceNet
from faceref.models.ldbfr import InjectedUNet
from faceref.pipelines.ldbfr import LDBFRPipeline

SIZE = 64  # of the tiny model
PLAN = Plan(sets=("severe",), most=2, counts=(1,), seed=3, batch_size=4)
CONDITIONS = ["none", "zero", "refs-1", "refs-2", "wrong-2"]


@pytest.fixture(scope="module")
def cases(album: Path) -> CaseSet:
    return load_cases(mapping_from_index(album / "index.csv", "test"), album)


@pytest.fixture(scope="module")
def models(model_folder: Path, tiny_blind_model: Path) -> list[MeasuredModel]:
    """One that is shown references, one of the other family."""
    specs = [ModelSpec.parse(str(folder), SamplingChanges()) for folder in (model_folder, tiny_blind_model)]
    return load_models(specs, Compute("cpu"))


@pytest.fixture(scope="module")
def instruments() -> Instruments:
    device = torch.device("cpu")
    describer = FaceDescriber(TorchDlibRecogniser(device), SIZE)
    return Instruments(device, describer, Centre.shipped(), second_recogniser=None, learned=None)


@pytest.fixture(scope="module")
def done(cases, models, instruments, tmp_path_factory) -> tuple[Path, list[Row]]:
    out = tmp_path_factory.mktemp("evaluation") / "out"
    return out, measure_cases(cases, cases.cases, models, PLAN, instruments, out)


def read_picture(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.array(image.convert("RGB"))


def rows_of(rows: list[Row], condition: str, model: str = "tiny") -> dict[str, Row]:
    """By photograph, of a model or of a control that needs none."""
    return {str(row["image"]): row for row in rows if row["condition"] == condition and row["model"] in ("", model)}


def seconds_of(rows: list[Row], condition: str, model: str = "tiny") -> list[float]:
    return [float(row["seconds"]) for row in rows_of(rows, condition, model).values()]


def untimed(rows: list[Row]) -> set[str]:
    return {repr({key: value for key, value in row.items() if key != "seconds"}) for row in rows}


def noise_of(case: Case) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed_for(PLAN.seed, case.name, "noise"))
    return torch.randn(1, 4, SIZE // 4, SIZE // 4, generator=generator)


def test_every_case_is_measured_under_every_condition_and_control(done, cases):
    _, rows = done
    for condition in ("lq", "nearest-reference", "autoencoder", *CONDITIONS):
        assert sorted(rows_of(rows, condition)) == sorted(case.name for case in cases.cases), condition
    for condition in ("autoencoder", "none", "stage-1"):
        assert len(rows_of(rows, condition, "tiny-blind")) == len(cases.cases), condition
    assert len(rows) == len(cases.cases) * (8 + 3)
    assert {row["references"] for row in rows_of(rows, "refs-1").values()} == {1}
    assert {row["references"] for row in rows_of(rows, "wrong-2").values()} == {2}


def test_a_restoration_is_the_pipelines_own_for_the_same_noise_and_references(done, cases, models):
    out, _ = done
    case = cases.cases[4]
    lq = to_tensor(read_picture(picture_path(out / "pictures/severe/controls/lq", case.name))[None])
    noise = noise_of(case)
    wrong = cases.wrong_references(case, 2, seed=3)
    restored = {}
    for condition, paths in (
        ("none", ()),
        ("refs-1", case.references[:1]),
        ("refs-2", case.references),
        ("wrong-2", wrong),
    ):
        pictures = [to_tensor(np.stack([read_picture(path) for path in paths]))] if paths else None
        result = (
            models[0]
            .pipeline(lq, pictures, guidance_scale=1.5, num_inference_steps=2, latents=noise, output_type="raw")
            .images
        )
        restored[condition] = to_pixels(result)[0]
        saved = read_picture(picture_path(out / "pictures/severe/tiny" / condition, case.name))
        assert np.abs(saved.astype(int) - restored[condition]).max() <= 1, condition
    # guidance 0 leaves what guidance subtracts: the zero references
    pictures = [to_tensor(np.stack([read_picture(path) for path in case.references]))]
    result = (
        models[0]
        .pipeline(lq, pictures, guidance_scale=0, num_inference_steps=2, latents=noise, output_type="raw")
        .images
    )
    saved = read_picture(picture_path(out / "pictures/severe/tiny/zero", case.name))
    assert np.abs(saved.astype(int) - to_pixels(result)[0]).max() <= 1
    assert np.abs(restored["refs-2"].astype(int) - restored["none"]).max() > 3
    assert np.abs(restored["refs-2"].astype(int) - restored["wrong-2"]).max() > 3


def test_a_blind_restoration_and_its_stage_1_are_the_pipelines_own(done, cases, models):
    out, _ = done
    case = cases.cases[4]
    lq = to_tensor(read_picture(picture_path(out / "pictures/severe/controls/lq", case.name))[None])
    blind = models[1].pipeline
    result = blind(lq, num_inference_steps=3, latents=noise_of(case), output_type="raw")
    for condition, expected in (("none", result.images), ("stage-1", blind.restore_stage1(lq))):
        saved = read_picture(picture_path(out / "pictures/severe/tiny-blind" / condition, case.name))
        assert np.abs(saved.astype(int) - to_pixels(expected)[0]).max() <= 1, condition


def test_seconds_are_shared_by_the_batch_and_stage_1_is_timed_alone(cases, models, instruments, tmp_path):
    plan = replace(PLAN, most=0)
    handle = models[1].pipeline.unet.register_forward_pre_hook(lambda *_: time.sleep(0.2))
    rows = measure_cases(cases, cases.cases[:2], models[1:], plan, instruments, tmp_path / "out")
    handle.remove()
    seconds = {key: seconds_of(rows, key, "tiny-blind") for key in ("none", "stage-1", "autoencoder", "lq")}
    assert all(0.3 <= value < 0.6 for value in seconds["none"])  # three steps for two faces
    assert all(0 < value < 0.2 for value in seconds["stage-1"])
    assert all(math.isnan(value) for value in seconds["autoencoder"] + seconds["lq"])


def test_seconds_hold_the_encoding_of_the_references_that_are_shown(cases, models, instruments, tmp_path, monkeypatch):
    encode = models[0].pipeline.encode_references

    def slow(photographs):
        time.sleep(0.4 * len(photographs))
        return encode(photographs)

    monkeypatch.setattr(models[0].pipeline, "encode_references", slow)
    plan = replace(PLAN, wrong_person=False)
    rows = measure_cases(cases, cases.cases[:1], models[:1], plan, instruments, tmp_path / "out")
    seconds = {key: seconds_of(rows, key)[0] for key in CONDITIONS[:4]}
    assert seconds["none"] < 0.4
    assert seconds["zero"] < 0.4  # zeros are the same for everybody: encoded once for all
    assert 0.4 <= seconds["refs-1"] < 0.8 <= seconds["refs-2"]


def test_stage_1_comes_back_from_the_size_that_its_features_need(models):
    blind = models[1].pipeline
    unet = InjectedUNet.from_config(blind.unet.config, feature_size=8)  # of 128 px, while faces have 64
    model = replace(models[1], pipeline=LDBFRPipeline(blind.vq, unet, blind.vae, blind.scheduler))  # type: ignore[arg-type]
    lq = torch.linspace(-1, 1, 3 * SIZE**2).reshape(1, 3, SIZE, SIZE)
    batch = Batch(("a.png",), {"severe": lq}, Photographs([], []), seed=0)
    done = {r.condition.key: r for r in model.restorations(PLAN, batch)}
    torch.testing.assert_close(done["stage-1"].pictures, model.pipeline.restore_stage1(lq))


def test_controls_are_what_they_are_called(done, cases, models):
    out, rows = done
    case = cases.cases[0]
    truth = read_picture(case.hq)
    np.testing.assert_array_equal(read_picture(picture_path(out / "pictures/truth", case.name)), truth)
    nearest = read_picture(picture_path(out / "pictures/any/controls/nearest-reference", case.name))
    assert any(np.array_equal(nearest, read_picture(path)) for path in case.references)
    reconstruction = models[0].ceiling(to_tensor(truth[None]))
    saved = read_picture(picture_path(out / "pictures/any/tiny/autoencoder", case.name))
    np.testing.assert_array_equal(saved, to_pixels(reconstruction)[0])
    identity = {c: float(rows_of(rows, c)[case.name]["identity_cosine"]) for c in ("nearest-reference", "lq", "none")}
    assert identity["nearest-reference"] > 0.7  # the same photograph, a little darker
    assert identity["nearest-reference"] > identity["lq"] > identity["none"]  # random weights restore nobody


def test_batch_size_and_order_do_not_matter(done, cases, models, instruments, tmp_path):
    _, rows = done
    other = measure_cases(cases, cases.cases[::-1], models, replace(PLAN, batch_size=1), instruments, tmp_path / "out")
    by_key = {(row["image"], row["model"], row["condition"]): row for row in other}
    for row in rows:
        again = by_key[row["image"], row["model"], row["condition"]]
        assert row["psnr"] == pytest.approx(again["psnr"], abs=0.05)
        assert row["identity_cosine"] == pytest.approx(again["identity_cosine"], abs=0.02)


def test_an_interrupted_evaluation_continues_to_the_same_table(done, cases, models, instruments, tmp_path):
    _, rows = done
    plan = replace(PLAN, batch_size=1)
    part = tmp_path / "part"
    whole = measure_cases(cases, cases.cases, models, plan, instruments, part)
    lines = (part / "evaluation.jsonl").read_text().splitlines(keepends=True)
    (part / "evaluation.jsonl").write_text("".join(lines[:3]) + lines[3][:300])  # two whole cases, part of a third
    finished = picture_path(part / "pictures/severe/tiny/none", cases.cases[0].name)
    before = finished.stat().st_mtime_ns
    again = measure_cases(cases, cases.cases, models, plan, instruments, part)
    assert untimed(again) == untimed(whole)
    assert len(again) == len(rows)
    assert finished.stat().st_mtime_ns == before  # what was complete is not restored again


def test_ctrl_c_leaves_a_table_of_what_is_done(cases, models, instruments, tmp_path, monkeypatch):
    restore = type(models[1]).restorations
    begun = []

    def interrupted(self, *arguments):
        begun.append(self)
        if len(begun) == 2:
            raise KeyboardInterrupt
        return restore(self, *arguments)

    monkeypatch.setattr(type(models[1]), "restorations", interrupted)
    with pytest.raises(KeyboardInterrupt):
        measure_cases(cases, cases.cases, models[1:], replace(PLAN, batch_size=1), instruments, tmp_path)
    assert {row["image"] for row in read_rows(tmp_path / "per_image.csv")} == {cases.cases[0].name}


def test_results_are_not_mixed_with_others(done, cases, models, instruments, tmp_path):
    out, rows = done
    copy = tmp_path / "copy"
    shutil.copytree(out, copy)
    with pytest.raises(UsageError, match=r"other settings \(seed 3, not 4\)"):
        measure_cases(cases, cases.cases, models, replace(PLAN, seed=4), instruments, copy)
    with pytest.raises(UsageError, match=r"other settings \(batch size 4, not 1\)"):  # by which the seconds go
        measure_cases(cases, cases.cases, models, replace(PLAN, batch_size=1), instruments, copy)
    assert {repr(row) for row in read_rows(copy / "per_image.csv")} == {repr(row) for row in rows}


@pytest.mark.parametrize("changed", ["ann/0.png", "bea/2.png", "lq/bea/1.png"])
def test_results_depend_on_what_is_in_the_files_not_on_their_names(album, models, instruments, tmp_path, changed):
    shutil.copytree(album, tmp_path / "faces")
    shutil.copytree(album, tmp_path / "faces" / "lq")
    plan = replace(PLAN, sets=("stored",))

    def settings() -> dict:
        mapping = mapping_from_index(album / "index.csv", "test")
        cases = load_cases(mapping, tmp_path / "faces", tmp_path / "faces" / "lq")
        return settings_of(cases, cases.cases, models, plan, instruments)

    before = settings()
    assert settings() == before
    with Image.open(tmp_path / "faces" / changed) as picture:
        ImageOps.invert(picture).save(tmp_path / "faces" / changed)
    after = settings()
    assert {name for name in before if before[name] != after[name]} == {"contents of photographs"}


def test_results_depend_on_the_weights_of_the_second_recogniser(cases, models, instruments):
    def settings(seed: int) -> dict:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            judge = replace(instruments, second_recogniser=MobileFaceNet())
        return settings_of(cases, cases.cases, models, PLAN, judge)

    assert settings(0) == settings(0)
    assert settings(0) != settings(1)
    assert settings(0)["second recogniser"].startswith("MobileFaceNet ")


def test_a_full_disk_is_one_sentence_and_leaves_no_half_written_picture(
    cases, models, instruments, tmp_path, monkeypatch
):
    def fill_up(image: Image.Image, path: Path, **options: object) -> None:
        Path(path).write_bytes(b"half a picture")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", fill_up)
    with pytest.raises(OutputError, match="disk is full"):
        measure_cases(cases, cases.cases[:1], models[1:], PLAN, instruments, tmp_path / "out")
    assert not list(tmp_path.rglob("*.png"))


def test_one_person_alone_is_measured_without_a_wrong_person(cases, models, instruments, tmp_path):
    plan = replace(PLAN, wrong_person=False)
    rows = measure_cases(cases, cases.cases[:3], models, plan, instruments, tmp_path / "out")
    controls = {"lq", "nearest-reference", "autoencoder"}
    assert {str(row["condition"]) for row in rows} == {*controls, *CONDITIONS[:4], "stage-1"}
