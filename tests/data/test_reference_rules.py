"""References by the rules of FFHQ-Ref: minimum and maximum distance, farthest points first, at most N."""

import ast
import csv
from pathlib import Path

import numpy as np
import pytest

from faceref.data.dataset import FaceSource, _entries
from faceref.data.embedding import Embeddings
from faceref.data.mapping import ReferenceEntry, ReferenceMapping
from faceref.data.reference_rules import ReferenceRules, choose_references, write_mapping
from faceref.errors import DataError
from faceref.people.measure import Measure

# on a line; the target is at 0
LINE = np.array([[0], [0.05], [1], [2], [3.5], [4], [11]], dtype=np.float32)
ROWS = [{"file": f"{i}.png", "person": "p", "split": "test"} for i in range(7)]
LINE_FACES = Embeddings([row["file"] for row in ROWS], LINE, [])


def test_the_mapping_names_files_and_says_who_is_no_target():
    rows = [
        *ROWS,
        {"file": "alone.png", "person": "q", "split": "test"},
        {"file": "x.png", "person": "", "split": "test"},
    ]
    rows += [{"file": "gone.png", "person": "p", "split": "test"}, {"file": "t.png", "person": "p", "split": "train"}]
    files = [row["file"] for row in rows if row["file"] != "gone.png"]
    vectors = np.concatenate([LINE, np.zeros((3, 1), np.float32)])
    faces = Embeddings(files, vectors, [("gone.png", "gone.png is missing")])
    done = choose_references(rows, "test", faces, Measure.EUCLIDEAN, ReferenceRules(0.1, 10.0, at_least=2))
    assert done.mapping.entries[0] == ReferenceEntry("0.png", ("5.png", "3.png", "2.png", "4.png"), "0.png")
    assert dict(done.left_out) == {
        "alone.png": "it is the only photograph of q",
        "x.png": "nobody has said who it is",
        "gone.png": "gone.png is missing",
    }
    assert len(done.mapping) + len(done.left_out) == len(rows) - 1  # the one in train
    assert all("t.png" not in entry.ref_images for entry in done.mapping)


def test_a_target_with_too_few_references_is_named_with_the_numbers():
    done = choose_references(ROWS, "test", LINE_FACES, Measure.EUCLIDEAN, ReferenceRules(0.1, 10.0, at_least=5))
    assert ("0.png", "4 of 6 other photographs of p are within 0.1..10 of it, 5 are needed") in done.left_out


def test_the_written_file_is_read_as_the_released_code_reads_its_own(tmp_path: Path):
    done = choose_references(ROWS, "test", LINE_FACES, Measure.EUCLIDEAN, ReferenceRules(0.1, 10.0))
    path = write_mapping(tmp_path, "test", done.mapping)
    assert path == tmp_path / "reference_mapping" / "test_references.csv"
    with path.open() as file:  # pandas.read_csv and literal_eval there
        first = next(csv.DictReader(file))
    assert first["gt_image"] == "0.png"
    assert ast.literal_eval(first["ref_image"]) == ["5.png", "3.png", "2.png", "4.png"]
    assert first["lq_image"] == "0.png"
    assert ReferenceMapping.read(path) == done.mapping


def test_released_lists_of_a_split_train_without_conversion(tmp_path: Path):
    (tmp_path / "train_image.txt").write_text("00000.png\n00003.png\n\n")
    mapping = _entries(FaceSource(root=tmp_path, mapping=tmp_path / "train_image.txt"), "train")
    assert list(mapping) == [ReferenceEntry("00000.png", ()), ReferenceEntry("00003.png", ())]
    (tmp_path / "empty.txt").write_text("\n")
    with pytest.raises(DataError, match="lists no file"):
        ReferenceMapping.read(tmp_path / "empty.txt")
