"""`faceref restore`: what it writes and says, and what it does with everything that can be wrong."""

import json
from pathlib import Path

import numpy as np
import pytest
from outcome import assert_one_sentence, files
from PIL import Image, ImageOps

from faceref.app.cli.restore import _matched
from faceref.restore.account import FaceAccount
from faceref.restore.left_alone import LeftAlone


def test_the_result_lies_beside_the_photograph_in_its_format(restore, album):
    done = restore(album / "photo.jpg", "--ref", album / "references")
    assert done.code == 0, done.errors
    assert files(album) == {"photo.jpg", "references/new.jpg", "photo_restored.jpg"}
    assert str(album / "photo_restored.jpg") in done.output
    assert "\nreferences of face 1: new.jpg\n" in done.output


def test_the_result_says_what_it_is_and_differs_in_the_face_alone(restore, album):
    done = restore(album / "photo.jpg", "--ref", album / "references", "--seed", 3, "-o", album / "photo_restored.png")
    assert done.code == 0, done.errors
    with Image.open(album / "photo_restored.png") as restored, Image.open(album / "photo.jpg") as photo:
        assert "AI-restored" in restored.info["Description"]
        assert (restored.info["seed"], restored.info["model"]) == ("3", "tiny")
        differs = (np.asarray(restored) != np.asarray(photo)).any(axis=2)
    assert 0.05 < differs.mean() < 0.9  # the face and nothing else
    assert not differs[:, :5].any()


def test_compare_writes_a_second_picture(restore, album):
    done = restore(album / "photo.jpg", "--ref", album / "references", "--compare", "-o", album / "out" / "old.png")
    assert done.code == 0, done.errors
    assert files(album / "out") == {"old.png", "old_compare.png"}
    with Image.open(album / "out" / "old_compare.png") as picture:
        sheet = np.asarray(picture.convert("RGB"), int)
    before, after, reference = (sheet[-528:-16, left : left + 512] for left in (16, 544, 1072))  # with gaps of 16
    differs = np.abs(before - after).mean(axis=2)
    assert differs[150:350, 150:350].mean() > 10 * differs[:20].mean() + 1, "the face, and nothing above it"
    mirrored = reference[:, ::-1]  # the reference is the photograph's mirror image
    assert np.abs(before - mirrored).mean() < np.abs(before - reference).mean()


def test_ref_takes_all_files_that_follow_it(restore, album):
    with Image.open(album / "references" / "new.jpg") as reference:
        ImageOps.autocontrast(reference).save(album / "references" / "newer.jpg")
    references = sorted((album / "references").iterdir())
    done = restore(album / "photo.jpg", "--json", "--ref", *references, "--seed", 1)
    assert json.loads(done.output)["faces"][0]["references"] == [str(path) for path in references]


def test_ref_with_an_equals_sign_takes_them_too(restore, album):
    with Image.open(album / "references" / "new.jpg") as reference:
        ImageOps.autocontrast(reference).save(album / "references" / "newer.jpg")
    first, second = sorted((album / "references").iterdir())
    done = restore(album / "photo.jpg", "--json", f"--ref={first}", second, "--guidance", "-0", "--steps", 1)
    assert json.loads(done.output)["faces"][0]["references"] == [str(first), str(second)]


def test_a_file_that_could_be_a_photograph_or_a_reference_is_refused(restore, album):
    done = restore(album / "photo.jpg", "--ref", album / "references" / "new.jpg", "--compare", "second.jpg")
    assert done.code == 2
    assert done.errors.startswith("second.jpg could be a photograph or a reference; ")
    assert_one_sentence(done.errors)


def test_references_without_a_photograph_are_one_sentence(restore, album):
    done = restore("--ref", album / "references", album / "photo.jpg")
    assert done.code == 2
    assert done.errors == "No photograph to restore was given; put it before --ref, which takes all after it.\n"
    assert restore("--ref", album / "references", "--help").code == 0


def test_a_new_folder_may_have_a_dot_in_its_name(restore, album):
    assert restore(album / "photo.jpg", "-o", album / "v1.0").code == 0
    assert files(album / "v1.0") == {"photo_restored.jpg"}


def test_json_gives_a_line_for_each_photograph(restore, album):
    with Image.open(album / "photo.jpg") as photo:
        photo.save(album / "second.png")
    done = restore(album / "photo.jpg", album / "second.png", "--json", "-o", album / "out")
    accounts = [json.loads(line) for line in done.output.splitlines()]
    assert [Path(account["restored"]).name for account in accounts] == ["photo_restored.jpg", "second_restored.png"]
    assert accounts[0]["faces"][0]["settings"]["steps"] == 2
    assert accounts[0]["faces"][0]["number"] == 1
    assert accounts[0]["seconds"].keys() >= {"find", "restore", "compose"}


def test_one_bad_photograph_does_not_keep_the_others_from_being_restored(restore, album, wall):
    done = restore(wall, album / "photo.jpg", "-o", album / "out")
    assert done.code == 1
    assert "No face was found in" in done.errors
    assert files(album / "out") == {"photo_restored.jpg"}


def test_exif_is_kept_but_for_the_orientation(restore, album):
    exif = Image.Exif()
    exif[0x013B], exif[0x0112] = "A. Photographer", 6
    with Image.open(album / "photo.jpg") as photo:
        photo.transpose(Image.Transpose.ROTATE_90).save(album / "turned.jpg", exif=exif, quality=95)
    assert restore(album / "turned.jpg", "-o", album / "upright.jpg").code == 0
    with Image.open(album / "upright.jpg") as restored:
        assert restored.getexif()[0x013B] == "A. Photographer"
        assert 0x0112 not in restored.getexif()


def test_metadata_that_a_jpeg_cannot_hold_is_said_to_be_left_out(restore, album):
    exif = Image.Exif()
    exif[0x010E] = "long description " * 5000
    with Image.open(album / "photo.jpg") as photo:
        photo.save(album / "described.png", exif=exif)
    done = restore(album / "described.png", "-o", album / "out.jpg", "--json")
    assert done.code == 0, done.errors
    (told,) = [warning for warning in json.loads(done.output)["warnings"] if "EXIF" in warning]
    assert str(album / "out.jpg") in told


def bad_photo(kind: str, album: Path) -> Path:
    """A file of the kind that people do give to such a program."""
    path = album / "bad.jpg"
    match kind:
        case "empty":
            path.touch()
        case "text":
            path.write_text("Dear diary,")
        case "truncated":
            data = (album / "photo.jpg").read_bytes()
            path.write_bytes(data[: len(data) // 2])
        case "unspeakable":
            path = path.with_stem("x" * 300)
    return path


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("missing", "does not exist"),
        ("empty", "is empty"),
        ("text", "is not a picture"),
        ("truncated", "truncated"),
        ("unspeakable", "File name too long"),
    ],
)
def test_a_bad_photograph_is_one_sentence_and_no_file(restore, album, kind, says):
    photo = bad_photo(kind, album)
    before = files(album)
    done = restore(photo, "--ref", album / "references")
    assert (done.code, done.output) == (1, "")
    assert_one_sentence(done.errors)
    assert says in done.errors
    assert str(photo) in done.errors
    assert files(album) == before


def test_a_photograph_without_a_face_is_one_sentence_and_no_file(restore, album, wall):
    before = files(album)
    done = restore(wall)
    assert done.code == 1
    assert_one_sentence(done.errors)
    assert "No face was found in" in done.errors
    assert files(album) == before


def test_a_reference_folder_without_pictures_is_one_sentence(restore, album):
    (album / "nothing").mkdir()
    done = restore(album / "photo.jpg", "--ref", album / "nothing")
    assert done.code == 1
    assert_one_sentence(done.errors)
    assert "pictures in it" in done.errors


def test_somebody_elses_reference_is_refused_unless_the_face_is_chosen(restore, album):
    with Image.open(album / "photo.jpg") as photo:
        ImageOps.solarize(photo, 150).save(album / "negative.png")  # for dlib's recogniser somebody else
    refused = restore(album / "photo.jpg", "--detector", "dlib", "--ref", album / "negative.png")
    assert (refused.code, files(album)) == (1, {"photo.jpg", "negative.png", "references/new.jpg"})
    assert_one_sentence(refused.errors)
    assert "has no face that is surely the person of the references (face 1: " in refused.errors
    assert refused.errors.endswith("if it is them, give --face 1, or give more photographs of the person.\n")
    done = restore(album / "photo.jpg", "--detector", "dlib", "--face", 1, "--ref", album / "negative.png")
    assert done.code == 0
    assert "may be somebody else than the references" in done.errors


def test_a_result_of_before_is_no_reference(restore, album):
    folder = album / "references"
    photo = (album / "photo.jpg").rename(folder / "photo.jpg")
    for _ in range(2):
        done = restore(photo, "--json", "--ref", folder)
        assert done.code == 0, done.errors
        assert json.loads(done.output)["faces"][0]["references"] == [str(folder / "new.jpg")]
    skipped = {Path(one["name"]).name: one["reason"] for one in json.loads(done.output)["references_left_out"]}
    assert skipped == {
        "photo.jpg": "it is the photograph to be restored",
        "photo_restored.jpg": "it is AI-restored itself",
    }


def test_no_picture_in_a_reference_folder_is_replaced(restore, album):
    reference = album / "references" / "new.jpg"
    before = reference.read_bytes()
    done = restore(album / "photo.jpg", "--ref", album / "references", "-o", reference)
    assert done.code == 2
    assert_one_sentence(done.errors)
    assert reference.read_bytes() == before


def test_a_face_that_one_photograph_lacks_does_not_keep_the_next_from_being_restored(restore, album):
    with Image.open(album / "photo.jpg") as photo:
        pair = Image.new("RGB", (2 * photo.width, photo.height))
        pair.paste(photo, (0, 0))
        pair.paste(photo, (photo.width, 0))
        pair.save(album / "two.png")
    done = restore(album / "photo.jpg", album / "two.png", "--face", 2)
    assert done.code == 2
    assert "has no face 2" in done.errors
    assert (album / "two_restored.png").exists()


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("--steps 0", "steps cannot be 0: "),
        ("--steps 1001", "1001 denoising steps are not possible; choose 1 to 1000."),
        ("--scheduler euler", "scheduler cannot be 'euler': Input should be 'ddim', 'dpmsolver++' or 'unipc'."),
        ("--detector hog", "There is no detector 'hog'; choose mtcnn or dlib or uniface."),
        ("--guidance -2", "guidance cannot be -2.0: Input should be greater than or equal to 0."),
        ("--guidance 2", "Guidance is towards references, and none were given; leave it out or give some."),
        ("--face 5", "has no face 5; choose 1, largest or all."),
        ("--face left", "There is no face 'left'; give a number (from the left), largest or all."),
        ("--box 1,2,3", "There is no box '1,2,3'; give X,Y,WIDTH,HEIGHT in pixels"),
        ("--box nan,2,3,4", "There is no box 'nan,2,3,4'; give X,Y,WIDTH,HEIGHT in pixels"),
        (
            "--box 0,0,9,9",
            "has no face in the box 0,0,9,9 (x, y, width, height); choose 1, largest or all (",
        ),
        ("--only-largest --face 1", "Only one of --face, --box and --only-largest can say which face"),
        ("-o result.gif", "result.gif is not a picture that can be written"),
        ("-o photo.jpg", "photo.jpg is one of the photographs given"),
    ],
)
def test_a_wrong_setting_is_a_usage_error_and_changes_no_file(restore, album, setting, says, monkeypatch):
    monkeypatch.chdir(album)
    before, photo = files(album), (album / "photo.jpg").read_bytes()
    done = restore("photo.jpg", *setting.split())
    assert done.code == 2
    assert_one_sentence(done.errors)
    assert says in done.errors
    assert files(album) == before
    assert (album / "photo.jpg").read_bytes() == photo


def test_an_unknown_model_is_a_usage_error(faceref, album):
    done = faceref("restore", album / "photo.jpg", "--model", "large")
    assert done.code == 2
    assert_one_sentence(done.errors)
    assert "'large'" in done.errors


@pytest.mark.parametrize("out", ["photo.jpg/x.png", "/proc/x.png"])  # a file as a folder; a folder that takes no files
def test_an_output_that_cannot_be_written_is_one_sentence(restore, album, out):
    done = restore(album / "photo.jpg", "-o", album / out)
    assert (done.code, done.output) == (1, "")
    assert_one_sentence(done.errors)
    assert "cannot be written" in done.errors


@pytest.mark.parametrize(
    ("left_alone", "certainty", "row"),
    [
        (LeftAlone.NOBODY, 0.05, ("-", "-", "-", "-")),
        (LeftAlone.GOOD, 0.45, ("-", "-", "-", "-")),
        (LeftAlone.NOBODY, 0.35, ("nobody (Ada?)", "35%", "1", "Eve 4%")),
        (LeftAlone.NOT_SURE, 0.45, ("not sure (Ada?)", "45%", "1", "Eve 4%")),
    ],
)
def test_whom_a_face_may_be_is_told_only_where_it_is_not_sure(left_alone, certainty, row):
    matches = [
        {"person": name, "distance": 0.5, "certainty": sure, "files": ["a.jpg"]}
        for name, sure in (("Ada", certainty), ("Eve", 0.04))
    ]
    unknown = {"number": 1, "box": None, "restored": False, "quality": 0.1, "strength": 0.0, "person": None}
    face = FaceAccount.model_validate(
        unknown
        | {
            "left_alone": left_alone.reason,
            "left_alone_code": left_alone,
            "matches": matches,
            "matched": False,
            "references": [],
            "settings": {},
        }
        | {"similarity_to_references": None, "similarity_to_photograph": None}
    )
    assert _matched(face) == row
