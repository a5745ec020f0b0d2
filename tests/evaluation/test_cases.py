"""What cannot be measured is said by name and counted; who is measured and shown does not depend on order."""

import os
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from faceref.data.lq_set import seed_for
from faceref.data.mapping import ReferenceEntry, ReferenceMapping, mapping_from_index
from faceref.errors import DataError
from faceref.evaluation.cases import CaseSet, load_cases, mapping_from_folders


def entry(target: str, *references: str, lq: str | None = None) -> ReferenceEntry:
    return ReferenceEntry(target, references, lq)


def load(folder: Path, *entries: ReferenceEntry, **options) -> CaseSet:
    return load_cases(ReferenceMapping(entries), folder, **options)


@pytest.fixture
def photos(album: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    shutil.copytree(album, folder)
    return folder


@pytest.fixture
def everybody(album: Path) -> CaseSet:
    return load_cases(mapping_from_index(album / "index.csv", "test"), album)


def test_every_bad_photograph_is_named_and_the_good_ones_are_kept(photos: Path):
    (photos / "ann/1.png").write_bytes(b"no picture")
    Image.new("RGB", (20, 30)).save(photos / "wide.png")
    cases = load(
        photos,
        entry("ann/0.png", "ann/1.png", "ann/2.png", "ann/0.png", "ann/9.png"),
        entry("ann/1.png", "ann/2.png"),
        entry("gone.png", "ann/2.png"),
        entry("wide.png", "ann/2.png"),
        entry("bea/0.png"),
        entry("ann/0.png", "ann/2.png"),
    )
    assert [(case.name, [path.name for path in case.references]) for case in cases.cases] == [("ann/0.png", ["2.png"])]
    reasons = [(item.name, item.reason) for item in cases.left_out]
    assert len(reasons) == 8
    for name, words in (
        ("ann/0.png", "1.png is not a picture"),
        ("ann/0.png", "ann/0.png is the target itself"),
        ("ann/0.png", "9.png does not exist"),
        ("ann/1.png", "is not a picture"),
        ("gone.png", "does not exist"),
        ("wide.png", "20x30, not square"),
        ("bea/0.png", "no reference"),
        ("ann/0.png", "same name"),
    ):
        assert any(name == who and words in why for who, why in reasons), (name, words)


def test_names_that_are_no_text_are_left_out_since_tables_carry_them(photos: Path):
    try:
        shutil.copy(photos / "ann/1.png", photos / os.fsdecode(b"ann/\xe9.png"))
    except OSError:
        pytest.skip("This file system has names of text only.")
    cases = load_cases(mapping_from_folders(photos), photos)
    (left_out,) = (item for item in cases.left_out if item.name.startswith("ann"))
    assert (left_out.name, left_out.reason) == ("ann/\\xe9.png", "its name is no text in UTF-8; rename it")
    assert all(path.name.isascii() for case in cases.cases for path in case.references)


def test_names_that_lead_out_of_the_folder_are_refused_since_results_carry_them(photos: Path):
    outside = (str(photos / "ann/0.png"), "../photos/ann/0.png")
    cases = load(photos, *(entry(name, "ann/1.png") for name in (*outside, "ann/2.png")))
    assert [case.name for case in cases.cases] == ["ann/2.png"]
    assert [item.name for item in cases.left_out] == list(outside)


def test_a_copy_of_the_target_under_another_name_is_no_reference(photos: Path):
    shutil.copy(photos / "ann/0.png", photos / "ann/copy.png")
    cases = load(photos, entry("ann/0.png", "ann/copy.png", "ann/1.png"))
    assert [path.name for path in cases.cases[0].references] == ["1.png"]
    assert "the target itself" in cases.left_out[0].reason


def test_two_lq_pictures_of_one_name_are_refused_and_one_is_found_whatever_its_suffix(photos: Path, tmp_path: Path):
    lq = tmp_path / "lq"
    (lq / "ann").mkdir(parents=True)
    Image.new("RGB", (16, 16)).save(lq / "ann/0.jpg")
    Image.new("RGB", (16, 16)).save(lq / "ann/1.jpg")
    Image.new("RGB", (16, 16)).save(lq / "ann/1.png")
    entries = [entry(f"ann/{i}.png", f"ann/{(i + 1) % 3}.png") for i in range(3)]
    cases = load(photos, *entries, lq=lq)
    assert [(case.name, case.lq) for case in cases.cases] == [("ann/0.png", lq / "ann/0.jpg")]
    assert "two LQ pictures of that name (1.jpg, 1.png)" in cases.left_out[0].reason
    assert "no LQ picture" in cases.left_out[1].reason
    named = load(photos, entry("ann/2.png", "ann/0.png", lq="ann/0.jpg"), lq=lq)
    assert named.cases[0].lq == lq / "ann/0.jpg"


def test_nothing_to_measure_is_an_error_that_says_why(photos: Path):
    with pytest.raises(DataError, match=r"nothing to measure: 1 photographs were left out.*bea/0.png.*no reference"):
        load(photos, entry("bea/0.png"))
    assert load(photos, entry("bea/0.png"), with_references=False).cases
    with pytest.raises(DataError, match="lists no target"):
        load(photos)
    with pytest.raises(DataError, match="is not a folder"):
        load(photos / "nowhere", entry("a.png"))


def test_whatever_the_mapping_connects_is_one_identity(photos: Path):
    cases = load(
        photos, entry("ann/0.png", "ann/1.png"), entry("ann/2.png", "ann/1.png"), entry("bea/0.png", "bea/1.png")
    )
    assert [case.identity for case in cases.cases] == ["ann/0.png", "ann/0.png", "bea/0.png"]


def test_a_sample_takes_one_of_everybody_before_a_second_of_anybody(everybody: CaseSet):
    for seed in range(5):
        people = Counter(case.identity for case in everybody.sample(4, seed))
        assert sorted(people.values()) == [2, 2]
    assert everybody.sample(3, 0) == everybody.sample(3, 0)
    assert any(everybody.sample(2, 0) != everybody.sample(2, seed) for seed in range(1, 6))
    assert everybody.sample(None, 0) == everybody.cases


def test_wrong_references_are_of_somebody_else_and_as_many(everybody: CaseSet):
    for case in everybody.cases:
        wrong = everybody.wrong_references(case, 2, seed=0)
        assert len(set(wrong)) == 2
        assert {path.parent for path in wrong}.isdisjoint({case.hq.parent})
        assert wrong == everybody.wrong_references(case, 2, seed=0)
    only = replace(everybody, photographs={everybody.cases[0].identity: (everybody.cases[0].hq,)})
    with pytest.raises(DataError, match="only one identity"):
        only.wrong_references(everybody.cases[0], 2, seed=0)


def test_seeds_differ_by_name_purpose_and_seed_only():
    seeds = {seed_for(seed, name, purpose) for seed in (0, 1) for name in "ab" for purpose in ("noise", "severe")}
    assert len(seeds) == 8
    assert seed_for(0, "a", "noise") == seed_for(0, "a", "noise")


def test_folders_of_people_need_no_table(album: Path, tmp_path: Path):
    folders = shutil.copytree(album, tmp_path / "album")
    (folders / "ann" / "._a.png").write_bytes(b"what macOS leaves beside files")
    mapping = mapping_from_folders(folders)
    assert set(mapping) == set(mapping_from_index(album / "index.csv", "test"))
    with pytest.raises(DataError, match="holds no folders of people"):
        mapping_from_folders(album / "ann")
    with pytest.raises(DataError, match="holds no folders of people"):
        mapping_from_folders(tmp_path / "nowhere")
