"""A picture is written whole or not at all, keeps what the photo said, and says that it is AI-restored."""

import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo

from faceref.errors import OutputError
from faceref.files import write_atomically
from faceref.pictures.exif import as_it_was_read
from faceref.pictures.mark import is_marked_restored
from faceref.pictures.metadata import FileMetadata
from faceref.pictures.output import save_picture
from faceref.pictures.photo import open_photo

# https://cv.iptc.org/newscodes/digitalsourcetype/: real picture, changed with a trained model
SOURCE_TYPE = b"http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
MAKER, ORIENTATION, XMP_TAG, EXIF_IFD, GPS_IFD, INTEROPERABILITY = 0x010F, 0x0112, 700, 0x8769, 0x8825, 0xA005
DATE_TAKEN, MAKER_NOTE, USER_COMMENT, WIDTH, HEIGHT = 0x9003, 0x927C, 0x9286, 0xA002, 0xA003
IMAGE_HISTORY = 0x9213  # ISO 12234-2
COPYRIGHT, OWNER = 0x8298, 0xA430
PACKET = """<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/" dc:creator="A. Photographer"/>
</rdf:RDF></x:xmpmeta>"""


def camera_exif() -> bytes:
    exif = Image.Exif()
    exif[MAKER], exif[EXIF_IFD] = "Leica", {DATE_TAKEN: "1999:12:31 23:59:00"}
    return exif.tobytes()


@pytest.mark.parametrize("name", ["a.png", "b.jpg", "c.webp", "d.tif", "E.JPEG", "new/folder/f.png"])
def test_a_picture_keeps_its_exif_and_profile_and_says_that_it_is_restored(
    name: str, tmp_path: Path, astronaut: Image.Image
):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    metadata = {"model": "small", "seed": "7", "note": "für Åse"}
    path = tmp_path / name
    save_picture(astronaut, path, file=FileMetadata(exif=camera_exif(), icc_profile=profile), metadata=metadata)
    assert SOURCE_TYPE in path.read_bytes()
    written = Image.open(path)
    assert np.abs(np.asarray(written, dtype=int) - np.asarray(astronaut)).mean() < (4 if name[0] in "bE" else 1e-9)
    assert written.info["icc_profile"] == profile
    exif = written.getexif()
    assert exif[MAKER] == "Leica"
    assert exif.get_ifd(EXIF_IFD)[DATE_TAKEN] == "1999:12:31 23:59:00"
    if path.suffix == ".png":
        assert {key: written.info[key] for key in metadata} == metadata
    else:
        assert json.loads(exif[IMAGE_HISTORY]) == metadata
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("source", ["png", "jpg", "webp", "tif"])
@pytest.mark.parametrize("target", ["png", "jpg", "webp", "tif"])
def test_what_a_photograph_says_survives_from_any_format_to_any(
    source: str, target: str, tmp_path: Path, astronaut: Image.Image
):
    said = "© Åse Müller, 東京".encode().decode("latin-1")  # as Pillow reads UTF-8
    camera = {DATE_TAKEN: "1999:12:31 23:59:00", WIDTH: 400, HEIGHT: 300, INTEROPERABILITY: {1: "R98"}, OWNER: said}
    place = {1: "N", 2: (51.0, 30.0, 12.25)}
    xmp = PACKET.encode()
    before, after = tmp_path / f"before.{source}", tmp_path / f"after.{target}"
    picture = astronaut.crop((0, 0, 400, 300))
    if source == "tif":
        fields = {MAKER: "Leica", ORIENTATION: 6, EXIF_IFD: camera, GPS_IFD: place, COPYRIGHT: said}
        picture.save(before, tiffinfo=as_it_was_read(fields) | {XMP_TAG: xmp})
    else:
        exif = Image.Exif()
        exif[MAKER], exif[ORIENTATION], exif[GPS_IFD] = "Leica", 6, place
        exif[EXIF_IFD], exif[COPYRIGHT] = as_it_was_read(camera), as_it_was_read(said)
        picture.save(before, exif=exif, pnginfo=text_chunk(xmp), xmp=xmp)  # each format takes what it knows
    photo = open_photo(before)
    save_picture(photo.image, after, file=photo.file, metadata={"model": "small"})
    with Image.open(after) as written:
        written.load()
        exif = written.getexif()
        camera_after = exif.get_ifd(EXIF_IFD)
        assert written.size == (300, 400)
        assert exif[MAKER] == "Leica"
        assert ORIENTATION not in exif
        assert exif.get_ifd(GPS_IFD) == place
        assert (exif[COPYRIGHT], camera_after[OWNER]) == (said, said)
        assert camera_after[DATE_TAKEN] == camera[DATE_TAKEN]
        assert (camera_after[WIDTH], camera_after[HEIGHT]) == (300, 400)  # turned
        if source != "tif" != target:  # Pillow hides this directory of TIFF files from its readers
            assert exif.get_ifd(INTEROPERABILITY) == {1: "R98"}
        assert b"A. Photographer" in written.info["xmp"]
        assert SOURCE_TYPE in written.info["xmp"]
    assert is_marked_restored(after)
    assert not is_marked_restored(before)


@pytest.mark.parametrize("target", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("what", ["xmp", "exif"])
def test_what_is_too_large_for_a_jpeg_is_left_out_and_said(
    what: str, target: str, tmp_path: Path, astronaut: Image.Image
):
    exif = Image.Exif()
    exif[MAKER], exif[EXIF_IFD] = "Leica", {MAKER_NOTE: b"n" * 70_000 * (what == "exif")}
    xmp = PACKET.replace("A. Photographer", "A. Photographer" + "x" * 70_000 * (what == "xmp"))
    astronaut.save(tmp_path / "before.png", pnginfo=text_chunk(xmp.encode()), exif=exif)
    photo, after = open_photo(tmp_path / "before.png"), tmp_path / f"after.{target}"
    told = save_picture(photo.image, after, file=photo.file, metadata={"model": "small"})
    with Image.open(after) as written:
        written.load()
        kept = {"xmp": b"A. Photographer" in written.info["xmp"], "exif": written.getexif().get(MAKER) == "Leica"}
        assert SOURCE_TYPE in written.info["xmp"]
        assert target == "png" or "small" in written.getexif()[IMAGE_HISTORY]
    if target == "jpg":
        assert kept == {"xmp": what != "xmp", "exif": what != "exif"}
        assert len(told) == 1
        assert f"{after} is without the photograph's {what.upper()}" in told[0]
    else:
        assert kept == {"xmp": True, "exif": True}
        assert told == ()


def text_chunk(xmp: bytes) -> PngInfo:
    chunks = PngInfo()
    chunks.add_itxt("XML:com.adobe.xmp", xmp.decode())
    return chunks


@pytest.mark.parametrize("target", ["jpg", "png", "webp", "tif"])
def test_a_comment_of_the_photograph_is_kept_and_its_history_goes_on(
    target: str, tmp_path: Path, astronaut: Image.Image
):
    exif = Image.Exif()
    exif[EXIF_IFD] = {USER_COMMENT: b"ASCII\0\0\0Grandmother, 1950"}
    paths = [tmp_path / f"{name}.{target}" for name in ("first", "second")]
    save_picture(astronaut, paths[0], file=FileMetadata(exif=exif.tobytes()), metadata={"seed": "1"})
    photo = open_photo(paths[0])
    save_picture(photo.image, paths[1], file=photo.file, metadata={"seed": "2"})
    with Image.open(paths[1]) as written:
        written.load()
        tags = written.getexif()
        assert b"Grandmother, 1950" in tags.get_ifd(EXIF_IFD)[USER_COMMENT]
        if target == "png":
            assert written.info["seed"] == "2"
        else:
            assert [json.loads(line) for line in tags[IMAGE_HISTORY].splitlines()] == [{"seed": "1"}, {"seed": "2"}]


@pytest.mark.parametrize(
    ("mode", "name", "written_as"),
    [
        ("L", "a.png", "L"),
        ("L", "a.jpg", "L"),
        ("LA", "a.png", "LA"),
        ("I;16", "a.tif", "L"),
        ("L", "a.webp", "RGB"),
        ("RGB", "a.png", "RGB"),
    ],
)
def test_what_was_stored_in_one_channel_is_again(
    mode: str, name: str, written_as: str, tmp_path: Path, astronaut: Image.Image
):
    source = tmp_path / ("source.tif" if mode == "I;16" else "source.png")
    grey = astronaut.convert("L")
    if mode == "I;16":
        Image.fromarray(np.asarray(grey).astype(np.uint16) * 257).save(source)
    else:
        stored = grey.convert(mode)
        if mode == "LA":
            stored.putalpha(Image.linear_gradient("L").resize(grey.size))
        stored.save(source)
    photo = open_photo(source)
    result = photo.image.copy()
    if photo.alpha:
        result.putalpha(photo.alpha)
    save_picture(result, tmp_path / name, file=photo.file, metadata={})
    with Image.open(tmp_path / name) as written:
        assert written.mode == written_as
        if not name.endswith("jpg"):
            np.testing.assert_array_equal(np.asarray(written.convert("RGBA")), np.asarray(result.convert("RGBA")))


def test_what_has_got_colours_keeps_them(tmp_path: Path, astronaut: Image.Image):
    save_picture(astronaut, tmp_path / "a.png", file=FileMetadata(grey=True), metadata={})
    with Image.open(tmp_path / "a.png") as written:
        assert written.mode == "RGB"


def test_a_picture_without_exif_is_marked_too(tmp_path: Path, astronaut: Image.Image):
    with_alpha = astronaut.copy()
    with_alpha.putalpha(128)
    for name in ("a.png", "b.jpg"):
        told = save_picture(with_alpha, tmp_path / name, metadata={"model": "small"})
        assert any("transparen" in sentence for sentence in told) == (name == "b.jpg")
        assert SOURCE_TYPE in (tmp_path / name).read_bytes()
    png, jpeg = (open_photo(tmp_path / name).alpha for name in ("a.png", "b.jpg"))
    assert png is not None
    assert png.getextrema() == (128, 128)
    assert jpeg is None


@pytest.mark.parametrize("name", ["a.png", "b.jpg", "c.webp", "d.tif"])
def test_only_what_a_model_made_is_said_to_be_and_only_what_was_made_is_marked(
    name: str, tmp_path: Path, astronaut: Image.Image
):
    file = FileMetadata(exif=camera_exif(), xmp=PACKET)
    enlarged, unchanged = tmp_path / f"enlarged_{name}", tmp_path / f"unchanged_{name}"
    save_picture(astronaut, enlarged, file=file, metadata={"Software": "faceref 1"}, generated=False)
    save_picture(astronaut, unchanged, file=file, metadata=None)
    assert [is_marked_restored(path) for path in (enlarged, unchanged)] == [True, False]
    for path in (enlarged, unchanged):
        assert SOURCE_TYPE not in path.read_bytes()
        assert b"A. Photographer" in path.read_bytes()
        with Image.open(path) as written:
            assert written.getexif()[MAKER] == "Leica"


def write_and_raise(path: Path, error: BaseException) -> None:
    with write_atomically(path) as temporary:
        temporary.write_text("half of the n")
        raise error


@pytest.mark.parametrize("stop", [KeyboardInterrupt, RuntimeError])
def test_a_stopped_write_leaves_the_old_file_and_nothing_else(stop: type[BaseException], tmp_path: Path):
    path = tmp_path / "result.json"
    path.write_text("old")
    with pytest.raises(stop):
        write_and_raise(path, stop())
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    with write_atomically(path) as temporary:
        temporary.write_text("new")
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("number", "sentence"),
    [
        (errno.ENOSPC, "disk is full"),
        (errno.EDQUOT, "disk is full"),
        (errno.EACCES, "is not writable"),
        (errno.EIO, "."),
    ],
)
def test_a_failed_write_is_said_and_leaves_nothing(number: int, sentence: str, tmp_path: Path):
    path = tmp_path / "result.png"
    with pytest.raises(OutputError, match=sentence) as raised:
        write_and_raise(path, OSError(number, os.strerror(number)))
    assert str(path) in str(raised.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has /dev/full, a disk that is always full.")
def test_a_disk_that_fills_up_while_a_picture_is_written(
    tmp_path: Path, astronaut: Image.Image, monkeypatch: pytest.MonkeyPatch
):
    write = Path.write_bytes
    monkeypatch.setattr(Path, "write_bytes", lambda self, data: write(Path("/dev/full"), data))
    with pytest.raises(OutputError, match="disk is full"):
        save_picture(astronaut, tmp_path / "result.png", metadata={})
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere.")
def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, astronaut: Image.Image):
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="is not writable"):
        save_picture(astronaut, tmp_path / "result.png", metadata={})


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("result.gif", "no suffix that can be written"),
        ("result", "no suffix that can be written"),
        ("file.txt/result.png", "part of its path is a file"),
        ("folder.png", "is a folder"),
    ],
)
def test_what_cannot_be_written_gets_one_sentence(name: str, sentence: str, tmp_path: Path, astronaut: Image.Image):
    (tmp_path / "file.txt").write_text("")
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(OutputError, match=sentence) as raised:
        save_picture(astronaut, tmp_path / name, metadata={})
    assert str(tmp_path / name) in str(raised.value)
    assert {entry.name for entry in tmp_path.iterdir()} == {"file.txt", "folder.png"}


def test_a_picture_too_large_for_its_format_says_so(tmp_path: Path):
    with pytest.raises(OutputError, match=r"use \.png"):
        save_picture(Image.new("L", (17000, 20)), tmp_path / "wide.webp", metadata={})
    assert not list(tmp_path.iterdir())
