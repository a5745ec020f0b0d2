"""A picture is ours by our own mark alone, which survives in every format."""

import io
import json
from pathlib import Path
from unittest.mock import Mock

import pytest
from case_files import texts
from picture_files import encoded
from PIL import Image
from PIL.PngImagePlugin import PngImageFile

from faceref.pictures.formats import OUTPUT_FORMATS
from faceref.pictures.mark import is_marked_restored
from faceref.pictures.output import save_picture
from faceref.pictures.photo import open_photo

SMALL = Image.new("RGB", (30, 30), "teal")
# https://cv.iptc.org/newscodes/digitalsourcetype/, as Photoshop or an image generator writes it
MADE_BY_ANOTHER = b"""<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF
 xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about=""
 xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" xmlns:xmp="http://ns.adobe.com/xap/1.0/"
 xmp:CreatorTool="Another program"
 Iptc4xmpExt:DigitalSourceType="http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"/>
</rdf:RDF></x:xmpmeta>"""


@pytest.mark.parametrize("suffix", OUTPUT_FORMATS)
def test_a_result_is_recognised_in_every_format(suffix: str, tmp_path: Path):
    path = tmp_path / f"result{suffix}"
    save_picture(SMALL, path, metadata={})
    assert is_marked_restored(path)
    assert open_photo(path).restored
    assert open_photo(path.read_bytes()).restored


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_what_another_program_marked_as_made_by_ai_is_not_ours(format: str, tmp_path: Path):
    path = tmp_path / "photo"
    chunks = texts(**{"XML:com.adobe.xmp": MADE_BY_ANOTHER.decode(), "Software": "Not faceref", "a": "faceref 0.1"})
    tags = {"tiffinfo": {700: MADE_BY_ANOTHER}} if format == "TIFF" else {"xmp": MADE_BY_ANOTHER}
    path.write_bytes(encoded(SMALL, format, pnginfo=chunks, **tags))
    assert b"compositeWithTrainedAlgorithmicMedia" in path.read_bytes()
    assert not is_marked_restored(path)
    assert not open_photo(path).restored


def test_results_of_the_first_version_are_recognised_by_what_they_say_of_their_making(tmp_path: Path):
    png, jpeg = tmp_path / "a.png", tmp_path / "b.jpg"
    png.write_bytes(encoded(SMALL, "PNG", pnginfo=texts(Software="faceref 0.1.0")))
    exif = Image.Exif()
    exif[0x9213] = "scanned 1999\n" + json.dumps({"Software": "faceref 0.1.0"})
    jpeg.write_bytes(encoded(SMALL, "JPEG", exif=exif.tobytes(), xmp=MADE_BY_ANOTHER))
    assert is_marked_restored(png)
    assert is_marked_restored(jpeg)


def test_a_mark_survives_what_programs_do_to_a_picture(tmp_path: Path):
    path = tmp_path / "result.png"
    save_picture(SMALL, path, metadata={"Software": "faceref 0"})
    with Image.open(path) as result:
        result.load()
        for kept in ({"xmp": result.info["xmp"]}, {"pnginfo": texts(Software=result.info["Software"])}):
            again = io.BytesIO(encoded(SMALL, "JPEG" if "xmp" in kept else "PNG", **kept))
            assert open_photo(again.getvalue()).restored


@pytest.mark.parametrize("moved", [b"eXIf", b"iTXt", b"tEXt"])
def test_a_mark_behind_a_pngs_pixels_is_seen_without_decoding_them(
    moved: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    exif = Image.Exif()
    exif[0x9213] = json.dumps({"Software": "faceref 0.1.0"})
    save_picture(SMALL, tmp_path / "result.png", metadata={})
    with Image.open(tmp_path / "result.png") as result:
        xmp = result.info["xmp"]
    marks = {
        b"eXIf": {"exif": exif.tobytes()},
        b"iTXt": {"pnginfo": texts(**{"XML:com.adobe.xmp": xmp.decode()})},
        b"tEXt": {"pnginfo": texts(Software="faceref 0.1.0")},
    }
    png = encoded(SMALL, "PNG", **marks[moved])
    start = png.index(moved) - 4
    end = start + 12 + int.from_bytes(png[start : start + 4])
    behind = png[:start] + png[end:-12] + png[start:end] + png[-12:]  # before IEND
    monkeypatch.setattr(PngImageFile, "load", Mock(side_effect=AssertionError("decoded")))
    for content in (png, behind):
        (tmp_path / "moved.png").write_bytes(content)
        assert is_marked_restored(tmp_path / "moved.png")
    (tmp_path / "none.png").write_bytes(png[:start] + png[end:])
    assert not is_marked_restored(tmp_path / "none.png")
    (tmp_path / "truncated.png").write_bytes(png[:-20])
    assert is_marked_restored(tmp_path / "truncated.png")


def test_what_is_no_picture_is_not_ours(tmp_path: Path):
    (tmp_path / "a.jpg").write_bytes(b"urn:faceref:1.0/ Restored faceref " * 10)
    assert not is_marked_restored(tmp_path / "a.jpg")
    assert not is_marked_restored(tmp_path / "missing.jpg")
    assert not is_marked_restored(tmp_path)
