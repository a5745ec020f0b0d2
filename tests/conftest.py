"""What tests share: a real face that may be redistributed, and the folder of research photographs where it exists."""

import gc
import hashlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import skimage.data
import torch
from accelerate.state import AcceleratorState, GradientState
from diffusers import DDIMScheduler, VQModel
from networks import MODEL_UNET, model_info
from PIL import Image

from faceref.checkpoints.store import load_pipeline, save_model
from faceref.devices import PEAK_SIDE
from faceref.faces.dlib_detector import DlibDetector
from faceref.models.autoencoder import PixelUnshuffleVQModel
from faceref.models.detail_decoder import DetailDecoder
from faceref.models.ldbfr import InjectedReferenceUNet, InjectedUNet, RestoringVQModel
from faceref.models.unet import ReferenceUNet
from faceref.pipelines.ldbfr import LDBFRPipeline
from faceref.pipelines.refldm import ReFLDMPipeline
from faceref.training.stages.components import new_identity_encoder
from faceref.training.trainer import Trainer


def pytest_collection_finish() -> None:
    """All that is imported by now stays: the garbage collector need not look at it again and again."""
    gc.freeze()


@pytest.fixture(autouse=True)
def as_in_a_new_process() -> None:
    """A command sets the log level, and training accelerate's state, for its process; each test begins without."""
    logging.getLogger("faceref").setLevel(logging.NOTSET)
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()


@pytest.fixture(autouse=True)
def cache_of_its_own(tmp_path_factory, monkeypatch) -> None:
    """What is remembered of albums is in the user's cache folder; tests have their own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture
def counted() -> None:
    """For tests of what a training says of its operations."""


@pytest.fixture(autouse=True)
def around_a_training(request, monkeypatch) -> None:
    """What takes longer than a tiny network's steps: for its log each training measures the machine's peak and counts a
    step's operations, and at its end accelerate looks for garbage among all that was ever imported.
    """
    monkeypatch.setitem(PEAK_SIDE, "cpu", 64)
    monkeypatch.setattr("accelerate.utils.memory.gc", SimpleNamespace(collect=lambda: 0))
    if "counted" not in request.fixturenames:
        monkeypatch.setattr(Trainer, "flops", lambda *_: 1e9)


@pytest.fixture(scope="session", autouse=True)
def looked_at_once() -> Iterator[None]:
    """Where dlib's first detector sees no face, its network takes a second; tests show both the same few pictures."""
    look, answers = DlibDetector._cnn_boxes, {}

    def remembered(self: DlibDetector, image: Image.Image) -> list:
        key = image.size, hashlib.sha256(image.tobytes()).digest()
        if key not in answers:
            answers[key] = look(self, image)
        return list(answers[key])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DlibDetector, "_cnn_boxes", remembered)
        yield


@pytest.fixture(scope="session")
def astronaut() -> Image.Image:
    """NASA's portrait of Eileen Collins (public domain), RGB 512x512; the package scikit-image carries it."""
    return Image.fromarray(skimage.data.astronaut())


@pytest.fixture(scope="session")
def portrait(astronaut) -> Image.Image:
    """Her face with some of what is around it, RGB 254x254."""
    return astronaut.crop((96, 0, 350, 254))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with golden numbers and research photographs; a test that asks for it is skipped without it."""
    folder = Path(os.environ.get("FACEREF_SHARED", Path(__file__).parents[2] / "shared"))
    if not folder.is_dir():
        pytest.skip(f"{folder} is absent: set FACEREF_SHARED to the folder with golden/ and data/ to run this test.")
    return folder


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory) -> Path:
    """A model folder with random weights, 64 px, two steps: all that is true of any model is true of it."""
    torch.manual_seed(0)
    unet = ReferenceUNet(**MODEL_UNET)
    vae = PixelUnshuffleVQModel(patch_size=4, base_channels=32, latent_channels=4, codebook_size=16)
    scheduler = DDIMScheduler(beta_start=0.0015, beta_end=0.0155, beta_schedule="scaled_linear", clip_sample=False)
    folder = tmp_path_factory.mktemp("models") / "tiny"
    save_model(ReFLDMPipeline(unet, vae, scheduler), model_info(name="tiny"), folder)  # type: ignore[arg-type]
    return folder


@pytest.fixture(scope="session")
def tiny_blind_model(tmp_path_factory) -> Path:
    """The same of the family ldbfr, three steps."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        vq = RestoringVQModel.from_autoencoder(
            PixelUnshuffleVQModel(16, base_channels=32, latent_channels=16, codebook_size=16)
        )
        unet = InjectedUNet(**(MODEL_UNET | {"in_channels": 4}), feature_channels=16, feature_size=4)
        vae = PixelUnshuffleVQModel(patch_size=4, base_channels=32, latent_channels=4, codebook_size=16)
    scheduler = DDIMScheduler(beta_start=0.0015, beta_end=0.0195, beta_schedule="scaled_linear", clip_sample=False)
    info = model_info(name="tiny-blind", family="ldbfr", steps=3, guidance=1)
    folder = tmp_path_factory.mktemp("models") / "tiny-blind"
    save_model(LDBFRPipeline(vq, unet, vae, scheduler), info, folder)
    return folder


@pytest.fixture(scope="session")
def tiny_model_with_blind(tiny_model, tiny_blind_model, tmp_path_factory) -> Path:
    """A model folder that holds both."""
    folder = tmp_path_factory.mktemp("models") / "tiny-with-blind"
    save_model(*load_pipeline(tiny_model), folder, load_pipeline(tiny_blind_model))
    return folder


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
