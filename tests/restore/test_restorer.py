"""Restorer: which face is restored, from which references, what stays untouched; on a real face, with a tiny model."""

import json
import math
import re
import threading
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageOps

from faceref import Restorer
from faceref.errors import NoFaceError, PhotoError, UsageError
from faceref.people.person import Person
from faceref.pictures.photo import open_photo
from faceref.restore.account import Account
from faceref.restore.options import RestoreOptions
from faceref.restore.result import Result


@pytest.fixture(scope="session")
def restorer(tiny_model) -> Restorer:
    return Restorer.from_pretrained(tiny_model, device="cpu")


@pytest.fixture(scope="session")
def portrait(astronaut) -> Image.Image:
    return astronaut.crop((96, 0, 350, 254))


@pytest.fixture(scope="session")
def mirrored(portrait) -> Image.Image:
    """Another photograph of the same person, as far as one may be had: dlib's distance is 0.2."""
    return ImageOps.mirror(portrait)


@pytest.fixture(scope="session")
def stranger(portrait) -> Image.Image:
    """For dlib's recogniser a solarised portrait is somebody else (distance 0.69); its detector finds the face."""
    return ImageOps.solarize(portrait, 150)


@pytest.fixture(scope="session")
def couple(portrait, stranger) -> Image.Image:
    """The stranger, then the astronaut."""
    photo = Image.new("RGB", (2 * portrait.width, portrait.height))
    photo.paste(stranger, (0, 0))
    photo.paste(portrait, (portrait.width, 0))
    return photo


def restore(restorer: Restorer, photo, people=(), **settings) -> Result:
    return restorer.restore(photo, people, RestoreOptions.of(**settings))


def changed(before: Image.Image, after: Image.Image) -> tuple[int, int, int, int]:
    """The box (left, top, right, bottom) of all pixels that differ."""
    rows, columns = np.nonzero((np.asarray(before) != np.asarray(after)).any(axis=2))
    return columns.min(), rows.min(), columns.max() + 1, rows.max() + 1


def test_the_face_changes_and_everything_off_it_keeps_its_bytes(restorer, astronaut, mirrored):
    result = restore(restorer, astronaut, mirrored)
    left, top, right, bottom = changed(astronaut, result.image)
    face_left, face_top, face_right, face_bottom = result.faces[0].face.place.box
    assert left < face_left
    assert right > face_right
    aligned_side = 173  # of the FFHQ square around this face, pixels
    assert right - left <= aligned_side
    assert bottom - top <= aligned_side
    assert abs((left + right) / 2 - (face_left + face_right) / 2) < 20
    assert abs((top + bottom) / 2 - (face_top + face_bottom) / 2) < 30


def test_the_same_seed_gives_the_same_pixels_and_another_gives_others(restorer, portrait, mirrored):
    first, again, other = (restore(restorer, portrait, mirrored, seed=seed).image for seed in (1, 1, 2))
    assert first.tobytes() == again.tobytes()
    assert first.tobytes() != other.tobytes()


def test_references_steer_the_result(restorer, portrait, mirrored, stranger):
    results = [restore(restorer, portrait, references).image.tobytes() for references in ((), mirrored, stranger)]
    assert len(set(results)) == 3


def test_references_encoded_once_serve_like_references_given_each_time(restorer, portrait, mirrored):
    person = restorer.person([mirrored])
    assert restore(restorer, portrait, person).image.tobytes() == restore(restorer, portrait, mirrored).image.tobytes()


def test_with_references_the_face_most_like_them_is_restored(restorer, couple, mirrored, stranger):
    half = couple.width / 2
    (face,) = restore(restorer, couple, mirrored).faces
    assert (face.face.number, face.face.place.box[0] > half) == (2, True)
    (face,) = restore(restorer, couple, stranger).faces
    assert (face.face.number, face.face.place.box[2] < half) == (1, True)


def test_without_references_all_faces_are_restored_and_that_is_said(restorer, couple):
    result = restore(restorer, couple)
    assert [face.face.number for face in result.faces] == [1, 2]
    assert any("No references" in warning for warning in result.warnings)
    assert result.account().faces[0].similarity_to_references is None


def test_a_face_can_be_chosen_by_number_or_size(restorer, couple, mirrored):
    assert [face.face.number for face in restore(restorer, couple, mirrored, face=1).faces] == [1]
    assert len(restore(restorer, couple, face="largest").faces) == 1
    with pytest.raises(UsageError, match=r"no face 3; choose 1 to 2"):
        restore(restorer, couple, face=3)


def test_a_face_is_restored_alike_whatever_is_restored_beside_it(restorer, couple):
    alone = restore(restorer, couple, face=2).faces[0]
    beside = restore(restorer, couple, face="all").faces[1]
    difference = np.asarray(alone.image, int) - np.asarray(beside.image, int)
    assert np.abs(difference).max() <= 1, "a batch changes nothing but rounding"


def test_two_threads_with_two_people_give_the_bytes_that_one_after_the_other_gives(
    restorer, portrait, mirrored, stranger
):
    work = {"astronaut": (portrait, mirrored), "stranger": (stranger, ImageOps.mirror(stranger))}
    alone = {name: restore(restorer, *pictures).image.tobytes() for name, pictures in work.items()}
    together: dict[str, list[bytes]] = {name: [] for name in work}
    start = threading.Barrier(len(work))

    def restore_twice(name: str) -> None:
        start.wait()
        together[name] = [restore(restorer, *work[name]).image.tobytes() for _ in range(2)]

    threads = [threading.Thread(target=restore_twice, args=[name]) for name in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == {name: [image] * 2 for name, image in alone.items()}


def test_unusable_references_are_left_out_and_named(restorer, portrait, mirrored, couple, tmp_path):
    mirrored.save(tmp_path / "1-good.png")
    mirrored.save(tmp_path / "2-copy.png")
    couple.save(tmp_path / "3-couple.png")
    Image.new("RGB", (200, 200), "gray").save(tmp_path / "4-wall.png")
    (tmp_path / "5-text.jpg").write_text("not a picture")
    person = restore(restorer, portrait, tmp_path).people[0]
    assert [reference.name for reference in person.references] == [str(tmp_path / "1-good.png")]
    reasons = {skipped.name.rpartition("/")[2]: skipped.reason for skipped in person.skipped}
    assert reasons.keys() == {"3-couple.png", "4-wall.png", "5-text.jpg"}  # a copy is not a second reference
    assert reasons["3-couple.png"] == "2 faces are in it"
    assert reasons["4-wall.png"] == "no face was found in it"
    assert reasons["5-text.jpg"].startswith("it is not a picture in ")  # without its name once more
    assert len(restore(restorer, portrait, tmp_path, largest_reference_face=True).people[0].references) == 2


def test_the_photograph_is_not_its_own_reference(restorer, portrait, mirrored, tmp_path):
    portrait.save(tmp_path / "old.png")
    mirrored.save(tmp_path / "new.png")
    person = restore(restorer, tmp_path / "old.png", tmp_path).people[0]
    assert [skipped.name for skipped in person.skipped] == [str(tmp_path / "old.png")]


def test_the_same_picture_counts_once_in_memory_and_on_disk(restorer, portrait, mirrored, tmp_path):
    mirrored.save(tmp_path / "new.png")
    mirrored.save(tmp_path / "new.bmp")  # other bytes, the same pixels
    person = restorer.person([tmp_path, mirrored, mirrored.copy(), portrait])
    assert [reference.name for reference in person.references] == [str(tmp_path / "new.bmp"), "picture 3"]
    assert len(restorer.model.cache(person)) == 2
    assert {one.reason for one in person.skipped} == {f"it is the same picture as {tmp_path / 'new.bmp'}"}


def test_a_copy_of_the_photograph_is_not_its_reference(restorer, portrait, mirrored, tmp_path):
    portrait.save(tmp_path / "old.png")
    portrait.save(tmp_path / "copy.bmp")
    for photo in (portrait, tmp_path / "old.png"):
        person = restore(restorer, photo, [portrait.copy(), tmp_path / "copy.bmp", mirrored]).people[0]
        assert [reference.name for reference in person.references] == ["picture 2"]
        assert {one.reason for one in person.skipped} == {"it is the photograph to be restored"}


def test_photographs_that_cannot_be_among_the_references_are_not_decoded(restorer, portrait, mirrored, monkeypatch):
    opened = []
    monkeypatch.setattr(
        "faceref.people.references.open_photo", lambda source: opened.append(source) or open_photo(source)
    )
    restorer.person([mirrored], exclude=[portrait.crop((0, 0, 254, 200)), portrait])
    assert opened == [portrait, mirrored]
    opened.clear()
    wide, high = Image.new("RGB", (60, 40)), Image.new("RGB", (40, 60))  # as a camera turns it and EXIF says
    with pytest.raises(NoFaceError):
        restorer.person([wide], exclude=[high])
    assert opened == [high, wide]


def test_aligned_references_that_are_not_square_or_not_whole_are_left_out_and_named(restorer, portrait, tmp_path):
    face = restore(restorer, portrait).faces[0].face.crop.image
    half = tmp_path / "half.jpg"
    face.resize((256, 256)).save(half, quality=95)
    half.write_bytes(half.read_bytes()[: half.stat().st_size // 2])
    person = restorer.person([face, face.crop((0, 0, 64, 40)), half], RestoreOptions(aligned=True))
    assert [reference.name for reference in person.references] == ["picture 1"]
    assert {one.name: one.reason for one in person.skipped} == {
        str(half): "it is truncated through the face; use another copy of it",
        "picture 2": "it is 64x40 pixels, but an aligned face is square",
    }


def test_a_truncated_but_usable_reference_is_used_and_that_is_said(restorer, astronaut, mirrored, tmp_path):
    path = tmp_path / "new.jpg"
    astronaut.save(path, quality=95)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * 0.7)])
    result = restore(restorer, mirrored, path)
    assert [reference.name for reference in result.people[0].references] == [str(path)]
    assert any(warning.startswith(f"{path} is truncated") for warning in result.warnings)


def test_what_the_result_cannot_keep_is_said_of_the_photograph_and_not_of_references(restorer, portrait, mirrored):
    def losses(result) -> list[str]:
        return [warning for warning in result.warnings if "CMYK" in warning]

    assert len(losses(restore(restorer, portrait.convert("CMYK"), mirrored))) == 1
    assert losses(restore(restorer, portrait, mirrored.convert("CMYK"))) == []


def test_no_usable_reference_is_an_error_not_a_blind_restoration(restorer, portrait):
    with pytest.raises(NoFaceError, match="None of the references can be used"):
        restore(restorer, portrait, Image.new("RGB", (200, 200)))


def test_a_reference_of_somebody_else_is_warned_of_with_the_distance(restorer, portrait, mirrored, stranger):
    warnings = restore(restorer, portrait, [mirrored, stranger, portrait.resize((300, 300))]).warnings
    (warning,) = [warning for warning in warnings if "somebody else" in warning]
    assert warning.startswith("picture 2 ")
    assert float(re.findall(r"distance (\d\.\d+)", warning)[0]) == pytest.approx(0.69, abs=0.05)


def test_references_of_somebody_else_than_the_photograph_are_warned_of(restorer, portrait, mirrored):
    assert not any("somebody else" in warning for warning in restore(restorer, portrait, mirrored).warnings)
    negative = ImageOps.invert(portrait)  # dlib's distance is 0.86
    assert any("may be somebody else" in warning for warning in restore(restorer, portrait, negative).warnings)


def test_a_face_much_larger_than_the_model_is_warned_of(restorer, astronaut, mirrored):
    (warning,) = [w for w in restore(restorer, astronaut, mirrored).warnings if "loses detail" in w]
    assert "173 pixels" in warning
    small = astronaut.resize((256, 256), Image.Resampling.LANCZOS)
    assert not any("loses detail" in warning for warning in restore(restorer, small, mirrored).warnings)


def test_the_result_has_the_colours_of_the_photograph_unless_told_otherwise(restorer, portrait, mirrored):
    def mean_difference(**options) -> float:
        (face,) = restore(restorer, portrait, mirrored, **options).faces
        centre = np.s_[20:48, 20:44]  # within the face
        before = face.face.crop.image.resize((64, 64))
        before, after = (np.asarray(image)[centre].mean((0, 1)) for image in (before, face.image))
        return float(np.abs(before - after).max())

    assert mean_difference() < 0.6 * mean_difference(match_color=False)  # the noise of random weights is clipped


def test_a_grayscale_photograph_stays_one(restorer, portrait, mirrored):
    channels = np.asarray(restore(restorer, portrait.convert("L"), mirrored).image.convert("RGB"))
    assert np.ptp(channels, axis=2).max() == 0


def test_transparency_survives(restorer, portrait, mirrored):
    photo = portrait.convert("RGBA")
    photo.putalpha(Image.linear_gradient("L").resize(portrait.size))
    result = restore(restorer, photo, mirrored).image
    assert result.getchannel("A").tobytes() == photo.getchannel("A").tobytes()


def test_an_aligned_face_is_taken_as_it_is(restorer, portrait, mirrored):
    face = restore(restorer, portrait, mirrored).faces[0].face.crop.image
    result = restore(restorer, face, ImageOps.mirror(face), aligned=True)
    assert result.image.size == (64, 64)
    assert result.faces[0].face.crop.image.tobytes() == face.tobytes()
    assert result.faces[0].face.place is None
    with pytest.raises(UsageError, match="64x40 pixels, but an aligned face is square"):
        restore(restorer, face.crop((0, 0, 64, 40)), aligned=True)


def test_the_padding_of_an_aligned_face_stays_padding_and_has_no_say_in_its_colours(restorer, portrait):
    face = restore(restorer, portrait).faces[0].face.crop.image.resize((128, 128))
    alpha = Image.new("L", face.size, 255)
    alpha.paste(0, (0, 64, 128, 128))
    results = []
    for colour in ("black", "white"):
        padded = Image.composite(face, Image.new("RGB", face.size, colour), alpha)
        padded.putalpha(alpha)
        results.append(restore(restorer, padded, aligned=True, match_color=True))
    assert all(result.image.getchannel("A").tobytes() == alpha.resize((64, 64)).tobytes() for result in results)
    black, white = (np.asarray(result.faces[0].image, dtype=float).mean() for result in results)
    plain = [restore(restorer, result.photo.image, aligned=True).image for result in results]
    black_counted, white_counted = (np.asarray(image, dtype=float).mean() for image in plain)
    assert abs(white - black) < 0.3 * abs(white_counted - black_counted)


def test_a_truncated_photograph_is_used_if_the_face_is_whole(restorer, astronaut, mirrored, tmp_path):
    path = tmp_path / "photo.jpg"
    astronaut.save(path, quality=95)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * 0.7)])
    result = restore(restorer, path, mirrored)
    assert any("truncated" in warning for warning in result.warnings)
    path.write_bytes(data[: int(len(data) * 0.25)])
    with pytest.raises((PhotoError, NoFaceError)):
        restore(restorer, path, mirrored)


def test_steps_are_counted_over_all_faces(restorer, couple):
    counted: list[tuple[int, int]] = []
    restorer.restore(couple, (), RestoreOptions(steps=3), on_step=lambda done, total: counted.append((done, total)))
    assert counted == [(1, 3), (2, 3), (3, 3)], "two faces are one batch"


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"steps": 0}, "0 denoising steps are not possible; choose 1 to 1000."),
        ({"scheduler": "euler"}, "There is no scheduler 'euler'; choose one of ddim, dpmsolver++, unipc."),
        ({"guidance": -1.0}, "A guidance of -1.0 is not possible; give 0 or more, 1 for none."),
        ({"guidance": math.nan}, "A guidance of nan is not possible; give 0 or more, 1 for none."),
        ({"seed": -1}, "seed cannot be -1: Input should be greater than or equal to 0."),
    ],
)
def test_impossible_settings_are_refused_before_any_work(restorer, wrong, says):
    with pytest.raises(UsageError) as refused:  # not the PhotoError that opening or the NoFaceError that finding gives
        restore(restorer, "nowhere.jpg", "nobody.jpg", **wrong)
    assert str(refused.value) == says


def test_settings_default_to_the_models_own(restorer, portrait):
    settings = restore(restorer, portrait).faces[0].settings
    assert (settings.model, settings.steps, settings.guidance, settings.scheduler) == ("tiny", 2, 1.5, "ddim")


def test_similarities_are_dlibs_cosines_of_the_restored_face(restorer, portrait, mirrored):
    result = restore(restorer, portrait, mirrored)
    (face,) = result.faces
    after, reference = restorer.recogniser.embed_aligned([face.image])[0], result.people[0].references[0].embedding
    cosine = after @ reference / np.linalg.norm(after) / np.linalg.norm(reference)
    assert result.account().faces[0].similarity_to_references == pytest.approx(cosine, abs=1e-5)


def test_files_say_that_they_are_restored_and_how(restorer, portrait, mirrored, tmp_path):
    result = restore(restorer, portrait, mirrored, seed=7)
    result.save(tmp_path / "restored.png")
    with Image.open(tmp_path / "restored.png") as saved:
        assert np.array_equal(np.asarray(saved), np.asarray(result.image))
        assert "AI-restored" in saved.info["Description"]
        assert (saved.info["model"], saved.info["seed"], saved.info["steps"]) == ("tiny", "7", "2")


def test_a_comparison_has_a_row_for_each_face(restorer, couple, mirrored):
    one, two = (restore(restorer, couple, mirrored, face=face).comparison() for face in (1, "all"))
    assert two.height == 2 * one.height
    assert two.width == one.width


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
    assert skipped.account().faces[0].left_alone == "it is nobody whose references were given"
    assert changed(couple, skipped.image)[0] >= couple.width / 2 - 20, "the stranger keeps his bytes"
    blind = restore(restorer, couple, unlike_the_stranger, face="all", unknown="blind")
    assert [(face.face.number, face.person is None) for face in blind.faces] == [(1, True), (2, False)]


def test_each_face_is_restored_with_its_own_persons_references(restorer, couple, mirrored, stranger):
    astronaut, other = restorer.person(mirrored), restorer.person(ImageOps.mirror(stranger))
    both = restore(restorer, couple, [astronaut, other])
    assert [face.person for face in both.faces] == [other, astronaut]
    alone = [restore(restorer, couple, person, face=number) for number, person in ((1, other), (2, astronaut))]
    for together, (by_itself,) in zip(both.faces, (result.faces for result in alone), strict=True):
        difference = np.asarray(together.image, int) - np.asarray(by_itself.image, int)
        assert np.abs(difference).max() <= 1, "a batch changes nothing but rounding"


def test_people_with_different_numbers_of_references_share_a_batch(restorer, couple, mirrored, stranger):
    astronaut = restorer.person([mirrored, mirrored.resize((300, 300))])
    both = restore(restorer, couple, [astronaut, restorer.person(ImageOps.mirror(stranger))])
    assert [len(face.references) for face in both.account().faces] == [1, 2]


def test_a_person_read_beforehand_is_no_reference_for_a_photograph_of_theirs(restorer, portrait, mirrored):
    person = restorer.person([portrait, mirrored])
    result = restore(restorer, portrait, person)
    assert [one.name for one in result.people[0].references] == ["picture 2"]
    assert [one.name for one in result.account().references_left_out] == ["picture 1"]
    with pytest.raises(NoFaceError, match="it is the photograph to be restored"):
        restore(restorer, portrait, restorer.person(portrait))


def test_people_and_photographs_together_are_refused(restorer, portrait, mirrored):
    with pytest.raises(UsageError, match="People and photographs were given together"):
        restore(restorer, portrait, [restorer.person(mirrored), mirrored])


def test_the_account_follows_its_published_schema(restorer, couple, mirrored):
    account = restore(restorer, couple, mirrored).account()
    schema = Account.model_json_schema()
    assert schema["properties"].keys() == json.loads(account.model_dump_json()).keys()
    assert Account.model_validate_json(account.model_dump_json()) == account
    assert [(face.restored, face.left_alone) for face in account.faces] == [
        (False, "another face was chosen"),
        (True, None),
    ]
