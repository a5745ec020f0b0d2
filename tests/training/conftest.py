"""Photographs to train on for a few steps, crops of the one face that may be shipped; and a recogniser."""

import csv
from pathlib import Path

import pytest
import skimage
import torch
from diffusers import DDIMScheduler
from PIL import Image
from safetensors.torch import save_file

from faceref.checkpoints.store import load_blind, load_pipeline, save_model
from faceref.data.dataset import FaceDataset, FaceSample
from faceref.models.identity import MobileFaceNet

PEOPLE = {"ada": 4, "bea": 3, "cleo": 1}


@pytest.fixture(scope="session")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with faces/PERSON/N.png (64 px) and faces/index.csv, all in the splits train and, again, val."""
    root = tmp_path_factory.mktemp("photographs")
    portrait = Image.fromarray(skimage.data.astronaut()).crop((140, 0, 300, 160)).resize((96, 96))
    rows = []
    for person, count in PEOPLE.items():
        (root / "faces" / person).mkdir(parents=True)
        for i in range(count):
            turned = portrait.rotate(7 * len(rows)).crop((16, 16, 80, 80))
            turned.save(root / "faces" / person / f"{i}.png")
            rows += [
                {"file": f"{person}/{i}.png", "person": person, "split": split, "sharpness": 300}
                for split in ("train", "val")
            ]
    with (root / "faces" / "index.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return root


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[FaceDataset, int]]:
    """What is asked of data sets from now on, each with the key of the sample."""
    asked: list[tuple[FaceDataset, int]] = []
    get = FaceDataset.__getitem__

    def spy(self: FaceDataset, key: int) -> FaceSample:
        asked.append((self, key))
        return get(self, key)

    monkeypatch.setattr(FaceDataset, "__getitem__", spy)
    return asked


@pytest.fixture(scope="session")
def recogniser(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of an untrained one."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = MobileFaceNet()
    path = tmp_path_factory.mktemp("weights") / "recogniser.safetensors"
    save_file(network.state_dict(), path)
    return path


@pytest.fixture(scope="session")
def one_step_model(tiny_model_with_blind: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As `tiny_model_with_blind`, but its denoiser predicts the clean latent, from noise alone if need be."""
    pipeline, info = load_pipeline(tiny_model_with_blind)
    config = dict(pipeline.scheduler.config) | {"prediction_type": "sample", "rescale_betas_zero_snr": True}
    config["set_alpha_to_one"] = False  # as ReF-LDM has it
    pipeline.register_modules(scheduler=DDIMScheduler.from_config(config))
    folder = tmp_path_factory.mktemp("models") / "one-step"
    save_model(pipeline, info, folder, load_blind(tiny_model_with_blind))
    return folder
