"""Faces that nobody photographed are left alone: in the background, or cut off by the border, unless asked for."""

import pytest
from PIL import Image, ImageFilter

from faceref import RestoreOptions, Restorer
from faceref.app.cli.wording import left_alone
from faceref.faces.detect import load_detector
from faceref.restore.left_alone import LeftAlone

HEIGHT = 508  # of the portrait beside which others stand, twice its own


@pytest.fixture(scope="module")
def large(portrait) -> Image.Image:
    return portrait.resize((HEIGHT, HEIGHT), Image.Resampling.LANCZOS)


@pytest.fixture(scope="module")
def looking(restorer) -> Restorer:
    """The same, with the detector that finds small and blurred faces."""
    return Restorer(restorer.model, detector=load_detector(), recogniser=restorer.recogniser)


def beside(first: Image.Image, *others: Image.Image) -> Image.Image:
    """Pictures side by side, standing on one line."""
    photo = Image.new("RGB", (sum(one.width for one in (first, *others)), first.height), "gray")
    left = 0
    for one in (first, *others):
        photo.paste(one, (left, photo.height - one.height))
        left += one.width
    return photo


def at(size: float, portrait: Image.Image, blur: float = 0.0) -> Image.Image:
    """The portrait `size` times as large as the one beside it, blurred as if out of focus."""
    side = round(size * HEIGHT)
    blurred = portrait.filter(ImageFilter.GaussianBlur(blur)) if blur else portrait
    return blurred.resize((side, side), Image.Resampling.LANCZOS)


def cut_off(picture: Image.Image) -> Image.Image:
    """What is left of the portrait where the photograph's right border goes through the cheek."""
    return picture.crop((0, 0, round(0.66 * picture.width), picture.height))


def became(restorer: Restorer, photo: Image.Image, people=(), **settings) -> list[LeftAlone | None]:
    """Why each face is left alone, from left to right; None if it is to be restored."""
    matched = restorer.match(photo, people, RestoreOptions.of(**settings))
    return [one.left_alone for one in matched.assignments]


def test_a_face_out_of_focus_behind_a_sharp_one_is_left_alone(looking, large, portrait):
    assert became(looking, beside(large, at(0.6, portrait, blur=3))) == [LeftAlone.GOOD, LeftAlone.BACKGROUND]


def test_a_much_smaller_face_is_left_alone_also_where_all_is_blurred(looking, large, portrait):
    photo = beside(large, at(0.4, portrait)).filter(ImageFilter.GaussianBlur(4))
    assert became(looking, photo) == [None, LeftAlone.BACKGROUND]


def test_all_faces_of_a_group_are_restored(looking, large, portrait):
    photo = beside(large, at(0.8, portrait), at(0.6, portrait)).filter(ImageFilter.GaussianBlur(4))
    assert became(looking, photo) == [None, None, None]
    assert became(looking, beside(large, at(0.8, portrait, blur=3))) == [LeftAlone.GOOD, None], "of similar size"


def test_a_lone_face_is_restored_however_small_or_cut_off(looking, portrait):
    small = beside(Image.new("RGB", (3 * HEIGHT, HEIGHT)), at(0.4, portrait, blur=3))
    assert became(looking, small) == [None]
    assert became(looking, cut_off(at(1, portrait, blur=3))) == [None]


def test_a_face_that_the_border_cuts_off_is_left_alone_beside_a_whole_one(looking, portrait):
    whole, cut = at(1, portrait, blur=3), cut_off(at(1, portrait, blur=3))
    assert became(looking, beside(whole, cut)) == [None, LeftAlone.CUT_OFF]
    assert became(looking, beside(whole, whole)) == [None, None]


def test_a_face_at_the_border_is_not_left_alone_for_a_small_one_in_the_background(looking, portrait):
    behind = at(0.4, portrait, blur=3)
    room = Image.new("RGB", (HEIGHT // 4, HEIGHT), "gray")
    assert became(looking, beside(room, behind, cut_off(at(1, portrait, blur=3)))) == [LeftAlone.BACKGROUND, None]


@pytest.mark.parametrize(
    "asked", [{"face": 2}, {"face": "all"}, {"strength": {2: 1.0}}, {"by_hand": [{"face": 2, "become": "blind"}]}]
)
def test_a_face_in_the_background_is_restored_if_somebody_chose_it(looking, large, portrait, asked):
    assert became(looking, beside(large, at(0.4, portrait, blur=3)), **asked)[1] is None


def test_a_face_in_the_background_is_restored_with_its_persons_references(restorer, stranger, portrait, mirrored):
    photo = beside(at(1, stranger), at(0.4, portrait, blur=2))
    assert became(restorer, photo, mirrored) == [LeftAlone.NOT_CHOSEN, None]
    other = restorer.person(stranger)
    assert became(restorer, photo, [restorer.person(mirrored), other])[1] is None
    assert became(restorer, photo, other, unknown="blind")[1] is LeftAlone.NOT_CHOSEN


def test_whoever_is_left_alone_in_the_background_is_said_with_a_code_and_restored_always(looking, large, portrait):
    photo = beside(large, at(0.4, portrait, blur=3))
    result = looking.restore(photo)
    face = result.account().faces[1]
    assert (result.faces, result.image.tobytes()) == ((), photo.tobytes())
    assert (face.left_alone, face.left_alone_code) == ("it is in the background", "background")
    assert left_alone(face) == "left alone: it is in the background (--face N or --always restores it)"
    assert '"left_alone_code":"background"' in result.account().model_dump_json()
    face = looking.restore(photo, options=RestoreOptions(always=True)).account().faces[1]
    assert (face.restored, face.left_alone_code, left_alone(face)) == (True, None, "")


def test_a_small_face_that_stays_small_is_left_alone_if_its_pixels_are_good(looking, portrait):
    small = beside(Image.new("RGB", (2 * HEIGHT, HEIGHT)), at(0.3, portrait))
    assert became(looking, small) == [LeftAlone.SMALL]
    assert became(looking, small, background="lanczos", scale=4) == [None]
    assert became(looking, beside(Image.new("RGB", (2 * HEIGHT, HEIGHT)), at(0.3, portrait, blur=4))) == [None]
