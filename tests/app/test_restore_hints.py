"""`faceref restore` says what stands in the way of this photograph, and what to do about it."""


def test_what_is_wrong_with_a_file_is_said_beside_why_nothing_was_restored(restore, album, half_a_meadow):
    done = restore(half_a_meadow, "--ref", album / "references")
    assert done.code == 1
    warning, error = done.errors.splitlines()
    assert warning.startswith(f"Warning: {half_a_meadow} is truncated: ")
    assert error.startswith("No face was found in")
