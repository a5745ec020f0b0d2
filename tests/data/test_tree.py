"""Every photograph of a tree becomes a face or is named with the reason; what was done is not done again."""

import csv
import json
import os
import shutil
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from PIL import Image

from faceref.data import tree as module
from faceref.data.index import read_index, write_index
from faceref.data.tree import align_tree
from faceref.errors import DataError, UsageError
from faceref.faces.detect import DlibDetector
from faceref.pictures.output import save_picture


@pytest.fixture(scope="module")
def detector() -> DlibDetector:
    return DlibDetector()


@pytest.fixture(autouse=True)
def _weights_are_read_once(detector: DlibDetector, monkeypatch) -> None:
    monkeypatch.setattr(module, "DlibDetector", lambda: detector)


@pytest.fixture
def tree(photographs: Path, tmp_path: Path) -> Path:
    """Two photographs with a face, in folders of two people."""
    for source, name in (("Eileen/a.png", "Eileen/a.png"), ("Eileen/b.png", "Solara/a.png")):
        (tmp_path / "photos" / name).parent.mkdir(parents=True)
        shutil.copy(photographs / source, tmp_path / "photos" / name)
    return tmp_path / "photos"


@pytest.fixture
def detections(monkeypatch) -> list[tuple[int, int]]:
    """Sizes of the photographs that the detector was asked about."""
    asked: list[tuple[int, int]] = []
    detect = DlibDetector.detect

    def counted(self, image):
        asked.append(image.size)
        return detect(self, image)

    monkeypatch.setattr(DlibDetector, "detect", counted)
    return asked


def test_the_index_measures_every_face(portrait: Image.Image, tmp_path: Path, detector: DlibDetector):
    close_up = portrait.crop((50, 20, 200, 200))  # FFHQ's square reaches beyond it
    (tmp_path / "photos" / "Eileen").mkdir(parents=True)
    close_up.save(tmp_path / "photos" / "Eileen" / "a.png")
    done = align_tree(tmp_path / "photos", tmp_path / "out", size=96, person_from_folder=True)
    assert read_index(tmp_path / "out") == done.rows
    (eileen,) = done.rows
    assert (eileen["file"], eileen["person"], eileen["source"]) == ("Eileen/a.png", "Eileen", "Eileen/a.png")
    with Image.open(tmp_path / "out" / "Eileen/a.png") as face:
        assert (face.size, face.mode) == ((96, 96), "RGBA")
        outside = (np.asarray(face.getchannel("A")) == 0).mean()
    assert float(eileen["outside"]) == pytest.approx(outside, abs=5e-4)
    assert outside > 0.05
    (face,) = detector.detect(close_up)
    eyes = np.linalg.norm(face.landmarks[36:42].mean(0) - face.landmarks[42:48].mean(0))
    assert float(eileen["eyes_px"]) == pytest.approx(eyes, abs=0.1)
    assert float(eileen["ffhq_side_px"]) >= 4 * eyes - 1  # FFHQ: at least four times the distance of the eyes
    assert 0 <= float(eileen["yaw"]) < 0.3


def test_a_colourless_and_blurred_photograph_measures_lower(portrait: Image.Image, tmp_path: Path):
    (tmp_path / "photos").mkdir()
    portrait.save(tmp_path / "photos" / "a.png")
    portrait.convert("L").resize((90, 90)).resize(portrait.size).save(tmp_path / "photos" / "b.png")
    sharp, soft = align_tree(tmp_path / "photos", tmp_path / "out", size=128).rows
    assert float(soft["sharpness"]) < 0.5 * float(sharp["sharpness"])
    assert (float(soft["colourfulness"]), float(sharp["colourfulness"]) > 10) == (0, True)


def test_what_gives_no_face_is_named_with_its_reason(tree: Path, tmp_path: Path):
    (tree / "text.jpg").write_text("no picture")
    Image.new("RGB", (200, 200), "gray").save(tree / "wall.png")
    shutil.copytree(tree / "Eileen", tmp_path / "elsewhere")
    (tree / "Solara" / "linked").symlink_to(tmp_path / "elsewhere")
    Image.open(tree / "Eileen/a.png").resize((300, 300)).save(tree / "Eileen/a.jpg")
    save_picture(Image.open(tree / "Eileen/a.png"), tree / "Eileen" / "c_restored.png", metadata={})
    done = align_tree(tree, tmp_path / "out", size=64)
    with (tmp_path / "out" / "left_out.csv").open() as file:
        written = list(csv.DictReader(file))
    assert written == done.left_out
    kinds = {row["file"]: row["kind"] for row in written}
    # of the same bytes, and of the same name, the first in natural order is taken
    assert kinds == {
        "text.jpg": "unreadable",
        "wall.png": "no face",
        "Solara/linked/a.png": "copy",
        "Eileen/a.png": "same name",
        "Eileen/c_restored.png": "restored",
    }
    assert len(done.rows) + len(kinds) == len(list(tree.rglob("*.*"))) + 1  # which follows no link


def test_a_name_that_is_no_text_is_left_out_and_keeps_no_other_from_the_index(tree: Path, tmp_path: Path):
    try:
        for name in (b"\xfe.png", b"a\xff.png"):
            shutil.copy(tree / "Eileen/a.png", tree / "Eileen" / os.fsdecode(name))
    except OSError:
        pytest.skip("This file system has names of text only.")
    done = align_tree(tree, tmp_path / "out", size=64)
    left_out = {row["file"]: row["kind"] for row in done.left_out}
    assert left_out == {"Eileen/a\\xff.png": "unreadable", "Eileen/\\xfe.png": "unreadable"}
    assert [row["source"] for row in read_index(tmp_path / "out")] == ["Eileen/a.png", "Solara/a.png"]


def test_what_was_done_is_not_done_again_and_changes_are(tree: Path, tmp_path: Path, detections: list):
    first = align_tree(tree, tmp_path / "out", size=64)
    assert len(detections) == 2
    again = align_tree(tree, tmp_path / "out", size=64)
    assert (again.rows, again.new, len(detections)) == (first.rows, 0, 2)
    Image.open(tree / "Solara/a.png").resize((300, 300)).save(tree / "Solara/a.png")
    assert align_tree(tree, tmp_path / "out", size=64).new == 1
    assert detections[2:] == [(300, 300)]


def test_a_link_to_nothing_is_named_each_time(tree: Path, tmp_path: Path):
    (tree / "gone.png").symlink_to(tree / "nowhere.png")
    for _ in range(2):
        left_out = {row["file"] for row in align_tree(tree, tmp_path / "out", size=64).left_out}
        assert "gone.png" in left_out


def align_the_first(tree: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C after the first photograph."""

    def interrupted(work, items, **options):
        yield work.start()(items[0])
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, "run", interrupted)
        with pytest.raises(KeyboardInterrupt):
            align_tree(tree, out, size=64)


def test_an_interruption_loses_nothing(tree: Path, tmp_path: Path, monkeypatch, detections: list):
    align_the_first(tree, tmp_path / "out", monkeypatch)
    assert [row["file"] for row in read_index(tmp_path / "out")] == ["Eileen/a.png"]
    with (tmp_path / "out" / "align.jsonl").open("a") as journal:
        journal.write('{"photo": "Solara/a.png", "by')  # cut off by a crash
    assert len(align_tree(tree, tmp_path / "out", size=64).rows) == 2
    assert len(detections) == 2
    for line in (tmp_path / "out" / "align.jsonl").read_text().splitlines():
        json.loads(line)


def test_an_interruption_keeps_who_is_known_of_faces_that_are_still_due(tree: Path, tmp_path: Path, monkeypatch):
    rows = align_tree(tree, tmp_path / "out", size=64).rows
    write_index(tmp_path / "out", [{**row, "person": "p", "split": "test"} for row in rows])
    for row in rows:
        (tree / row["source"]).touch()  # as after copying them: all are due again

    align_the_first(tree, tmp_path / "out", monkeypatch)
    for known in (read_index(tmp_path / "out"), align_tree(tree, tmp_path / "out", size=64).rows):
        assert [(row["person"], row["split"]) for row in known] == [("p", "test")] * 2


def test_people_and_splits_written_into_the_index_are_kept(tree: Path, tmp_path: Path):
    rows = align_tree(tree, tmp_path / "out", size=64).rows
    write_index(tmp_path / "out", [{**row, "person": "p", "split": "test", "note": "n"} for row in rows])
    (kept, _) = align_tree(tree, tmp_path / "out", size=64, person_from_folder=True).rows
    assert (kept["person"], kept["split"], kept["note"]) == ("p", "test", "n")


def test_who_was_on_a_photograph_is_not_who_is_on_another_in_its_place(tree: Path, tmp_path: Path):
    rows = align_tree(tree, tmp_path / "out", size=64).rows
    write_index(tmp_path / "out", [{**row, "person": "p", "split": "test", "note": "n"} for row in rows])
    first, second = tree / "Eileen/a.png", tree / "Solara/a.png"
    other = Image.open(second).convert("RGB")
    second.rename(second.with_suffix(".PNG"))  # the same, and touched
    second.with_suffix(".PNG").touch()
    other.save(first.with_suffix(".jpg"))  # its face has the same name
    first.unlink()
    for _ in range(2):
        replaced, kept = align_tree(tree, tmp_path / "out", size=64, person_from_folder=True).rows
        assert (replaced["file"], replaced["source"]) == ("Eileen/a.png", "Eileen/a.jpg")
        assert (replaced["person"], replaced["split"], replaced.get("note", "")) == ("Eileen", "", "")
        assert (kept["source"], kept["person"], kept["split"], kept["note"]) == ("Solara/a.PNG", "p", "test", "n")


def test_nor_is_it_after_a_kill_before_the_index_is_written(tree: Path, tmp_path: Path, monkeypatch):
    rows = align_tree(tree, tmp_path / "out", size=64).rows
    write_index(tmp_path / "out", [{**row, "person": f"p{i}"} for i, row in enumerate(rows)])
    with Image.open(tree / "Solara/a.png") as other:
        other.rotate(2).save(tree / "Eileen/a.png")
    with monkeypatch.context() as patch:
        for writes in ("write_index", "write_table"):
            patch.setattr(module, writes, Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            align_tree(tree, tmp_path / "out", size=64)
    assert [row["person"] for row in align_tree(tree, tmp_path / "out", size=64).rows] == ["", "p1"]


@pytest.mark.parametrize(("noted", "person"), [(True, ""), (False, "p")])
def test_a_photograph_of_as_many_bytes_is_told_by_its_digest(tree: Path, tmp_path: Path, noted: bool, person: str):
    journal = tmp_path / "out" / "align.jsonl"
    (row, _) = align_tree(tree, tmp_path / "out", size=64).rows
    write_index(tmp_path / "out", [{**row, "person": "p"}])
    if not noted:  # by an earlier version
        lines = [json.loads(line) for line in journal.read_text().splitlines()]
        for line in lines[1:]:
            line["outcome"].pop("digest")
        journal.write_text("".join(json.dumps(line) + "\n" for line in lines))
    photo = tree / row["source"]
    photo.write_bytes(photo.read_bytes()[:-4] + b"1234")  # of its last checksum
    assert align_tree(tree, tmp_path / "out", size=64).rows[0]["person"] == person


def test_the_face_of_a_removed_photograph_goes_with_it_and_comes_back_with_it(tree: Path, tmp_path: Path):
    align_tree(tree, tmp_path / "out", size=64)
    (tmp_path / "out/Solara/notes.txt").write_text("not ours")
    (tree / "Solara/a.png").rename(tmp_path / "aside.png")
    assert [row["file"] for row in align_tree(tree, tmp_path / "out", size=64).rows] == ["Eileen/a.png"]
    assert sorted(path.name for path in (tmp_path / "out").rglob("*.*") if path.parent.name == "Solara") == [
        "notes.txt"
    ]
    (tmp_path / "aside.png").rename(tree / "Solara/a.png")
    assert len(align_tree(tree, tmp_path / "out", size=64).rows) == 2
    assert (tmp_path / "out/Solara/a.png").exists()


def test_an_interruption_removes_no_face(tree: Path, tmp_path: Path, monkeypatch):
    align_tree(tree, tmp_path / "out", size=64)
    for photo in tree.rglob("*.png"):
        photo.touch()
    align_the_first(tree, tmp_path / "out", monkeypatch)
    assert (tmp_path / "out/Solara/a.png").exists()


def test_the_largest_face_is_taken_or_all(portrait: Image.Image, tmp_path: Path):
    (tmp_path / "photos").mkdir()
    group = Image.new("RGB", (700, 340), "white")
    group.paste(portrait, (0, 40))
    group.paste(portrait.resize((330, 330)), (350, 5))
    group.save(tmp_path / "photos" / "group.png")
    largest = align_tree(tmp_path / "photos", tmp_path / "largest", size=64)
    assert [row["kind"] for row in largest.left_out] == ["smaller face"]
    everyone = align_tree(tmp_path / "photos", tmp_path / "all", size=64, all_faces=True)
    assert [row["file"] for row in everyone.rows] == ["group_1.png", "group_2.png"]
    assert largest.rows[0]["eyes_px"] == everyone.rows[1]["eyes_px"] > everyone.rows[0]["eyes_px"]


@pytest.mark.parametrize("ray", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_two_workers_write_the_same_bytes(tree: Path, tmp_path: Path, ray: bool):
    if ray:
        pytest.importorskip("ray", reason="Ray is not installed: pip install 'faceref[ray]' to run this test.")
    align_tree(tree, tmp_path / "one", size=64)
    align_tree(tree, tmp_path / "two", size=64, workers=2, ray=ray)
    for file in ("Eileen/a.png", "Solara/a.png", "index.csv", "left_out.csv"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_other_settings_need_another_folder(tree: Path, tmp_path: Path):
    align_tree(tree, tmp_path / "out", size=64)
    with pytest.raises(UsageError, match="other settings \\(size 64, not 96\\)"):
        align_tree(tree, tmp_path / "out", size=96)
    shutil.copytree(tree, tmp_path / "others")  # whose faces would take the place of the first ones'
    with pytest.raises(UsageError, match="other settings \\(photos"):
        align_tree(tmp_path / "others", tmp_path / "out", size=64)
    with pytest.raises(UsageError, match="taken for photographs"):
        align_tree(tree, tree / "out", size=64)


def test_a_tree_without_a_face_is_an_error_that_says_where_to_look(tmp_path: Path):
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (100, 100), "gray").save(tmp_path / "photos" / "wall.png")
    with pytest.raises(DataError, match=r"left_out\.csv"):
        align_tree(tmp_path / "photos", tmp_path / "out", size=64)
