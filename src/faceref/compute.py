"""Where and in what networks compute, as a value to take along to any process; without torch, which takes seconds."""

from dataclasses import dataclass
from typing import Literal

DtypeName = Literal["auto", "float32", "bfloat16", "float16"]
Memory = Literal["normal", "low"]
Backend = Literal["torch", "onnxruntime", "openvino"]


@dataclass(frozen=True)
class Compute:
    """How to compute, as `faceref.checkpoints.store.load_pipeline` takes it.

    device: cuda, cuda:1, mps or cpu; None: the best there is. dtype: of the networks; auto: what is measured to be
    fastest of float32 and bfloat16. memory: low takes less of it and more time. backend: what computes the networks,
    on the CPU in float32 unless it is torch; None: torch, or what an exported model was exported for.
    """

    device: str | None = None
    dtype: DtypeName = "float32"
    memory: Memory = "normal"
    backend: Backend | None = None
