"""Workers do the same as this process does, and end with it."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from faceref.jobs import run

# two workers write their process ids into the folder and then work for long
PARENT = """
import os, sys, time
from dataclasses import dataclass
from pathlib import Path
from tqdm import tqdm
from faceref.jobs import run

@dataclass(frozen=True)
class Long:
    folder: Path

    def start(self):
        return self.work

    def work(self, item):
        list(tqdm([item], disable=True))  # as diffusers counts steps
        (self.folder / str(os.getpid())).touch()
        time.sleep(120)

if __name__ == "__main__":
    list(run(Long(Path(sys.argv[1])), [1, 2, 3, 4, 5, 6], workers=2))  # more than workers are handed at once
"""


@dataclass(frozen=True)
class Square:
    def start(self):
        return lambda number: number**2


def test_who_asks_is_told_how_far_the_work_is_and_nothing_is_drawn(capsys):
    told = []
    done = run(Square(), [1, 2, 3], workers=1, on_item=lambda *progress: told.append(progress))
    assert next(done) == 1
    assert told == [(1, 3)]
    assert list(done) == [4, 9]
    assert told == [(1, 3), (2, 3), (3, 3)]
    assert capsys.readouterr() == ("", "")


def wait_until(condition, seconds: float = 60) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.1)
    return False


def is_running(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="Processes are looked up in /proc: run this test on Linux.")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_workers_end_with_a_parent_that_is_killed(tmp_path: Path, number: signal.Signals):
    (tmp_path / "parent.py").write_text(PARENT)
    (tmp_path / "workers").mkdir()
    parent = subprocess.Popen(
        [sys.executable, str(tmp_path / "parent.py"), str(tmp_path / "workers")], stderr=subprocess.DEVNULL
    )
    try:
        assert wait_until(lambda: len(list((tmp_path / "workers").iterdir())) == 2)
        workers = [int(path.name) for path in (tmp_path / "workers").iterdir()]
        assert all(map(is_running, workers))
    finally:
        parent.send_signal(number)
        parent.wait()
    try:
        assert wait_until(lambda: not any(map(is_running, workers)), seconds=10)
    finally:
        for worker in filter(is_running, workers):
            os.kill(worker, signal.SIGKILL)


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="Groups of processes are POSIX's: run this test there.")
def test_ctrl_c_does_not_wait_for_the_items_at_hand(tmp_path: Path):
    """A terminal sends it to the workers, too; they have two minutes to go."""
    (tmp_path / "parent.py").write_text(PARENT)
    (tmp_path / "workers").mkdir()
    command = [sys.executable, str(tmp_path / "parent.py"), str(tmp_path / "workers")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True) as parent:
        try:
            assert wait_until(lambda: len(list((tmp_path / "workers").iterdir())) == 2)
            os.killpg(parent.pid, signal.SIGINT)
            _, errors = parent.communicate(timeout=20)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(parent.pid, signal.SIGKILL)
    assert errors.rstrip().endswith("KeyboardInterrupt")  # the last line: Python warns of nothing that was left behind
    assert "leaked" not in errors
    assert "SpawnProcess" not in errors  # no worker shows a traceback of its own
    assert not any(is_running(int(path.name)) for path in (tmp_path / "workers").iterdir())
