"""Restorer: which face is restored, from which references, what stays untouched; on a real face, with a tiny model."""

import math
import re
import threading

import numpy as np
import pytest
from PIL import Image, ImageOps

from faceref import Restorer
from faceref.errors import NoFaceError, PhotoError, UsageError
from faceref.pictures.photo import open_photo


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


def changed(before: Image.Image, after: Image.Image) -> tuple[int, int, int, int]:
    """The box (left, top, right, bottom) of all pixels that differ."""
    rows, columns = np.nonzero((np.asarray(before) != np.asarray(after)).any(axis=2))
    return columns.min(), rows.min(), columns.max() + 1, rows.max() + 1


def test_the_face_changes_and_everything_off_it_keeps_its_bytes(restorer, astronaut, mirrored):
    result = restorer.restore(astronaut, mirrored)
    left, top, right, bottom = changed(astronaut, result.image)
    face_left, face_top, face_right, face_bottom = result.faces[0].box
    assert left < face_left
    assert right > face_right
    aligned_side = 173  # of the FFHQ square around this face, pixels
    assert right - left <= aligned_side
    assert bottom - top <= aligned_side
    assert abs((left + right) / 2 - (face_left + face_right) / 2) < 20
    assert abs((top + bottom) / 2 - (face_top + face_bottom) / 2) < 30


def test_the_same_seed_gives_the_same_pixels_and_another_gives_others(restorer, portrait, mirrored):
    first, again, other = (restorer.restore(portrait, mirrored, seed=seed).image for seed in (1, 1, 2))
    assert first.tobytes() == again.tobytes()
    assert first.tobytes() != other.tobytes()


def test_references_steer_the_result(restorer, portrait, mirrored, stranger):
    results = [restorer.restore(portrait, references).image.tobytes() for references in ((), mirrored, stranger)]
    assert len(set(results)) == 3


def test_references_encoded_once_serve_like_references_given_each_time(restorer, portrait, mirrored):
    person = restorer.encode_references([mirrored])
    assert restorer.restore(portrait, person).image.tobytes() == restorer.restore(portrait, mirrored).image.tobytes()


def test_with_references_the_face_most_like_them_is_restored(restorer, couple, mirrored, stranger):
    half = couple.width / 2
    (face,) = restorer.restore(couple, mirrored).faces
    assert (face.number, face.box[0] > half) == (2, True)
    (face,) = restorer.restore(couple, stranger).faces
    assert (face.number, face.box[2] < half) == (1, True)


def test_without_references_all_faces_are_restored_and_that_is_said(restorer, couple):
    result = restorer.restore(couple)
    assert [face.number for face in result.faces] == [1, 2]
    assert any("No references" in warning for warning in result.warnings)
    assert result.faces[0].similarity_to_references is None


def test_a_face_can_be_chosen_by_number_or_size(restorer, couple, mirrored):
    assert [face.number for face in restorer.restore(couple, mirrored, face=1).faces] == [1]
    assert [face.number for face in restorer.restore(couple, mirrored, face="all").faces] == [1, 2]
    assert len(restorer.restore(couple, face="largest").faces) == 1
    with pytest.raises(UsageError, match=r"no face 3; choose 1 to 2"):
        restorer.restore(couple, face=3)


def test_a_face_is_restored_alike_whatever_is_restored_beside_it(restorer, couple):
    alone = restorer.restore(couple, face=2).faces[0]
    beside = restorer.restore(couple, face="all").faces[1]
    assert alone.aligned_after.tobytes() == beside.aligned_after.tobytes()


def test_two_threads_with_two_people_give_the_bytes_that_one_after_the_other_gives(
    restorer, portrait, mirrored, stranger
):
    work = {"astronaut": (portrait, mirrored), "stranger": (stranger, ImageOps.mirror(stranger))}
    alone = {name: restorer.restore(*pictures).image.tobytes() for name, pictures in work.items()}
    together: dict[str, list[bytes]] = {name: [] for name in work}
    start = threading.Barrier(len(work))

    def restore_twice(name: str) -> None:
        start.wait()
        together[name] = [restorer.restore(*work[name]).image.tobytes() for _ in range(2)]

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
    person = restorer.restore(portrait, tmp_path).references
    assert [reference.name for reference in person.used] == [str(tmp_path / "1-good.png")]
    reasons = {skipped.name.rpartition("/")[2]: skipped.reason for skipped in person.skipped}
    assert reasons.keys() == {"3-couple.png", "4-wall.png", "5-text.jpg"}  # a copy is not a second reference
    assert reasons["3-couple.png"] == "2 faces are in it"
    assert reasons["4-wall.png"] == "no face was found in it"
    assert reasons["5-text.jpg"].startswith("it is not a picture in ")  # without its name once more
    assert len(restorer.restore(portrait, tmp_path, largest_reference_face=True).references.used) == 2


def test_the_photograph_is_not_its_own_reference(restorer, portrait, mirrored, tmp_path):
    portrait.save(tmp_path / "old.png")
    mirrored.save(tmp_path / "new.png")
    person = restorer.restore(tmp_path / "old.png", tmp_path).references
    assert [skipped.name for skipped in person.skipped] == [str(tmp_path / "old.png")]


def test_the_same_picture_counts_once_in_memory_and_on_disk(restorer, portrait, mirrored, tmp_path):
    mirrored.save(tmp_path / "new.png")
    mirrored.save(tmp_path / "new.bmp")  # other bytes, the same pixels
    person = restorer.encode_references([tmp_path, mirrored, mirrored.copy(), portrait])
    assert [reference.name for reference in person.used] == [str(tmp_path / "new.bmp"), "picture 3"]
    assert len(person.cache) == 2
    assert {one.reason for one in person.skipped} == {f"it is the same picture as {tmp_path / 'new.bmp'}"}


def test_a_copy_of_the_photograph_is_not_its_reference(restorer, portrait, mirrored, tmp_path):
    portrait.save(tmp_path / "old.png")
    portrait.save(tmp_path / "copy.bmp")
    for photo in (portrait, tmp_path / "old.png"):
        person = restorer.restore(photo, [portrait.copy(), tmp_path / "copy.bmp", mirrored]).references
        assert [reference.name for reference in person.used] == ["picture 2"]
        assert {one.reason for one in person.skipped} == {"it is the photograph to be restored"}


def test_photographs_that_cannot_be_among_the_references_are_not_decoded(restorer, portrait, mirrored, monkeypatch):
    opened = []
    monkeypatch.setattr(
        "faceref.people.references.open_photo", lambda source: opened.append(source) or open_photo(source)
    )
    restorer.encode_references([mirrored], exclude=[portrait.crop((0, 0, 254, 200)), portrait])
    assert opened == [portrait, mirrored]
    opened.clear()
    wide, high = Image.new("RGB", (60, 40)), Image.new("RGB", (40, 60))  # as a camera turns it and EXIF says
    with pytest.raises(NoFaceError):
        restorer.encode_references([wide], exclude=[high])
    assert opened == [high, wide]


def test_aligned_references_that_are_not_square_or_not_whole_are_left_out_and_named(restorer, portrait, tmp_path):
    face = restorer.restore(portrait).faces[0].aligned_before
    half = tmp_path / "half.jpg"
    face.resize((256, 256)).save(half, quality=95)
    half.write_bytes(half.read_bytes()[: half.stat().st_size // 2])
    person = restorer.encode_references([face, face.crop((0, 0, 64, 40)), half], aligned=True)
    assert [reference.name for reference in person.used] == ["picture 1"]
    assert {one.name: one.reason for one in person.skipped} == {
        str(half): "it is truncated through the face; use another copy of it",
        "picture 2": "it is 64x40 pixels, but an aligned face is square",
    }


def test_a_truncated_but_usable_reference_is_used_and_that_is_said(restorer, astronaut, mirrored, tmp_path):
    path = tmp_path / "new.jpg"
    astronaut.save(path, quality=95)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * 0.7)])
    result = restorer.restore(mirrored, path)
    assert [reference.name for reference in result.references.used] == [str(path)]
    assert any(warning.startswith(f"{path} is truncated") for warning in result.warnings)


def test_what_the_result_cannot_keep_is_said_of_the_photograph_and_not_of_references(restorer, portrait, mirrored):
    def losses(result) -> list[str]:
        return [warning for warning in result.warnings if "CMYK" in warning]

    assert len(losses(restorer.restore(portrait.convert("CMYK"), mirrored))) == 1
    assert losses(restorer.restore(portrait, mirrored.convert("CMYK"))) == []


def test_no_usable_reference_is_an_error_not_a_blind_restoration(restorer, portrait):
    with pytest.raises(NoFaceError, match="None of the references can be used"):
        restorer.restore(portrait, Image.new("RGB", (200, 200)))


def test_a_reference_of_somebody_else_is_warned_of_with_the_distance(restorer, portrait, mirrored, stranger):
    warnings = restorer.restore(portrait, [mirrored, stranger, portrait.resize((300, 300))]).warnings
    (warning,) = [warning for warning in warnings if "somebody else" in warning]
    assert warning.startswith("picture 2 ")
    assert float(re.findall(r"distance (\d\.\d+)", warning)[0]) == pytest.approx(0.69, abs=0.05)


def test_references_of_somebody_else_than_the_photograph_are_warned_of(restorer, portrait, mirrored):
    assert not any("somebody else" in warning for warning in restorer.restore(portrait, mirrored).warnings)
    negative = ImageOps.invert(portrait)  # dlib's distance is 0.86
    assert any("may be somebody else" in warning for warning in restorer.restore(portrait, negative).warnings)


def test_a_face_much_larger_than_the_model_is_warned_of(restorer, astronaut, mirrored):
    (warning,) = [w for w in restorer.restore(astronaut, mirrored).warnings if "loses detail" in w]
    assert "173 pixels" in warning
    small = astronaut.resize((256, 256), Image.Resampling.LANCZOS)
    assert not any("loses detail" in warning for warning in restorer.restore(small, mirrored).warnings)


def test_the_result_has_the_colours_of_the_photograph_unless_told_otherwise(restorer, portrait, mirrored):
    def mean_difference(**options) -> float:
        (face,) = restorer.restore(portrait, mirrored, **options).faces
        centre = np.s_[20:48, 20:44]  # within the face
        before, after = (np.asarray(image)[centre].mean((0, 1)) for image in (face.aligned_before, face.aligned_after))
        return float(np.abs(before - after).max())

    assert mean_difference() < 0.6 * mean_difference(match_color=False)  # the noise of random weights is clipped


def test_a_grayscale_photograph_stays_one(restorer, portrait, mirrored):
    channels = np.asarray(restorer.restore(portrait.convert("L"), mirrored).image.convert("RGB"))
    assert np.ptp(channels, axis=2).max() == 0


def test_transparency_survives(restorer, portrait, mirrored):
    photo = portrait.convert("RGBA")
    photo.putalpha(Image.linear_gradient("L").resize(portrait.size))
    result = restorer.restore(photo, mirrored).image
    assert result.getchannel("A").tobytes() == photo.getchannel("A").tobytes()


def test_an_aligned_face_is_taken_as_it_is(restorer, portrait, mirrored):
    face = restorer.restore(portrait, mirrored).faces[0].aligned_before
    result = restorer.restore(face, ImageOps.mirror(face), aligned=True)
    assert result.image.size == (64, 64)
    assert result.faces[0].aligned_before.tobytes() == face.tobytes()
    assert result.faces[0].box is None
    with pytest.raises(UsageError, match="64x40 pixels, but an aligned face is square"):
        restorer.restore(face.crop((0, 0, 64, 40)), aligned=True)


def test_the_padding_of_an_aligned_face_stays_padding_and_has_no_say_in_its_colours(restorer, portrait):
    face = restorer.restore(portrait).faces[0].aligned_before.resize((128, 128))
    alpha = Image.new("L", face.size, 255)
    alpha.paste(0, (0, 64, 128, 128))
    results = []
    for colour in ("black", "white"):
        padded = Image.composite(face, Image.new("RGB", face.size, colour), alpha)
        padded.putalpha(alpha)
        results.append(restorer.restore(padded, aligned=True, match_color=True))
    assert all(result.image.getchannel("A").tobytes() == alpha.resize((64, 64)).tobytes() for result in results)
    black, white = (np.asarray(result.faces[0].aligned_after, dtype=float).mean() for result in results)
    plain = [restorer.restore(result.photo.image, aligned=True).image for result in results]
    black_counted, white_counted = (np.asarray(image, dtype=float).mean() for image in plain)
    assert abs(white - black) < 0.3 * abs(white_counted - black_counted)


def test_a_truncated_photograph_is_used_if_the_face_is_whole(restorer, astronaut, mirrored, tmp_path):
    path = tmp_path / "photo.jpg"
    astronaut.save(path, quality=95)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * 0.7)])
    result = restorer.restore(path, mirrored)
    assert any("truncated" in warning for warning in result.warnings)
    path.write_bytes(data[: int(len(data) * 0.25)])
    with pytest.raises((PhotoError, NoFaceError)):
        restorer.restore(path, mirrored)


def test_steps_are_counted_over_all_faces(restorer, couple):
    counted: list[tuple[int, int]] = []
    restorer.restore(couple, steps=3, on_step=lambda done, total: counted.append((done, total)))
    assert counted == [(done, 6) for done in range(1, 7)]


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"scheduler": "euler"}, {"guidance": -1.0}, {"guidance": math.nan}])
def test_impossible_settings_are_usage_errors(restorer, portrait, wrong):
    with pytest.raises(UsageError):
        restorer.restore(portrait, **wrong)


def test_settings_default_to_the_models_own(restorer, portrait):
    settings = restorer.restore(portrait).settings
    assert (settings.model, settings.steps, settings.guidance, settings.scheduler) == ("tiny", 2, 1.5, "ddim")


def test_similarities_are_dlibs_cosines_of_the_restored_face(restorer, portrait, mirrored):
    result = restorer.restore(portrait, mirrored)
    (face,) = result.faces
    after, reference = restorer.recogniser.embed_aligned([face.aligned_after])[0], result.references.used[0].embedding
    cosine = after @ reference / np.linalg.norm(after) / np.linalg.norm(reference)
    assert face.similarity_to_references == pytest.approx(cosine, abs=1e-5)


def test_files_say_that_they_are_restored_and_how(restorer, portrait, mirrored, tmp_path):
    result = restorer.restore(portrait, mirrored, seed=7)
    result.save(tmp_path / "restored.png")
    with Image.open(tmp_path / "restored.png") as saved:
        assert np.array_equal(np.asarray(saved), np.asarray(result.image))
        assert "AI-restored" in saved.info["Description"]
        assert (saved.info["model"], saved.info["seed"], saved.info["steps"]) == ("tiny", "7", "2")


def test_a_comparison_has_a_row_for_each_face(restorer, couple, mirrored):
    one, two = (restorer.restore(couple, mirrored, face=face).comparison() for face in (1, "all"))
    assert two.height == 2 * one.height
    assert two.width == one.width
