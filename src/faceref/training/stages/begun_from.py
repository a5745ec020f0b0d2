"""The trained networks and models that a run begins from, found before the first photograph is decoded."""

from pathlib import Path
from typing import TypeVar

from diffusers import ModelMixin

from faceref.checkpoints.info import NAMED, find_model
from faceref.models.autoencoder import AUTOENCODERS
from faceref.models.cleaner import PictureCleaner
from faceref.models.fusion import PixelFusion
from faceref.models.ldbfr import InjectedUNet, RestoringVQModel
from faceref.models.loading import find_component
from faceref.models.mechanisms import REFERENCE_UNETS
from faceref.models.recogniser_files import load_face_recogniser
from faceref.models.unet import ReferenceUNet
from faceref.training.config import StageConfig

Configured = TypeVar("Configured", bound=StageConfig)
Network = tuple[tuple[type[ModelMixin], ...], str]  # the classes that it may be, and its folder in a model

NETWORKS: dict[str, Network] = {  # by the setting that names one
    "autoencoder": (AUTOENCODERS, "vae"),
    "restoring": ((RestoringVQModel,), "vq"),
    "unet": ((ReferenceUNet,), "unet"),
}
INITIAL: dict[str, Network] = {  # by the stage that begins with one
    "vqgan": (AUTOENCODERS, "vae"),
    "ldm": (REFERENCE_UNETS, "unet"),
    "refldm": (REFERENCE_UNETS, "unet"),
    "ldbfr": ((InjectedUNet,), "unet"),
    "fusion": ((PixelFusion,), "fusion"),
    "cleaning": ((PictureCleaner,), "cleaner"),
}


def with_folders(config: Configured) -> Configured:
    """The configuration with the folders of models in place of their names, as `find_model` knows them.

    No weights are read. Raises UsageError or CheckpointError, as loading does, where a setting leads to nothing.
    """
    low_rank = getattr(config, "low_rank", None)
    for model in (getattr(config, "model", None), low_rank and low_rank.of):
        if isinstance(model, str | Path):
            find_model(model)
    recogniser = getattr(config, "recogniser", None)
    if recogniser is not None and not recogniser.is_file():
        load_face_recogniser(recogniser)  # says so
    folders = {}
    for setting, network in {**NETWORKS, "initial": INITIAL.get(config.stage)}.items():
        given = getattr(config, setting, None)
        if isinstance(given, Path) and network is not None:  # and not the sizes of a new one
            folders[setting] = find_model(str(given)) if str(given) in NAMED else given
            find_component(folders[setting], *network)
    return config.model_copy(update=folders)
