"""A graph, opened by ONNX Runtime or OpenVINO: tensors in, tensors out, on the CPU in float32."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import numpy as np
import torch
from torch import Tensor

from faceref.backends.description import GraphShapes, Shape
from faceref.compute import Backend
from faceref.errors import CheckpointError, UsageError

Run = Callable[[dict[str, np.ndarray]], list[np.ndarray]]


@dataclass(frozen=True, eq=False)
class Session:
    """A graph's file, opened when it is first used, and what it takes and gives. Threads may share it."""

    path: Path
    shapes: GraphShapes
    backend: Backend

    def __call__(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Raises UsageError for shapes that the graph was not exported for, CheckpointError if it cannot be read."""
        given = dict(zip(self.shapes.inputs, tensors, strict=True))
        for name, tensor in given.items():
            if not _fits(tensor.shape, self.shapes.inputs[name]):
                raise UsageError(
                    f"The exported graph {self.path.stem} takes {name} of {_said(self.shapes.inputs[name])}, not of "
                    f"{_said(tuple(tensor.shape))}",
                    hint="give pictures of the size that the model is for, or compute with torch",
                    code="other_shape",
                )
        arrays = {name: tensor.detach().to("cpu", torch.float32).contiguous().numpy() for name, tensor in given.items()}
        return tuple(map(torch.from_numpy, self._run(arrays)))

    @cached_property
    def _run(self) -> Run:
        try:
            return {"onnxruntime": _onnxruntime, "openvino": _openvino}[self.backend](self.path)
        except Exception as error:  # neither library's exceptions have a common class but this
            reason = f"cannot be read by {self.backend} ({str(error).strip().splitlines()[-1]})"
            raise CheckpointError(reason, subject=self.path, hint="export the model again") from error


def _onnxruntime(path: Path) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda arrays: [np.asarray(one) for one in session.run(None, arrays)]


def _openvino(path: Path) -> Run:
    import openvino

    core = openvino.Core()
    settings = {"INFERENCE_NUM_THREADS": torch.get_num_threads(), "INFERENCE_PRECISION_HINT": "f32"}
    compiled = core.compile_model(core.read_model(path), "CPU", settings)
    idle: SimpleQueue[Any] = SimpleQueue()  # requests, each of which computes for one thread at a time

    def run(arrays: dict[str, np.ndarray]) -> list[np.ndarray]:
        try:
            request = idle.get_nowait()
        except Empty:
            request = compiled.create_infer_request()
        done = list(request.infer(arrays, share_inputs=True).values())
        idle.put(request)
        return done

    return run


def _fits(shape: tuple[int, ...], wanted: Shape) -> bool:
    return len(shape) == len(wanted) and all(
        isinstance(length, str) or length == given for given, length in zip(shape, wanted, strict=True)
    )


def _said(shape: Shape) -> str:
    return " x ".join(map(str, shape))
