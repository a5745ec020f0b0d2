"""A copy of a photograph shows what is to be restored: it is no reference of it."""

import shutil
from pathlib import Path

from PIL import Image

from faceref.data.check import inspect_files, read_set
from faceref.data.dataset import FaceDataset, FaceSource


def faces_of_anna(folder: Path) -> None:
    """Three photographs, of which the last is a copy of the first."""
    for name, red in (("1.png", 10), ("2.png", 20)):
        Image.new("RGB", (24, 24), (red, 0, 0)).save(folder / name)
    shutil.copy(folder / "1.png", folder / "3.png")
    (folder / "index.csv").write_text("file,person,split\n1.png,anna,train\n2.png,anna,train\n3.png,anna,train\n")


def test_training_shows_no_copy_of_the_target(tmp_path: Path):
    faces_of_anna(tmp_path)
    faces = FaceDataset([FaceSource(root=tmp_path)], "train", resolution=24, seed=0)
    assert [set(sample["references"][:, 0, 0, 0].tolist()) for sample in map(faces.__getitem__, range(3))] == [
        {20},
        {10},
        {20},
    ]


def test_check_names_copies_in_an_index_without_mappings(tmp_path: Path):
    faces_of_anna(tmp_path)
    data = read_set(tmp_path, None)
    found = {one.name: one.what for one in data.problems(inspect_files(tmp_path, data.files), ())}
    assert found == {"3.png": "is a copy of 1.png, and no reference of it; take one of them out"}
