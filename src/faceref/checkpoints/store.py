"""Models on disk: what describes them (faceref.json), where the named ones live, how they are written and loaded."""

import hashlib
import os
from importlib import resources
from pathlib import Path
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from faceref.devices import check_device
from faceref.errors import CheckpointError, UsageError
from faceref.files import new_folder
from faceref.pipelines.ldbfr import LDBFRPipeline
from faceref.pipelines.protocol import FacePipeline
from faceref.pipelines.refldm import ReFLDMPipeline
from faceref.pipelines.sampling import SchedulerName

BLIND = "blind"  # in a model folder: the model for photographs without references, a folder like any

Pipeline = FacePipeline
_PIPELINES: dict[str, type[FacePipeline]] = {"refldm": ReFLDMPipeline, "ldbfr": LDBFRPipeline}


class ModelInfo(BaseModel):
    """faceref.json: what a model is, how to use it by default, and what is known of it."""

    model_config = ConfigDict(extra="forbid")

    name: str
    family: Literal["refldm", "ldbfr"]
    resolution: int = Field(ge=8, le=4096, multiple_of=8, description="side of the square pictures, pixels")
    alignment: Literal["ffhq"] = "ffhq"
    steps: int = Field(gt=0)
    guidance: float = Field(ge=0, description="towards the references; 1, and anything for ldbfr: none")
    scheduler: SchedulerName
    training_data: str
    licence: str
    quality: dict[str, float] = Field(default={}, description="measured, e.g. {'lfw128 severe identity': 0.91}")
    quality_command: str | None = Field(default=None, description="the command that measured it")


def find_model(name_or_path: str | os.PathLike[str]) -> Path:
    """The folder of `small`, of `refldm-512` if it was downloaded or imported, or the given folder itself.

    Raises UsageError if there is no such model.
    """
    if name_or_path == "small":
        folder = Path(str(resources.files("faceref"))) / "weights" / "small"
    elif name_or_path == "refldm-512":
        folder = models_home() / "refldm-512"
        if not folder.is_dir():
            raise UsageError(
                "refldm-512 is not here yet: it is its authors' work, for non-commercial research only",
                hint="fetch it with faceref.checkpoints.download.download_refldm",
                code="model_not_here",
            )
    else:
        folder = Path(name_or_path)
    if not (folder / "faceref.json").is_file():
        raise UsageError(
            f"There is no model {str(name_or_path)!r}", hint="give small, refldm-512 or a model folder", code="no_model"
        )
    return folder


def models_home() -> Path:
    """Where downloaded models are kept: $FACEREF_HOME, ~/.cache/faceref if that is not set."""
    return Path(os.environ.get("FACEREF_HOME") or Path.home() / ".cache" / "faceref")


def read_info(folder: str | os.PathLike[str]) -> ModelInfo:
    """What a model folder says of itself. Raises CheckpointError if faceref.json is missing or malformed."""
    path = Path(folder) / "faceref.json"
    try:
        return ModelInfo.model_validate_json(path.read_bytes())
    except OSError as error:
        hint = "give a folder that faceref has trained or imported"
        raise CheckpointError("cannot be read", subject=path, hint=hint) from error
    except ValidationError as error:
        problem = error.errors()[0]
        field = ".".join(map(str, problem["loc"])) or "the file"
        reason = f"is not a model description: {field}: {problem['msg']}"
        raise CheckpointError(reason, subject=path) from error


def weights_fingerprint(folder: Path) -> str:
    """16 hexadecimal digits of all weights and the sampling schedule in a model folder."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.safetensors")) + sorted(folder.glob("scheduler/*.json")):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def load_pipeline(
    name_or_path: str | os.PathLike[str],
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> tuple[Pipeline, ModelInfo]:
    """A model ready to restore, and its description. No code of the folder is ever run.

    Raises UsageError (no such model or device) or CheckpointError (a damaged folder, a component of a foreign class).
    """
    device = check_device(device)
    folder = find_model(name_or_path)
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
