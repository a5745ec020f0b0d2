"""From a configuration to a trained model: builds the data sets and networks of a stage and hands them to the loop."""

import logging
from pathlib import Path

import numpy as np
import torch
from torch import nn

from faceref.data.dataset import FaceDataset, FaceSource, sharpness_weights
from faceref.errors import DataError, UsageError
from faceref.models.autoencoder import load_autoencoder
from faceref.models.mechanisms import load_unet, with_mechanism
from faceref.models.recogniser_files import load_recogniser
from faceref.models.unet import ReferenceUNet
from faceref.training.config import DataConfig, DiffusionConfig, VQGANConfig
from faceref.training.diffusion import DiffusionStage
from faceref.training.loop import TrainingSummary, make_accelerator, train
from faceref.training.losses import BackboneFeatures
from faceref.training.stage import Stage
from faceref.training.vqgan import VQGANStage, build_autoencoder

log = logging.getLogger(__name__)


def train_from(
    config: VQGANConfig | DiffusionConfig,
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
    stage = _vqgan_stage(config, faces) if isinstance(config, VQGANConfig) else _diffusion_stage(config)
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


def _vqgan_stage(config: VQGANConfig, faces: FaceDataset) -> Stage:
    try:
        vae = load_autoencoder(config.initial) if config.initial else build_autoencoder(config.autoencoder)
    except TypeError as error:
        raise UsageError(f"The autoencoder cannot be built from its arguments: {error}.") from error
    return VQGANStage(config, vae, _perceptual_network(config), faces.photographs)


def _perceptual_network(config: VQGANConfig) -> nn.Module | None:
    if config.weights.perceptual == 0:
        return None
    if config.perceptual != "recogniser":
        return BackboneFeatures(config.perceptual)
    if config.recogniser is None:
        raise UsageError("The perceptual loss needs a recogniser: set recogniser, or weights.perceptual to 0.")
    return load_recogniser(config.recogniser)


def _diffusion_stage(config: DiffusionConfig) -> Stage:
    recogniser = load_recogniser(config.recogniser) if config.recogniser else None
    if recogniser is None and config.stage == "refldm" and config.identity.scaling != "none":
        raise UsageError(
            "The identity loss needs a recogniser: set recogniser to its weights, or identity.scaling to none."
        )
    return DiffusionStage(config, _build_unet(config), load_autoencoder(config.autoencoder), recogniser)


def _build_unet(config: DiffusionConfig) -> ReferenceUNet:
    if config.initial is not None:
        unet = load_unet(config.initial)
    elif not config.unet:
        raise UsageError("There is no U-Net to train: set initial to a trained one, or unet to the sizes of a new one.")
    else:
        try:
            unet = ReferenceUNet(**config.unet)
        except (TypeError, ValueError) as error:
            raise UsageError(f"The U-Net cannot be built from its arguments: {error}.") from error
    return with_mechanism(unet, config.mechanism, config.data.references)
