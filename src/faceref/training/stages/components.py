"""The networks that stages are built of: new ones, trained ones, and those that judge."""

from pathlib import Path
from typing import Any, TypeVar

import torch
from diffusers import ModelMixin, UNet2DModel
from torch import nn

from faceref.errors import UsageError
from faceref.faces.centre import Centre
from faceref.faces.dlib_torch import load_trained_resnet
from faceref.models.autoencoder import AUTOENCODERS, Autoencoder, encode
from faceref.models.identity import FaceRecogniser
from faceref.models.identity_encoder import IdentityEncoder
from faceref.models.ldbfr import RestoringVQModel
from faceref.models.loading import load_component
from faceref.models.recogniser_files import load_face_recogniser
from faceref.training.backbones import TimmFeatures
from faceref.training.stages.configs import DenoisingConfig, DrawingConfig, JudgedConfig
from faceref.training.stages.loss_weights import LikenessWeights
from faceref.training.stages.unet_arguments import UNetArguments

Model = TypeVar("Model", bound=ModelMixin)
SMALL = 64  # pixels to a side of a picture that tells how much smaller its latents are


def new_network(kind: type[Model], arguments: dict[str, Any], name: str) -> Model:
    """An untrained network; `name` is what the configuration calls it. Raises UsageError where arguments do not fit."""
    try:
        return kind(**arguments)
    except (TypeError, ValueError, RuntimeError, ArithmeticError, LookupError) as error:
        raise UsageError(f"cannot be built from its arguments: {error}", subject=f"The {name}") from error


def new_unet(kind: type[Model], arguments: UNetArguments) -> Model:
    """As `new_network`; without any arguments there is nothing to train, which is a UsageError, too."""
    if not arguments:
        raise UsageError(
            "There is no U-Net to train", hint="set initial to a trained one, or unet to the sizes of a new one"
        )
    return new_network(kind, dict(arguments), "U-Net")


def autoencoder_of(unet: UNet2DModel, folder: Path, resolution: int) -> Autoencoder:
    """The trained autoencoder whose latents, of pictures with so many pixels to a side, the U-Net denoises.

    Raises UsageError where they do not fit.
    """
    autoencoder = load_component(folder, AUTOENCODERS, "vae")
    channels = autoencoder.quantize.embedding.embedding_dim  # type: ignore[union-attr]
    if unet.config["out_channels"] != channels:
        raise UsageError(
            f"The latents of {folder} have {channels} channels, but the U-Net makes {unet.config['out_channels']}: "
            f"set unet.out_channels to {channels}, or start from another U-Net"
        )
    side = resolution // (SMALL // encode(autoencoder, torch.zeros(1, 3, SMALL, SMALL)).shape[-1])
    has_a_size = any(unet.config.get(name) for name in ("identity_size", "feature_size"))  # maps for each place
    if has_a_size and unet.config["sample_size"] != side:
        raise UsageError(
            f"The latents of {folder} are {side} x {side} for pictures of {resolution} px, and the U-Net is made for "
            f"{unet.config['sample_size']}",
            hint=f"set unet.sample_size to {side}, or data.resolution to what the U-Net was trained on",
        )
    if side % (halved := 2 ** (len(unet.config["block_out_channels"]) - 1)):
        raise UsageError(
            f"Latents of {side} x {side} cannot be halved as often as the U-Net does",
            hint=f"choose data.resolution so that they are a multiple of {halved}, or fewer unet.block_out_channels",
        )
    return autoencoder


def check_features(unet: UNet2DModel, restoring: RestoringVQModel, folder: Path) -> None:
    """Raises UsageError if the features that the first stage in `folder` repairs are not those the U-Net takes."""
    wanted, repaired = unet.config["feature_channels"], restoring.attention.q.in_channels
    if wanted != repaired:
        raise UsageError(
            f"repairs {repaired} channels, but the U-Net takes {wanted}: set unet.feature_channels to {repaired}, "
            "or start from another U-Net",
            subject=folder,
        )


def recogniser_of(
    config: DenoisingConfig | DrawingConfig | JudgedConfig, needed_by: str | None = None
) -> FaceRecogniser | None:
    """The recogniser of the identity loss and of validation, if the configuration names one.

    needed_by: the setting of a loss that cannot do without: then UsageError is raised if there is none.
    """
    if config.recogniser:
        return load_face_recogniser(config.recogniser)
    if needed_by:
        raise UsageError(f"{needed_by} needs a recogniser", hint=f"set recogniser to its weights, or {needed_by} to 0")
    return None


def new_identity_encoder() -> IdentityEncoder:
    """What tells a denoiser whom the references show: our recogniser (`configs/recogniser.yaml`)."""
    encoder = IdentityEncoder()
    encoder.recogniser.load_state_dict(load_trained_resnet().state_dict())
    encoder.centre.copy_(torch.from_numpy(Centre.shipped().mean))
    return encoder.eval()


def model_around(unet: Path) -> Path:
    """The model folder that a U-Net is loaded from: as it is given, or the one around it if that is the U-Net alone."""
    return unet if (unet / "unet").is_dir() else unet.absolute().parent


def identity_encoder_of(
    unet: UNet2DModel, initial: Path | None, otherwise: IdentityEncoder | None = None
) -> IdentityEncoder | None:
    """What tells a U-Net whom the references show: that of the model it begins from; None if nothing.

    otherwise: in its place where that has none; None: a new one.
    """
    if unet.config.get("identity_size") is None:
        return None
    if initial is not None and (model_around(initial) / "identity_encoder").is_dir():
        return load_component(model_around(initial), (IdentityEncoder,), "identity_encoder")
    return otherwise or new_identity_encoder()


def needed_for_identity(weights: LikenessWeights) -> str | None:
    """The setting of the identity loss, if there is one: as `recogniser_of` takes it."""
    return "weights.identity" if weights.identity > 0 else None


def judges(config: JudgedConfig) -> tuple[nn.Module | None, FaceRecogniser | None]:
    """The networks of the perceptual and of the identity loss."""
    by_recogniser = config.weights.perceptual > 0 and config.perceptual == "recogniser"
    recogniser = recogniser_of(config, "weights.perceptual" if by_recogniser else needed_for_identity(config.weights))
    if config.weights.perceptual == 0:
        return None, recogniser
    return recogniser if by_recogniser else TimmFeatures(config.perceptual), recogniser
