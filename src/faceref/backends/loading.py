"""A pipeline of exported graphs."""

from pathlib import Path
from typing import Any

from faceref.backends.description import Component, Export
from faceref.backends.installed import TO_RUN, check_installed
from faceref.backends.networks import (
    ExportedAutoencoder,
    ExportedDetailDecoder,
    ExportedFusion,
    ExportedIdentityEncoder,
    ExportedInjectedUNet,
    ExportedNetwork,
    ExportedReferenceUNet,
    ExportedVQModel,
)
from faceref.backends.sessions import Session
from faceref.compute import Backend
from faceref.pipelines.protocol import FacePipeline
from faceref.pipelines.refldm import ReFLDMPipeline

_KINDS: dict[Component, type[ExportedNetwork]] = {
    "vae": ExportedAutoencoder,
    "vq": ExportedVQModel,
    "fusion": ExportedFusion,
    "detail": ExportedDetailDecoder,
    "identity_encoder": ExportedIdentityEncoder,
}


def load_graphs(kind: type[FacePipeline], folder: Path, export: Export, backend: Backend, model: Path) -> FacePipeline:
    """A pipeline whose networks are the graphs in `folder`, opened when they are first used.

    export: what they are; model: the folder with the schedule and the sampling, which may be the same. Threads may
    share it. Raises UsageError if the backend is not installed; CheckpointError if the model is damaged.
    """
    check_installed(TO_RUN[backend])
    sessions = {name: Session(export.path(folder, name), shapes, backend) for name, shapes in export.graphs.items()}
    unet = ExportedReferenceUNet if kind.takes_references else ExportedInjectedUNet
    components: dict[str, Any] = {
        name: (_KINDS | {"unet": unet})[name](settings, sessions) for name, settings in export.networks.items()
    }
    pipeline = kind.of(components, model)
    pipeline.backend = backend
    pipeline.set_progress_bar_config(disable=True)  # as that of a model that is loaded by its name
    if isinstance(pipeline, ReFLDMPipeline):
        # of the backend too: two do not make the same bytes of a photograph, and one seed gives one picture
        pipeline.fingerprint = f"{export.model}-{backend}"
    return pipeline
