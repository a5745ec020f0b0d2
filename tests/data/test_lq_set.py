"""LQ sets: what becomes of a file depends on the seed and its name alone."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from faceref.data.degradation import MODERATE, SEVERE, DegradationRanges, degrade
from faceref.data.index import write_index
from faceref.data.lq_set import degrade_files, files_to_degrade, seed_for
from faceref.errors import DataError, UsageError
from faceref.evaluation.cases import pictures_by_stem


@pytest.fixture
def hq(tmp_path: Path, portrait: Image.Image) -> Path:
    for i, name in enumerate(("a.png", "p/b.png", "p/c.webp")):
        path = tmp_path / "hq" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        portrait.rotate(90 * i).resize((64, 64)).save(path, lossless=True)
    return tmp_path / "hq"


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"))


def make(hq: Path, out: Path, names: list[str], ranges: DegradationRanges = SEVERE, **options):
    return degrade_files(hq, names, out, ranges, **{"seed": 0, "purpose": "severe"} | options)


def test_adding_a_file_changes_no_other_and_processes_do_not_matter(hq: Path, tmp_path: Path):
    make(hq, tmp_path / "one", ["a.png"])
    make(hq, tmp_path / "all", ["p/c.webp", "p/b.png", "a.png"], workers=2)
    assert (tmp_path / "one/a.png").read_bytes() == (tmp_path / "all/a.png").read_bytes()
    assert (tmp_path / "all/p/c.png").exists()
    lines = (tmp_path / "all/degradation.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in lines] == ["file", "p/c.png", "p/b.png", "a.png"]


def test_it_is_equation_4_with_ranges_brought_to_the_size(hq: Path, tmp_path: Path):
    make(hq, tmp_path / "lq", ["a.png"], seed=3)
    rng = np.random.default_rng(seed_for(3, "a.png", "severe"))
    expected = degrade(Image.open(hq / "a.png"), SEVERE.at(64).sample(rng), rng)
    np.testing.assert_array_equal(pixels(tmp_path / "lq/a.png"), np.asarray(expected))


def test_severe_is_worse_than_moderate_and_seeds_differ(hq: Path, tmp_path: Path):
    names, errors = ["a.png", "p/b.png", "p/c.webp"], {}
    for key, ranges, seed in (("severe", SEVERE, 0), ("moderate", MODERATE, 0), ("other", SEVERE, 1)):
        make(hq, tmp_path / key, names, ranges, seed=seed, purpose=key)
        lq = [pixels((tmp_path / key / name).with_suffix(".png")).astype(float) for name in names]
        errors[key] = np.mean([np.abs(x - pixels(hq / name)).mean() for x, name in zip(lq, names, strict=True)])
    assert errors["severe"] > 1.2 * errors["moderate"]
    assert errors["severe"] != errors["other"]


def test_a_name_that_is_no_text_is_left_out(hq: Path, tmp_path: Path):
    name = os.fsdecode(b"p/caf\xe9.png")
    try:
        shutil.copy(hq / "a.png", hq / name)
    except OSError:
        pytest.skip("This file system has names of text only.")
    made, failed = make(hq, tmp_path / "lq", files_to_degrade(hq, None, None))
    assert (made, failed) == (3, [{"file": "p/caf\\xe9.png", "reason": "its name is no text in UTF-8; rename it"}])
    assert "caf\\xe9" in (tmp_path / "lq" / "left_out.csv").read_text()


def test_what_is_there_is_kept_and_other_settings_are_refused(hq: Path, tmp_path: Path):
    make(hq, tmp_path / "lq", ["a.png"])
    marked = Image.new("RGB", (64, 64), "red")
    marked.save(tmp_path / "lq/a.png")
    assert make(hq, tmp_path / "lq", ["a.png", "p/b.png"])[0] == 2
    assert pixels(tmp_path / "lq/a.png")[0, 0].tolist() == [255, 0, 0]
    with pytest.raises(UsageError, match="other settings \\(seed 0, not 1\\)"):
        make(hq, tmp_path / "lq", ["a.png"], seed=1)


def test_a_face_that_has_changed_is_degraded_again(hq: Path, tmp_path: Path):
    make(hq, tmp_path / "lq", ["a.png", "p/b.png"])
    before = {name: (tmp_path / "lq" / name).stat().st_mtime_ns for name in ("a.png", "p/b.png")}
    with Image.open(hq / "a.png") as face:
        face.rotate(180).save(hq / "a.png")
    assert make(hq, tmp_path / "lq", ["a.png", "p/b.png"]) == (2, [])
    make(hq, tmp_path / "fresh", ["a.png"])
    np.testing.assert_array_equal(pixels(tmp_path / "lq/a.png"), pixels(tmp_path / "fresh/a.png"))
    assert (tmp_path / "lq/p/b.png").stat().st_mtime_ns == before["p/b.png"]


def test_a_picture_of_another_origin_is_neither_kept_as_ours_nor_overwritten(hq: Path, tmp_path: Path):
    (tmp_path / "lq").mkdir()
    Image.new("RGB", (64, 64), "red").save(tmp_path / "lq/a.png")
    made, failed = make(hq, tmp_path / "lq", ["a.png", "p/b.png"])
    assert (made, [row["file"] for row in failed]) == (1, ["a.png"])
    assert "is there already" in failed[0]["reason"]
    assert pixels(tmp_path / "lq/a.png")[0, 0].tolist() == [255, 0, 0]
    assert "a.png" not in (tmp_path / "lq/degradation.csv").read_text()


def test_what_a_killed_run_made_and_could_not_remember_counts(hq: Path, tmp_path: Path):
    make(hq, tmp_path / "lq", ["a.png", "p/b.png"])
    journal = tmp_path / "lq/degradation.jsonl"
    lines = journal.read_text().splitlines(keepends=True)
    journal.write_text("".join(lines[:-1]))  # the last outcome is lost, its picture is there
    table = (tmp_path / "lq/degradation.csv").read_text()
    assert make(hq, tmp_path / "lq", ["a.png", "p/b.png"]) == (2, [])
    assert (tmp_path / "lq/degradation.csv").read_text() == table


def test_the_folder_of_the_faces_is_refused_and_nothing_in_it_is_touched(hq: Path):
    (hq / "left_out.csv").write_text("file,kind,reason\n")
    before = {path: path.read_bytes() for path in hq.rglob("*") if path.is_file()}
    with pytest.raises(UsageError, match="holds the faces themselves"):
        make(hq, hq / "p" / "..", ["a.png"])
    assert {path: path.read_bytes() for path in hq.rglob("*") if path.is_file()} == before


def test_the_parameters_of_earlier_runs_stay_in_the_table(hq: Path, tmp_path: Path):
    make(hq, tmp_path / "lq", ["a.png"])
    make(hq, tmp_path / "lq", ["p/b.png"])
    make(hq, tmp_path / "both", ["a.png", "p/b.png"])
    assert (tmp_path / "lq/degradation.csv").read_text() == (tmp_path / "both/degradation.csv").read_text()


def test_unreadable_files_are_named(hq: Path, tmp_path: Path):
    (hq / "bad.png").write_text("no picture")
    Image.new("RGB", (64, 32)).save(hq / "wide.png")
    made, failed = make(hq, tmp_path / "lq", ["a.png", "bad.png", "wide.png", "gone.png"])
    assert (made, [row["file"] for row in failed]) == (1, ["bad.png", "wide.png", "gone.png"])
    assert "64x32" in failed[1]["reason"]
    with pytest.raises(DataError, match=r"left_out\.csv"):
        make(hq, tmp_path / "none", ["bad.png"])
    with pytest.raises(DataError, match=r"would both become a\.png"):
        make(hq, tmp_path / "two", ["a.png", "a.jpg"])


@pytest.mark.parametrize("name", ["/photos/b.png", "../others/b.png"])
def test_a_name_that_leads_out_of_the_folder_is_refused_since_its_picture_would_lie_there(
    hq: Path, tmp_path: Path, name: str
):
    others = tmp_path / "others"
    shutil.copytree(hq / "p", others)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(DataError, match="leads out of the folder"):
        make(hq, tmp_path / "lq", ["a.png", name.replace("/photos", str(others))])
    assert sorted(tmp_path.rglob("*")) == before


def test_an_lq_set_below_the_faces_is_not_degraded_once_more(hq: Path):
    before = files_to_degrade(hq, None, None)
    make(hq, hq / "lq", before)
    assert files_to_degrade(hq, None, None) == before


def test_links_are_followed_and_one_to_nothing_is_named(hq: Path, tmp_path: Path):
    (tmp_path / "more").mkdir()
    shutil.copy(hq / "a.png", tmp_path / "more" / "d.png")
    (hq / "linked").symlink_to(tmp_path / "more")
    (hq / "linked" / "loop").symlink_to(hq)
    (hq / "gone.png").symlink_to(tmp_path / "nothing.png")
    names = files_to_degrade(hq, None, None)
    assert names == ["a.png", "gone.png", "linked/d.png", "p/b.png", "p/c.webp"]
    made, failed = make(hq, tmp_path / "lq", names)
    assert (made, [row["file"] for row in failed]) == (4, ["gone.png"])
    assert pictures_by_stem(hq)["linked/d"] == [hq / "linked" / "d.png"]  # and where LQ or restored pictures are read


def test_files_come_from_the_mapping_the_index_or_the_folder(hq: Path, tmp_path: Path):
    assert files_to_degrade(hq, None, None) == ["a.png", "p/b.png", "p/c.webp"]
    (tmp_path / "m.csv").write_text("gt_image,ref_image\np/b.png,['a.png']\n")
    assert files_to_degrade(hq, None, tmp_path / "m.csv") == ["p/b.png"]
    write_index(hq, [{"file": "a.png", "split": "test"}, {"file": "p/b.png", "split": "train"}])
    assert files_to_degrade(hq, None, None) == ["a.png", "p/b.png"]
    assert files_to_degrade(hq, "test", None) == ["a.png"]
    with pytest.raises(DataError, match="no picture to degrade"):
        files_to_degrade(hq, "val", None)
    with pytest.raises(UsageError, match="give either"):
        files_to_degrade(hq, "test", tmp_path / "m.csv")
