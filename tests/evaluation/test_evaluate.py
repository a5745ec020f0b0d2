"""`faceref evaluate` from the command line to the files it leaves, and what it says to bad requests."""

import csv
import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from faceref.app.cli.main import app
from faceref.data.mapping import ReferenceEntry, ReferenceMapping


def run(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["evaluate", *map(str, arguments)])
    return result.exit_code, result.output


@pytest.fixture(scope="module")
def finished(model_folder: Path, album: Path, tmp_path_factory) -> Path:
    """Both degradations on the index, one model under two settings, by groups."""
    out = tmp_path_factory.mktemp("evaluate") / "out"
    models = (model_folder, f"{model_folder},steps=1")
    arguments = ("--index", album / "index.csv", "--hq", album, "--group-by", "hair", "--references", 2)
    code, output = run(*models, *arguments, "--degradation", "severe", "--degradation", "moderate", "-o", out)
    assert code == 0, output
    assert "tiny: 2 references" in output
    return out


def test_it_leaves_the_table_plots_and_sheets(finished: Path):
    names = {path.name for path in finished.iterdir()}
    assert {"per_image.csv", "summary.md", "summary.json", "left_out.csv", "evaluation.jsonl"} <= names
    for name in ("identity_by_references.png", "identity_by_degradation.png", "identity_distribution.png"):
        with Image.open(finished / name) as plot:
            assert len(plot.convert("L").getcolors() or range(300)) > 10, name  # something is drawn
    with Image.open(finished / "sheet_severe_tiny_ranked.png") as sheet:
        assert sheet.width == 64 * 6  # LQ, without, with, truth, two references
    text = (finished / "summary.md").read_text()
    for words in ("## severe", "## moderate", "## Which differences are real", "## Group dark", "LPIPS", "FID"):
        assert words in text, words
    assert "to own references: mean embedding distance to the first 2 references of the person" in text
    content = json.loads((finished / "summary.json").read_text())
    assert content["settings"]["models"]["tiny steps=1"]["steps"] == 1
    with (finished / "per_image.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["set"] for row in rows} == {"", "severe", "moderate"}
    assert len({row["image"] for row in rows}) == 6


def test_two_processes_measure_what_one_does(model_folder: Path, album: Path, tmp_path: Path, monkeypatch):
    """This process and another one, as torchrun would start them: the same rows to the last digit, written once."""
    arguments = (model_folder, "--index", album / "index.csv", "--hq", album, "--references", 1, "--batch-size", 1)
    code, output = run(*arguments, "--limit", 3, "-o", tmp_path / "alone")
    assert code == 0, output
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    group = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    command = [sys.executable, "-m", "faceref", "evaluate", *map(str, arguments), "--limit", "3"]
    other = subprocess.Popen(
        [*command, "-o", str(tmp_path / "together")],
        env=os.environ | group | {"RANK": "1", "OMP_NUM_THREADS": str(torch.get_num_threads())},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    for name, value in (group | {"RANK": "0"}).items():
        monkeypatch.setenv(name, value)
    code, output = run(*arguments, "--limit", 3, "-o", tmp_path / "together")
    assert code == 0, output
    assert other.communicate(timeout=120)[0] == ""
    assert other.returncode == 0
    one, both = (
        list(csv.DictReader((tmp_path / out / "per_image.csv").read_text().splitlines()))
        for out in ("alone", "together")
    )
    for row in (*one, *both):
        del row["seconds"]
    assert one == both
    assert sorted(path.name for path in (tmp_path / "together").iterdir()) == sorted(
        path.name for path in (tmp_path / "alone").iterdir()
    )


def test_a_blind_model_stands_beside_one_with_references(
    model_folder: Path, tiny_blind_model: Path, album: Path, tmp_path: Path
):
    arguments = (
        tiny_blind_model,
        model_folder,
        "--hq",
        album,
        "--references",
        1,
        "--reference-counts",
        "",
        "--limit",
        2,
    )
    code, output = run(*arguments, "-o", tmp_path / "out")
    assert code == 0, output
    text = (tmp_path / "out" / "summary.md").read_text()
    for words in ("| tiny-blind: no references |", "| tiny-blind: stage 1 alone |", "| tiny: 1 reference |"):
        assert words in text, words
    assert "tiny-blind: 1 " not in text
    assert "tiny-blind: 3 steps of ddim, weights" in text
    assert "seconds per face ↓" in text
    with Image.open(tmp_path / "out" / "sheet_severe_tiny-blind_ranked.png") as sheet:
        assert sheet.width == 64 * 5  # LQ, restored, stage 1, truth, the reference of the person


def test_the_product_stands_beside_the_bare_pipelines_of_both_families(
    model_folder: Path, tiny_blind_model: Path, album: Path, tmp_path: Path
):
    out = tmp_path / "out"
    common = ("--hq", album, "--references", 1, "--limit", 2, "--degradation", "moderate", "--product")
    code, output = run(model_folder, tiny_blind_model, *common, "-o", out)
    assert code == 0, output
    text = (out / "summary.md").read_text()
    for words in (
        "| tiny: the product, 1 reference |",
        "| tiny-blind: the product, no references |",
        "| moderate | tiny: the product, 1 reference | tiny: 1 reference |",
        "face found",
        "- the product: the LQ face lies in a larger picture",
    ):
        assert words in text, words
    with (out / "per_image.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["condition"] == "product"]
    assert [(row["model"], row["references"], row["face_found"]) for row in rows[:2]] == [
        ("tiny", "1", "1"),
        ("tiny-blind", "0", "1"),
    ]


def test_one_remark_is_one(model_folder: Path, album: Path, tmp_path: Path):
    entries = (ReferenceEntry("ann/0.png", ("ann/1.png",)), ReferenceEntry("gone.png", ("ann/0.png",)))
    ReferenceMapping(entries).write(tmp_path / "mapping.csv")
    arguments = (model_folder, "--mapping", tmp_path / "mapping.csv", "--hq", album, "--references", 1)
    code, output = run(*arguments, "-o", tmp_path / "out")
    assert (code, "1 remark on 1 photograph left out" in output) == (0, True), output


def test_stored_lq_pictures_are_enlarged_and_have_a_bicubic_row(model_folder: Path, album: Path, tmp_path: Path):
    lq = tmp_path / "lq"
    lq.mkdir()
    with Image.open(album / "ann/0.png") as image:
        image.resize((16, 16)).save(lq / "small.png")
    entry = ReferenceEntry("ann/0.png", ("ann/1.png", "gone.png"), "small.png")
    ReferenceMapping((entry, ReferenceEntry("gone.png", ("ann/0.png",), "small.png"))).write(tmp_path / "mapping.csv")
    out = tmp_path / "out"
    code, output = run(model_folder, "--mapping", tmp_path / "mapping.csv", "--hq", album, "--lq", lq, "-o", out)
    assert code == 0, output
    text = (out / "summary.md").read_text()
    assert "the LQ input, enlarged bicubically" in text
    assert "only one identity" in text
    assert "gone.png does not exist" in (out / "left_out.csv").read_text()
    assert "2 remarks on 2 photographs left out" in output


def test_lq_pictures_of_several_sizes_have_a_bicubic_row_of_all_whatever_is_measured_together(
    model_folder: Path, album: Path, tmp_path: Path
):
    lq = tmp_path / "lq"
    lq.mkdir()
    with Image.open(album / "ann/0.png") as image:
        image.resize((16, 16)).save(lq / "small.png")
        image.save(lq / "large.png")
    small, large = (
        ReferenceEntry(f"ann/{i}.png", ("ann/2.png",), f"{name}.png") for i, name in enumerate(("small", "large"))
    )
    ReferenceMapping((small, large)).write(tmp_path / "mapping.csv")
    arguments = ("--mapping", tmp_path / "mapping.csv", "--hq", album, "--lq", lq, "--batch-size", 1)
    code, output = run(model_folder, *arguments, "-o", tmp_path / "out")
    assert code == 0, output
    with (tmp_path / "out" / "per_image.csv").open() as file:
        rows = [row["image"] for row in csv.DictReader(file) if row["condition"] == "bicubic"]
    assert rows == ["ann/0.png", "ann/1.png"]


def test_folders_of_people_are_measured_by_ita_or_by_labels(model_folder: Path, album: Path, tmp_path: Path):
    (tmp_path / "labels.csv").write_text("file,age\n" + "".join(f"ann/{i}.png,40\n" for i in range(3)))
    common = (model_folder, "--hq", album, "--references", 1)
    code, output = run(*common, "--group-by", "ita", "-o", tmp_path / "tone")
    assert code == 0, output
    text = (tmp_path / "tone" / "summary.md").read_text()
    assert "6 photographs of 2 people" in text
    assert "## Group 1 of 3, darkest" in text
    assert "individual typology angle" in text
    with (tmp_path / "tone" / "per_image.csv").open() as file:
        angles = {row["image"]: float(row["ita"]) for row in csv.DictReader(file)}
    assert angles["ann/0.png"] == pytest.approx(angles["bea/0.png"], abs=10)  # the same face, mirrored
    labelled = (*common, "--group-by", "age", "--labels", tmp_path / "labels.csv")
    code, output = run(*labelled, "--limit", 2, "-o", tmp_path / "age")
    assert code == 0, output
    text = (tmp_path / "age" / "summary.md").read_text()
    assert "## Group 40" in text
    assert "1 of 2 photographs have no age" in text


@pytest.mark.parametrize(("name", "age"), [("0.png", "40"), ("ann/0.png", "")])
def test_labels_of_other_photographs_are_refused_before_anything_is_measured(
    name: str, age: str, model_folder: Path, album: Path, tmp_path: Path
):
    labels, out = tmp_path / "labels.csv", tmp_path / "out"
    labels.write_text(f"file,age\n{name},{age}\n")
    code, output = run(model_folder, "--hq", album, "--group-by", "age", "--labels", labels, "-o", out)
    assert (code, out.exists()) == (1, False), output
    assert "has no age for any of the 6 photographs" in output
    assert "named here, like ann/0.png." in output


def test_a_finished_evaluation_given_again_is_not_repeated_and_another_one_is_refused(
    finished: Path, model_folder: Path, album: Path
):
    picture = finished / "pictures/severe/tiny/none/ann/0.png"
    before = picture.stat().st_mtime_ns
    models = (model_folder, f"{model_folder},steps=1")
    arguments = ("--index", album / "index.csv", "--hq", album, "--group-by", "hair", "--references", 2)
    degradations = ("--degradation", "severe", "--degradation", "moderate")
    code, output = run(*models, *arguments, *degradations, "-o", finished)
    assert (code, picture.stat().st_mtime_ns) == (0, before), output
    code, output = run(*models, *arguments, *degradations, "-o", finished, "--seed", 1)
    assert (code, "other settings (seed 0, not 1" in output.replace("\n", " ")) == (2, True), output


def test_results_among_the_photographs_are_refused_unless_a_table_says_which_those_are(
    model_folder: Path, album: Path, tmp_path: Path
):
    hq, lq = tmp_path / "hq", tmp_path / "lq"
    shutil.copytree(album, hq)
    shutil.copytree(album, lq)
    common = (model_folder, "--hq", hq, "--references", 1, "--limit", 1)
    restored = (*common, "--index", hq / "index.csv", "--restored", f"others={lq}")
    for arguments, out in ((common, hq / "out"), ((*common, "--lq", lq), lq / "out"), (restored, lq / "out")):
        code, output = run(*arguments, "-o", out)
        assert (code, out.exists()) == (2, False), output
        assert f"{out} lies in {out.parent}" in output
    for _ in range(2):
        code, output = run(*common, "--index", hq / "index.csv", "-o", hq / "out")
        assert code == 0, output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--index", "i.csv", "--mapping", "m.csv"), "either --mapping"),
        (("--index", "i.csv", "--degradation", "light"), "no degradation 'light'; choose mild or moderate or severe"),
        (("--index", "i.csv", "--lq", ".", "--degradation", "severe"), "either --lq or --degradation"),
        (
            ("--mapping", "m.csv", "--group-by", "hair"),
            "there is no table; give --index or --labels",
        ),
        (
            ("--mapping", "m.csv", "--labels", "l.csv"),
            "no column of them; name one of their columns with --group-by",
        ),
        (("--index", "i.csv", "--reference-counts", "few"), "'few' is not a list of numbers"),
        (
            ("--index", "i.csv", "--reference-counts", "7,9", "--references", 3),
            "7 references cannot be measured",
        ),
        (
            ("--index", "i.csv", "--reference-counts", "0,1"),
            "0 references cannot be measured where",
        ),
        (("--index", "i.csv", "--scheduler", "euler"), "no scheduler 'euler'"),
        (("--index", "i.csv", "--steps", 2000), "2000 denoising steps are not possible; choose 1 to 1000."),
        (("--index", "i.csv", "--guidance", -2), "A guidance of -2.0 is not possible"),
        (("--index", "i.csv", "--guidance", "nan"), "A guidance of nan is not possible"),
        (("--mapping", "m.csv", "--split", "val"), "no index that tells who is in it; give --index, or no --split."),
    ],
)
def test_requests_that_contradict_themselves_end_with_one_sentence(
    arguments, words, model_folder: Path, tmp_path: Path
):
    code, output = run(model_folder, "--hq", tmp_path, "-o", tmp_path / "out", *arguments)
    assert code == 2
    assert words in output
    assert output.strip().count("\n") == 0
    assert not (tmp_path / "out").exists()
