"""Restorations are the pipeline's own; rows do not depend on batches, order or interruptions."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from faceref.data.degrade import seed_for
from faceref.data.references import mapping_from_index
from faceref.errors import OutputError, UsageError
from faceref.evaluation.batch import Instruments, Plan, picture_path, to_pixels, to_tensor
from faceref.evaluation.cases import CaseSet, load_cases
from faceref.evaluation.faces import Centre, FaceDescriber
from faceref.evaluation.groups import Row
from faceref.evaluation.models import ModelSpec, Sampling, load_models
from faceref.evaluation.run import evaluate, read_rows
from faceref.faces.dlib_torch import TorchDlibRecogniser

SIZE = 64  # of the tiny model
PLAN = Plan(sets=("severe",), references=2, reference_counts=(1,), seed=3, batch_size=4)
CONDITIONS = ["none", "zero", "refs-1", "refs-2", "wrong-2"]


@pytest.fixture(scope="module")
def cases(album: Path) -> CaseSet:
    return load_cases(mapping_from_index(album / "index.csv", "test"), album)


@pytest.fixture(scope="module")
def models(model_folder: Path):
    return load_models([ModelSpec.parse(str(model_folder), Sampling())], torch.device("cpu"))


@pytest.fixture(scope="module")
def instruments() -> Instruments:
    describer = FaceDescriber(TorchDlibRecogniser(torch.device("cpu")), SIZE)
    return Instruments(describer, Centre.shipped(), recogniser=None, learned=None)


@pytest.fixture(scope="module")
def done(cases, models, instruments, tmp_path_factory) -> tuple[Path, list[Row]]:
    out = tmp_path_factory.mktemp("evaluation") / "out"
    return out, evaluate(cases, cases.cases, models, PLAN, instruments, out)


def read_picture(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.array(image.convert("RGB"))


def rows_of(rows: list[Row], condition: str) -> dict[str, Row]:
    return {str(row["image"]): row for row in rows if row["condition"] == condition}


def test_every_case_is_measured_under_every_condition_and_control(done, cases):
    _, rows = done
    for condition in ("lq", "nearest-reference", "autoencoder", *CONDITIONS):
        assert sorted(rows_of(rows, condition)) == sorted(case.name for case in cases.cases), condition
    assert len(rows) == len(cases.cases) * 8
    assert {row["references"] for row in rows_of(rows, "refs-1").values()} == {1}
    assert {row["references"] for row in rows_of(rows, "wrong-2").values()} == {2}


def test_a_restoration_is_the_pipelines_own_for_the_same_noise_and_references(done, cases, models):
    out, _ = done
    case = cases.cases[4]
    lq = to_tensor(read_picture(picture_path(out / "pictures/severe/controls/lq", case.name))[None])
    noise = torch.randn(
        4, SIZE // 4, SIZE // 4, generator=torch.Generator().manual_seed(seed_for(3, case.name, "noise"))
    )
    wrong = cases.wrong_references(case, 2, seed=3)
    restored = {}
    for condition, paths in (
        ("none", ()),
        ("refs-1", case.references[:1]),
        ("refs-2", case.references),
        ("wrong-2", wrong),
    ):
        pictures = [to_tensor(np.stack([read_picture(path) for path in paths]))] if paths else None
        result = models[0].pipeline(lq, pictures, guidance=1.5, steps=2, latents=noise[None], output_type="pt").images
        restored[condition] = to_pixels(result)[0]
        saved = read_picture(picture_path(out / "pictures/severe/tiny" / condition, case.name))
        assert np.abs(saved.astype(int) - restored[condition]).max() <= 1, condition
    # guidance 0 leaves what guidance subtracts: the zero references
    pictures = [to_tensor(np.stack([read_picture(path) for path in case.references]))]
    result = models[0].pipeline(lq, pictures, guidance=0, steps=2, latents=noise[None], output_type="pt").images
    saved = read_picture(picture_path(out / "pictures/severe/tiny/zero", case.name))
    assert np.abs(saved.astype(int) - to_pixels(result)[0]).max() <= 1
    assert np.abs(restored["refs-2"].astype(int) - restored["none"]).max() > 3
    assert np.abs(restored["refs-2"].astype(int) - restored["wrong-2"]).max() > 3


def test_controls_are_what_they_are_called(done, cases, models):
    out, rows = done
    case = cases.cases[0]
    truth = read_picture(case.hq)
    np.testing.assert_array_equal(read_picture(picture_path(out / "pictures/truth", case.name)), truth)
    nearest = read_picture(picture_path(out / "pictures/any/controls/nearest-reference", case.name))
    assert any(np.array_equal(nearest, read_picture(path)) for path in case.references)
    reconstruction, _ = models[0].reconstruct(to_tensor(truth[None]))
    saved = read_picture(picture_path(out / "pictures/any/tiny/autoencoder", case.name))
    np.testing.assert_array_equal(saved, to_pixels(reconstruction)[0])
    identity = {c: float(rows_of(rows, c)[case.name]["identity_cosine"]) for c in ("nearest-reference", "lq", "none")}
    assert identity["nearest-reference"] > 0.7  # the same photograph, a little darker
    assert identity["nearest-reference"] > identity["lq"] > identity["none"]  # random weights restore nobody


def test_batch_size_and_order_do_not_matter(done, cases, models, instruments, tmp_path):
    _, rows = done
    other = evaluate(cases, cases.cases[::-1], models, replace(PLAN, batch_size=1), instruments, tmp_path / "out")
    by_key = {(row["image"], row["condition"]): row for row in other}
    for row in rows:
        again = by_key[row["image"], row["condition"]]
        assert row["psnr"] == pytest.approx(again["psnr"], abs=0.05)
        assert row["identity_cosine"] == pytest.approx(again["identity_cosine"], abs=0.02)


def test_an_interrupted_evaluation_continues_to_the_same_table(done, cases, models, instruments, tmp_path):
    _, rows = done
    plan = replace(PLAN, batch_size=1)
    part = tmp_path / "part"
    whole = evaluate(cases, cases.cases, models, plan, instruments, part)
    lines = (part / "per_image.csv").read_text().splitlines(keepends=True)
    (part / "per_image.csv").write_text("".join(lines[:20]) + lines[20][:30])  # two whole cases, part of a third
    finished = picture_path(part / "pictures/severe/tiny/none", cases.cases[0].name)
    before = finished.stat().st_mtime_ns
    again = evaluate(cases, cases.cases, models, plan, instruments, part, resume=True)
    assert {repr(row) for row in again} == {repr(row) for row in whole}
    assert len(again) == len(rows)
    assert finished.stat().st_mtime_ns == before  # what was complete is not restored again


def test_results_are_neither_overwritten_nor_mixed_with_others(done, cases, models, instruments, tmp_path):
    out, rows = done
    with pytest.raises(OutputError, match="--resume"):
        evaluate(cases, cases.cases, models, PLAN, instruments, out)
    copy = tmp_path / "copy"
    shutil.copytree(out, copy)
    with pytest.raises(UsageError, match="other seed"):
        evaluate(cases, cases.cases, models, replace(PLAN, seed=4), instruments, copy, resume=True)
    assert {repr(row) for row in read_rows(copy / "per_image.csv")} == {repr(row) for row in rows}


def test_one_person_alone_is_measured_without_a_wrong_person(cases, models, instruments, tmp_path):
    plan = replace(PLAN, wrong_person=False)
    rows = evaluate(cases, cases.cases[:3], models, plan, instruments, tmp_path / "out")
    assert {str(row["condition"]) for row in rows} == {"lq", "nearest-reference", "autoencoder", *CONDITIONS[:4]}


def test_models_are_named_shortly_and_take_settings(model_folder: Path, other_model_folder: Path):
    specs = [ModelSpec.parse(f"{model_folder},steps=1,scheduler=unipc", Sampling(guidance=2.0))]
    specs.append(ModelSpec.parse(str(other_model_folder), Sampling()))
    first, second = load_models(specs, torch.device("cpu"))
    assert (first.label, second.label) == ("tiny steps=1 guidance=2.0 scheduler=unipc", "other")
    assert (first.steps, first.guidance, first.scheduler) == (1, 2.0, "unipc")
    assert (second.steps, second.guidance, second.scheduler) == (2, 1.5, "ddim")
    assert first.fingerprint != second.fingerprint


def test_models_that_share_a_name_are_told_apart_by_their_paths(model_folder: Path, tmp_path: Path):
    shutil.copytree(model_folder, tmp_path / "copy")
    specs = [ModelSpec.parse(str(path), Sampling()) for path in (model_folder, tmp_path / "copy")]
    assert [model.label for model in load_models(specs, torch.device("cpu"))] == [spec.path for spec in specs]
    with pytest.raises(UsageError, match="given twice"):
        load_models(specs[:1] * 2, torch.device("cpu"))


@pytest.mark.parametrize("text", ["small,steps=many", "small,colour=red", "small,steps"])
def test_a_setting_that_is_none_is_named(text: str):
    with pytest.raises(UsageError, match="is no setting"):
        ModelSpec.parse(text, Sampling())
