"""The reference mapping: the released CSV format, and the mapping derived from an index."""

from pathlib import Path

import pytest

from faceref.data.mapping import ReferenceEntry, ReferenceMapping, mapping_from_index
from faceref.errors import DataError

INDEX = """file,person,split
a/1.png,a,train
a/2.png,a,train
a/3.png,a,train
b/1.png,b,train
c/1.png,c,test
a/4.png,a,test
"""


def test_reads_the_released_format(tmp_path: Path):
    file = tmp_path / "test_references.csv"
    file.write_text(
        "gt_image,ref_image,lq_image\n"
        "00003.png,\"['00010.png', '00020.png']\",lq_00003.png\n"
        "00007.png,[],lq_00007.png\n"
    )
    mapping = ReferenceMapping.read(file)
    assert list(mapping) == [
        ReferenceEntry("00003.png", ("00010.png", "00020.png"), "lq_00003.png"),
        ReferenceEntry("00007.png", (), "lq_00007.png"),
    ]


@pytest.mark.parametrize("lq_image", [None, "lq.png"])
def test_written_mapping_reads_back(tmp_path: Path, lq_image: str | None):
    mapping = ReferenceMapping(
        (ReferenceEntry("a, b.png", ("it's.png", "ü.png"), lq_image), ReferenceEntry("c.png", ()))
    )
    mapping.write(tmp_path / "m.csv")
    assert ReferenceMapping.read(tmp_path / "m.csv") == mapping


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gt_image,other\na,b\n", "lacks the column 'ref_image'"),
        ("gt_image,ref_image\na.png,b.png\n", "line 2: ref_image must be a list"),
        ("gt_image,ref_image\na.png,__import__('os').getcwd()\n", "line 2: ref_image must be a list"),
        ("", "lacks the column 'gt_image'"),
        ("gt_image;ref_image\na.png;[]\n", "it needs gt_image, ref_image, separated by commas"),
        ("gt_image,ref_image\na.png,['']\n", "line 2: ref_image must be a list of file names"),
        ("gt_image,ref_image\na.png,[]\n,[]\n", "line 3: there is nothing in the column 'gt_image'"),
    ],
)
def test_a_bad_mapping_is_named_in_one_sentence(tmp_path: Path, text: str, message: str):
    file = tmp_path / "m.csv"
    file.write_text(text)
    with pytest.raises(DataError, match=message):
        ReferenceMapping.read(file)


def test_tables_and_lists_saved_by_a_spreadsheet_are_read(tmp_path: Path):
    (tmp_path / "m.csv").write_text("gt_image,ref_image\r\na.png,['b.png']\r\n", encoding="utf-8-sig")
    (tmp_path / "m.txt").write_text("a.png\r\n", encoding="utf-8-sig")
    assert list(ReferenceMapping.read(tmp_path / "m.csv")) == [ReferenceEntry("a.png", ("b.png",))]
    assert list(ReferenceMapping.read(tmp_path / "m.txt")) == [ReferenceEntry("a.png", ())]


def test_a_missing_mapping_is_named(tmp_path: Path):
    with pytest.raises(DataError, match=r"nothing\.csv"):
        ReferenceMapping.read(tmp_path / "nothing.csv")


def test_index_gives_the_other_photographs_of_the_person_in_the_split(tmp_path: Path):
    index = tmp_path / "index.csv"
    index.write_text(INDEX)
    assert list(mapping_from_index(index, "train")) == [
        ReferenceEntry("a/1.png", ("a/2.png", "a/3.png")),
        ReferenceEntry("a/2.png", ("a/1.png", "a/3.png")),
        ReferenceEntry("a/3.png", ("a/1.png", "a/2.png")),
        ReferenceEntry("b/1.png", ()),
    ]
    with pytest.raises(DataError, match="no photograph of the split 'val'"):
        mapping_from_index(index, "val")


def test_an_index_that_lists_a_file_twice_is_refused(tmp_path: Path):
    """It would be trained on and shown as a reference twice as often as others."""
    index = tmp_path / "index.csv"
    index.write_text(f"{INDEX}{INDEX.splitlines()[1]}\n")
    with pytest.raises(DataError, match=r"index\.csv lists .* twice; take one of the lines out"):
        mapping_from_index(index, "train")


def test_a_blank_around_a_name_makes_nobody_else_of_a_person(tmp_path: Path):
    index = tmp_path / "index.csv"
    index.write_text("file,person,split\n1.png,anna,val \n2.png, anna,val\n3.png,anna ,train\n")
    assert list(mapping_from_index(index, "val")) == [
        ReferenceEntry("1.png", ("2.png",)),
        ReferenceEntry("2.png", ("1.png",)),
    ]
