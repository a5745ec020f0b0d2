"""`faceref bench` measures every stage at every setting that a model takes, and tells whether it became worse."""

import json

import pytest
import torch
from outcome import assert_one_sentence

NETWORKS = ["encode LQ", "step", "decode"]
PHOTOGRAPH = ["open", "detect", "align", "recognise", "judge", "paste", "write", "whole photograph"]


@pytest.fixture
def bench(faceref, tmp_path):
    """`faceref bench` of one repetition on the CPU; the outcome, and what --json wrote."""

    def run(*arguments: object):
        file = tmp_path / "measured.json"
        outcome = faceref("bench", *arguments, "--device", "cpu", "--repetitions", 1, "--json", file)
        return outcome, json.loads(file.read_bytes()) if file.exists() else None

    return run


def stages(report: dict, references: int, steps: int) -> list[str]:
    wanted = {"references": references, "steps": steps, "batch": 1, "dtype": "float32"}
    return [stage["name"] for stage in report["stages"] if stage["setting"] == wanted]


@pytest.mark.parametrize(
    ("family", "own_steps", "counts"),
    [("tiny_model", 2, [0, 2]), ("tiny_blind_model", 3, [0])],
)
def test_every_number_of_references_and_steps_is_measured(bench, request, family, own_steps, counts):
    _, report = bench(request.getfixturevalue(family), "--references", "0,2", "--steps", f"1,{own_steps}")
    for steps in (1, own_steps):
        assert stages(report, 0, steps) == NETWORKS
        assert stages(report, 2, steps) == (["encode references", *NETWORKS] if 2 in counts else [])


def test_without_references_the_model_that_is_for_that_is_measured(bench, tiny_model_with_blind):
    _, report = bench(tiny_model_with_blind, "--references", "0,2")
    assert stages(report, 0, 3) == NETWORKS  # three steps are its own default
    assert stages(report, 2, 2) == ["encode references", *NETWORKS]


def test_what_was_measured_adds_up(bench, tiny_model):
    outcome, report = bench(tiny_model, "--references", "1", "--batch", "2", "--steps", "3")
    encoding, lq, step, decoding = report["stages"]
    assert (encoding["times"], lq["times"], step["times"], decoding["times"]) == (2, 1, 3, 1)  # a person each
    assert all(stage["seconds"] > 0 and stage["memory"] > 2**20 for stage in report["stages"])
    total = sum(stage["times"] * stage["seconds"] for stage in report["stages"])
    assert f"{total:.3f}" in outcome.output
    assert f"{total / 2:.3f}" in outcome.output
    assert report["peak_flops"]["float32"] > 1e8


def test_the_stages_of_a_photograph_are_measured(bench, tiny_model, album):
    photo, good = album / "photo.jpg", album / "references"
    _, report = bench(tiny_model, "--references", "0", "--photo", photo, "--ref", good)
    times = {stage["name"]: stage["seconds"] for stage in report["stages"] if stage["setting"] is None}
    assert list(times) == ["read references", *PHOTOGRAPH]
    assert times["whole photograph"] > times["detect"] > 0


def test_a_photograph_in_two_number_formats_is_compared_with_itself_in_each(bench, tiny_model, album, tmp_path):
    arguments = (tiny_model, "--references", "0", "--photo", album / "photo.jpg", "--dtype", "float32,bfloat16")
    _, report = bench(*arguments)
    before = tmp_path / "before.json"
    for stage in report["stages"]:
        if stage["setting"] is None and stage["networks"] == "bfloat16":
            stage["memory"] //= 1000
    before.write_text(json.dumps(report))
    outcome, _ = bench(*arguments, "--against", before, "--margin", 100)
    worse = [line for line in outcome.output.splitlines() if "worse" in line]
    assert (outcome.code, len(worse)) == (1, len(PHOTOGRAPH))
    assert all("bfloat16" in line for line in worse)


def test_it_ends_with_one_where_it_became_worse(bench, tiny_model, tmp_path):
    arguments = tiny_model, "--references", "0"
    _, report = bench(*arguments)
    before = tmp_path / "before.json"
    report["machine"] |= {"device": "another machine", "pytorch": "1.0", "load": None}
    for stage in report["stages"]:
        stage["memory"] //= 4
    before.write_text(json.dumps(report))
    outcome, _ = bench(*arguments, "--against", before, "--margin", 3)
    assert outcome.code == 1
    assert outcome.output.count("worse") == 3
    assert f"before: {tiny_model}; another machine, torch 1.0, load not known" in outcome.output
    for stage in report["stages"]:
        stage["memory"] *= 8
        stage["seconds"] *= 1000
    before.write_text(json.dumps(report))
    outcome, _ = bench(*arguments, "--against", before, "--margin", 3)
    assert (outcome.code, outcome.output.count("worse")) == (0, 0)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ("--references 1,x", "'1,x' is not a list of numbers"),
        ("--batch 0", "--batch '0' has to name numbers, 1 or more"),
        ("--dtype float8", "no number format 'float8'"),
        ("--ref references", "The references are those of a photograph; name it with --photo"),
        ("--against nowhere.json", "nowhere.json is not what faceref bench --json writes"),
        ("--steps 5000", "5000 denoising steps are not possible"),
    ],
)
def test_what_cannot_be_measured_is_said_before(bench, tiny_model, arguments, reason):
    outcome, report = bench(tiny_model, *arguments.split())
    assert (outcome.code, report) == (2, None)
    assert reason in outcome.errors
    assert_one_sentence(outcome.errors)


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), RuntimeError("shapes do not fit")]
)
def test_a_device_without_memory_is_one_sentence_and_other_errors_are_not(bench, tiny_model, monkeypatch, error):
    def fails(*_: object, **__: object):
        raise error

    monkeypatch.setattr("faceref.bench.run.network_stages", fails)
    if not isinstance(error, torch.OutOfMemoryError):
        with pytest.raises(RuntimeError, match="shapes do not fit"):
            bench(tiny_model)
        return
    outcome, _ = bench(tiny_model)
    assert outcome.code == 1
    assert outcome.errors.startswith("The device has too little memory; take fewer faces at a time")
    assert_one_sentence(outcome.errors)


def test_a_report_that_cannot_be_written_is_said_before_anything_is_measured(
    faceref, tiny_model, tmp_path, monkeypatch
):
    monkeypatch.setattr("faceref.bench.run.run", lambda *_: pytest.fail("measured"))
    refused = faceref("bench", tiny_model, "--json", tmp_path)
    assert refused.code == 1
    assert "is a folder; name the file to write" in refused.errors


@pytest.mark.parametrize("arguments", [("--photo", "nowhere"), ("--photo", "photo.jpg", "--ref", "nowhere")])
def test_a_photograph_that_is_not_there_is_said_before_anything_is_measured(
    faceref, tiny_model, album, monkeypatch, arguments
):
    monkeypatch.setattr("faceref.bench.run.run", lambda *_: pytest.fail("measured"))
    monkeypatch.chdir(album)
    refused = faceref("bench", tiny_model, *arguments)
    assert (refused.code, refused.errors) == (1, "nowhere does not exist; check the name.\n")


def test_another_model_is_no_comparison(bench, tiny_model, tiny_blind_model, tmp_path, monkeypatch):
    bench(tiny_model, "--references", "0")
    (tmp_path / "measured.json").rename(tmp_path / "before.json")
    monkeypatch.setattr("faceref.bench.run.run", lambda *_: pytest.fail("measured"))
    outcome, _ = bench(tiny_blind_model, "--references", "0", "--against", tmp_path / "before.json")
    assert outcome.code == 2
    assert "measure the same model" in outcome.errors
