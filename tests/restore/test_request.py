"""What a request says of itself, so that results of another one are not taken for its own."""

from dataclasses import replace

import numpy as np

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
