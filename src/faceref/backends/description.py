"""export.json: what an exported model is, beside its graphs."""

from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from faceref.errors import CheckpointError

FILE = "export.json"
Format = Literal["onnx", "openvino"]
SUFFIXES: dict[Format, str] = {"onnx": ".onnx", "openvino": ".xml"}
Component = Literal["unet", "vae", "vq", "fusion", "detail", "identity_encoder"]
GraphName = Annotated[str, StringConstraints(pattern="^[a-z_]+$")]
LAYOUT = 2  # of what graphs take and give; 1, of 0.2.0, had identities among keys and values
Shape = tuple[int | str, ...]  # the length of each axis, or the name of one that may be of any length


class GraphShapes(BaseModel):
    """What a graph takes and gives, in order."""

    model_config = ConfigDict(extra="forbid")

    inputs: dict[str, Shape]
    outputs: tuple[str, ...]


class Export(BaseModel):
    """What an exported model is.

    faceref: the version that exported it; model: the fingerprint of its networks; resolution: of its faces, in pixels;
    networks: the settings of each, by the name of the component; graphs: by the name of the file without its suffix;
    layout: which of our ways to call them they were made for.
    """

    model_config = ConfigDict(extra="forbid")

    faceref: str
    format: Format
    model: str
    resolution: int
    networks: dict[Component, dict[str, Any]]
    graphs: dict[GraphName, GraphShapes]
    layout: int = 1

    def path(self, folder: Path, graph: str) -> Path:
        """The file of a graph in the folder of the export."""
        return folder / f"{graph}{SUFFIXES[self.format]}"


def this_version() -> str:
    return version("faceref")


def read_export(folder: Path) -> Export | None:
    """What an exported model is; None if the folder is none.

    Raises CheckpointError if it is damaged or not whole, or another version of faceref exported it.
    """
    path = folder / FILE
    try:
        export = Export.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        reason = "is no description of an exported model"
        raise CheckpointError(reason, subject=path, hint="export the model again") from error
    if export.faceref != this_version() or export.layout != LAYOUT:
        raise CheckpointError(
            f"was exported by faceref {export.faceref}, and this is {this_version()}"
            + (", whose graphs take other inputs" if export.layout != LAYOUT else ""),
            subject=folder,
            hint="export the model again",
            code="other_version",
        )
    missing = [path for graph in export.graphs if not (path := export.path(folder, graph)).is_file()]
    if missing:
        raise CheckpointError("is missing", subject=missing[0], hint="export the model again")
    return export
