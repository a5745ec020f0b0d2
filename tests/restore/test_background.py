"""The whole picture cleaned, or made larger by Lanczos or an upscaler, its faces in their places."""

import io
import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageFilter
from restoring import restore

from faceref.errors import NoFaceError, OtherPersonError, OutputError, PhotoError, UsageError
from faceref.faces.align import align
from faceref.models.upscaler import Upscaler, find_realesrgan
from faceref.pictures import decode
from faceref.restore import background
from faceref.restore.background import background_fingerprint, check_result
from faceref.restore.layers import Layers
from faceref.restore.left_alone import LeftAlone
from faceref.restore.options import RestoreOptions
from faceref.restore.restorer import Restorer
from faceref.restore.steps import compose


def negative(pixels: np.ndarray) -> np.ndarray:
    """An upscaler whose traces are seen everywhere."""
    return 1 - pixels.repeat(4, 0).repeat(4, 1)


@pytest.fixture
def upscaled(restorer, monkeypatch) -> Restorer:
    """A restorer whose realesrgan is `negative`."""
    monkeypatch.setattr(background, "find_realesrgan", lambda: None)  # it may not be installed
    monkeypatch.setattr(background, "load_realesrgan", lambda: Upscaler("realesrgan", 4, negative))
    return Restorer(restorer.model, restorer.blind, restorer.detector, restorer.recogniser)


def lanczos(image: Image.Image, scale: int) -> np.ndarray:
    larger = image.resize((scale * image.width, scale * image.height), Image.Resampling.LANCZOS)
    return np.asarray(larger.convert("RGB"), dtype=int)


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("RGB"), dtype=int)


def middle(result, number: int, scale: int) -> tuple[slice, slice]:
    """Rows and columns of the middle third of a face in the enlarged picture."""
    left, top, right, bottom = (scale * edge for edge in result.assignments[number - 1].face.place.box)
    wide, high = (right - left) / 3, (bottom - top) / 3
    return slice(round(top + high), round(bottom - high)), slice(round(left + wide), round(right - wide))


def test_faces_are_restored_in_the_enlarged_picture_and_the_rest_is_lanczos(restorer, portrait, mirrored):
    result = restore(restorer, portrait, mirrored, background="lanczos", scale=2)
    assert result.image.size == (2 * portrait.width, 2 * portrait.height)
    change = np.abs(pixels(result.image) - lanczos(portrait, 2)).max(-1)
    assert change[middle(result, 1, 2)].mean() > 1
    assert not change[:, :20].any()
    small = restore(restorer, portrait, mirrored)
    before = np.abs(pixels(small.image) - pixels(portrait)).max(-1)
    assert change[middle(result, 1, 2)].mean() == pytest.approx(before[middle(small, 1, 1)].mean(), rel=0.25)
    assert result.comparison().size == small.comparison().size
    assert result.account().enlargement == 2
    assert "2 times larger (lanczos)" in result.metadata["Description"]


def test_a_face_that_is_left_alone_is_no_more_drawn_by_the_upscaler_than_a_restored_one(upscaled, couple, mirrored):
    """The stranger is left alone, the astronaut restored."""
    result = restore(upscaled, couple, mirrored, background="realesrgan", scale=4, face=2)
    plain, made = lanczos(couple, 4), pixels(result.image)
    assert np.abs(made - plain)[middle(result, 1, 4)].max() <= 1
    assert np.abs(made - plain)[middle(result, 2, 4)].mean() < 40  # its own face, not its negative
    corner = (slice(0, 40), slice(0, 40))
    assert (made[corner] == 255 - pixels(couple).repeat(4, 0).repeat(4, 1)[corner]).all()


def test_steps_of_faces_and_then_tiles_are_told(upscaled, portrait, mirrored):
    told: list[tuple[int, int]] = []
    options = RestoreOptions(always=True, background="realesrgan")
    upscaled.restore(portrait, mirrored, options, on_step=lambda done, total: told.append((done, total)))
    assert told[:2] == [(1, 2), (2, 2)]
    assert told[2:] == [(done, 4) for done in range(5)]  # 254 pixels in tiles of 127


def test_alpha_is_enlarged_and_a_photograph_without_colours_gets_none(upscaled, portrait, monkeypatch):
    def tinted(values: np.ndarray) -> np.ndarray:
        return (values.repeat(4, 0).repeat(4, 1) * (1, 0.9, 0.8)).astype(np.float32)

    monkeypatch.setattr(background, "load_realesrgan", lambda: Upscaler("realesrgan", 4, tinted))
    grey = portrait.convert("L").convert("RGB")
    grey.putalpha(Image.linear_gradient("L").resize(grey.size))
    image = restore(upscaled, grey, background="realesrgan", strength=0).image
    assert (image.mode, image.size) == ("RGBA", (2 * grey.width, 2 * grey.height))
    assert np.ptp(pixels(image), axis=2).max() == 0
    alpha = np.asarray(image.getchannel("A"), dtype=int)
    assert np.abs(alpha - np.asarray(grey.getchannel("A").resize(image.size), dtype=int)).max() <= 1


def test_a_photograph_without_a_face_is_enlarged_and_that_is_said(restorer):
    wall = Image.effect_noise((60, 40), 50).convert("RGB")
    with pytest.raises(NoFaceError):
        restore(restorer, wall)
    result = restore(restorer, wall, background="lanczos", scale=4)
    assert (pixels(result.image) == lanczos(wall, 4)).all()
    assert result.is_new
    assert any("No face was found" in warning for warning in result.warnings)
    assert not result.metadata["Description"].startswith("AI-restored")
    assert not result.is_generated


def test_who_is_not_the_person_is_enlarged_and_left_alone(restorer, stranger, mirrored):
    with pytest.raises(OtherPersonError):
        restore(restorer, stranger, mirrored)
    result = restore(restorer, stranger, mirrored, background="lanczos")
    assert (pixels(result.image) == lanczos(stranger, 2)).all()
    assert result.assignments[0].left_alone


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"scale": 2}, "scale cannot be 2: it is for a background"),
        ({"scale": 3, "background": "lanczos"}, "scale cannot be 3"),
        ({"aligned": True, "background": "lanczos"}, "background cannot be 'lanczos': an aligned face"),
        ({"background": "no/model.pth"}, "no/model.pth is no background"),
    ],
)
def test_what_cannot_be_enlarged_is_one_sentence(restorer, portrait, settings, sentence):
    with pytest.raises(UsageError, match=sentence):
        restore(restorer, portrait, **settings)


def test_a_request_is_checked_without_the_network_but_not_without_the_packages(upscaled, portrait, monkeypatch):
    loaded: list[str] = []
    monkeypatch.setattr(background, "load_realesrgan", lambda: loaded.append("realesrgan"))
    upscaled.match(portrait, options=RestoreOptions(background="realesrgan", scale=2))
    assert not loaded
    monkeypatch.setattr(background, "find_realesrgan", find_realesrgan)
    monkeypatch.setitem(sys.modules, "ncnn", None)
    with pytest.raises(UsageError, match="needs the package ncnn, which is not installed"):
        upscaled.check(RestoreOptions(background="realesrgan"), with_references=False)


def test_a_result_that_is_too_large_is_refused_before_any_work(restorer, portrait, monkeypatch, tmp_path):
    monkeypatch.setattr(decode, "LARGEST_AREA", 3 * portrait.width * portrait.height)
    with pytest.raises(PhotoError, match="enlarged 2 times has more than"):
        restore(restorer, portrait, background="lanczos")
    Image.new("L", (9000, 20)).save(tmp_path / "wide.png")
    options = RestoreOptions(background="lanczos", scale=2)
    check_result(tmp_path / "wide.png", options, "PNG", "out.png")
    with pytest.raises(OutputError, match=r"out\.webp would have 18000 pixels on a side, and WEBP holds 16383; use"):
        check_result(tmp_path / "wide.png", options, "WEBP", "out.webp")


def test_another_model_under_the_same_name_is_another_setting(tmp_path):
    (tmp_path / "model.pth").write_bytes(b"one")
    options = RestoreOptions(background=str(tmp_path / "model.pth"))
    first = background_fingerprint(options)
    (tmp_path / "model.pth").write_bytes(b"two")
    assert background_fingerprint(options) != first
    assert background_fingerprint(RestoreOptions(background="lanczos")) == "lanczos"


def darker(pixels: np.ndarray) -> np.ndarray:
    """A cleaner whose traces are seen everywhere."""
    return (0.9 * pixels).astype(np.float32)


@pytest.fixture
def cleaning(restorer, monkeypatch) -> Restorer:
    """A restorer whose cleaner is `darker`."""
    monkeypatch.setattr(background, "load_cleaner", lambda _: Upscaler("clean", 1, darker))
    return Restorer(restorer.model, restorer.blind, restorer.detector, restorer.recogniser)


def test_the_rest_is_cleaned_and_a_face_that_is_left_alone_with_it(cleaning, couple, mirrored):
    """The stranger is left alone, the astronaut restored."""
    result = restore(cleaning, couple, mirrored, background="clean", face=2)
    assert (result.image.size, result.enlargement) == (couple.size, 1)
    expected = np.rint(0.9 * pixels(couple))
    assert np.abs(pixels(result.image) - expected)[middle(result, 1, 1)].max() == 0
    assert not np.abs(pixels(result.image) - expected)[:40, :40].any()
    assert result.metadata["Description"].endswith("The whole picture was cleaned (clean).")
    assert result.is_generated


def test_a_restored_face_is_what_the_model_drew_however_it_was_cleaned(cleaning, portrait):
    """Here the model draws what the photograph has."""
    result = restore(cleaning, portrait, background="clean")
    drawn = [replace(one, image=one.face.crop.image) for one in result.faces]
    cleaned = background.clean(result.photo, Upscaler("clean", 1, darker))
    composed = pixels(compose(cleaned, background.over(cleaned, drawn), RestoreOptions()))
    assert np.abs(composed - pixels(portrait))[middle(result, 1, 1)].mean() < 1
    assert np.abs(pixels(cleaned.image) - pixels(portrait))[middle(result, 1, 1)].mean() > 10


def test_around_a_restored_face_it_becomes_sharper_and_one_that_is_left_alone_does_not(cleaning, couple):
    blurred = couple.filter(ImageFilter.GaussianBlur(2))
    result = restore(cleaning, couple, face=2)
    photo = replace(result.photo, image=blurred)
    places = [one.face.place for one in result.assignments]
    assert places[0] is not None
    assert places[1] is not None
    drawn = [replace(result.faces[0], image=align(couple, places[1].landmarks, 256).image)]
    drawn = background.over(photo, drawn)
    kept = background.kept_around(result.assignments)
    assert [one.landmarks.tolist() for one in kept] == [places[0].landmarks.tolist()]
    plain, sharper = (pixels(compose(photo, drawn, RestoreOptions(), spared)) for spared in (None, kept))
    assert np.abs(sharper - plain).max() > 10
    assert not (sharper - pixels(blurred))[middle(result, 1, 1)].any()
    assert np.abs(sharper - plain)[middle(result, 2, 1)].max() <= 1


def test_a_face_that_was_only_noisy_is_cleaned_and_not_restored(restorer, portrait, mirrored):
    rng = np.random.default_rng(0)
    noisy = Image.fromarray((pixels(portrait) + rng.normal(0, 30, (*portrait.size, 3))).clip(0, 255).astype(np.uint8))
    plain = restore(restorer, noisy, mirrored, always=False)
    cleaned = restore(restorer, noisy, mirrored, always=False, background="clean")
    assert plain.faces
    assert [one.left_alone for one in cleaned.assignments] == [LeftAlone.CLEANED]
    assert cleaned.account().faces[0].strength == 0
    there = middle(cleaned, 1, 1)
    before, after = (np.abs(pixels(one) - pixels(portrait))[there].mean() for one in (noisy, cleaned.image))
    assert after < before / 4
    said = restore(restorer, noisy, mirrored, always=False, background="clean", strength=0.5)
    assert [one.assignment.strength for one in said.faces] == [0.5]


def test_how_strongly_a_face_is_restored_is_how_much_of_it_is_not_just_cleaned(cleaning, portrait, mirrored):
    half, full = (
        restore(cleaning, portrait, mirrored, background="clean", colour="allow", strength=strength)
        for strength in (0.5, 1.0)
    )
    cleaned, there = np.rint(0.9 * pixels(portrait)), middle(full, 1, 1)
    between = (cleaned + pixels(full.image)) / 2
    assert np.abs(pixels(half.image) - between)[there].mean() < 1.5


def test_what_is_cleaned_may_be_made_larger_too(cleaning, portrait, mirrored):
    result = restore(cleaning, portrait, mirrored, background="clean", scale=2)
    assert "was cleaned and made 2 times larger (clean)" in result.metadata["Description"]
    assert result.image.size == (2 * portrait.width, 2 * portrait.height)
    darkened = Image.fromarray(np.rint(0.9 * pixels(portrait)).astype(np.uint8))
    assert not np.abs(pixels(result.image) - lanczos(darkened, 2))[:20, -20:].any()


def test_a_photograph_without_a_face_is_cleaned_and_that_is_said(cleaning):
    wall = Image.effect_noise((60, 40), 50).convert("RGB")
    result = restore(cleaning, wall, background="clean")
    assert (pixels(result.image) == np.rint(0.9 * pixels(wall))).all()
    assert any("nothing was restored. The whole picture was cleaned" in warning for warning in result.warnings)


def test_a_cleaned_picture_is_shown_at_another_strength_without_cleaning_it_again(cleaning, portrait, mirrored):
    result = restore(cleaning, portrait, mirrored, background="clean")
    layers = Layers.model_validate_json(Layers.of(result, "keep").model_dump_json())
    for strength in (0.4, 0.0):
        expected = restore(cleaning, portrait, mirrored, background="clean", strength=strength)
        data, _ = layers.at(strength).encode(result.photo, "PNG")
        shown = Image.open(io.BytesIO(data))
        assert (pixels(shown) == pixels(expected.image)).all()
        assert "cleaned (clean)" in shown.info["Description"]


@pytest.mark.parametrize("mode", ["RGBA", "L", "LA"])
def test_what_is_cleaned_keeps_its_alpha_and_gets_no_colours_at_any_strength(
    restorer, portrait, mirrored, mode, monkeypatch
):
    tinted = Upscaler("clean", 1, lambda pixels: (pixels * (0.9, 0.8, 0.7)).astype(np.float32))
    monkeypatch.setattr(background, "load_cleaner", lambda _: tinted)
    cleaning = Restorer(restorer.model, restorer.blind, restorer.detector, restorer.recogniser)
    photo, alpha = portrait.convert(mode.removesuffix("A")), Image.linear_gradient("L").resize(portrait.size)
    if "A" in mode:
        photo.putalpha(alpha)
    photo.save(file := io.BytesIO(), "PNG")
    fully = restore(cleaning, file.getvalue(), mirrored, background="clean")
    layers = Layers.model_validate_json(Layers.of(fully, "keep").model_dump_json())
    for strength in (1.0, 0.4, 0.0):
        result = restore(cleaning, file.getvalue(), mirrored, background="clean", strength=strength)
        data, _ = result.encode("PNG")
        assert layers.at(strength).encode(fully.photo, "PNG")[0] == data
        made = Image.open(io.BytesIO(data))
        assert made.mode == mode
        if "A" in mode:
            assert (np.asarray(made.getchannel("A")) == np.asarray(alpha)).all()
        shares = (0.9, 0.8, 0.7) if mode == "RGBA" else (0.299 * 0.9 + 0.587 * 0.8 + 0.114 * 0.7,) * 3
        assert np.abs(pixels(made) - pixels(photo) * shares)[:40, :40].max() < 1.5
    before, after = (pixels(one)[middle(fully, 1, 1)] for one in (made, fully.image))
    assert np.abs(after - before).mean() > 1


def test_another_cleaner_is_another_setting(tmp_path, monkeypatch):
    monkeypatch.setattr(background, "CLEANER", tmp_path)
    weights = tmp_path / "diffusion_pytorch_model.safetensors"
    found = set()
    for content in (b"one", b"two"):
        weights.write_bytes(content)
        found.add(background_fingerprint(RestoreOptions(background="clean")))
    assert len(found) == 2
