"""A tiny model with random weights, and photographs of two "people": NASA's astronaut, as she is and mirrored."""

from pathlib import Path

import pytest
import torch
from diffusers import DDIMScheduler
from networks import UNET, model_info
from PIL import Image, ImageEnhance

from faceref.checkpoints.store import save_model
from faceref.models.autoencoder import PixelUnshuffleVQModel
from faceref.models.unet import ReferenceUNet
from faceref.pipelines.refldm import ReFLDMPipeline

SIZE = 64
PEOPLE = ("ann", "bea")
PHOTOS = 3  # of each


@pytest.fixture(scope="session")
def album(tmp_path_factory, astronaut: Image.Image) -> Path:
    """ann/0.png .. bea/2.png, aligned faces, and index.csv with the columns file, person, split, hair."""
    folder = tmp_path_factory.mktemp("album")
    face = astronaut.crop((140, 15, 310, 185)).resize((SIZE, SIZE), Image.Resampling.LANCZOS)
    lines = ["file,person,split,hair"]
    for person in PEOPLE:
        (folder / person).mkdir()
        for photo in range(PHOTOS):
            image = face.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if person == "bea" else face
            ImageEnhance.Brightness(image).enhance(1 - 0.15 * photo).save(folder / person / f"{photo}.png")
            lines.append(f"{person}/{photo}.png,{person},test,{'dark' if person == 'bea' else 'light'}")
    (folder / "index.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory) -> Path:
    return _save_model(tmp_path_factory.mktemp("models") / "tiny", seed=0)


@pytest.fixture(scope="session")
def other_model_folder(tmp_path_factory) -> Path:
    return _save_model(tmp_path_factory.mktemp("models") / "other", seed=1)


def _save_model(folder: Path, seed: int) -> Path:
    torch.manual_seed(seed)
    vae = PixelUnshuffleVQModel(patch_size=4, base_channels=32, latent_channels=4, codebook_size=8)
    unet = ReferenceUNet(**(UNET | {"block_out_channels": (16, 32), "attention_head_dim": 16, "norm_num_groups": 4}))
    with torch.no_grad():
        for parameter in unet.parameters():  # the references must be seen in the result
            parameter.mul_(1.5)
    scheduler = DDIMScheduler(
        beta_start=0.0015,
        beta_end=0.0155,
        beta_schedule="scaled_linear",
        timestep_spacing="trailing",
        set_alpha_to_one=False,
        clip_sample=False,
    )
    info = model_info(name=folder.name, resolution=SIZE)
    save_model(ReFLDMPipeline(unet=unet, vae=vae, scheduler=scheduler), info, folder)
    return folder
