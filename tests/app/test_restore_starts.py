"""Before `faceref restore` does what takes seconds it says so, where somebody looks."""

import os
import pty
import subprocess
import sys
import threading
from pathlib import Path

import pytest

# says on standard error when torch begins to be imported
COMMAND = """
import sys
class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            print("torch is imported", file=sys.stderr, flush=True)
sys.meta_path.insert(0, Watch())
from faceref.app.cli.main import main
main()
"""


def seen(*arguments: object) -> str:
    """What a terminal shows of `faceref restore ...`."""
    parent, child = pty.openpty()
    shown: list[bytes] = []

    def look() -> None:
        try:
            while part := os.read(parent, 4096):
                shown.append(part)
        except OSError:  # the other end is closed
            pass

    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND, "restore", *map(str, arguments)],
        stderr=child,
        env=os.environ | {"TERM": "xterm"},
    )
    os.close(child)
    reader = threading.Thread(target=look)
    reader.start()
    process.wait()
    reader.join()
    os.close(parent)
    return b"".join(shown).decode()


@pytest.mark.parametrize("what", ["photo.jpg", "photos"])
def test_it_says_what_it_does_before_torch_is_imported(tmp_path: Path, astronaut, what: str):
    (tmp_path / "photos").mkdir()
    for folder in (tmp_path, tmp_path / "photos"):
        astronaut.save(folder / "photo.jpg")
    text = seen(tmp_path / what, "--model", tmp_path / "nothing", "-o", tmp_path / "out")
    assert "Loading" in text[: text.index("torch is imported")]
    assert "There is no model" in text
