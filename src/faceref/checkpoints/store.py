"""Models on disk: what describes them (faceref.json), where the named ones live, how they are written and loaded."""

import os
import tempfile
from importlib import resources
from pathlib import Path
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from faceref.errors import CheckpointError, OutputError, UsageError
from faceref.files import cannot_be_written, new_folder
from faceref.pipelines.ldbfr import LDBFRPipeline
from faceref.pipelines.protocol import FacePipeline
from faceref.pipelines.refldm import ReFLDMPipeline
from faceref.pipelines.sampling import SchedulerName

REFLDM_RELEASE = "https://github.com/ChiWeiHsiao/ref-ldm/releases/download/1.0.0"
ACCEPT_VARIABLE = "FACEREF_ACCEPT_NONCOMMERCIAL"
BLIND = "blind"  # in a model folder: the model for photographs without references, a folder like any

Pipeline = FacePipeline
_PIPELINES: dict[str, type[FacePipeline]] = {"refldm": ReFLDMPipeline, "ldbfr": LDBFRPipeline}


class ModelInfo(BaseModel):
    """faceref.json: what a model is, how to use it by default, and what is known of it."""

    model_config = ConfigDict(extra="forbid")

    name: str
    family: Literal["refldm", "ldbfr"]
    resolution: int = Field(gt=0, description="side of the square pictures, pixels")
    alignment: Literal["ffhq"] = "ffhq"
    steps: int = Field(gt=0)
    guidance: float = Field(ge=0, description="towards the references; 1, and anything for ldbfr: none")
    scheduler: SchedulerName
    training_data: str
    licence: str
    quality: dict[str, float] = Field(default={}, description="measured, e.g. {'lfw128 severe identity': 0.91}")
    quality_command: str | None = Field(default=None, description="the command that measured it")


def find_model(name_or_path: str | os.PathLike[str], accept_licence: bool = False) -> Path:
    """The folder of `small`, of `refldm-512` (downloaded and imported on first use), or the given folder itself.

    accept_licence: the user agrees to the non-commercial licence of the authors' checkpoints; so does a non-empty
    environment variable FACEREF_ACCEPT_NONCOMMERCIAL.

    Raises UsageError if there is no such model or the licence is not accepted.
    """
    if name_or_path == "small":
        folder = Path(str(resources.files("faceref"))) / "weights" / "small"
    elif name_or_path == "refldm-512":
        folder = models_home() / "refldm-512"
        if not folder.is_dir():
            if not (accept_licence or os.environ.get(ACCEPT_VARIABLE)):
                raise UsageError(
                    "refldm-512 is the work of the authors of ReF-LDM, for non-commercial research only: "
                    f"set {ACCEPT_VARIABLE}=1 if you accept that, and it is downloaded from {REFLDM_RELEASE}."
                )
            download_refldm(folder, REFLDM_RELEASE)
    else:
        folder = Path(name_or_path)
    if not (folder / "faceref.json").is_file():
        raise UsageError(f"There is no model {str(name_or_path)!r}; give small, refldm-512 or a model folder.")
    return folder


def models_home() -> Path:
    """Where downloaded models are kept: $FACEREF_HOME, ~/.cache/faceref if that is not set."""
    return Path(os.environ.get("FACEREF_HOME") or Path.home() / ".cache" / "faceref")


def download_refldm(folder: Path, release: str) -> None:
    """Download the authors' two checkpoints (about 2 GB) from `release` and import them into `folder`.

    Raises OutputError if the download or the disk fails, CheckpointError if what came is not what it should be.
    """
    from faceref.checkpoints.original import import_refldm  # it writes with this module

    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        downloads = tempfile.TemporaryDirectory(dir=folder.parent, prefix=".download-")
    except OSError as error:
        raise cannot_be_written(folder, error) from error
    with downloads as scratch:
        for name in ("refldm.ckpt", "vqgan.ckpt"):
            try:
                torch.hub.download_url_to_file(f"{release}/{name}", str(Path(scratch) / name))
            except OSError as error:  # urllib's errors are OSErrors, a full disk is one
                raise OutputError(f"{release}/{name} could not be downloaded ({error}); try again later.") from error
        import_refldm(Path(scratch) / "refldm.ckpt", Path(scratch) / "vqgan.ckpt", folder)


def read_info(folder: str | os.PathLike[str]) -> ModelInfo:
    """What a model folder says of itself. Raises CheckpointError if faceref.json is missing or malformed."""
    path = Path(folder) / "faceref.json"
    try:
        return ModelInfo.model_validate_json(path.read_bytes())
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read; give a folder that faceref has trained or imported.") from error
    except ValidationError as error:
        problem = error.errors()[0]
        field = ".".join(map(str, problem["loc"])) or "the file"
        raise CheckpointError(f"{path} is not a model description: {field}: {problem['msg']}.") from error


def load_pipeline(
    name_or_path: str | os.PathLike[str],
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    accept_licence: bool = False,
) -> tuple[Pipeline, ModelInfo]:
    """A model ready to restore, and its description. No code of the folder is ever run.

    Raises UsageError (no such model) or CheckpointError (a damaged folder, a component of a foreign class).
    """
    folder = find_model(name_or_path, accept_licence)
    info = read_info(folder)
    return _PIPELINES[info.family].from_pretrained(folder, torch_dtype=dtype).to(device), info


def load_blind(
    name_or_path: str | os.PathLike[str],
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> tuple[Pipeline, ModelInfo] | None:
    """The model that a model brings along for photographs without references, if any; raises as `load_pipeline`."""
    folder = find_model(name_or_path) / BLIND
    return load_pipeline(folder, device, dtype) if folder.is_dir() else None


def save_model(
    pipeline: Pipeline,
    info: ModelInfo,
    folder: str | os.PathLike[str],
    blind: tuple[Pipeline, ModelInfo] | None = None,
) -> None:
    """Write a model folder: all of it or none. Raises OutputError if it exists already or cannot be written.

    blind: the model to use when there are no references; it goes to the folder blind/ inside.
    """
    with new_folder(Path(folder)) as scratch:
        _write(pipeline, info, scratch)
        if blind is not None:
            _write(*blind, scratch / BLIND)


def _write(pipeline: Pipeline, info: ModelInfo, folder: Path) -> None:
    pipeline.save_pretrained(folder, safe_serialization=True)
    (folder / "faceref.json").write_text(info.model_dump_json(indent=2) + "\n")
