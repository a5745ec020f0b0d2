"""What describes a model on disk (faceref.json), and where the named ones live; without torch, which takes seconds."""

import hashlib
import os
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import platformdirs
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from faceref.checkpoints.hub import HubName, fetch_model
from faceref.consent import Licensed
from faceref.errors import CheckpointError, UsageError
from faceref.pipelines.scheduler_name import SchedulerName

REFLDM = Licensed(
    "refldm-512",
    "1.0.0",
    "refldm-512 is the work of the authors of ReF-LDM (https://github.com/ChiWeiHsiao/ref-ldm) and free for "
    "non-commercial research only. Whoever downloads it agrees to that.",
)
NAMED = ("small", REFLDM.name)  # models that have a name, whatever folders there are
MODELS = "give small, refldm-512, a model folder, or org/name of a model on Hugging Face's hub"
COMPUTED_WITH = ("*.safetensors", "config.json", "scheduler_config.json", "*.onnx", "*.onnx.data", "*.xml", "*.bin")
BLIND = "blind"  # in a model folder: the model for photographs without references, a folder like any


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
    crisp: float | None = Field(default=None, ge=0, le=1, description="how crisply to draw, where it can be told")
    training_data: str
    licence: str
    quality: dict[str, float] = Field(default={}, description="measured, e.g. {'lfw128 severe identity': 0.91}")
    quality_command: str | None = Field(default=None, description="the command that measured it")

    def settings(self) -> dict[str, Any]:
        """What of it decides the pixels of a restoration, beside the weights; of the rest they do not depend."""
        return self.model_dump(include={"name", "steps", "guidance", "scheduler", "crisp"})


def find_model(name_or_path: str | os.PathLike[str], *, revision: str | None = None, token: str | None = None) -> Path:
    """The folder of `small`, of `refldm-512` if it was downloaded or imported, or the given folder itself.

    org/name, where no such folder is here: that of a model on Hugging Face's hub (org/name@revision, or with
    `revision`), fetched as `faceref.checkpoints.hub.fetch_model` does with `token` and raises.
    Raises UsageError if there is no such model.
    """
    if name_or_path == "small":
        folder = Path(str(resources.files("faceref"))) / "weights" / "small"
    elif name_or_path == "refldm-512":
        folder = models_home() / "refldm-512"
        if not folder.is_dir():
            raise UsageError(
                "refldm-512 is not here yet: it is its authors' work, for non-commercial research only",
                hint="fetch it with faceref.checkpoints.released.download_refldm",
                code="model_not_here",
            )
    elif (on_hub := HubName.parse(str(name_or_path))) is not None and not Path(on_hub.organisation).exists():
        folder = fetch_model(replace(on_hub, revision=revision) if revision else on_hub, token)
    else:
        folder = Path(name_or_path)
    if not (folder / "faceref.json").is_file():
        raise UsageError(f"There is no model {str(name_or_path)!r}", hint=MODELS, code="no_model")
    return folder


def models_home() -> Path:
    """Where downloaded models are kept: $FACEREF_HOME, the user's cache folder if that is not set."""
    return Path(os.environ.get("FACEREF_HOME") or platformdirs.user_cache_path("faceref"))


def fingerprint_of(folder: Path) -> str:
    """16 hexadecimal digits of all that a model folder computes with: networks or graphs, and the sampling schedule."""
    digest = hashlib.sha256()
    for path in sorted({path for kind in COMPUTED_WITH for path in folder.rglob(kind)}):
        digest.update(path.relative_to(folder).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()[:16]


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


def read_blind(folder: str | os.PathLike[str]) -> ModelInfo | None:
    """What the model says of itself that a model brings along for photographs without references; None if none.

    Raises as `read_info`.
    """
    blind = Path(folder) / BLIND
    return read_info(blind) if blind.is_dir() else None
