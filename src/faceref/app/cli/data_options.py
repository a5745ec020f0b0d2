"""What the commands of `faceref data` share: options, embedding with a bar, lists of what was left out."""

from pathlib import Path
from typing import Annotated, Any

import typer

from faceref.app.cli.console import output, progress

Folder = Annotated[
    Path, typer.Argument(metavar="FACES", help="Folder with index.csv, as align makes.", show_default=False)
]
Workers = Annotated[int | None, typer.Option(min=1, help="Processes.", show_default="one a core, at most 4")]
UseRay = Annotated[bool, typer.Option("--ray", help="Through Ray Data: RAY_ADDRESS's cluster, or a local one.")]
RecogniserFile = Annotated[
    Path | None, typer.Option("--recogniser", help="safetensors or ONNX.", show_default="dlib's recogniser")
]


def embed(
    faces: Path, rows: list, path: Path | None, workers: int | None, ray: bool, device: str | None
) -> tuple[Any, Any]:
    """The embedding space and the embeddings of the rows' files; on a GPU in this process."""
    from faceref.data.embedding import embed_faces
    from faceref.data.embedding_space import embedding_space
    from faceref.devices import best_device, check_device
    from faceref.jobs import DEFAULT_WORKERS

    space = embedding_space(path)
    chosen = "cpu" if ray else str(check_device(device) if device else best_device())
    processes = 1 if chosen != "cpu" else workers or DEFAULT_WORKERS
    with progress("recognising", "batches of faces") as on_batch:
        return space, embed_faces(faces, rows, space, device=chosen, workers=processes, ray=ray, on_batch=on_batch)


def say_all(what: str, items: list[tuple[str, str]]) -> None:
    """A line for each (name, reason)."""
    for name, reason in items:
        output.print(f"{what}: {name}" + (f", {reason}" if reason else ""))
