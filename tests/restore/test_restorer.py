"""Restorer: what changes, what stays untouched, what is said; on a real face, with a tiny model."""

import io
import json
import math
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps
from restoring import box_of, changed, restore

import faceref
from faceref import RestoreOptions
from faceref.errors import NoFaceError, PhotoError, UsageError
from faceref.restore.account import Account


def test_the_face_changes_and_everything_off_it_keeps_its_bytes(restorer, astronaut, mirrored):
    result = restore(restorer, astronaut, mirrored)
    left, top, right, bottom = changed(astronaut, result.image)
    face_left, face_top, face_right, face_bottom = box_of(result.faces[0])
    assert left < face_left + 10
    assert right > face_right - 10
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
    results = [restore(restorer, portrait, given, face=1).image.tobytes() for given in ((), mirrored, stranger)]
    assert len(set(results)) == 3


def test_references_encoded_once_serve_like_references_given_each_time(restorer, portrait, mirrored):
    person = restorer.person([mirrored])
    assert restore(restorer, portrait, person).image.tobytes() == restore(restorer, portrait, mirrored).image.tobytes()


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


def test_a_face_much_larger_than_the_model_is_warned_of(restorer, astronaut, mirrored):
    (warning,) = [w for w in restore(restorer, astronaut, mirrored).warnings if "finer detail" in w]
    assert "fills 173 pixels, and tiny draws 64: finer detail stays as it is in the photograph." in warning
    small = astronaut.resize((256, 256), Image.Resampling.LANCZOS)
    assert not any("finer detail" in warning for warning in restore(restorer, small, mirrored).warnings)


def test_the_result_has_the_colours_of_the_photograph_unless_told_otherwise(restorer, portrait, mirrored):
    def mean_difference(**options) -> float:
        (face,) = restore(restorer, portrait, mirrored, **options).faces
        centre = np.s_[20:48, 20:44]  # within the face
        before = face.face.crop.image.resize((64, 64))
        before, after = (np.asarray(image)[centre].mean((0, 1)) for image in (before, face.image))
        return float(np.abs(before - after).max())

    assert mean_difference() < 0.6 * mean_difference(colour="allow")  # the noise of random weights is clipped


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
        results.append(restore(restorer, padded, aligned=True, colour="keep"))
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
    restorer.restore(
        couple, (), RestoreOptions(steps=3, always=True), on_step=lambda done, total: counted.append((done, total))
    )
    assert counted == [(1, 3), (2, 3), (3, 3)], "two faces are one batch"


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"steps": 0}, "steps cannot be 0: Input should be greater than or equal to 1."),
        ({"steps": 1001}, "1001 denoising steps are not possible; choose 1 to 1000."),  # as the model says
        ({"scheduler": "euler"}, "scheduler cannot be 'euler': Input should be 'ddim', 'dpmsolver++' or 'unipc'."),
        ({"guidance": -1.0}, "guidance cannot be -1.0: Input should be greater than or equal to 0."),
        ({"guidance": math.nan}, "guidance cannot be nan: Input should be a finite number."),
        ({"strength": "50"}, "strength cannot be '50': it has to lie between 0 and 1."),
        ({"strength": {1: -0.1}}, "strength cannot be {1: -0.1}: it has to lie between 0 and 1."),
        ({"strength": "0:0.5"}, "strength cannot be '0:0.5': Input should be greater than or equal to 1."),
        ({"face": 0}, "face cannot be 0: Input should be greater than or equal to 1."),
        ({"seed": -1}, "seed cannot be -1: Input should be greater than or equal to 0."),
    ],
)
def test_impossible_settings_are_refused_before_any_work(restorer, wrong, says):
    with pytest.raises(UsageError) as refused:  # not the PhotoError that opening or the NoFaceError that finding gives
        restore(restorer, "nowhere.jpg", "nobody.jpg", **wrong)
    assert str(refused.value) == says


def test_the_bytes_of_a_result_hold_its_picture(restorer, portrait):
    result = restore(restorer, portrait)
    content, left_out = result.encode("PNG")
    with Image.open(io.BytesIO(content)) as picture:
        assert (picture.format, picture.tobytes()) == ("PNG", result.image.tobytes())
        assert picture.info["model"] == "tiny"
    assert left_out == ()


def test_settings_default_to_the_models_own(restorer, portrait):
    settings = restore(restorer, portrait).faces[0].settings
    assert (settings.model, settings.steps, settings.guidance, settings.scheduler) == ("tiny", 2, 1.5, "ddim")


def test_similarities_are_dlibs_cosines_of_the_restored_face_about_the_mean_face(restorer, portrait, mirrored):
    result = restore(restorer, portrait, mirrored)
    (face,) = result.faces
    after, reference = restorer.recogniser.embed_aligned([face.image])[0], result.people[0].references[0].embedding
    mean = json.loads((Path(faceref.__file__).parent / "weights" / "dlib_mean.json").read_text())["mean"]
    after, reference = after - mean, reference - mean
    cosine = after @ reference / np.linalg.norm(after) / np.linalg.norm(reference)
    assert result.account().faces[0].similarity_to_references == pytest.approx(cosine, abs=1e-5)


def test_files_say_that_they_are_restored_and_how(restorer, portrait, mirrored, tmp_path):
    result = restore(restorer, portrait, mirrored, seed=7)
    result.save(tmp_path / "restored.png")
    with Image.open(tmp_path / "restored.png") as saved:
        assert np.array_equal(np.asarray(saved), np.asarray(result.image))
        assert "AI-restored" in saved.info["Description"]
        assert (saved.info["model"], saved.info["seed"], saved.info["steps"]) == ("tiny", "7", "2")


def test_a_comparison_is_in_srgb_whatever_the_photographs_profile(restorer, portrait):
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    swapped = srgb.replace(b"rXYZ", b"?XYZ").replace(b"gXYZ", b"rXYZ").replace(b"?XYZ", b"gXYZ")  # red is green
    file = io.BytesIO()
    portrait.save(file, "PNG", icc_profile=swapped)
    result = restore(restorer, file.getvalue())
    crop, sheet = (np.asarray(one, int) for one in (result.faces[0].face.crop.image, result.comparison()))
    side, paper = len(crop), 16
    before = sheet[-paper - side : -paper, paper : paper + side]
    assert np.abs(before - crop[..., [1, 0, 2]]).mean() < 2 < np.abs(before - crop).mean()


def test_a_comparison_has_a_row_for_each_face(restorer, couple):
    one, two = (restore(restorer, couple, face=face).comparison() for face in (1, "all"))
    assert two.height == 2 * one.height
    assert two.width == one.width


def test_the_account_follows_its_published_schema(restorer, couple, mirrored):
    account = restore(restorer, couple, mirrored).account()
    schema = Account.model_json_schema()
    assert schema["properties"].keys() == json.loads(account.model_dump_json()).keys()
    assert Account.model_validate_json(account.model_dump_json()) == account
    assert [(face.restored, face.left_alone) for face in account.faces] == [
        (False, "another face was chosen"),
        (True, None),
    ]


def test_options_may_be_a_mapping_of_settings(restorer, portrait, mirrored):
    asked = {"seed": 1, "always": True}
    expected = restorer.restore(portrait, mirrored, RestoreOptions(**asked)).image.tobytes()
    assert restorer.restore(portrait, mirrored, asked).image.tobytes() == expected
    with pytest.raises(UsageError, match="sowing cannot be 1"):
        restorer.restore(portrait, mirrored, {"sowing": 1})
