"""Writing the networks of a pipeline as ONNX, and from that as OpenVINO's own format."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import torch
from torch import Tensor, nn

from faceref.backends.description import FILE, LAYOUT, SUFFIXES, Component, Export, Format, GraphShapes, this_version
from faceref.backends.graphs import Graph, graphs_of
from faceref.backends.installed import TO_EXPORT, check_installed
from faceref.errors import OutputError
from faceref.pipelines.protocol import FacePipeline


def export_pipeline(pipeline: FacePipeline, format: Format, resolution: int, model: str, folder: Path) -> None:
    """Write a graph for everything that the pipeline's networks compute, and export.json, into a folder.

    The pipeline computes in float32 on the CPU. resolution: of its faces, in pixels; model: what export.json calls it.
    Raises UsageError if a package is not installed or a network cannot be exported; OutputError if there is no room.
    """
    check_installed(TO_EXPORT[format])
    graphs = graphs_of(pipeline, resolution)
    networks = {name: _settings(one) for name, one in pipeline.components.items() if isinstance(one, nn.Module)}
    write = {"onnx": _write_onnx, "openvino": _write_openvino}[format]
    for name, graph in graphs.items():
        write(graph, folder / f"{name}{SUFFIXES[format]}")
    export = Export(
        faceref=this_version(),
        format=format,
        model=model,
        resolution=resolution,
        networks=cast(dict[Component, dict[str, Any]], networks),
        graphs={
            name: GraphShapes(inputs={key: port.shape for key, port in one.inputs.items()}, outputs=one.outputs)
            for name, one in graphs.items()
        },
        layout=LAYOUT,
    )
    (folder / FILE).write_text(export.model_dump_json(indent=2) + "\n", encoding="utf-8")


class _Pass(nn.Module):
    """A graph as a module of its own, which torch.export takes."""

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self.networks = nn.ModuleList(graph.networks)
        self.run = graph.run

    def forward(self, *tensors: Tensor) -> Tensor | tuple[Tensor, ...]:
        return self.run(*self.networks, *tensors)


@torch.no_grad()
def _write_onnx(graph: Graph, path: Path) -> None:
    """A graph and, in a file beside it, its weights."""
    with _quietly():
        torch.onnx.export(
            _Pass(graph).eval(),
            tuple(port.example for port in graph.inputs.values()),
            str(path),
            input_names=list(graph.inputs),
            output_names=list(graph.outputs),
            dynamic_shapes=(tuple(dict(enumerate(port.axes)) for port in graph.inputs.values()),),
            dynamo=True,
            optimize=False,  # it takes as long as all else, and both programs do it themselves
            verbose=False,
        )


def _write_openvino(graph: Graph, path: Path) -> None:
    """By way of ONNX: openvino.convert_model, which takes modules themselves, reports its use to Google Analytics."""
    import openvino

    with TemporaryDirectory(dir=path.parent) as scratch:
        onnx = Path(scratch, "graph.onnx")
        _write_onnx(graph, onnx)
        model = openvino.Core().read_model(onnx)
        try:
            openvino.save_model(model, path, compress_to_fp16=False)
        except RuntimeError as error:  # as it says that a disk is full, too
            raise OutputError("cannot be written", subject=path, hint="free some space", code="no_room") from error


@contextmanager
def _quietly() -> Iterator[None]:
    """Without what torch's exporter says of torchvision, of its own deprecations and of how axes are called."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _settings(network: Any) -> dict[str, Any]:
    """A network's configuration, without diffusers' notes."""
    return {name: value for name, value in network.config.items() if not name.startswith("_")}
