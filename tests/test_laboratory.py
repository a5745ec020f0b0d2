"""Documents: every training and evaluation that they show is run, with small networks, two steps and one photograph."""

import re
import shlex
import shutil
from itertools import pairwise
from pathlib import Path

import pytest
import torch
import yaml
from documents import REPOSITORY, commands, commands_of, data_shown, make_lines, parse, run
from PIL import Image, ImageEnhance, ImageOps
from safetensors.torch import save_file

from faceref.data.mapping import ReferenceEntry, ReferenceMapping
from faceref.models.identity import MobileFaceNet
from faceref.training.config import DataConfig
from faceref.training.run import load_faces


@pytest.fixture(scope="module")
def faces(tmp_path_factory, astronaut) -> Path:
    """Aligned faces (64 px) of two people in each split, three of each; index, labels and reference mappings."""
    folder = tmp_path_factory.mktemp("laboratory") / "faces"
    face = astronaut.crop((140, 15, 310, 185)).resize((64, 64), Image.Resampling.LANCZOS)
    index, labels = ["file,person,split,sharpness"], ["file,gender"]
    targets: dict[str, list[ReferenceEntry]] = {"train": [], "val": [], "test": []}
    for person, split in [(f"{name}-{split}", split) for split in targets for name in ("ann", "bea")]:
        (folder / "people" / person).mkdir(parents=True)
        names = [f"people/{person}/{i}.png" for i in range(3)]
        for i, name in enumerate(names):
            picture = ImageOps.mirror(face) if person.startswith("bea") else face
            ImageEnhance.Brightness(picture).enhance(1 - 0.15 * i).save(folder / name)
            index.append(f"{name},{person},{split},300")
            labels.append(f"{name},{person[0]}")
        targets[split] += [ReferenceEntry(name, tuple(n for n in names if n != name), name) for name in names]
    for path in folder.rglob("*.png"):  # what another program restored, at the size of `small`
        restored = folder.with_name("gfpgan") / path.relative_to(folder / "people")
        restored.parent.mkdir(parents=True, exist_ok=True)
        with Image.open(path) as picture:
            picture.resize((256, 256)).save(restored)
    (folder / "index.csv").write_text("\n".join(index) + "\n")
    (folder / "labels.csv").write_text("\n".join(labels) + "\n")
    (folder / "reference_mapping").mkdir()
    for split, entries in targets.items():
        ReferenceMapping(tuple(entries)).write(folder / "reference_mapping" / f"{split}_references.csv")
    return folder


@pytest.fixture
def here(faces, whole_model, tmp_path, monkeypatch) -> Path:
    """The folder a reader is in: photographs under each name that the documents use, weights, configurations.

    A narrow model stands for each that the documents evaluate.
    """
    links = {name: faces for name in ("faces", "lfw128", "celebref9-512", "data/celebref9-512", "lq-severe")}
    links |= {f"data/{name}": faces for name in ("lfw128", "cfp256", "pins256", "misc256", "aligned256")}
    links |= {"ffhq/images512x512": faces, "FFHQ-Ref/test_images/severe_degrad": faces}
    mappings = faces / "reference_mapping"
    links |= {"FFHQ-Ref/reference_mapping": mappings, "ffhq/test_references.csv": mappings / "test_references.csv"}
    links |= {"ffhq/people": faces / "people", "lq": faces / "people", "restored/gfpgan": faces.with_name("gfpgan")}
    links |= {"labels.csv": faces / "labels.csv", "src/faceref/weights": REPOSITORY / "src/faceref/weights"}
    for name, target in links.items():
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).symlink_to(target)
    (tmp_path / "weights").mkdir()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        save_file(MobileFaceNet().state_dict(), tmp_path / "weights" / "mobilefacenet.safetensors")
    (tmp_path / "configs").mkdir()
    for config in (REPOSITORY / "configs").glob("*.yaml"):
        (tmp_path / "configs" / config.name).write_text(made_small(config.read_text()))
    mine = yaml.safe_load((tmp_path / "configs" / "small-refldm.yaml").read_text())
    mine["data"] |= data_shown()[0]
    (tmp_path / "my-refldm.yaml").write_text(yaml.safe_dump(mine))
    monkeypatch.chdir(tmp_path)
    # as few as there are
    monkeypatch.setattr("faceref.training.stages.vqgan.CALIBRATION_PHOTOGRAPHS", 16)
    (tmp_path / "home").mkdir()
    (tmp_path / "home/refldm-512").symlink_to(whole_model)
    monkeypatch.setenv("FACEREF_HOME", str(tmp_path / "home"))
    return tmp_path


def made_small(text: str) -> str:
    """A configuration of two steps of one photograph, with narrow networks."""
    tree = yaml.safe_load(text)
    if "include" in tree:  # the rest is in the other file, made small as well
        tree["loop"] = {"steps": 2}
        if "data" in tree:
            tree["data"]["sources"] = tree["data"]["sources"][:1]
        return yaml.safe_dump(tree)
    tree["loop"] |= {"steps": 2, "batch_size": 1, "accumulate": 1, "validation_samples": 1, "precision": "no"}
    tree["data"] |= {"workers": 0, "cache": None, "sources": tree["data"]["sources"][:1]}
    if "pool" in tree["loop"]:
        tree["loop"]["pool"] = {"samples": 1, "at_once": 1, "visits": 1}
    if "unet" in tree:
        tree["unet"]["block_out_channels"] = [32 for _ in tree["unet"]["block_out_channels"]]
    if tree["stage"] == "vqgan" and tree["autoencoder"].get("kind") == "pixel_unshuffle":
        tree["autoencoder"]["arguments"] |= {"base_channels": 32}
    return yaml.safe_dump(tree)


def made_short(command: tuple[str, ...]) -> list[str]:
    """A command without what takes hours: of the steps of denoising a tenth."""
    short = {"loop.steps": "2", "loop.batch_size": "1"}
    arguments = [f"{key}={short[key]}" if (key := word.split("=")[0]) in short else word for word in command]
    if command[0] != "evaluate":
        return arguments
    fewer = [re.sub(r",steps=(\d+)0\b", r",steps=\1", word) for word in arguments]
    return [*fewer, "--limit", "1", "--batch-size", "1"]


@pytest.mark.parametrize("command", commands(of="evaluate"), ids=shlex.join)
def test_every_evaluation_shown_works(command, here, whole_model):
    for model in re.findall(r"runs/[\w-]+/model", shlex.join(command)):
        (here / model).parent.mkdir(parents=True, exist_ok=True)
        if not (here / model).exists():
            (here / model).symlink_to(whole_model)
    run(re.sub("^small(?=$|,)", str(whole_model), word) for word in made_short(command))
    (out,) = (word for before, word in pairwise(command) if before == "-o")
    assert "PSNR" in (here / out / "summary.md").read_text()


def test_the_data_of_each_configuration_shown_is_found_where_the_commands_leave_it(here):
    for shown in data_shown():
        data = DataConfig.model_validate(shown | {"resolution": 64})
        for sources, split in ((data.sources, data.split), (data.validation, data.validation_split)):
            assert len(load_faces(data, sources, split, seed=0))


def made(what: str) -> list[str]:
    return [line for line in make_lines() if line.split()[1].startswith(f"{what}-")]


def test_every_training_that_make_runs_and_every_other_shown_works(here):
    """In the order of the documents: what one leaves behind is what the next begins from."""
    by_make = []
    for line in made("train"):
        by_make += (now := commands_of(line, here))  # which go on with what the line before left
        for command in now:
            run(made_short(command))
    for command in commands(of="train"):
        if command not in by_make:
            run(made_short(command))
    for run_dir in ("small-decoder", "longer", "plain-ldm", "mine"):
        assert list((here / "runs" / run_dir / "model").rglob("*.safetensors"))


def test_every_ablation_that_make_runs_works(here, whole_model):
    """What begins from weights that were trained longer is read alone; its configurations are trained for two steps."""
    run(made_short(("train", "configs/ablation-64-ldm.yaml")))
    (here / "runs/small-refldm").mkdir(parents=True)
    (here / "runs/small-refldm/model").symlink_to(whole_model)
    for line in made("ablate"):
        trains = "ablate-references" not in line
        shutil.rmtree(here / "evaluation", ignore_errors=True)
        for command in commands_of(line, here):
            if trains and "configs/ablation-64-refldm.yaml" not in line:
                parse(command)
            else:
                run(made_short(command))
