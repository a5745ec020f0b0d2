"""Before `faceref restore` does what takes seconds it says so, where somebody looks."""

import os
import pty
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from faceref.checkpoints.info import find_model

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

# says at the end what was imported
IMPORTED = """
import atexit, sys
atexit.register(lambda: print(",".join(sys.modules)))
from faceref.app.cli.main import main
main()
"""


def seen(*arguments: object) -> str:
    """What a terminal shows of `faceref ...`."""
    parent, child = pty.openpty()
    shown: list[bytes] = []

    def look() -> None:
        try:
            while part := os.read(parent, 4096):
                shown.append(part)
        except OSError:  # the other end is closed
            pass

    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND, *map(str, arguments)],
        stdout=child,
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
    (tmp_path / "empty").mkdir()
    shutil.copy(find_model("small") / "faceref.json", tmp_path / "empty")
    text = seen("restore", tmp_path / what, "--model", tmp_path / "empty", "-o", tmp_path / "out")
    assert "Loading" in text[: text.index("torch is imported")]
    assert "model_index.json" in text


def test_restoring_imports_nothing_that_it_does_not_use(album, tiny_model, tmp_path):
    arguments = ["restore", album / "photo.jpg", "--ref", album / "references", "--model", tiny_model, "--always"]
    command = [sys.executable, "-c", IMPORTED, *map(str, arguments), "-o", str(tmp_path / "result.png")]
    imported = set(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1].split(","))
    assert {"torch", "diffusers", "faceref.pipelines.refldm"} <= imported
    assert not {"sympy", "torch._dynamo.eval_frame", "torch._inductor"} & imported  # torch's compiler
    assert not {"matplotlib", "pandas", "torchmetrics", "fastapi", "onnx", "spandrel", "ray"} & imported
    assert not {f"faceref.{part}" for part in ("training", "data", "evaluation", "bench", "client")} & imported


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("restore photo.jpg --steps 0", "steps cannot be 0"),
        ("restore photo.jpg --face 0", "face cannot be 0"),
        ("restore photo.jpg --scheduler euler", "scheduler cannot be 'euler'"),
        ("restore photo.jpg --model nope", "There is no model 'nope'"),
        ("restore text.jpg", "text.jpg is not a picture"),
        ("restore photo.jpg --person nobody --data-dir kept", "Nobody is enrolled as 'nobody'"),
        ("restore photos --person nobody --data-dir kept", "Nobody is enrolled as 'nobody'"),
        ("restore photos", "A folder needs one for its results"),
        ("restore photos -o photos/out", "lies in photos"),
        ("models info small", "256"),
    ],
)
def test_what_is_known_at_once_is_said_without_torch(tmp_path: Path, astronaut, monkeypatch, command: str, says: str):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    (tmp_path / "text.jpg").write_text("Dear diary,")
    for folder in (tmp_path, tmp_path / "photos"):
        astronaut.save(folder / "photo.jpg")
    text = seen(*command.split())
    assert says in text
    assert "torch is imported" not in text
