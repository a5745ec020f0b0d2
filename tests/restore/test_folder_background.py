"""A folder of photographs is cleaned or made larger, whatever can be restored in them."""

from dataclasses import replace

import numpy as np
import pytest
from folders import files, statuses
from PIL import Image

from faceref.pictures.mark import is_marked_restored
from faceref.restore.folder import JOURNAL, match_folder, restore_folder
from faceref.restore.options import RestoreOptions
from faceref.restore.request import Request

BACKGROUNDS = pytest.mark.parametrize(("background", "became"), [("clean", "cleaned"), ("lanczos", "enlarged")])


@pytest.fixture
def photos(tmp_path):
    (tmp_path / "photos").mkdir()
    return tmp_path / "photos"


@pytest.fixture
def request_(tiny_model, restorer, mirrored, tmp_path, monkeypatch) -> Request:
    """With a reference, new.png; what restores is loaded already."""
    (tmp_path / "good").mkdir()
    mirrored.save(tmp_path / "good" / "new.png")
    monkeypatch.setattr(Request, "load", lambda self: (restorer, [restorer.person(self.references)]))
    return Request(str(tiny_model), "dlib", references=(tmp_path / "good",))


def codes(outcome) -> list[str | None]:
    return [face["left_alone_code"] for face in outcome.account["faces"]]


def test_what_was_cleaned_is_not_cleaned_again(photos, request_, portrait, tmp_path):
    noise = np.random.default_rng(0).normal(0, 30, (*portrait.size, 3))
    Image.fromarray((np.asarray(portrait) + noise).clip(0, 255).astype(np.uint8)).save(photos / "noisy.png")
    Image.new("RGB", (64, 64), "gray").save(photos / "wall.bmp")
    request = replace(request_, options=RestoreOptions(background="clean"))
    outcomes = {one.photo: one for one in restore_folder(photos, tmp_path / "out", request)}
    assert statuses(list(outcomes.values())) == {"noisy.png": "cleaned", "wall.bmp": "cleaned"}
    assert [codes(outcomes[name]) for name in ("noisy.png", "wall.bmp")] == [["cleaned"], []]
    first = files(tmp_path / "out")
    assert first.keys() == {"noisy.png", "wall.png", JOURNAL}
    assert all(is_marked_restored(tmp_path / "out" / name) for name in ("noisy.png", "wall.png"))
    again = list(restore_folder(photos, tmp_path / "out", request))
    assert {one.photo: (one.status, one.earlier) for one in again} == dict.fromkeys(outcomes, ("cleaned", True))
    assert files(tmp_path / "out") == first


@BACKGROUNDS
def test_the_only_reference_gets_its_background_where_it_lies_in_the_folder(
    photos, request_, restorer, mirrored, background, became, tmp_path
):
    mirrored.save(photos / "new.png")
    request = replace(request_, options=RestoreOptions(background=background, guidance=2.0))
    (outcome,) = restore_folder(photos, tmp_path / "out", request)
    (looked_at,) = match_folder(photos, request)
    reason = "all references are this photograph itself"
    for one in (outcome, looked_at):
        assert (one.status, one.reason, codes(one)) == (became, reason, ["own_reference"])
    expected = restorer.restore(mirrored, options=RestoreOptions(background=background, strength=0.0)).image
    with Image.open(tmp_path / "out" / "new.png") as made:
        assert (np.asarray(made) == np.asarray(expected)).all()


@BACKGROUNDS
@pytest.mark.parametrize("chosen", [{"face": 2}, {"strength": {2: 1.0}}])
def test_a_photograph_without_the_face_that_was_chosen_gets_its_background(
    photos, request_, restorer, portrait, background, became, chosen, tmp_path
):
    portrait.save(photos / "old.png")
    request = replace(request_, options=RestoreOptions(background=background, **chosen))
    (outcome,) = restore_folder(photos, tmp_path / "out", request)
    (looked_at,) = match_folder(photos, request)
    for one in (outcome, looked_at):
        assert (one.status, codes(one)) == (became, ["not_chosen"])
    assert outcome.account is not None
    assert outcome.account["face"] == chosen.get("face")
    alone = restorer.restore(portrait, options=RestoreOptions(background=background, strength=0.0)).image
    with Image.open(tmp_path / "out" / "old.png") as made:
        assert (np.asarray(made) == np.asarray(alone)).all()


def test_matching_says_what_would_fail_for_its_format_or_its_name(photos, request_, portrait, tmp_path):
    """As restoring does: a WebP that would be larger than one may be, and a name that a contact sheet takes."""
    Image.new("RGB", (8192, 32), "gray").save(photos / "long.webp")
    portrait.save(photos / "contact_sheet_1.png")
    request = replace(request_, options=RestoreOptions(background="lanczos"))
    reasons = {
        "long.webp": "long.webp would have 16384 pixels on a side, and WEBP holds 16383; use .png.",
        "contact_sheet_1.png": "contact_sheet_1.png has the name of a contact sheet; rename it.",
    }
    for outcomes in (match_folder(photos, request), restore_folder(photos, tmp_path / "out", request)):
        failed = {one.photo: str(one.reason).rpartition("/")[2] for one in outcomes if one.status == "failed"}
        assert failed == reasons
