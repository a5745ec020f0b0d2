"""What is said of a restoration is true: warnings only of what happened, reasons that are the reason."""

import pytest
from restoring import restore

from faceref import RestoreOptions
from faceref.errors import FacerefError


def test_a_result_that_is_not_finite_is_refused(restorer, portrait, mirrored):
    with pytest.raises(FacerefError, match="The network's result is not finite; choose a smaller guidance") as refused:
        restore(restorer, portrait, mirrored, guidance=1e38)
    assert refused.value.code == "not_finite"


def test_what_was_left_alone_is_not_said_to_be_a_guess(restorer, portrait):
    assert not any("No references" in one for one in restore(restorer, portrait, always=False).warnings)
    assert any("No references" in one for one in restore(restorer, portrait).warnings)


def test_what_a_result_has_not_is_said_only_where_there_is_to_be_one(restorer, portrait, tmp_path):
    portrait.save(tmp_path / "pages.tif", save_all=True, append_images=[portrait])
    for strength, said in ((0, False), (1, True)):
        made = restore(restorer, tmp_path / "pages.tif", strength=strength)
        looked_at = restorer.match(tmp_path / "pages.tif", options=RestoreOptions(strength=strength))
        for result in (made, looked_at):
            assert any("the result has no others" in one for one in result.warnings) == said


def test_a_strength_of_0_is_its_own_reason(restorer, portrait):
    (face,) = restore(restorer, portrait, strength=0).account().faces
    assert (face.restored, face.left_alone) == (False, "a strength of 0 leaves it as it is")


def test_a_result_restored_again_is_warned_of(restorer, portrait, mirrored, tmp_path):
    restore(restorer, portrait, mirrored, strength=0.5).save(tmp_path / "once.png")
    warnings = restore(restorer, tmp_path / "once.png", mirrored, face=1).warnings
    assert f"{tmp_path / 'once.png'} is AI-restored already: what is made of it is a guess from a guess." in warnings
    assert not any("already" in one for one in restore(restorer, portrait, mirrored).warnings)


def test_an_aligned_face_larger_than_the_model_is_not_said_to_keep_its_detail(restorer, portrait):
    face = restore(restorer, portrait).faces[0].face.crop.image.resize((250, 250))
    (warning,) = [one for one in restore(restorer, face, aligned=True).warnings if "fills 250 pixels" in one]
    assert warning.endswith("and tiny draws 64: the result is so small.")
