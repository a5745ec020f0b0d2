"""How `faceref restore` ends before its time: a full disk, Ctrl-C, a fault; nothing half-written stays."""

import signal
import subprocess
import sys
from pathlib import Path

from outcome import assert_one_sentence, files


def test_a_full_disk_leaves_no_half_written_file(restore, album, monkeypatch):
    def fill_up(path: Path, data: bytes) -> None:
        with path.open("wb") as file:
            file.write(data[: len(data) // 2])
        raise OSError(28, "No space left on device")

    before = files(album)
    monkeypatch.setattr(Path, "write_bytes", fill_up)
    done = restore(album / "photo.jpg")
    assert done.code == 1
    assert_one_sentence(done.errors)
    assert "disk is full" in done.errors
    assert files(album) == before


def test_ctrl_c_is_one_sentence_and_no_half_written_file(album, tiny_model):
    before = files(album)
    command = [sys.executable, "-m", "faceref", "restore", "photo.jpg", "--model", tiny_model, "--steps", "1000", "-v"]
    command.append("--always")  # the portrait is a good one
    with subprocess.Popen(command, cwd=album, stderr=subprocess.PIPE, text=True) as running:
        assert running.stderr is not None
        assert "No reference photographs" in running.stderr.readline()  # denoising begins
        running.send_signal(signal.SIGINT)
        _, errors = running.communicate(timeout=60)
    assert running.returncode == 1
    assert_one_sentence(errors)
    assert errors.startswith("Interrupted")
    assert files(album) == before


def test_debug_shows_where_an_error_came_from(album):
    command = [sys.executable, "-m", "faceref", "restore", "nowhere.jpg", "--debug"]
    failed = subprocess.run(command, cwd=album, capture_output=True, text=True, check=False)
    assert "Traceback" in failed.stderr
    assert failed.returncode == 1
