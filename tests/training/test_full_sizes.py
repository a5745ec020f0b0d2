"""Networks of the sizes in the configurations that ship: that they fit pictures of theirs, by shapes alone."""

from typing import Any

import pytest
import torch
from shipped_configs import CONFIGS, ROOT, config_of

from faceref.models.autoencoder import AUTOENCODERS, decode, encode
from faceref.models.ldbfr import InjectedUNet
from faceref.models.loading import load_component
from faceref.models.unet import ReferenceUNet
from faceref.training.config_files import load_config
from faceref.training.optimizer import make_optimizer
from faceref.training.stages.configs import DiffusionConfig, LDBFRConfig, TrainConfig, VQGANConfig
from faceref.training.stages.vqgan import build_autoencoder


def new(*kinds: type[TrainConfig]) -> list[Any]:
    """The configurations of these kinds that begin with untrained networks."""
    configs = [(path.stem, load_config(path)) for path in CONFIGS]
    kept = [one for one in configs if isinstance(one[1], kinds) and getattr(one[1], "initial", None) is None]
    return [pytest.param(config, id=name) for name, config in kept]


def full_pictures(config: TrainConfig) -> torch.Tensor:
    """One of the size it is trained on, of which only the shape is known."""
    return torch.empty(1, 3, config.data.resolution, config.data.resolution, device="meta")


@pytest.mark.parametrize("config", new(VQGANConfig))
def test_an_autoencoder_of_full_size_takes_pictures_of_full_size(config: VQGANConfig):
    with torch.device("meta"):
        autoencoder = build_autoencoder(config.autoencoder)
        pictures = full_pictures(config)
        assert decode(autoencoder, encode(autoencoder, pictures)).shape == pictures.shape


@pytest.mark.parametrize("config", new(DiffusionConfig, LDBFRConfig))
def test_a_denoiser_of_full_size_takes_the_latents_of_full_size(config: DiffusionConfig | LDBFRConfig):
    with torch.device("meta"):
        if config.autoencoder.parts[0] == "runs":
            before = config_of(config.autoencoder)
            assert isinstance(before, VQGANConfig)
            autoencoder = build_autoencoder(before.autoencoder)
        else:
            autoencoder = load_component(ROOT / config.autoencoder, AUTOENCODERS, "vae").to("meta")  # type: ignore[arg-type]
        latents = encode(autoencoder, full_pictures(config))
        if isinstance(config, LDBFRConfig):
            unet = InjectedUNet(**config.unet)
            side = unet.config["feature_size"]
            predicted = unet(latents, 1.0, torch.empty(1, unet.config["feature_channels"], side, side))
        else:
            predicted = ReferenceUNet(**config.unet)(torch.cat([latents, latents], dim=1), 1.0)
    assert predicted.sample.shape == latents.shape


def test_the_networks_of_ld_bfr_have_the_sizes_of_latent_diffusion():
    """Its U-Net but for the injections, and its second autoencoder, are those of latent diffusion's for faces.

    274.06 M and 55.32 M parameters are what the logs and the model zoo of CompVis/latent-diffusion say.
    """
    unet, second = (load_config(ROOT / "configs" / f"ldbfr-256-{name}.yaml") for name in ("ldm", "vqgan2"))
    assert isinstance(unet, LDBFRConfig)
    assert isinstance(second, VQGANConfig)
    with torch.device("meta"):
        network, autoencoder = InjectedUNet(**unet.unet), build_autoencoder(second.autoencoder)
    without = sum(weight.numel() for name, weight in network.named_parameters() if ".inject." not in name)
    assert without / 1e6 == pytest.approx(274.06, abs=0.01)
    assert sum(weight.numel() for weight in autoencoder.parameters()) / 1e6 == pytest.approx(55.32, abs=0.01)


@pytest.mark.parametrize("name", ["refldm-512-ldm", "refldm-512-refldm", "ldbfr-256-ldm"])
def test_the_released_denoisers_have_the_optimizer_of_latent_diffusion(name: str):
    """Its configure_optimizers makes torch.optim.AdamW(params, lr=lr)."""
    network = torch.nn.Linear(1, 1)
    theirs = torch.optim.AdamW(network.parameters()).defaults
    ours = make_optimizer([network], load_config(ROOT / "configs" / f"{name}.yaml").optimizer).param_groups[0]
    for setting in ("weight_decay", "betas", "eps", "amsgrad"):
        assert ours[setting] == theirs[setting], setting
