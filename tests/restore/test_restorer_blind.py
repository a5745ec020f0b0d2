"""Restorer without references: with a model of the family ldbfr, and with a model that brings one along."""

import shutil

import pytest
from PIL import ImageOps

from faceref import RestoreOptions, Restorer
from faceref.checkpoints.store import load_blind
from faceref.errors import CheckpointError, UsageError
from faceref.pipelines.ldbfr import LDBFRPipeline
from faceref.pipelines.refldm import ReFLDMPipeline
from faceref.restore.options import ByHand

ALWAYS = RestoreOptions(always=True)  # the portrait is a good one


@pytest.fixture(scope="module")
def blind(tiny_blind_model) -> Restorer:
    return Restorer.from_pretrained(tiny_blind_model, device="cpu")


@pytest.fixture(scope="module")
def both(tiny_model_with_blind) -> Restorer:
    return Restorer.from_pretrained(tiny_model_with_blind, device="cpu")


def test_a_blind_model_restores_by_itself(blind, portrait):
    first, again, other = (blind.restore(portrait, (), RestoreOptions(seed=seed, always=True)) for seed in (1, 1, 2))
    assert first.image.tobytes() == again.image.tobytes()
    assert first.image.tobytes() != other.image.tobytes()
    assert (first.faces[0].settings.model, first.faces[0].settings.steps) == ("tiny-blind", 3)
    assert first.image.tobytes() != portrait.tobytes()


def test_guidance_is_refused_by_a_model_without_references_and_not_recorded(blind, portrait):
    with pytest.raises(UsageError, match="tiny-blind restores without references, so that there is no guidance"):
        blind.restore(portrait, (), RestoreOptions(guidance=1.5))
    assert "guidance" not in blind.restore(portrait, (), ALWAYS).metadata


def test_references_are_refused_by_a_model_that_cannot_use_them(blind, both, portrait):
    sentence = (
        "The model tiny-blind restores without references and cannot use any; "
        "give none, or choose a model of the family refldm."
    )
    person = both.person(portrait)
    for attempt in (lambda: blind.restore(portrait, person), lambda: blind.restore(portrait, [portrait])):
        with pytest.raises(UsageError) as error:
            attempt()
        assert str(error.value) == sentence


def test_without_references_a_model_lets_the_one_that_it_brings_restore(both, blind, portrait):
    counted: list[tuple[int, int]] = []
    options = RestoreOptions(seed=3, colour="allow", always=True)
    result = both.restore(portrait, (), options, on_step=lambda *numbers: counted.append(numbers))
    assert result.faces[0].settings.model == "tiny-blind"
    assert counted == [(1, 3), (2, 3), (3, 3)], "its own number of steps"
    assert result.image.tobytes() == blind.restore(portrait, (), options).image.tobytes()
    assert any("No references" in warning for warning in result.warnings)


def test_with_references_the_model_itself_restores(both, portrait):
    references = (picture for picture in [ImageOps.mirror(portrait)])  # any iterable, looked at once
    result = both.restore(portrait, references, ALWAYS)
    assert result.faces[0].settings.model == "tiny"
    assert len(result.people[0].references) == 1


@pytest.mark.parametrize(
    "blind_too", [RestoreOptions(unknown="blind"), RestoreOptions(by_hand=(ByHand(face=1, become="blind"),))]
)
def test_what_only_the_one_with_references_can_do_is_refused_before_any_work_where_both_may(both, portrait, blind_too):
    both.check(RestoreOptions(guidance=2), with_references=True)
    both.check(blind_too, with_references=True)
    with pytest.raises(UsageError, match="tiny-blind restores without references, so that there is no guidance"):
        both.restore("missing.jpg", [ImageOps.mirror(portrait)], blind_too.model_copy(update={"guidance": 2}))


def test_a_model_without_one_brings_none(tiny_model):
    assert load_blind(tiny_model) is None


def test_models_of_the_wrong_family_are_refused_by_their_family(tiny_model, tiny_blind_model):
    with pytest.raises(CheckpointError, match="is for LDBFRPipeline, not for ReFLDMPipeline"):
        ReFLDMPipeline.from_pretrained(tiny_blind_model)
    with pytest.raises(CheckpointError, match="is for ReFLDMPipeline, not for LDBFRPipeline"):
        LDBFRPipeline.from_pretrained(tiny_model)


def test_the_model_for_photographs_without_references_may_be_of_either_family(tiny_model, portrait, tmp_path):
    shutil.copytree(tiny_model, tmp_path / "model")
    shutil.copytree(tiny_model, tmp_path / "model" / "blind")
    description = tmp_path / "model" / "blind" / "faceref.json"
    description.write_text(description.read_text().replace('"name": "tiny"', '"name": "without"'))
    both = Restorer.from_pretrained(tmp_path / "model", device="cpu")
    assert both.restore(portrait, (), ALWAYS).faces[0].settings.model == "without"
    assert both.restore(portrait, [ImageOps.mirror(portrait)], ALWAYS).faces[0].settings.model == "tiny"
