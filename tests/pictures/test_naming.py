"""Names of results are known, possible and different before the work begins."""

import os
import sys
from pathlib import Path

import pytest
from picture_files import encoded
from PIL import Image

from faceref.errors import OutputError, PhotoError, UsageError, printable
from faceref.pictures.formats import AVIF
from faceref.pictures.naming import check_outputs, output_suffix, plan_outputs, plan_tree
from faceref.pictures.output import save_picture
from faceref.pictures.photo import open_photo

SMALL = Image.new("RGB", (30, 30))


def photo_file(path: Path, format: str = "JPEG") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded(SMALL, format))
    return path


@pytest.mark.parametrize(
    ("format", "suffix"), [("JPEG", ".jpg"), ("PNG", ".png"), ("WEBP", ".webp"), ("TIFF", ".tif"), ("BMP", ".png")]
)
def test_a_result_has_its_photographs_format_whatever_the_name_says(format: str, suffix: str, tmp_path: Path):
    path = photo_file(tmp_path / "photo.jpeg", format)
    assert output_suffix(path) == suffix
    assert output_suffix(open_photo(path)) == suffix
    assert plan_outputs([path], None) == {path: tmp_path / f"photo_restored{suffix}"}


@pytest.mark.skipif(not AVIF, reason="this Pillow has no AVIF.")
def test_avif_stays_avif(tmp_path: Path):
    assert output_suffix(photo_file(tmp_path / "a.avif", "AVIF")) == ".avif"


def test_heic_becomes_jpeg(tmp_path: Path):
    pytest.importorskip("pillow_heif").from_pillow(SMALL).save(tmp_path / "a.heic")
    assert output_suffix(tmp_path / "a.heic") == ".jpg"


def test_a_missing_photograph_does_not_stop_the_plan(tmp_path: Path):
    assert output_suffix(tmp_path / "missing.JPG") == ".jpg"
    assert output_suffix(tmp_path / "missing") == ".png"


def test_results_of_one_name_are_numbered_in_order(tmp_path: Path):
    photos = [photo_file(tmp_path / name) for name in ("a/me.jpg", "b/me.jpg", "c/ME.jpg", "me_restored_2.jpg")]
    names = [target.name for target in plan_outputs(photos, tmp_path / "out").values()]
    assert names == ["me_restored.jpg", "me_restored_2.jpg", "ME_restored_3.jpg", "me_restored_2_restored.jpg"]
    beside = plan_outputs(photos[:2], None)
    assert list(beside.values()) == [tmp_path / "a" / "me_restored.jpg", tmp_path / "b" / "me_restored.jpg"]
    assert plan_outputs(photos, tmp_path / "out") == plan_outputs(photos, tmp_path / "out")


def test_names_that_differ_in_case_only_are_refused_where_they_are_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    tree, out = tmp_path / "photos", tmp_path / "out"
    photos = [photo_file(tree / name) for name in ("a.JPG", "b.jpg", "sommer/b.jpg", "Sommer/B.jpg")]
    out.mkdir()
    # as it is on Linux
    monkeypatch.setattr(Path, "exists", lambda path: path.name in os.listdir(path.parent))
    assert [*plan_tree(photos, tree, out).values()] == [out / photo.relative_to(tree) for photo in photos]
    # as it is on macOS and Windows
    monkeypatch.setattr(Path, "exists", lambda path: path.name.lower() in map(str.lower, os.listdir(path.parent)))
    assert len(plan_tree(photos[:3], tree, out)) == 3
    with pytest.raises(UsageError) as raised:
        plan_tree(photos, tree, out)
    assert str(raised.value) == (
        f"{photos[2]} and {photos[3]} cannot both become {out}/Sommer/B.jpg: case is ignored there; "
        "rename one of them, or choose another folder for the results."
    )
    assert not list(out.iterdir())


def test_a_name_of_a_picture_is_taken_as_it_is(tmp_path: Path):
    photo = photo_file(tmp_path / "a.jpg")
    assert plan_outputs([photo], tmp_path / "b.png") == {photo: tmp_path / "b.png"}
    with pytest.raises(UsageError, match=r"2 photographs cannot all become .*b\.png; name a folder\."):
        plan_outputs([photo, photo_file(tmp_path / "c.jpg")], tmp_path / "b.png")
    with pytest.raises(UsageError, match=r"b\.gif is not a picture that can be written; use \.png"):
        plan_outputs([photo], tmp_path / "b.gif")


def test_a_name_that_would_be_too_long_is_found_before_the_work(tmp_path: Path):
    photo = photo_file(tmp_path / ("å" * 122 + ".jpg"))  # 248 bytes: itself it is short enough
    with pytest.raises(OutputError, match="its name has 257 bytes, and 255 are the most there") as raised:
        plan_outputs([photo], tmp_path / "new" / "folder")
    assert raised.value.code == "name_too_long"
    assert plan_outputs([photo], tmp_path / "b.jpg")


@pytest.mark.skipif(sys.platform != "linux", reason="only there a name may be any bytes.")
def test_a_name_that_is_not_utf_8_is_worked_on_and_printed_escaped(tmp_path: Path):
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.jpg"))
    path.write_bytes(encoded(SMALL, "JPEG"))
    target = plan_outputs([path], None)[path]
    assert os.fsencode(target.name) == b"caf\xe9_restored.jpg"
    save_picture(SMALL, target, metadata={})
    path.write_bytes(b"")
    with pytest.raises(PhotoError) as raised:
        open_photo(path)
    assert str(raised.value) == f"{tmp_path}/caf\\xe9.jpg is empty; it was probably not copied completely."
    path.write_bytes(encoded(Image.new("CMYK", (30, 30)), "JPEG"))
    assert open_photo(path).losses == (f"{tmp_path}/caf\\xe9.jpg is in CMYK, for print; the result is in RGB.",)


def test_control_characters_do_not_reach_the_terminal():
    assert printable("a\nb\x1b[31m.jpg") == "a\\nb\\x1b[31m.jpg"
    assert printable("Großmutter 日本 é.jpg") == "Großmutter 日本 é.jpg"


def test_only_results_of_ours_are_replaced(tmp_path: Path):
    photo, result = photo_file(tmp_path / "a.jpg"), tmp_path / "b.jpg"
    save_picture(SMALL, result, metadata={})
    check_outputs([result], [photo, result])
    with pytest.raises(UsageError, match=r"a\.jpg is one of the photographs given"):
        check_outputs([photo], [photo])
    somebodys = photo_file(tmp_path / "finished.jpg")
    with pytest.raises(OutputError, match=r"finished\.jpg is there already and is no result of ours; move it away"):
        check_outputs([somebodys], [photo])
    (tmp_path / "reserved.jpg").touch()
    check_outputs([tmp_path / "reserved.jpg"], [photo])
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        check_outputs([tmp_path / "file" / "c.jpg"], [photo])
