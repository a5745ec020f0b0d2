"""What a request says of itself, so that results of another one are not taken for its own."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from faceref.checkpoints.info import fingerprint_of, read_info
from faceref.people.library import Library


def test_two_people_of_one_photograph_are_no_one_person(request_, mirrored, restorer, tmp_path):
    person = restorer.person([mirrored])
    (reference,) = person.references

    def settings_with(embedding: np.ndarray) -> dict:
        library = Library(tmp_path / "people")
        library.enroll("Somebody", replace(person, references=(replace(reference, embedding=embedding),)))
        settings = replace(request_, references=(), names=("Somebody",), data_dir=tmp_path / "people").settings()
        library.remove("Somebody")
        return settings

    settings = [settings_with(reference.embedding + shift) for shift in (0, 0, 0.01)]
    assert settings[0] == settings[1] != settings[2]


@pytest.mark.parametrize("of", [".", "blind"])
def test_how_either_model_samples_is_a_setting_and_what_is_said_of_it_is_none(
    request_, tiny_model_with_blind, tmp_path, of
):
    folder = Path(shutil.copytree(tiny_model_with_blind, tmp_path / "model"))
    description, info = folder / of / "faceref.json", read_info(folder / of)

    def settings_with(**changed) -> dict:
        description.write_text(info.model_copy(update=changed).model_dump_json())
        return replace(request_, model=str(folder)).settings()

    before, weights = settings_with(), fingerprint_of(folder)
    assert settings_with(licence="other", quality={"measured": 1.0}) == before
    assert settings_with(steps=info.steps + 1) != before
    assert fingerprint_of(folder) == weights
