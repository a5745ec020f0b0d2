"""Each row of the cases table: what makes a photograph's file difficult is kept, or taken out and said."""

import io
from pathlib import Path

import numpy as np
import pytest
from case_files import MOTION_XMP, grey_profile, texts, with_chunk, with_damaged_exif, with_iptc
from picture_files import difference, encoded, pixels
from PIL import Image, ImageFile, IptcImagePlugin

from faceref.pictures.formats import AVIF, OUTPUT_FORMATS
from faceref.pictures.output import encode_picture
from faceref.pictures.photo import Photo, open_photo

FORMATS = sorted(set(OUTPUT_FORMATS.values()))
needs_avif = pytest.mark.skipif(not AVIF, reason="this Pillow has no AVIF.")


@pytest.fixture(scope="module")
def portrait(astronaut: Image.Image) -> Image.Image:
    return astronaut.crop((100, 0, 356, 192))


def result_of(photo: Photo, format: str | None = None) -> tuple[ImageFile.ImageFile, tuple[str, ...]]:
    """What becomes of a photograph whose faces need nothing, in its own format or another, and what is said."""
    image = photo.image.copy()
    if photo.alpha is not None:
        image.putalpha(photo.alpha)
    data, left_out = encode_picture(
        image, format or photo.file.format or "PNG", file=photo.file, metadata={"Software": "faceref 0"}
    )
    written = Image.open(io.BytesIO(data))
    written.load()
    return written, left_out


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "TIFF", pytest.param("AVIF", marks=needs_avif), "HEIF"])
def test_damaged_exif_is_left_out_and_said(format: str, portrait: Image.Image):
    if format == "HEIF":
        pytest.importorskip("pillow_heif")
    photo = open_photo(with_damaged_exif(portrait, format))
    assert difference(photo, portrait) < 6
    assert photo.losses == ("The picture has damaged EXIF or other fields; what cannot be read of them is left out.",)
    for target in FORMATS:
        written, _ = result_of(photo, target)
        assert 0x010F not in written.getexif()  # and nothing is raised


def test_grey_with_a_profile_has_the_same_colours_in_16_bits_and_with_alpha(portrait: Image.Image):
    grey, profile = portrait.convert("L"), grey_profile(1.0)
    deep = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    with_alpha = grey.convert("LA")
    with_alpha.putalpha(Image.linear_gradient("L").resize(grey.size))
    expected = pixels(open_photo(encoded(grey, "PNG", icc_profile=profile)).image)
    assert np.abs(expected[..., 0] - pixels(grey)).mean() > 20  # the profile counts
    for picture, format in ((deep, "PNG"), (deep, "TIFF"), (with_alpha, "PNG"), (grey, "JPEG")):
        photo = open_photo(encoded(picture, format, icc_profile=profile))
        assert np.abs(pixels(photo.image) - expected).mean() < (2 if format == "JPEG" else 0.5)
        assert (photo.alpha is not None) == (picture is with_alpha)
        assert photo.file.icc_profile is None  # it is not one of RGB
        assert photo.grayscale


def test_12_bit_grey_in_16_bits_is_as_bright_as_in_8_and_that_is_said(portrait: Image.Image):
    grey = portrait.convert("L")
    photo = open_photo(encoded(Image.fromarray(np.asarray(grey).astype(np.uint16) * 16), "PNG"))
    assert np.abs(pixels(photo.image)[..., 0] - pixels(grey)).max() <= 1
    assert "taken for 4095 being white" in photo.warnings[0]


@pytest.mark.parametrize("target", FORMATS)
@pytest.mark.parametrize("source", ["JPEG", "PNG", "TIFF"])
def test_the_print_size_is_kept(source: str, target: str, portrait: Image.Image):
    written, _ = result_of(open_photo(encoded(portrait, source, dpi=(600, 300))), target)
    exif = written.getexif()
    across, down = (exif[0x011A], exif[0x011B]) if target in ("WEBP", "AVIF") else written.info["dpi"]
    assert (float(across), float(down)) == pytest.approx((600, 300), abs=0.1)


def test_no_print_size_is_invented(portrait: Image.Image):
    for format in ("JPEG", "PNG", "TIFF"):
        assert open_photo(encoded(portrait, format)).file.dpi is None


@pytest.mark.parametrize("target", FORMATS)
def test_xmp_of_a_motion_photo_promises_nothing_after_the_restoration(target: str, portrait: Image.Image):
    photo = open_photo(encoded(portrait, "JPEG", xmp=MOTION_XMP) + b"film" * 1250)
    assert photo.losses == (
        "The picture has a gain map and a motion photo and parts behind the picture with it, "
        "which the result and its XMP do not have.",
    )
    xmp = result_of(photo, target)[0].info["xmp"]
    assert not any(promise in xmp for promise in (b"MotionPhoto", b"5000", b"hdr-gain-map", b"container"))
    assert b"A. Photographer" in xmp


@pytest.mark.parametrize("format", ["PNG", "TIFF", "WEBP"])
def test_what_was_cut_out_can_be_brought_back_where_the_format_holds_it(format: str, portrait: Image.Image):
    cut, shown = portrait.copy(), Image.new("L", portrait.size)
    shown.paste(255, (0, 0, 99, portrait.height))
    cut.putalpha(shown)
    written, _ = result_of(open_photo(encoded(cut, "PNG")), format)
    np.testing.assert_array_equal(np.asarray(written), np.asarray(cut))


def test_what_was_cut_out_does_not_reappear_in_a_jpeg(portrait: Image.Image):
    cut = portrait.copy()
    alpha = Image.new("L", cut.size, 255)
    alpha.paste(0, (0, 0, 100, 192))
    cut.putalpha(alpha)
    photo = open_photo(encoded(cut, "PNG"))
    written, left_out = result_of(photo, "JPEG")
    assert pixels(written)[:, :90].min() > 250
    assert np.abs(pixels(written)[:, 110:] - pixels(portrait)[:, 110:]).mean() < 4
    assert left_out == (
        "The result is on white where the photograph is transparent, since a JPEG has no transparency.",
    )
    assert result_of(photo)[0].getchannel("A").getextrema() == (0, 255)


@pytest.mark.parametrize("comment", ["Grandma 1952, left", "Großmutter"])
def test_a_comment_is_kept(comment: str, portrait: Image.Image):
    photo = open_photo(encoded(portrait, "JPEG", comment=comment.encode()))
    assert result_of(photo)[0].info["comment"] == comment.encode()
    assert result_of(photo, "PNG")[0].info["Comment"] == comment
    latin = open_photo(encoded(portrait, "JPEG", comment=comment.encode("latin-1")))
    assert latin.file.texts["Comment"] == comment


def test_texts_of_a_png_are_kept_beside_ours(portrait: Image.Image):
    photo = open_photo(
        encoded(portrait, "PNG", pnginfo=texts(Title="Grandma 1952", Author="Joe", Software="Scan 3", note="ä"))
    )
    written, left_out = result_of(photo)
    assert (written.info["Title"], written.info["Author"], written.info["note"]) == ("Grandma 1952", "Joe", "ä")
    assert written.info["Software"] == "faceref 0"
    assert left_out == ()
    comment = result_of(photo, "JPEG")[0].info["comment"].decode()
    assert comment.splitlines() == ["Title: Grandma 1952", "Author: Joe", "Software: Scan 3", "note: ä"]
    for format in ("WEBP", "TIFF"):
        assert result_of(photo, format)[1] == (
            "The result is without the photograph's texts (Title, Author, Software, note); "
            "use .png or .jpg to keep them.",
        )


@pytest.mark.parametrize("source", ["JPEG", "TIFF"])
def test_iptc_is_kept_where_the_format_allows_else_said(source: str, portrait: Image.Image):
    data = with_iptc(encoded(portrait, "JPEG"), "Grandma")
    if source == "TIFF":
        written, _ = result_of(open_photo(data), "TIFF")
        data = encoded(written, "TIFF", tiffinfo={0x83BB: open_photo(data).file.iptc})
    photo = open_photo(data)
    assert photo.losses == ()
    for target in ("JPEG", "TIFF"):
        written, left_out = result_of(photo, target)
        assert (IptcImagePlugin.getiptcinfo(written) or {})[(2, 120)] == b"Grandma"
        assert left_out == ()
    for target in ("PNG", "WEBP"):
        (sentence,) = result_of(photo, target)[1]
        assert sentence == "The result is without the photograph's IPTC fields; use .jpg or .tif to keep them."


@pytest.mark.parametrize("what", ["texts", "IPTC fields"])
def test_what_is_too_large_for_a_segment_of_a_jpeg_is_said(what: str, portrait: Image.Image):
    if what == "texts":
        photo = open_photo(encoded(portrait, "PNG", pnginfo=texts(Title="x" * 70_000)))
    else:
        photo = open_photo(encoded(portrait, "TIFF", tiffinfo={0x83BB: b"x" * 70_000}))
    (sentence,) = result_of(photo, "JPEG")[1]
    assert sentence.startswith(f"The result is without the photograph's {what}, since a JPEG holds 64 KB of it")


@pytest.mark.parametrize("format", ["PNG", "TIFF", "WEBP", "MPO", pytest.param("AVIF", marks=needs_avif)])
def test_several_pictures_in_a_file_are_said_and_the_first_is_taken(format: str, portrait: Image.Image):
    others = [portrait.transpose(Image.Transpose.ROTATE_180), Image.new("RGB", portrait.size)]
    photo = open_photo(encoded(portrait, format, save_all=True, append_images=others))
    assert photo.losses == ("The picture has 3 pictures in it; the first is taken, and the result has no others.",)
    assert difference(photo, portrait) < 6


def test_several_pictures_in_a_heic_file_are_said(portrait: Image.Image):
    heif = pytest.importorskip("pillow_heif").from_pillow(portrait)
    heif.add_from_pillow(Image.new("RGB", (64, 64)))
    buffer = io.BytesIO()
    heif.save(buffer)
    assert "has 2 pictures in it" in open_photo(buffer.getvalue()).losses[0]


@needs_avif
def test_avif_is_read_and_written(portrait: Image.Image):
    photo = open_photo(encoded(portrait, "AVIF", quality=95))
    assert difference(photo, portrait) < 4
    written, _ = result_of(photo)
    assert written.format == "AVIF"
    assert np.abs(pixels(written) - pixels(photo.image)).mean() < 4


@pytest.mark.parametrize(("quality", "subsampling"), [(97, 0), (90, 2), (80, 1)])
def test_a_jpeg_is_compressed_as_its_photograph_was(quality: int, subsampling: int, portrait: Image.Image):
    data = encoded(portrait, "JPEG", quality=quality, subsampling=subsampling)
    written, _ = result_of(open_photo(data))
    before = Image.open(io.BytesIO(data))
    assert written.quantization == before.quantization  # type: ignore[attr-defined]
    assert written.layer == before.layer  # type: ignore[attr-defined]


def test_a_restored_face_is_not_spoilt_by_a_photograph_that_was_compressed_coarsely(portrait: Image.Image):
    written, _ = result_of(open_photo(encoded(portrait, "JPEG", quality=20)))
    at_75 = Image.open(io.BytesIO(encoded(portrait, "JPEG", quality=75)))
    assert written.quantization == at_75.quantization  # type: ignore[attr-defined]


def test_the_gamma_of_a_png_is_honoured(portrait: Image.Image):
    linear = np.rint(255 * (np.asarray(portrait) / 255) ** 2.2).astype(np.uint8)
    png = encoded(Image.fromarray(linear), "PNG")
    assert difference(open_photo(with_chunk(png, b"gAMA", (100_000).to_bytes(4))), portrait) < 4
    assert difference(open_photo(with_chunk(png, b"gAMA", (45_455).to_bytes(4))), Image.fromarray(linear)) == 0
    with_srgb = with_chunk(with_chunk(png, b"gAMA", (100_000).to_bytes(4)), b"sRGB", b"\0")  # which counts before it
    assert difference(open_photo(with_srgb), Image.fromarray(linear)) == 0


def test_colours_of_a_png_that_are_not_honoured_are_said(portrait: Image.Image):
    png = encoded(portrait, "PNG")
    p3 = (0.3127, 0.329, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06)
    primaries = b"".join(round(value * 100_000).to_bytes(4) for value in p3)
    for chunk, content, sentence in (
        (b"cHRM", primaries, "The picture has primaries other than sRGB's (cHRM), which are taken for sRGB's."),
        (b"cICP", b"\x09\x10\0\x01", "The picture has colours other than sRGB's (cICP), which are taken for sRGB."),
    ):
        photo = open_photo(with_chunk(png, chunk, content))
        assert photo.warnings == (sentence,)
        assert difference(photo, portrait) == 0
    assert open_photo(with_chunk(png, b"cICP", b"\x01\x0d\0\x01")).warnings == ()


def test_a_file_its_bytes_and_the_picture_are_the_same_photograph(tmp_path: Path, portrait: Image.Image):
    data = encoded(portrait, "PNG", dpi=(300, 300), pnginfo=texts(Title="Grandma"))
    (tmp_path / "photo.png").write_bytes(data)
    photos = [open_photo(source) for source in (tmp_path / "photo.png", data, Image.open(io.BytesIO(data)))]
    for photo in photos:
        assert difference(photo, portrait) == 0
        assert photo.file.texts == {"Title": "Grandma"}
        assert photo.file.format == "PNG"
        assert photo.file.dpi == pytest.approx((300, 300), abs=0.1)
    assert [photo.path for photo in photos] == [tmp_path / "photo.png", None, None]
