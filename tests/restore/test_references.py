"""References: which are used, which are left out and why; on a real face, with a tiny model."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from invented_album import variants
from PIL import Image
from restoring import restore

from faceref import RestoreOptions, Restorer
from faceref.errors import NoReferenceError
from faceref.faces.quality import quality
from faceref.people.person import Person
from faceref.restore.left_alone import LeftAlone
from faceref.restore.model import Model


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
    assert len(restorer.person(tmp_path, RestoreOptions(largest_reference_face=True)).references) == 2


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
        assert {one.reason for one in person.skipped} == {
            f"it is the same picture as {tmp_path / 'copy.bmp'}",
            "it is the photograph to be restored",
        }


def test_the_photograph_in_another_size_and_format_is_not_its_reference(restorer, portrait, mirrored, tmp_path):
    portrait.resize((190, 190), Image.Resampling.LANCZOS).save(tmp_path / "sent.jpg", quality=75)
    mirrored.save(tmp_path / "other.jpg", quality=75)
    person = restore(restorer, portrait, tmp_path).people[0]
    assert [Path(reference.name).name for reference in person.references] == ["other.jpg"]
    assert {one.reason for one in person.skipped} == {"it is the photograph to be restored"}


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
    with pytest.raises(NoReferenceError, match="None of the references can be used"):
        restore(restorer, portrait, Image.new("RGB", (200, 200)))


def test_a_reference_of_somebody_else_is_left_out_with_the_distance(restorer, portrait, mirrored, stranger):
    account = restore(restorer, portrait, [mirrored, stranger, mirrored.resize((300, 300))]).account()
    assert account.faces[0].references == ["picture 1", "picture 3"]
    (skipped,) = account.references_left_out
    assert (skipped.name, skipped.reason[:36]) == ("picture 2", "it seems to show somebody else than ")
    assert float(re.findall(r"distance (\d\.\d+)", skipped.reason)[0]) == pytest.approx(0.69, abs=0.05)


def test_which_of_two_references_is_somebody_elses_is_left_to_the_user(restorer, portrait, mirrored, stranger):
    result = restore(restorer, portrait, [mirrored, stranger], face=1)
    assert result.account().faces[0].references == ["picture 1", "picture 2"]
    assert any("picture 2 seems to show somebody else than picture 1" in warning for warning in result.warnings)


def test_a_person_read_beforehand_is_no_reference_for_a_photograph_of_theirs(restorer, portrait, mirrored):
    person = restorer.person([portrait, mirrored])
    result = restore(restorer, portrait, person)
    assert [one.name for one in result.people[0].references] == ["picture 2"]
    assert [one.name for one in result.account().references_left_out] == ["picture 1"]
    with pytest.raises(NoReferenceError, match="it is the photograph to be restored"):
        restore(restorer, portrait, restorer.person(portrait))


def test_who_is_left_of_several_people_is_not_taken_to_be_on_the_photograph(restorer, portrait, stranger):
    people = [replace(restorer.person(one), name=name) for name, one in (("Eileen", portrait), ("Other", stranger))]
    (face,) = restore(restorer, portrait, people).account().faces  # it is Eileen's only reference itself
    assert (face.person, face.left_alone_code) == (None, LeftAlone.NOBODY)


def test_references_chosen_of_many_are_judged_and_encoded_once_for_all_photographs(restorer, portrait, monkeypatch):
    model = Model(restorer.model.pipeline, restorer.model.info)
    fresh = Restorer(model, detector=restorer.detector, recogniser=restorer.recogniser)
    person = fresh.person([portrait, *variants(portrait)[:3]])  # one of them is the photograph
    encoded, judged = [], []
    encode = model.pipeline.encode_references
    monkeypatch.setattr(model.pipeline, "encode_references", lambda faces: encoded.append(len(faces)) or encode(faces))
    monkeypatch.setattr("faceref.people.traits.quality", lambda *face: judged.append(face) or quality(*face))
    first, second = (restore(fresh, portrait, person, max_refs=2) for _ in range(2))
    assert first.image.tobytes() == second.image.tobytes()
    assert (encoded, len(judged)) == ([2], 3 + 2)  # and the photograph's face each time


def test_two_people_of_one_photograph_are_not_taken_for_each_other(restorer, portrait, mirrored):
    (one,) = restorer.person(portrait).references
    (other,) = restorer.person(mirrored).references
    caches = [restorer.model.cache(Person((reference,))) for reference in (one, replace(other, digest=one.digest))]
    assert not torch.equal(caches[0].keys[0], caches[1].keys[0])


def test_a_model_keeps_no_more_than_the_people_used_last(restorer, portrait, monkeypatch):
    monkeypatch.setattr("faceref.restore.model.KEPT", 2)
    model = Model(restorer.model.pipeline, restorer.model.info)
    (reference,) = restorer.person(portrait).references
    a, b, c = (Person((replace(reference, digest=digest),)) for digest in "abc")
    cache = model.cache(a)
    model.cache(b)
    assert model.cache(a) is cache
    model.cache(c)
    assert model.cache(a) is cache
    model.cache(b)
    model.cache(c)
    assert model.cache(a) is not cache
