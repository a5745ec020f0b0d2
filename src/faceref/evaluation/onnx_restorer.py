"""Restorers of others as ONNX files: one picture in, one picture out."""

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from faceref.errors import CheckpointError, UsageError
from faceref.evaluation.conditions import NO_REFERENCES, Condition, Plan
from faceref.evaluation.restorer import Batch, MeasuredRestorer, Restoration, timed

ValueRange = Literal["-1..1", "0..1", "0..255"]
SCALE: dict[ValueRange, tuple[float, float]] = {"-1..1": (1, 0), "0..1": (0.5, 0.5), "0..255": (127.5, 127.5)}
LEAST_PSNR = 15.0  # dB, of a good face and what a restorer makes of it; below, it is another picture
WRITE = "write FILE.onnx, NAME=FILE.onnx or FILE.onnx,range=0..1"


@dataclass(frozen=True)
class OnnxSpec:
    """An ONNX file, what the table calls it, and the range of its pixels; None: to be found out."""

    label: str
    path: Path
    values: ValueRange | None

    @classmethod
    def parse(cls, text: str) -> "OnnxSpec":
        """Read [NAME=]FILE.onnx[,range=-1..1|0..1|0..255]. Raises UsageError if it is not that."""
        named, _, setting = text.partition(",")
        key, _, values = setting.partition("=")
        if setting and (key != "range" or values not in get_args(ValueRange)):
            *others, last = get_args(ValueRange)
            hint = f"the range of its pixels is {', '.join(others)} or {last}"
            raise UsageError(f"in {text!r} is no setting", subject=repr(setting), hint=hint)
        label, _, file = named.rpartition("=")
        path = Path(file)
        if path.suffix.lower() != ".onnx":
            raise UsageError("names no ONNX file", subject=repr(text), hint=WRITE)
        return cls(label or path.stem, path, values or None)  # type: ignore[arg-type]


@dataclass(frozen=True, eq=False)
class OnnxRestorer(MeasuredRestorer):
    """A network from one picture [B, 3, H, W] to one of the same shape, run by ONNX Runtime.

    side: the H = W that it takes, None if any; one_by_one: whether it takes one face at a time.
    """

    label: str
    session: Any
    values: ValueRange
    side: int | None
    one_by_one: bool
    digest: str
    device: torch.device

    @property
    def settings(self) -> dict[str, str | float]:
        return {"weights": self.digest, "pixels": self.values}

    @property
    def notes(self) -> tuple[str, ...]:
        said = f"{self.label}: an ONNX network whose pixels are {self.values}"
        if self.side is None:
            return (said,)
        return (f"{said}; it takes {self.side} px: inputs are enlarged bilinearly to that, its results shrunk from it",)

    def conditions(self, plan: Plan) -> tuple[Condition, ...]:
        return (NO_REFERENCES,)

    def restorations(self, plan: Plan, batch: Batch) -> Iterator[Restoration]:
        for set_name, faces in batch.lq.items():
            pictures, seconds = timed(self.device, partial(self.restore, faces))
            yield Restoration(set_name, NO_REFERENCES, pictures, np.full(len(faces), seconds / len(faces)))

    def restore(self, faces: Tensor) -> Tensor:
        """Faces [B, 3, S, S] in [-1, 1] -> the same shape, about [-1, 1]. Raises CheckpointError if it cannot."""
        given = faces if self.side is None else _resized(faces, self.side)
        scale, middle = SCALE[self.values]
        given = given * scale + middle
        name = self.session.get_inputs()[0].name
        try:
            done = [
                torch.from_numpy(np.asarray(self.session.run(None, {name: few.numpy()})[0], np.float32))
                for few in given.split(1 if self.one_by_one else len(given))
            ]
        except Exception as error:  # ONNX Runtime's exceptions have no common class but this
            reason = f"cannot restore faces of {given.shape[-1]} px ({str(error).splitlines()[0]})"
            raise CheckpointError(reason, subject=f"{self.label}:") from error
        restored = torch.cat(done)
        if restored.shape != given.shape:
            reason = f"makes {list(restored.shape)} of {list(given.shape)}, not a picture of the same shape"
            raise CheckpointError(reason, subject=f"{self.label}:", hint="give a restorer of one face to one face")
        return _resized((restored - middle) / scale, faces.shape[-1])


def load_onnx_restorer(spec: OnnxSpec, example: Tensor, device: torch.device) -> OnnxRestorer:
    """Open an ONNX file. example: a good face [1, 3, S, S] in [-1, 1], by which the range of its pixels is found out.

    Raises UsageError without ONNX Runtime; CheckpointError if the file is missing, is no ONNX, has other inputs and
    outputs than one picture each, or, where the range is not told, restores the good face in none.
    """
    try:
        import onnxruntime
    except ImportError:
        hint = "install it with pip install 'faceref[arcface]'"
        raise UsageError("needs ONNX Runtime, which is not installed", subject=spec.path, hint=hint) from None
    if not spec.path.is_file():
        raise CheckpointError("is no file", subject=spec.path, hint="give the path of an ONNX file")
    providers = ["CPUExecutionProvider"]
    if device.type == "cuda" and "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        providers.insert(0, "CUDAExecutionProvider")
    try:
        session = onnxruntime.InferenceSession(str(spec.path), providers=providers)
    except Exception as error:  # ONNX Runtime's exceptions have no common class but this
        reason = f"cannot be read as ONNX ({str(error).splitlines()[0]})"
        raise CheckpointError(reason, subject=spec.path, hint="export it again") from error
    one_by_one, side = _shape_taken(session, spec.path)
    digest = hashlib.sha256(spec.path.read_bytes()).hexdigest()[:16]
    ranges: tuple[ValueRange, ...] = (spec.values,) if spec.values else get_args(ValueRange)
    each = [OnnxRestorer(spec.label, session, values, side, one_by_one, digest, device) for values in ranges]
    psnr = [_psnr(one.restore(example), example) for one in each]
    if spec.values is None and max(psnr) < LEAST_PSNR:
        reason = f"makes another picture of a good face, whether its pixels are {', '.join(ranges)}"
        hint = f"export it with such pixels, RGB, or tell which they are, as in {spec.path.name},range=0..1"
        raise CheckpointError(reason, subject=spec.path, hint=hint)
    return each[int(np.argmax(psnr))]


def _psnr(restored: Tensor, truth: Tensor) -> float:
    """dB, of pictures in [-1, 1]; that of what is not finite is below all others."""
    error = float((restored - truth).square().mean())
    return 10 * math.log10(4 / max(error, 1e-12)) if math.isfinite(error) else -math.inf


def _shape_taken(session: Any, path: Path) -> tuple[bool, int | None]:
    """Whether it takes one picture at a time, and of which side, None for any. Raises CheckpointError for all else."""
    inputs, outputs = session.get_inputs(), session.get_outputs()
    for kind, ports in (("inputs", inputs), ("outputs", outputs)):
        if len(ports) != 1:
            reason = f"has {len(ports)} {kind} ({', '.join(port.name for port in ports)}), and a restorer has one"
            raise CheckpointError(reason, subject=path, hint="export it with the others fixed")
    shape, numbers = inputs[0].shape, inputs[0].type
    batch, channels, height, width = (
        [one if isinstance(one, int) else None for one in shape] if len(shape) == 4 else [0] * 4
    )
    if batch not in (None, 1) or channels != 3 or height != width or numbers != "tensor(float)":
        reason = f"takes {shape} of {numbers}, not square pictures [1 or any, 3, H, W] of tensor(float)"
        raise CheckpointError(reason, subject=path, hint="give a restorer of faces")
    return batch == 1, height


def _resized(pictures: Tensor, side: int) -> Tensor:
    """Pictures [B, 3, S, S] at another side: enlarged bilinearly as in Eq. 4 of ReF-LDM, or shrunk without aliases."""
    if pictures.shape[-1] == side:
        return pictures
    if pictures.shape[-1] < side:
        return F.interpolate(pictures, size=(side, side), mode="bilinear", align_corners=False)
    return F.interpolate(pictures, size=(side, side), mode="bicubic", antialias=True, align_corners=False)
