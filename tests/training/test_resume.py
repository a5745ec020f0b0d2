"""States on disk: whole or refused, without code, and of the same run."""

import json
import pickle
import shlex
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file
from tiny_runs import digest, tiny_refldm, tiny_vqgan

from faceref.errors import CheckpointError, OutputError, UsageError
from faceref.training import run_folder
from faceref.training.checkpoints import Best, Checkpoints
from faceref.training.run import train_from
from faceref.training.run_folder import MAY_CHANGE, changed_settings, claimed
from faceref.training.stages.configs import VQGANConfig


@pytest.fixture(scope="module")
def stopped(photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of eight steps that was stopped after the second; both its states are kept."""
    run = tmp_path_factory.mktemp("stopped") / "run"
    for resume in (False, True):
        train_from(tiny_vqgan(photographs, steps=8), run, max_minutes=0, resume=resume)
    return run


@pytest.fixture
def run(stopped: Path, tmp_path: Path) -> Path:
    return shutil.copytree(stopped, tmp_path / "run")


def changed(config: VQGANConfig, **settings) -> VQGANConfig:
    tree = config.model_dump(mode="json")
    for name, value in settings.items():
        group, _, key = name.partition("__")
        tree[group] = tree[group] | {key: value}
    return VQGANConfig.model_validate(tree)


def test_a_state_holds_tensors_and_numbers_only(run: Path):
    names = {path.name for path in (run / "checkpoints" / "step_00000002").iterdir()}
    assert names == {"networks.safetensors", "average.safetensors", "optimizers.safetensors", "state.json"}


class _Opens:
    """A pickle of this makes a file where it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_resuming_a_received_run_runs_no_code(run: Path, photographs: Path, tmp_path: Path):
    for name in ("custom_checkpoint_0.pkl", "random_states_0.pkl", "optimizer.bin", "scheduler.bin"):
        (run / "checkpoints" / "step_00000002" / name).write_bytes(pickle.dumps(_Opens(tmp_path / "code-ran")))
    train_from(tiny_vqgan(photographs, steps=8), run, resume=True, max_minutes=0)
    assert not (tmp_path / "code-ran").exists()
    (run / "checkpoints" / "step_00000003" / "state.json").unlink()
    with pytest.raises(CheckpointError, match="older faceref"):
        Checkpoints(run / "checkpoints").read(3)


@pytest.mark.parametrize(
    "settings",
    [
        {"loop__seed": 3},
        {"optimizer__learning_rate": 0.5},
        {"loop__batch_size": 1},
        {"data__references": 2},
        {"weights__l1": 2.0},
    ],
)
def test_a_run_goes_on_with_its_own_settings_only(run: Path, photographs: Path, settings: dict):
    before = (run / "config.yaml").read_text()
    (name,) = settings
    with pytest.raises(UsageError, match=name.replace("__", r"\.")):
        train_from(changed(tiny_vqgan(photographs, steps=8), **settings), run, resume=True)
    assert (run / "config.yaml").read_text() == before
    assert Checkpoints(run / "checkpoints").steps() == [1, 2]


def started(run: Path, **facts) -> None:
    """Change what a run says of its last start; None takes a fact away."""
    *before, last = (run / "starts.jsonl").read_text().splitlines()
    told = {name: value for name, value in (json.loads(last) | facts).items() if value is not None}
    (run / "starts.jsonl").write_text("".join(f"{line}\n" for line in (*before, json.dumps(told))))


@pytest.mark.parametrize("facts", [{"samples_per_step": 6}, {"samples_per_step": None, "processes": 2}])
def test_a_run_takes_as_many_samples_a_step_as_before_in_any_number_of_processes(
    run: Path, photographs: Path, facts: dict
):
    """It was trained by two, says the second as an older faceref did; now there is one."""
    started(run, **facts)
    before = (run / "config.yaml").read_text()
    with pytest.raises(UsageError, match=r"takes 6 samples a step, .* make it 3; set .*loop\.accumulate"):
        train_from(tiny_vqgan(photographs, steps=8), run, resume=True)
    assert (run / "config.yaml").read_text() == before
    assert train_from(tiny_vqgan(photographs, steps=8, accumulate=2), run, resume=True).finished


def write_index(folder: Path, splits: dict[str, str]) -> None:
    """Of the photographs of `photographs`; splits: of each person."""
    files = sorted(path.relative_to(folder) for path in folder.rglob("*.png"))
    rows = [f"{file},{file.parent},{splits[file.parent.name]}" for file in files]
    (folder / "index.csv").write_text("\n".join(["file,person,split", *rows]) + "\n")


def test_a_run_goes_on_with_its_own_photographs_only_wherever_they_lie(photographs: Path, tmp_path: Path):
    faces = shutil.copytree(photographs / "faces", tmp_path / "here" / "faces")
    write_index(faces, {"ada": "train", "bea": "val", "cleo": "val"})
    config = tiny_vqgan(tmp_path / "here", steps=4)
    train_from(config, tmp_path / "run", max_minutes=0)

    shutil.copytree(tmp_path / "here", tmp_path / "there")
    moved = changed(config, data__root=str(tmp_path / "there"))
    train_from(moved, tmp_path / "run", max_minutes=0, resume=True)

    write_index(tmp_path / "there" / "faces", {"ada": "train", "bea": "train", "cleo": "val"})
    with pytest.raises(UsageError, match=r"other targets or references in data\.sources; other .* data\.validation;"):
        train_from(moved, tmp_path / "run", resume=True)
    assert train_from(config, tmp_path / "run", resume=True).finished
    train_from(config, tmp_path / "straight")
    assert digest(tmp_path / "run") == digest(tmp_path / "straight")


def test_a_run_goes_on_with_its_own_frozen_networks_only(photographs: Path, tmp_path: Path):
    config = tiny_refldm(photographs, tmp_path, steps=4)
    train_from(config, tmp_path / "run", max_minutes=0)
    weights = tmp_path / "vae" / "diffusion_pytorch_model.safetensors"
    before = weights.read_bytes()
    save_file({name: tensor * 1.01 for name, tensor in load_file(weights).items()}, weights)
    with pytest.raises(UsageError, match=r"was begun with other weights of the frozen vae; bring back"):
        train_from(config, tmp_path / "run", resume=True)
    started(tmp_path / "run", made_of=None)  # as an older faceref did
    assert train_from(config, tmp_path / "run", resume=True, max_minutes=0).step == 2
    weights.write_bytes(before)
    with pytest.raises(UsageError, match=r"the frozen vae"):
        train_from(config, tmp_path / "run", resume=True)


def test_photographs_may_not_move_where_nothing_tells_which_they_were(run: Path, photographs: Path, tmp_path: Path):
    started(run, made_of=None)
    there = changed(tiny_vqgan(photographs, steps=8), data__root=str(shutil.copytree(photographs, tmp_path / "there")))
    with pytest.raises(UsageError, match=r"data\.root was"):
        train_from(there, run, resume=True)


def test_a_run_that_does_not_say_how_it_was_started_goes_on(run: Path, photographs: Path):
    (run / "starts.jsonl").unlink()
    with pytest.raises(UsageError, match=r"takes 3 samples a step, .* make it 6"):
        train_from(tiny_vqgan(photographs, steps=8, accumulate=2), run, resume=True)
    assert train_from(tiny_vqgan(photographs, steps=8), run, resume=True).finished


def test_a_run_with_a_pool_goes_on_in_as_many_processes(photographs: Path, tmp_path: Path):
    """Each has a pool of its own, somewhere in the middle of which it is."""
    pool = {"samples": 6, "at_once": 3, "visits": 2}
    config = tiny_vqgan(photographs, steps=8, pool=pool, milestones=[2])
    train_from(config, tmp_path / "run", max_minutes=0)
    started(tmp_path / "run", processes=3, samples_per_step=3)
    with pytest.raises(UsageError, match="was trained by 3 processes"):
        train_from(config, tmp_path / "run", resume=True)


def test_samples_that_are_shared_out_otherwise_are_the_same_ones(
    run: Path, photographs: Path, tmp_path: Path, asked: list
):
    train_from(tiny_vqgan(photographs, steps=8, validate_every=8), tmp_path / "straight")
    straight = [key for dataset, key in asked if dataset is asked[0][0]]
    asked.clear()
    shared = changed(tiny_vqgan(photographs, steps=8, validate_every=8), loop__batch_size=1, loop__accumulate=3)
    train_from(shared, run, resume=True)
    resumed = [key for dataset, key in asked if dataset is asked[0][0]]
    assert resumed[-18:] == straight[-18:]  # of the six steps that were left


def test_what_may_change_is_a_list(photographs: Path):
    before = tiny_vqgan(photographs, steps=8)
    now = changed(before, loop__steps=9, loop__log_every=3, data__workers=1, loop__milestones=4)
    assert changed_settings(before, now) == []
    assert {"loop.steps", "loop.log_every", "loop.validate_every", "data.workers"} <= set(MAY_CHANGE)


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-100])


def lose_a_tensor(file: Path) -> None:
    tensors = load_file(file)
    tensors.popitem()
    save_file(tensors, file)


@pytest.mark.parametrize("part", ["networks", "average", "optimizers"])
@pytest.mark.parametrize("damage", [truncate, lose_a_tensor, Path.unlink])
def test_a_state_that_is_not_whole_is_passed_over_for_the_one_before(run: Path, caplog, part: str, damage):
    damage(run / "checkpoints" / "step_00000002" / f"{part}.safetensors")
    assert Checkpoints(run / "checkpoints").read_latest().step == 1
    assert "step_00000002 is damaged" in caplog.text
    damage(run / "checkpoints" / "step_00000001" / f"{part}.safetensors")
    with pytest.raises(CheckpointError, match="step_00000001 is damaged"):
        Checkpoints(run / "checkpoints").read_latest()


def test_a_truncated_state_costs_its_steps_and_nothing_else(run: Path, photographs: Path, tmp_path: Path):
    damaged = run / "checkpoints" / "step_00000002"
    truncate(damaged / "networks.safetensors")
    for step in (6, 7):
        shutil.copytree(damaged, damaged.with_name(f"step_{step:08d}"))
    config = tiny_vqgan(photographs, steps=8)
    assert train_from(config, run, resume=True, max_minutes=0).step == 2
    assert Checkpoints(run / "checkpoints").steps() == [1, 2], "what is whole is kept"
    assert train_from(config, run, resume=True).finished
    train_from(config, tmp_path / "straight")
    assert digest(run) == digest(tmp_path / "straight")


def test_a_state_of_other_networks_is_refused(run: Path, photographs: Path):
    file = run / "checkpoints" / "step_00000002" / "networks.safetensors"
    tensors = load_file(file)
    name = max(tensors, key=lambda name: tensors[name].numel())
    tensor = tensors.pop(name)
    save_file(tensors | {"stranger": tensor}, file)
    with pytest.raises(CheckpointError, match="missing or left over"):
        train_from(tiny_vqgan(photographs, steps=8), run, resume=True)
    save_file(tensors | {name: tensor.flatten()[:1]}, file)
    with pytest.raises(CheckpointError, match="other sizes"):
        train_from(tiny_vqgan(photographs, steps=8), run, resume=True)


def test_other_folders_among_the_states_are_left_alone(run: Path):
    (run / "checkpoints" / "step_backup").mkdir()
    assert Checkpoints(run / "checkpoints").steps() == [1, 2]


def test_milestones_and_the_best_are_kept_beside_the_last_two(photographs: Path, tmp_path: Path):
    config = tiny_vqgan(photographs, steps=8, milestones=[2, 3], validate_every=1, checkpoint_minutes=0)
    train_from(config, tmp_path / "run")
    lines = [json.loads(line) for line in (tmp_path / "run" / "validation.jsonl").read_text().splitlines()]
    best = max(lines, key=lambda line: line["psnr"])["step"]
    kept = Checkpoints(tmp_path / "run" / "checkpoints")
    assert set(kept.steps()) == {2, 3, 7, 8, best}
    marked = kept.best()
    assert marked is not None
    assert (marked.step, marked.value) == (best, max(line["psnr"] for line in lines))


def test_the_best_on_other_samples_is_no_measure(run: Path, photographs: Path):
    checkpoints = Checkpoints(run / "checkpoints")
    best = Best(1, "psnr", 99.0, "8 samples in 1 processes")
    checkpoints.mark_best(best)
    train_from(tiny_vqgan(photographs, steps=3), run, resume=True)
    assert checkpoints.best() == best
    train_from(tiny_vqgan(photographs, steps=4, validation_samples=3), run, resume=True)
    now = checkpoints.best()
    assert now is not None
    assert (now.step, now.measured_on, now.others) == (4, "3 samples in 1 processes", (1,))
    assert checkpoints.steps() == [1, 3, 4], "the state that was the best on others is kept"
    checkpoints.mark_best(replace(now, value=99.0, measured_on=""))  # as written before samples were told
    train_from(tiny_vqgan(photographs, steps=5, validation_samples=3), run, resume=True)
    assert checkpoints.best() == replace(now, value=99.0, measured_on="")


def test_a_cosine_that_ends_elsewhere_is_said(run: Path, photographs: Path, caplog: pytest.LogCaptureFixture):
    config = tiny_vqgan(photographs, steps=8)
    train_from(config, run, max_minutes=0, resume=True)
    assert "cosine" not in caplog.text
    train_from(changed(config, loop__steps=12), run, max_minutes=0, resume=True)
    assert "loop.steps was 8 and is 12: the learning rate's cosine is stretched to that" in caplog.text
    # warm-up to step 2; then 0.1 + 0.9 (1 + cos(pi / 6)) / 2 of 1e-3, and of pi / 10
    assert "goes on from step 3 at 0.000978 instead of 0.00094." in caplog.text


def test_a_folder_has_one_run_at_a_time_and_loses_what_a_killed_one_was_saving(
    run: Path, photographs: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(run_folder, "PATIENCE", 0.3)
    with claimed(run), pytest.raises(OutputError, match="is being written by another process") as refused:
        train_from(tiny_vqgan(photographs, steps=8), run, resume=True)
    assert refused.value.code == "in_use"
    half = run / "checkpoints" / ".step_00000003.abcdefgh" / "new"
    half.mkdir(parents=True)
    assert train_from(tiny_vqgan(photographs, steps=3), run, resume=True).step == 3
    assert not half.parent.exists()


def test_a_run_says_what_was_started_where(run: Path):
    starts = [json.loads(line) for line in (run / "starts.jsonl").read_text().splitlines()]
    assert [start["step"] for start in starts] == [0, 1]
    assert starts[0]["device"] == "cpu"
    assert starts[0]["versions"]["torch"]
    assert starts[0]["command"] == shlex.join(sys.argv)
