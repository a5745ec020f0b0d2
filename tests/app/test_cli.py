"""What all commands do alike: refuse a value before any work, say in one sentence what the system refused."""

import pytest


@pytest.mark.parametrize(
    "command",
    [
        "evaluate small --hq . --seed -1",
        "evaluate small --hq . --seed 4294967296",  # NumPy's global generator takes 32 bits
        "data splits . --seed -1",
        "restore photo.jpg --seed -1",
        "restore photo.jpg --seed 9223372036854775808",
    ],
)
def test_a_seed_that_a_generator_would_not_take_is_refused(faceref, command):
    refused = faceref(*command.split())
    assert refused.code == 2
    assert "Invalid value for '--seed'" in refused.errors


def test_what_the_system_refuses_is_one_sentence(faceref, tmp_path):
    (tmp_path / "file").touch()
    refused = faceref("evaluate", tmp_path / ("x" * 300), "--hq", tmp_path, "-o", tmp_path / "out")
    assert refused.code == 1
    assert refused.errors.endswith(f"/{'x' * 300}/faceref.json: File name too long.\n")
    assert refused.errors.count("\n") == 1
