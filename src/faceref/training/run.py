"""From a configuration to a trained model: builds the data sets and networks of a stage and hands them to the loop."""

import logging
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from diffusers import UNet2DModel
from torch import nn

from faceref.checkpoints.store import load_pipeline
from faceref.data.dataset import FaceDataset, FaceSource, sharpness_weights
from faceref.errors import DataError, UsageError
from faceref.models.autoencoder import AUTOENCODERS, Autoencoder
from faceref.models.fusion import PixelFusion
from faceref.models.identity import FaceRecogniser
from faceref.models.ldbfr import InjectedReferenceUNet, InjectedUNet, RestoringVQModel
from faceref.models.loading import load_component
from faceref.models.mechanisms import REFERENCE_UNETS, with_injections, with_mechanism
from faceref.models.recogniser_files import load_recogniser
from faceref.models.unet import ReferenceUNet
from faceref.training.config import (
    DataConfig,
    DenoisingConfig,
    DiffusionConfig,
    FusionConfig,
    LDBFRConfig,
    ReconstructionConfig,
    RestoringVQConfig,
    TrainConfig,
    VQGANConfig,
)
from faceref.training.loop import TrainingSummary, make_accelerator, train
from faceref.training.losses import BackboneFeatures
from faceref.training.stages.diffusion import DiffusionStage
from faceref.training.stages.fusion import FusionStage
from faceref.training.stages.ldbfr import LDBFRStage, RestoringVQStage
from faceref.training.stages.stage import Stage
from faceref.training.stages.vqgan import VQGANStage, build_autoencoder

log = logging.getLogger(__name__)

UNet = TypeVar("UNet", bound=UNet2DModel)


def train_from(
    config: TrainConfig,
    run_dir: Path,
    *,
    resume: bool = False,
    max_minutes: float | None = None,
    dry_run: bool = False,
) -> TrainingSummary:
    """Run a stage as its configuration says; see `faceref.training.loop.train` for the arguments and what is written.

    A dry run, too, leaves decoded photographs in `config.data.cache`, if that is set: the run itself will want them.
    Raises DataError, CheckpointError or UsageError where data, weights or settings do not fit.
    """
    accelerator = make_accelerator(config.loop.precision, None if dry_run else run_dir)
    torch.manual_seed(config.loop.seed)  # initial weights
    faces = _load_faces(config.data, config.data.sources, config.data.split, config.loop.seed)
    validation = _load_faces(config.data, config.data.validation, config.data.validation_split, config.loop.seed)
    stage = _build_stage(config, faces)
    log.info("%d photographs to train on, %d to validate on", len(faces), len(validation))
    return train(
        config,
        stage,
        faces,
        validation,
        run_dir,
        accelerator=accelerator,
        resume=resume,
        max_minutes=max_minutes,
        dry_run=dry_run,
        sample_weights=_sample_weights(config.data, faces),
    )


def _load_faces(data: DataConfig, sources: tuple[FaceSource, ...], split: str, seed: int) -> FaceDataset:
    located = [
        FaceSource(root=data.root / source.root, mapping=source.mapping and data.root / source.mapping)
        for source in sources
    ]
    return FaceDataset(located, split, data.resolution, seed, data.references, data.cache)


def _sample_weights(data: DataConfig, faces: FaceDataset) -> np.ndarray | None:
    weights = sharpness_weights(faces.sharpness) if data.prefer_sharp else np.ones(len(faces))
    if data.only_with_references:
        weights = weights * [bool(references) for references in faces.references]
        if not weights.any():
            raise DataError("Nobody in the training data has a second photograph to be a reference.")
    return None if np.all(weights == 1) else weights


def _build_stage(config: TrainConfig, faces: FaceDataset) -> Stage:
    match config:
        case VQGANConfig():
            return VQGANStage(config, _autoencoder(config), faces.photographs, *_judges(config))
        case RestoringVQConfig():
            return RestoringVQStage(config, _new_restoring(config), *_judges(config))
        case DiffusionConfig():
            return _diffusion_stage(config)
        case LDBFRConfig():
            return _ldbfr_stage(config)
        case FusionConfig():
            return _fusion_stage(config)


def _autoencoder(config: VQGANConfig) -> Autoencoder:
    try:
        return (
            load_component(config.initial, AUTOENCODERS, "vae")
            if config.initial
            else build_autoencoder(config.autoencoder)
        )
    except TypeError as error:
        raise UsageError(f"The autoencoder cannot be built from its arguments: {error}.") from error


def _new_restoring(config: RestoringVQConfig) -> RestoringVQModel:
    autoencoder = load_component(config.autoencoder, AUTOENCODERS, "vae")
    if not autoencoder.config.get("quantize", True):
        raise UsageError(f"{config.autoencoder} was trained without its codebook: train one with quantize: true.")
    return RestoringVQModel.from_autoencoder(autoencoder, config.heads)


def _judges(config: ReconstructionConfig) -> tuple[nn.Module | None, FaceRecogniser | None]:
    """The networks of the perceptual and of the identity loss."""
    recogniser = load_recogniser(config.recogniser) if config.recogniser else None
    by_recogniser = config.weights.perceptual > 0 and config.perceptual == "recogniser"
    if recogniser is None and (by_recogniser or config.weights.identity > 0):
        raise UsageError(
            "The perceptual and the identity loss need a recogniser: set recogniser to its weights, or "
            "weights.perceptual and weights.identity to 0."
        )
    if config.weights.perceptual == 0:
        return None, recogniser
    return recogniser if by_recogniser else BackboneFeatures(config.perceptual), recogniser


def _diffusion_stage(config: DiffusionConfig) -> Stage:
    recogniser = _recogniser(config)
    if recogniser is None and config.identity.scaling != "none" and config.identity.weight > 0:
        raise UsageError(
            "The identity loss needs a recogniser: set recogniser to its weights, or identity.scaling to none."
        )
    unet = (
        load_component(config.initial, REFERENCE_UNETS, "unet") if config.initial else _new_unet(ReferenceUNet, config)
    )
    unet = with_mechanism(unet, config.mechanism, config.data.references)
    restoring = load_component(config.restoring, (RestoringVQModel,), "vq") if config.restoring else None
    if restoring is not None:
        size = config.data.resolution // restoring.downsampling
        unet = with_injections(unet, restoring.attention.q.in_channels, size)
        _check_features(unet, restoring, config.restoring)
    elif isinstance(unet, InjectedReferenceUNet):
        raise UsageError(f"The U-Net in {config.initial} has features injected: set restoring to what repairs them.")
    return DiffusionStage(config, unet, _autoencoder_of(unet, config), recogniser, restoring)


def _ldbfr_stage(config: LDBFRConfig) -> Stage:
    unet = (
        load_component(config.initial, (InjectedUNet,), "unet") if config.initial else _new_unet(InjectedUNet, config)
    )
    restoring = load_component(config.restoring, (RestoringVQModel,), "vq")
    _check_features(unet, restoring, config.restoring)
    return LDBFRStage(config, unet, _autoencoder_of(unet, config), restoring, _recogniser(config))


def _fusion_stage(config: FusionConfig) -> Stage:
    if config.initial and config.fusion:
        raise UsageError("The sizes in fusion are those of a new one: leave them out, or leave out initial.")
    fusion = load_component(config.initial, (PixelFusion,), "fusion") if config.initial else _new_fusion(config)
    pipeline, info = load_pipeline(config.model)
    if info.resolution != config.data.resolution:
        raise UsageError(f"{config.model} works at {info.resolution} px: set data.resolution to that.")
    if info.resolution % fusion.config["patch_size"]:
        raise UsageError(f"fusion.patch_size must divide the resolution, {info.resolution}.")
    return FusionStage(config, fusion, pipeline, info, *_judges(config))


def _new_fusion(config: FusionConfig) -> PixelFusion:
    try:
        return PixelFusion(**config.fusion)
    except (TypeError, ValueError, RuntimeError) as error:
        raise UsageError(f"The fusion cannot be built from its arguments: {error}.") from error


def _autoencoder_of(unet: UNet2DModel, config: DenoisingConfig) -> Autoencoder:
    autoencoder = load_component(config.autoencoder, AUTOENCODERS, "vae")
    channels = autoencoder.quantize.embedding.embedding_dim  # type: ignore[union-attr]
    if unet.config["out_channels"] != channels:
        raise UsageError(
            f"The latents of {config.autoencoder} have {channels} channels, but the U-Net makes "
            f"{unet.config['out_channels']}: set unet.out_channels to {channels}, or start from another U-Net."
        )
    return autoencoder


def _check_features(unet: UNet2DModel, restoring: RestoringVQModel, folder: Path | None) -> None:
    wanted, repaired = unet.config["feature_channels"], restoring.attention.q.in_channels
    if wanted != repaired:
        raise UsageError(
            f"{folder} repairs {repaired} channels, but the U-Net takes {wanted}: set unet.feature_channels to "
            f"{repaired}, or start from another U-Net."
        )


def _recogniser(config: DenoisingConfig) -> FaceRecogniser | None:
    return load_recogniser(config.recogniser) if config.recogniser else None


def _new_unet(kind: type[UNet], config: DenoisingConfig) -> UNet:
    if not config.unet:
        raise UsageError("There is no U-Net to train: set initial to a trained one, or unet to the sizes of a new one.")
    try:
        return kind(**config.unet)
    except (TypeError, ValueError) as error:
        raise UsageError(f"The U-Net cannot be built from its arguments: {error}.") from error
