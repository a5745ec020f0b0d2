"""examples/slurm/train.sbatch, run by a Slurm of two commands: `srun` starts two processes, `scontrol` is recorded."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from faceref.training.config_files import load_config

SCRIPT = Path(__file__).parents[2] / "examples" / "slurm" / "train.sbatch"
DOCUMENT = Path(__file__).parents[2] / "docs" / "clusters.md"
SRUN = """#!/bin/bash
for rank in 0 1; do SLURM_PROCID=$rank SLURM_LOCALID=$rank SLURM_NTASKS=2 "$@" || code=$?; done
exit ${code:-0}
"""
SCONTROL = """#!/bin/bash
case $1 in
    show) printf 'node7\\nnode8\\n' ;;
    *) echo "$@" >> "$RECORD/scontrol" ;;
esac
"""
FACEREF = """#!/bin/bash
echo "$RANK/$WORLD_SIZE $LOCAL_RANK $MASTER_ADDR:$MASTER_PORT $*" >> "$RECORD/faceref"
exit "$CODE"
"""


@pytest.fixture
def submit(tmp_path: Path):
    """Run the script as Slurm's job 42, with a `faceref` that ends with `code`; what it and `scontrol` were told."""
    binaries = tmp_path / "bin"
    binaries.mkdir()
    for name, text in (("srun", SRUN), ("scontrol", SCONTROL), ("faceref", FACEREF)):
        (binaries / name).write_text(text)
        (binaries / name).chmod(0o755)

    def run(*arguments: str, code: int) -> tuple[int, list[str], str]:
        told = {"RECORD": str(tmp_path), "CODE": str(code), "SLURM_JOB_ID": "42", "SLURM_JOB_NODELIST": "node[7-8]"}
        environment = os.environ | told | {"PATH": f"{binaries}:{os.environ['PATH']}"}
        done = subprocess.run(["bash", str(SCRIPT), *arguments], env=environment, cwd=tmp_path)
        requeued = tmp_path / "scontrol"
        return (
            done.returncode,
            (tmp_path / "faceref").read_text().splitlines(),
            requeued.read_text() if requeued.exists() else "",
        )

    return run


def test_each_process_knows_its_place_and_the_settings(submit):
    code, processes, requeued = submit("a.yaml", "runs/a", "loop.steps=9", code=0)
    assert code == 0
    assert processes == [f"{rank}/2 {rank} node7:20042 train a.yaml loop.steps=9 --run-dir runs/a" for rank in (0, 1)]
    assert requeued == ""


def test_a_run_that_was_stopped_by_sigusr1_is_queued_again_and_goes_on(submit, tmp_path: Path):
    (tmp_path / "runs" / "a" / "checkpoints" / "step_00000004").mkdir(parents=True)
    code, processes, requeued = submit("a.yaml", "runs/a", code=75)
    assert code == 75
    assert all(line.endswith("train a.yaml --run-dir runs/a --resume") for line in processes)
    assert requeued == "requeue 42\n"


def test_a_run_that_failed_is_not(submit):
    code, _, requeued = submit("a.yaml", "runs/a", code=1)
    assert (code, requeued) == (1, "")


def test_the_commands_shown_take_as_many_samples_a_step_as_their_configuration_is_written_for():
    (gpus,) = re.findall(r"--ntasks-per-node=(\d+)", SCRIPT.read_text())
    text = DOCUMENT.read_text()
    shown = re.findall(r"^    torchrun --nproc-per-node (\S+) -m faceref train (\S+)(.*)$", text, re.M)
    shown += [(gpus, *rest) for rest in re.findall(r"^sbatch \S+ (\S+) \S+(.*)$", text, re.M)]
    assert len(shown) == 2
    for processes, config, settings in shown:
        alone = load_config(DOCUMENT.parents[1] / config)
        together = load_config(DOCUMENT.parents[1] / config, settings.split())
        assert together.loop.samples_per_step(int(processes)) == alone.loop.samples_per_step(1), config
