"""A model that has all that a model of the family refldm can have, and what computes it beside PyTorch."""

from pathlib import Path

import pytest
import torch
from diffusers import DDIMScheduler, VQModel
from networks import MODEL_UNET, model_info

from faceref.checkpoints.store import save_model
from faceref.compute import Backend
from faceref.models.autoencoder import PixelUnshuffleVQModel
from faceref.models.detail_decoder import DetailDecoder
from faceref.models.ldbfr import InjectedReferenceUNet, RestoringVQModel
from faceref.pipelines.refldm import ReFLDMPipeline
from faceref.training.stages.components import new_identity_encoder


@pytest.fixture(scope="session", params=["onnxruntime", "openvino"])
def backend(request: pytest.FixtureRequest) -> Backend:
    pytest.importorskip(request.param, reason=f"needs {request.param}: pip install 'faceref[{request.param}]'")
    return request.param


@pytest.fixture(scope="session")
def whole_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights; faces of 64 px from an autoencoder of 32 px with a codebook, drawn larger, with texture.

    Its denoiser is shown repaired features, and told who the references show.
    """
    with torch.random.fork_rng():
        torch.manual_seed(0)
        vae = VQModel(
            block_out_channels=(32, 32),
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
            latent_channels=4,
            num_vq_embeddings=16,
        )
        vq = RestoringVQModel.from_autoencoder(
            PixelUnshuffleVQModel(16, base_channels=32, latent_channels=16, codebook_size=16)
        )
        unet = InjectedReferenceUNet(
            **MODEL_UNET, feature_channels=16, feature_size=4, distance_bias=True, identity_size=128
        )
        encoder = new_identity_encoder()
        detail = DetailDecoder(
            latent_channels=4, patch_size=4, channels=(32, 8, 8), residual_blocks=(1, 0, 0), textured=True
        )
        for network in (unet, detail):
            for parameter in network.parameters():
                if not parameter.any():  # as some are at first, so that what comes before them would not matter
                    torch.nn.init.normal_(parameter, std=0.1)
    folder = tmp_path_factory.mktemp("models") / "whole"
    scheduler = DDIMScheduler(beta_start=0.0015, beta_end=0.0155, beta_schedule="scaled_linear", clip_sample=False)
    pipeline = ReFLDMPipeline(
        unet,
        vae,
        scheduler,
        vq,
        detail=detail,
        identity_encoder=encoder,  # type: ignore[arg-type]
    )
    save_model(pipeline, model_info(name="whole", crisp=0.4), folder)
    return folder
