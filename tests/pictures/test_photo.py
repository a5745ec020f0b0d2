"""Every usual photograph opens as upright 8-bit RGB; everything else gets one sentence."""

import io
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms

from faceref.errors import PhotoError
from faceref.pictures.photo import Photo, find_photos, open_photo

ORIENTATION, MAKER, EXIF_IFD, DATE_TAKEN = 0x0112, 0x010F, 0x8769, 0x9003


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image).astype(int)


def difference(photo: Photo, image: Image.Image) -> float:
    assert photo.image.mode == "RGB"
    assert photo.image.size == image.size
    return float(np.abs(pixels(photo.image) - pixels(image.convert("RGB"))).mean())


def encoded(image: Image.Image, format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("suffix", "tolerance"), [("jpg", 4), ("png", 0), ("webp", 4), ("bmp", 0), ("tif", 0), ("heic", 6)]
)
def test_the_usual_formats_open(suffix: str, tolerance: float, tmp_path: Path, astronaut: Image.Image):
    path = tmp_path / f"photo.{suffix}"
    if suffix == "heic":
        pytest.importorskip("pillow_heif").from_pillow(astronaut).save(path)
    else:
        astronaut.save(path)
    photo = open_photo(str(path))
    assert difference(photo, astronaut) <= tolerance
    assert photo.path == path
    assert not photo.grayscale
    assert photo.readable == (0, 0, 512, 512)
    assert photo.warnings == ()


def test_heic_without_its_library_names_the_extra(
    tmp_path: Path, astronaut: Image.Image, monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / "photo.heic"
    pytest.importorskip("pillow_heif").from_pillow(astronaut).save(path)
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(PhotoError, match=r"install faceref\[heif\]"):
        open_photo(path)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_and_not_kept(orientation: int, tmp_path: Path, astronaut: Image.Image):
    photo_as_taken = astronaut.crop((100, 0, 400, 200))
    # EXIF 2.3, table 6: what is stored in row 0 / column 0, so that showing it upright undoes this
    stored = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: a.transpose(1, 0, 2)[::-1],
        7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
        8: lambda a: a.transpose(1, 0, 2)[:, ::-1],
    }[orientation](np.asarray(photo_as_taken))
    exif = Image.Exif()
    exif[ORIENTATION], exif[MAKER], exif[EXIF_IFD] = orientation, "Leica", {DATE_TAKEN: "1999:12:31 23:59:00"}
    path = tmp_path / "turned.png"
    Image.fromarray(np.ascontiguousarray(stored)).save(path, exif=exif.tobytes())
    photo = open_photo(path)
    assert difference(photo, photo_as_taken) == 0
    kept = Image.Exif()
    kept.load(photo.exif or b"")
    assert dict(kept).get(ORIENTATION) is None
    assert kept[MAKER] == "Leica"
    assert kept.get_ifd(EXIF_IFD)[DATE_TAKEN] == "1999:12:31 23:59:00"


@pytest.mark.parametrize("mode", ["L", "LA", "1"])
def test_grayscale_is_noticed(mode: str, astronaut: Image.Image):
    photo = open_photo(astronaut.convert(mode))
    assert photo.grayscale
    assert difference(photo, astronaut.convert(mode).convert("L")) == 0
    assert open_photo(astronaut.convert("L").convert("RGB")).grayscale


@pytest.mark.parametrize(
    ("dtype", "white"), [(np.uint16, 65535), (np.int32, 65535), (np.int32, 255), (np.float32, 1.0), (np.float32, 255.0)]
)
def test_deep_gray_is_scaled_to_8_bit(dtype: type, white: float, tmp_path: Path, astronaut: Image.Image):
    gray = np.asarray(astronaut.convert("L")).astype(np.float64) / 255
    path = tmp_path / "deep.tif"
    Image.fromarray((gray * white).astype(dtype)).save(path)
    photo = open_photo(path)
    assert photo.grayscale
    assert np.abs(pixels(photo.image)[..., 0] - gray * 255).max() <= 1


def test_a_16_bit_png_is_scaled_to_8_bit(tmp_path: Path):
    ramp = np.linspace(0, 65535, 40 * 40).reshape(40, 40).astype(np.uint16)
    Image.fromarray(ramp).save(tmp_path / "ramp.png")
    assert np.abs(pixels(open_photo(tmp_path / "ramp.png").image)[..., 0] - ramp / 257).max() <= 0.5


def test_palette_and_cmyk_become_rgb(tmp_path: Path, astronaut: Image.Image):
    palette = astronaut.convert("P", palette=Image.Palette.ADAPTIVE)
    assert difference(open_photo(palette), palette) == 0
    astronaut.convert("CMYK").save(tmp_path / "print.jpg", quality=95)
    assert difference(open_photo(tmp_path / "print.jpg"), astronaut) < 5


def deep_colour(path: Path) -> None:
    """RGB of 16 bits a channel, which Pillow cannot write."""
    cv2.imwrite(str(path), np.linspace(0, 65535, 40 * 40 * 3).reshape(40, 40, 3).astype(np.uint16))


@pytest.mark.parametrize("name", ["deep.png", "deep.tif", "gray.png", "gray.tif", "deep.heic"])
def test_more_than_8_bits_are_brought_to_8_with_a_word(name: str, tmp_path: Path):
    path = tmp_path / name
    if name == "deep.heic":
        deep = np.full((64, 64, 3), 40000, np.uint16)
        pillow_heif = pytest.importorskip("pillow_heif")
        pillow_heif.from_bytes("RGB;16", (64, 64), deep.tobytes()).save(path)
    elif name.startswith("gray"):
        Image.fromarray(np.full((40, 40), 40000, np.uint16)).save(path)
    else:
        deep_colour(path)
    photo = open_photo(path)
    assert photo.losses == (f"{path} has more than 8 bits a channel; the result has 8.",)
    assert photo.warnings == ()


def test_cmyk_becomes_rgb_with_a_word(tmp_path: Path, astronaut: Image.Image):
    path = tmp_path / "print.jpg"
    astronaut.convert("CMYK").save(path)
    assert open_photo(path).losses == (f"{path} is in CMYK, for print; the result is in RGB.",)


def test_iptc_fields_are_missed_with_a_word(tmp_path: Path, astronaut: Image.Image):
    jpeg = encoded(astronaut, "JPEG")
    caption = b"\x1c\x02\x78\x00\x05Hello"  # IIM 2:120
    resource = b"8BIM\x04\x04\0\0" + len(caption).to_bytes(4, "big") + caption
    segment = b"Photoshop 3.0\0" + resource
    path = tmp_path / "agency.jpg"
    path.write_bytes(jpeg[:2] + b"\xff\xed" + (len(segment) + 2).to_bytes(2, "big") + segment + jpeg[2:])
    assert open_photo(path).losses == (f"{path} has IPTC fields; the result does not keep them.",)


@pytest.mark.parametrize(
    "xmp", [b"\xff\xfe<\0x\0", b"<r:RDF xmlns:r='http://www.w3.org/1999/02/22-rdf-syntax-ns#'></r:RDF>"]
)
def test_xmp_that_cannot_be_marked_is_missed_with_a_word(xmp: bytes, tmp_path: Path, astronaut: Image.Image):
    path = tmp_path / "unusual.jpg"
    astronaut.save(path, xmp=xmp)
    photo = open_photo(path)
    assert photo.losses == (f"{path} has XMP in an unusual form; the result does not keep it.",)
    assert photo.xmp is None


def test_an_ordinary_photograph_loses_nothing(tmp_path: Path, astronaut: Image.Image):
    for name in ("a.jpg", "a.png", "a.tif", "a.webp"):
        astronaut.save(tmp_path / name)
        assert open_photo(tmp_path / name).losses == ()
    assert open_photo(astronaut).losses == ()


def test_alpha_is_kept_beside_the_picture(astronaut: Image.Image):
    alpha = Image.linear_gradient("L").resize(astronaut.size)
    with_alpha = astronaut.copy()
    with_alpha.putalpha(alpha)
    photo = open_photo(with_alpha)
    assert difference(photo, astronaut) == 0
    assert photo.alpha is not None
    assert (pixels(photo.alpha) == pixels(alpha)).all()
    with_alpha.putalpha(255)
    assert open_photo(with_alpha).alpha is None


def test_gray_with_a_profile_of_its_own_is_brought_to_srgb(astronaut: Image.Image):
    # An ICC profile of gray with linear values, as ICC.1 lays it out: header, tag table, white point, curve
    white = b"XYZ \0\0\0\0" + b"".join(int(v * 65536).to_bytes(4, "big") for v in (0.9642, 1.0, 0.8249))
    curve = b"curv\0\0\0\0\0\0\0\0"  # no entries: the identity
    table = (2).to_bytes(4, "big") + b"".join(
        name + offset.to_bytes(4, "big") + size.to_bytes(4, "big")
        for name, offset, size in ((b"wtpt", 156, 20), (b"kTRC", 176, 12))
    )
    size = 128 + 28 + 20 + 12
    header = size.to_bytes(4, "big") + bytes(4) + b"\x02\x10\0\0" + b"mntrGRAYXYZ " + bytes(12) + b"acsp" + bytes(28)
    header += b"".join(int(v * 65536).to_bytes(4, "big") for v in (0.9642, 1.0, 0.8249)) + bytes(48)
    image = Image.new("L", (40, 40), 55)  # linear 0.2157
    image.info["icc_profile"] = header + table + white + curve
    photo = open_photo(image)
    assert abs(pixels(photo.image)[0, 0, 0] - 128) <= 1  # sRGB's curve: 0.2157 -> 0.502 (IEC 61966-2-1)
    assert photo.grayscale
    assert photo.icc_profile is None


def test_the_colour_profile_of_rgb_is_kept_and_that_of_gray_is_not(tmp_path: Path, astronaut: Image.Image):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    astronaut.save(tmp_path / "rgb.jpg", icc_profile=profile)
    astronaut.convert("L").save(tmp_path / "gray.jpg", icc_profile=profile)
    assert open_photo(tmp_path / "rgb.jpg").icc_profile == profile
    assert open_photo(tmp_path / "gray.jpg").icc_profile is None


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("share", [0.35, 0.7, 0.999])
def test_a_truncated_jpeg_gives_what_came_through(
    share: float, progressive: bool, tmp_path: Path, astronaut: Image.Image
):
    data = encoded(astronaut, "JPEG", progressive=progressive)
    path = tmp_path / "half.jpg"
    path.write_bytes(data[: int(len(data) * share)])
    photo = open_photo(path)
    assert photo.image.size == astronaut.size
    left, top, right, bottom = photo.readable
    assert (left, top, right) == (0, 0, 512)
    assert len(photo.warnings) == 1
    assert photo.warnings[0].startswith(f"{path} is truncated: ")
    whole = pixels(Image.open(io.BytesIO(data)))
    if not progressive:
        assert bottom == 512 or abs(bottom / 512 - share) < 0.2
        assert np.abs(pixels(photo.image) - whole)[: bottom - 24].max() == 0  # blocks of chroma have 16 rows and bleed
        if bottom < 512:
            assert (pixels(photo.image)[bottom + 24 :] == 128).all()
            assert photo.is_readable((-5, 0, 100, bottom))
            assert not photo.is_readable((0, 0, 100, bottom + 20))


def test_the_readable_part_turns_with_the_photo(tmp_path: Path, astronaut: Image.Image):
    exif = Image.Exif()
    exif[ORIENTATION] = 6  # to be turned clockwise: rows become columns from the right
    data = encoded(astronaut, "JPEG", exif=exif.tobytes())
    path = tmp_path / "half.jpg"
    path.write_bytes(data[: len(data) // 2])
    left, top, right, bottom = open_photo(path).readable
    assert (top, right, bottom) == (0, 512, 512)
    assert 100 < left < 400


@pytest.mark.parametrize("size", [(20, 20), (20, 3000)])
def test_small_photos_open(size: tuple[int, int]):
    assert open_photo(Image.new("RGB", size)).image.size == size


def test_photos_of_up_to_100_megapixels_open_without_a_word(tmp_path: Path):
    path = tmp_path / "large.png"  # above the 89 megapixels from which Pillow warns
    Image.new("1", (10000, 9999)).save(path)
    assert open_photo(path).image.size == (10000, 9999)


def bad_inputs() -> dict[str, tuple[bytes | None, str]]:
    portrait = Image.effect_noise((64, 64), 50).convert("RGB")
    jpeg, png = encoded(portrait, "JPEG"), encoded(portrait, "PNG")
    return {
        "missing": (None, "does not exist"),
        "empty": (b"", "is empty"),
        "text": (b"Dear Sir or Madam, " * 50, "is not a picture"),
        "headless": (jpeg[:100], "is not a picture|nothing of it can be read|cannot be decoded"),
        "truncated png": (png[: len(png) // 2], "is damaged"),
        "tiny": (encoded(portrait.resize((19, 30)), "PNG"), "only 19x30 pixels; at least 20x20"),
        "huge": (encoded(Image.new("1", (10001, 10000)), "PNG"), "more than 100 megapixels"),
        "bomb": (encoded(Image.new("1", (20000, 10000)), "PNG"), "more than 100 megapixels"),
        "postscript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 50 50\n", "is not a picture"),
        "broken heic": (b"\0\0\0\x1cftypheic" + bytes(100), "be decoded as HEIC|is a HEIC picture"),
        "film": (b"\0\0\0\x20ftypisom" + bytes(100), "is not a picture"),
    }


@pytest.mark.parametrize("kind", bad_inputs())
def test_bad_input_gets_one_sentence_that_names_the_file(kind: str, tmp_path: Path):
    data, sentence = bad_inputs()[kind]
    path = tmp_path / "photo.jpg"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(PhotoError, match=sentence) as raised:
        open_photo(path)
    message = str(raised.value)
    assert str(path) in message
    assert message.endswith(".")
    assert "\n" not in message


def test_a_damaged_picture_in_memory_gets_one_sentence():
    png = encoded(Image.effect_noise((64, 64), 50), "PNG")
    with pytest.raises(PhotoError, match="is damaged"):
        open_photo(Image.open(io.BytesIO(png[: len(png) // 2])))


def test_a_folder_is_not_a_photo(tmp_path: Path):
    with pytest.raises(PhotoError, match="is a folder"):
        open_photo(tmp_path)


def photo_file(path: Path, color: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (30, 30), (color, 0, 0)).save(path)
    return path


def test_photos_are_found_in_files_and_folders_in_natural_order(tmp_path: Path):
    folder = tmp_path / "album"
    second, tenth = photo_file(folder / "img2.png", 2), photo_file(folder / "img10.PNG", 10)
    nested = photo_file(folder / "more" / "a.jpg", 3)
    photo_file(folder / ".hidden.png", 4)
    photo_file(folder / ".trash" / "b.png", 5)
    (folder / "notes.txt").write_text("not a picture")
    single = photo_file(tmp_path / "single.webp", 6)
    assert find_photos([single, str(folder)]) == [single, second, tenth, nested]


def test_photos_with_the_same_bytes_count_once(tmp_path: Path):
    first = photo_file(tmp_path / "a.png", 7)
    (tmp_path / "b.png").write_bytes(first.read_bytes())
    other = photo_file(tmp_path / "c.png", 8)
    assert find_photos([tmp_path, first]) == [first, other]


def test_a_folder_without_pictures_and_a_missing_file_are_errors(tmp_path: Path):
    (tmp_path / "notes.txt").write_text("not a picture")
    with pytest.raises(PhotoError, match="has no JPEG"):
        find_photos([tmp_path])
    with pytest.raises(PhotoError, match="does not exist"):
        find_photos([tmp_path / "nobody.jpg"])
    with pytest.raises(PhotoError, match=r"x\.jpg cannot be read \(File name too long\)"):
        find_photos([tmp_path / ("x" * 300 + ".jpg")])
