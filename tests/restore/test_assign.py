"""Which face is restored with whose references."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageOps
from restoring import box_of, changed, restore

from faceref import RestoreOptions
from faceref.errors import OtherPersonError, UsageError
from faceref.faces.quality import FaceQuality
from faceref.people.person import Person
from faceref.pictures.mark import is_marked_restored
from faceref.restore.chosen import chosen


def test_with_references_the_face_most_like_them_is_restored(restorer, couple, mirrored, stranger):
    half = couple.width / 2
    (face,) = restore(restorer, couple, mirrored).faces
    assert (face.face.number, box_of(face)[0] > half) == (2, True)
    (face,) = restore(restorer, couple, ImageOps.mirror(stranger)).faces
    assert (face.face.number, box_of(face)[2] < half) == (1, True)


def test_without_references_all_faces_are_restored_and_that_is_said(restorer, couple):
    result = restore(restorer, couple)
    assert [face.face.number for face in result.faces] == [1, 2]
    assert any("No references" in warning for warning in result.warnings)
    assert result.account().faces[0].similarity_to_references is None


def test_a_face_can_be_chosen_by_number_or_size(restorer, couple, mirrored):
    assert [face.face.number for face in restore(restorer, couple, mirrored, face=1).faces] == [1]
    small = couple.crop((0, 0, couple.width // 2, couple.height)).reduce(2)
    sizes = couple.copy()
    sizes.paste("gray", (0, 0, couple.width // 2, couple.height))
    sizes.paste(small)
    mirror = ImageOps.mirror(sizes)  # the largest is on the other side
    assert [face.face.number for face in restore(restorer, sizes, face="largest").faces] == [2]
    assert [face.face.number for face in restore(restorer, mirror, face="largest").faces] == [1]
    with pytest.raises(UsageError, match=r"no face 3; choose 1 to 2"):
        restore(restorer, couple, face=3)


def test_a_face_can_be_chosen_by_a_box_around_it_and_the_account_says_so(restorer, couple, mirrored):
    half = couple.width / 2
    loose, tight = (half, 0, couple.width, couple.height), (half + 90, 60, half + 160, 130)
    for box in (loose, tight):
        account = restore(restorer, couple, mirrored, face=box).account()
        assert [face.restored for face in account.faces] == [False, True]
        assert (account.face, account.faces[0].left_alone) == (box, "another face was chosen")
    assert restore(restorer, couple, mirrored).account().face is None
    with pytest.raises(
        UsageError, match=r"no face in the box 5,0,20,30 \(x, y, width, height\); choose 1 to 2"
    ) as none:
        restore(restorer, couple, face=(5, 0, 25, 30))
    x, y, width, height = map(int, str(none.value).split("face 2 is in ")[1].rstrip(").").split(","))
    there = restore(restorer, couple, face=(x, y, x + width, y + height)).account()
    assert [face.restored for face in there.faces] == [False, True]
    with pytest.raises(UsageError, match=r"face cannot be .*the box is empty"):
        restore(restorer, couple, face=(20, 0, 0, 20))


def test_a_face_is_restored_alike_whatever_is_restored_beside_it(restorer, couple):
    alone = restore(restorer, couple, face=2).faces[0]
    beside = restore(restorer, couple, face="all").faces[1]
    difference = np.asarray(alone.image, int) - np.asarray(beside.image, int)
    assert np.abs(difference).max() <= 1, "a batch changes nothing but rounding"


def test_a_face_that_is_not_the_person_is_restored_only_if_it_is_chosen(restorer, portrait, mirrored):
    assert not any("somebody else" in warning for warning in restore(restorer, portrait, mirrored).warnings)
    negative = ImageOps.invert(portrait)  # dlib's distance is 0.86
    with pytest.raises(OtherPersonError) as refused:
        restore(restorer, portrait, negative)
    assert str(refused.value).startswith(
        "the picture has no face that is surely the person of the references (face 1: "
    )
    assert refused.value.hint == "if it is them, choose face 1, or give more photographs of the person"
    assert any("may be somebody else" in warning for warning in restore(restorer, portrait, negative, face=1).warnings)


def test_of_two_faces_as_like_the_person_it_is_said_that_it_may_be_the_other(restorer, couple, portrait, mirrored):
    both = Image.new("RGB", (2 * portrait.width, portrait.height))
    both.paste(portrait)
    both.paste(portrait.resize((portrait.width // 2,) * 2).resize(portrait.size), (portrait.width, 0))
    result = restore(restorer, both, mirrored)
    (restored,), (left,) = result.faces, [one.face.number for one in result.assignments if one.left_alone]
    said = f"Face {left} of the picture may be the person as well as face {restored.face.number} ("
    (warning,) = [one for one in result.warnings if one.startswith(said)]
    assert warning.endswith(" %): if it is, choose it.")
    for other in (restore(restorer, both, mirrored, face=1), restore(restorer, couple, mirrored)):
        assert not any("may be the person as well" in warning for warning in other.warnings)


def test_what_is_said_of_single_faces_by_hand_becomes_of_them(restorer, couple, mirrored, stranger):
    shown = {"Eileen": mirrored, "Other": ImageOps.mirror(stranger)}
    people = [replace(restorer.person(one), name=name) for name, one in shown.items()]

    def restored_as(*by_hand: dict, **settings):
        account = restore(restorer, couple, people, by_hand=by_hand, **settings).account()
        return [(one.person, len(one.references), one.left_alone) for one in account.faces]

    assert restored_as() == [("Other", 1, None), ("Eileen", 1, None)]
    swapped = {"face": 1, "become": "person", "person": "Eileen"}
    assert restored_as(swapped, {"face": 2, "become": "blind"}) == [("Eileen", 1, None), (None, 0, None)]
    assert restored_as({"face": 2, "become": "skip"}) == [("Other", 1, None), (None, 0, "you said so")]


def test_by_hand_a_face_is_the_only_person_though_another_is_more_like_them(restorer, couple, mirrored):
    result = restore(restorer, couple, mirrored, by_hand=[{"face": 1, "become": "person"}])
    assert [face.face.number for face in result.faces] == [1]
    assert any("Face 1 of the picture may be somebody else" in warning for warning in result.warnings)
    result = restore(restorer, couple, mirrored, face="all", by_hand=[{"face": 2, "become": "skip"}], unknown="blind")
    assert [face.person for face in result.faces] == [None]


def test_by_hand_one_of_several_people_has_to_be_named(restorer, couple, mirrored, stranger):
    shown = {"Eileen": mirrored, None: ImageOps.mirror(stranger)}
    people = [replace(restorer.person(one), name=name) for name, one in shown.items()]
    with pytest.raises(UsageError, match="Face 2 of the picture is to be one of 2 people; say which by their name"):
        restore(restorer, couple, people, by_hand=[{"face": 2, "become": "person"}])
    named = restore(restorer, couple, people, by_hand=[{"face": 2, "become": "person", "person": "EILEEN"}])
    assert named.account().faces[1].person == "Eileen"


def test_by_hand_only_what_is_there_can_be_said(restorer, couple, mirrored):
    with pytest.raises(UsageError, match=r"the picture has no face 3; choose 1 to 2 \(from the left\)"):
        restore(restorer, couple, mirrored, by_hand=[{"face": 3, "become": "skip"}])
    with pytest.raises(UsageError, match=r"Face 1 of the picture is to be Nobody, who is not among those looked for"):
        restore(restorer, couple, mirrored, by_hand=[{"face": 1, "become": "person", "person": "Nobody"}])


def test_a_good_face_is_left_alone_unless_the_options_overrule_that(restorer, portrait, mirrored, tmp_path):
    left = restore(restorer, portrait, mirrored, always=False)
    assert (left.faces, left.image.tobytes()) == ((), portrait.tobytes())
    assert left.account().faces[0].left_alone == "it is good already"
    left.save(tmp_path / "left.png")
    assert not is_marked_restored(tmp_path / "left.png")
    half, full = (restore(restorer, portrait, mirrored, always=False, strength=strength) for strength in (0.5, 1))
    distances = [np.abs(np.asarray(one.image, int) - np.asarray(portrait)).mean() for one in (half, full)]
    assert 0 < distances[0] < 0.7 * distances[1]


def test_a_strength_by_number_is_that_faces_alone(restorer, couple):
    assert RestoreOptions.of(strength='{"2": 0.5}') == RestoreOptions.of(strength="2:0.5")
    with pytest.raises(UsageError, match="a face is given twice"):
        RestoreOptions.of(strength="2:0.5,2:0.9")
    first, second = restore(restorer, couple, always=False, strength="2:0.5").account().faces
    assert (first.left_alone, second.restored, second.strength) == ("it is good already", True, 0.5)
    assert restore(restorer, couple, strength={1: 0, 2: 0.5}).account().faces[0].left_alone_code == "no_strength"
    with pytest.raises(UsageError, match=r"has no face 3; choose 1 to 2"):
        restore(restorer, couple, strength={3: 0.5})


def test_a_bad_face_is_restored_fully_without_being_told(restorer, portrait, mirrored):
    bad = portrait.resize((24, 24), Image.Resampling.BOX).resize(portrait.size, Image.Resampling.BICUBIC)
    (face,) = restore(restorer, bad, mirrored, always=False, aligned=True).account().faces
    assert (face.restored, face.strength) == (True, 1.0)


@pytest.fixture(scope="module")
def unlike_the_stranger(restorer, mirrored, stranger) -> Person:
    """The astronaut, a little farther from the stranger (0.77 instead of 0.70) than a solarised portrait can be."""
    (reference,) = restorer.person(mirrored).references
    (other,) = restorer.person(stranger).references
    away = reference.embedding + 0.1 * (reference.embedding - other.embedding)
    return Person((replace(reference, embedding=away),))


def test_with_the_choice_of_all_only_the_persons_own_face_is_restored_with_their_references(
    restorer, couple, unlike_the_stranger
):
    skipped = restore(restorer, couple, unlike_the_stranger, face="all")
    assert [face.face.number for face in skipped.faces] == [2]
    assert skipped.account().faces[0].left_alone == "it is not surely anybody whose references were given"
    assert changed(couple, skipped.image)[0] >= couple.width / 2 - 20, "the stranger keeps his bytes"
    blind = restore(restorer, couple, unlike_the_stranger, face="all", unknown="blind")
    assert [(face.face.number, face.person is None) for face in blind.faces] == [(1, True), (2, False)]


def test_each_face_is_restored_with_its_own_persons_references(restorer, couple, mirrored, stranger):
    astronaut, other = restorer.person(mirrored), restorer.person(ImageOps.mirror(stranger))
    both = restore(restorer, couple, [astronaut, other])
    shown = [[one.digest for one in face.person.references] for face in both.faces if face.person]
    assert shown == [[one.digest for one in person.references] for person in (other, astronaut)]
    alone = [restore(restorer, couple, person, face=number) for number, person in ((1, other), (2, astronaut))]
    for together, (by_itself,) in zip(both.faces, (result.faces for result in alone), strict=True):
        difference = np.asarray(together.image, int) - np.asarray(by_itself.image, int)
        assert np.abs(difference).max() <= 1, "a batch changes nothing but rounding"


def test_people_with_different_numbers_of_references_share_a_batch(restorer, couple, mirrored, stranger):
    astronaut = restorer.person([mirrored, mirrored.resize((300, 300))])
    both = restore(restorer, couple, [astronaut, restorer.person(ImageOps.mirror(stranger))])
    assert [len(face.references) for face in both.account().faces] == [1, 2]


def test_who_is_given_twice_is_not_two_people_who_look_alike(restorer, couple, mirrored):
    person = restorer.person([mirrored])
    (face,) = restorer.restore(couple, [person, person], RestoreOptions(always=True)).faces
    assert face.face.number == 2


def test_of_several_faces_the_most_certain_is_the_persons_and_not_the_nearest(restorer, couple, mirrored):
    """A face that can hardly be seen is farther from everybody."""
    good, bad = restorer.match(couple, [], RestoreOptions(always=True)).assignments
    person, sharp, blurred = restorer.person([mirrored]), FaceQuality(38.0), FaceQuality(18.5)
    away = np.zeros(128, np.float32)
    away[0] = 1
    faces = [
        replace(one.face, probe=person.embeddings[0] + distance * away, quality=quality, coarse=quality)
        for one, distance, quality in ((good, 0.50, sharp), (bad, 0.51, blurred))
    ]
    (meant,) = chosen(faces, person, None, {})
    assert meant.number == 2
    near = replace(faces[1], probe=person.embeddings[0] + 0.9 * away)
    with pytest.raises(OtherPersonError, match="face 1: "):
        chosen([faces[0], near], person, None, {})


def test_people_and_photographs_together_are_refused(restorer, portrait, mirrored):
    with pytest.raises(UsageError, match="People and photographs were given together"):
        restore(restorer, portrait, [restorer.person(mirrored), mirrored])
