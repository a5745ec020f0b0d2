"""`check` finds what is planted in a set, by name, and nothing in a sound one."""

import shutil
from pathlib import Path

import pytest
from PIL import Image

from faceref.data.check import inspect_files, read_set
from faceref.data.index import write_index
from faceref.errors import DataError

ROWS = [
    {"file": f"{person}/{n}.png", "person": person, "split": split}
    for person, split, count in (("ann", "train", 3), ("bob", "test", 2), ("zoe", "train", 1))
    for n in range(count)
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for i, row in enumerate(ROWS):
        (tmp_path / row["file"]).parent.mkdir(exist_ok=True)
        Image.new("RGB", (8, 8), (i, 0, 0)).save(tmp_path / row["file"])
    write_index(tmp_path, ROWS)
    return tmp_path


def write_mapping(folder: Path, split: str, *lines: str) -> Path:
    path = folder / "reference_mapping" / f"{split}_references.csv"
    path.parent.mkdir(exist_ok=True)
    path.write_text("gt_image,ref_image\n" + "".join(f"{line}\n" for line in lines))
    return path


def problems(folder: Path, near: tuple = (), mappings: list[Path] | None = None) -> dict[str, str]:
    data = read_set(folder, mappings)
    states = inspect_files(folder, data.files)
    return {problem.name: problem.what for problem in data.problems(states, near)}


def test_a_sound_set_has_no_problem_and_the_statistics_count_it(folder: Path):
    write_mapping(folder, "test", "bob/0.png,['bob/1.png']", "bob/1.png,['bob/0.png']")
    write_mapping(folder, "train", "ann/0.png,\"['ann/1.png', 'ann/2.png']\"")
    assert problems(folder, near=(("ann/0.png", "ann/1.png", 0.05),)) == {}
    statistics = read_set(folder, None).statistics()
    assert statistics.photographs == {"train": {3: 1, 1: 1}, "test": {2: 1}}
    assert statistics.references == {"test": {1: 2}, "train": {2: 1}}


def test_files_that_are_missing_broken_or_not_square_are_named(folder: Path):
    (folder / "ann/0.png").unlink()
    (folder / "ann/1.png").write_text("no picture")
    Image.new("RGB", (8, 9)).save(folder / "ann/2.png")
    found = problems(folder)
    assert found["ann/0.png"] == "does not exist"
    assert "is not a picture" in found["ann/1.png"]
    assert "8x9" in found["ann/2.png"]
    assert len(found) == 3


def test_a_person_or_a_near_duplicate_in_two_splits_is_named(folder: Path):
    write_index(folder, [*ROWS[:2], {**ROWS[2], "split": "test"}, *ROWS[3:]])
    assert problems(folder)["ann"] == "is in test (ann/2.png) and train (ann/1.png)"
    write_index(folder, ROWS)
    found = problems(folder, near=(("ann/0.png", "bob/0.png", 0.05),))
    assert found == {"ann/0.png, bob/0.png": "nearly the same photograph (distance 0.050) in test and train"}


def test_a_target_that_is_its_own_reference_is_named_also_as_a_copy(folder: Path):
    shutil.copy(folder / "ann/0.png", folder / "ann/1.png")
    write_mapping(folder, "train", "ann/0.png,['ann/1.png']", "ann/2.png,['ann/2.png']")
    found = problems(folder)
    assert found["ann/2.png"] == "is its own reference in the mapping of train"
    assert "ann/1.png is a copy" in found["ann/0.png"]


def test_strangers_and_repetitions_in_a_mapping_are_named(folder: Path):
    write_mapping(
        folder,
        "train",
        "ann/0.png,['zoe/0.png']",
        "ann/1.png,['ann/2.png']",
        "ann/1.png,\"['ann/0.png', 'ann/0.png']\"",
    )
    found = problems(folder)
    assert "somebody else, zoe/0.png" in found["ann/0.png"]
    assert "ann/1.png" in found


def test_released_mappings_are_checked_without_an_index(folder: Path):
    (folder / "index.csv").unlink()
    train = write_mapping(folder, "train", "ann/0.png,['ann/1.png']")
    test = write_mapping(folder, "test", "bob/0.png,['bob/1.png']")
    assert problems(folder, mappings=[train, test]) == {}
    write_mapping(folder, "test", "bob/0.png,['ann/1.png']")  # who are then one person, in both
    assert "is in test" in problems(folder, mappings=[train, test])["the person of ann/0.png"]
    write_mapping(folder, "test", "gone.png,['bob/1.png']")
    assert problems(folder, mappings=[train, test]) == {"gone.png": "does not exist"}


def test_mappings_tell_the_split_where_the_index_does_not(folder: Path):
    write_index(folder, [{key: value for key, value in row.items() if key != "split"} for row in ROWS])
    write_mapping(folder, "train", "ann/0.png,['ann/1.png']")
    write_mapping(folder, "test", "ann/2.png,['ann/1.png']")
    found = problems(folder)
    assert found == {"ann": "is in test (ann/2.png) and train (ann/1.png)"}


def test_a_mapping_of_another_split_than_the_indexs_is_named(folder: Path):
    write_mapping(folder, "test", "ann/0.png,\"['ann/1.png', 'ann/2.png']\"")
    assert problems(folder) == {
        "the mapping of test": "names 3 files of other splits of the index: ann/0.png is in train"
    }


def test_a_mapping_of_a_split_that_nobody_is_in_any_more_is_named(folder: Path):
    write_mapping(folder, "val", "ann/0.png,['ann/1.png']")
    write_mapping(folder, "everybody", "ann/0.png,['ann/1.png']", "bob/0.png,['bob/1.png']")  # is none of a split
    assert problems(folder) == {
        "the mapping of val": "names 2 files of other splits of the index: ann/0.png is in train"
    }


def test_two_files_of_one_name_are_named(folder: Path):
    Image.new("RGB", (8, 8)).save(folder / "ann/0.jpg")
    write_index(folder, [*ROWS, {"file": "ann/0.jpg", "person": "ann", "split": "train"}])
    assert "same name as ann/0.png" in problems(folder)["ann/0.jpg"]


def test_a_folder_with_nothing_to_check_is_an_error(tmp_path: Path):
    with pytest.raises(DataError, match="neither an index"):
        read_set(tmp_path, None)
