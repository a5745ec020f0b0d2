"""A process that restores pictures of noise at the released sizes, with the code of any checkout, one after the other.

What `side_by_side.py` and `fast_mode.py` ask: a request as a line of JSON, `Told` in return. CPU seconds, which tell
most where other programs run. It uses only what old checkouts have: the pipeline, and its callback after each step.
"""

import itertools
import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Request:
    """joint: references side by side in one strip. enrolled: they were encoded before. call: what the pipeline is given
    beside pictures, references and the number of steps."""

    references: int = 4
    steps: int = 2
    joint: bool = False
    enrolled: bool = False
    call: dict[str, Any] = field(default_factory=lambda: {"guidance_scale": 1.5})


@dataclass(frozen=True)
class Told:
    """CPU seconds to encode references, of the whole call of the pipeline, of its steps but the first, and of decoding;
    peak: bytes of the process meanwhile; pixels: every sixteenth in both directions."""

    references: float
    call: float
    steps: list[float]
    decode: float
    peak: int
    pixels: list[float]

    @property
    def step(self) -> float:
        return statistics.median(self.steps)

    def of_steps(self, steps: int, done: int) -> float:
        """Seconds in all had it been so many steps and not the `done` that it was."""
        return self.references + self.call + (steps - done) * self.step


class Worker:
    """The process, with its code from `checkout` and its networks in `dtype`."""

    def __init__(self, checkout: Path, dtype: str = "float32") -> None:
        environment = os.environ | {"PYTHONPATH": str(checkout.resolve() / "src")}
        command = [sys.executable, __file__, dtype]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment)

    def ask(self, request: Request) -> Told:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(asdict(request)) + "\n")
        self._process.stdin.flush()
        return Told(**json.loads(self._process.stdout.readline()))

    def end(self) -> None:
        self._process.communicate()


def work(dtype: str) -> None:
    """In the process: requests in, seconds out."""
    import torch

    pipeline = build(getattr(torch, dtype))
    for line in sys.stdin:
        request = Request(**json.loads(line))
        print(json.dumps(asdict(restore(pipeline, request))), flush=True)


def restore(pipeline: Any, request: Request) -> Told:
    import torch

    generator = torch.Generator().manual_seed(0)
    pictures = torch.rand(1 + request.references, 3, 512, 512, generator=generator) * 2 - 1
    joint = {"joint": True} if request.joint else {}
    cache = pipeline.encode_references(pictures[1:], **joint) if request.enrolled else None
    forget_peak()
    times = [time.process_time()]
    if cache is None:
        cache = pipeline.encode_references(pictures[1:], **joint)
    times.append(time.process_time())

    def note(*_: Any) -> dict[str, Any]:
        times.append(time.process_time())
        return {}

    steps = {"num_inference_steps": request.steps, "generator": generator}
    output = pipeline(pictures[:1], cache, callback_on_step_end=note, output_type="raw", **steps, **request.call).images
    times.append(time.process_time())
    return Told(
        references=times[1] - times[0],
        call=times[-1] - times[1],
        steps=[end - begin for begin, end in itertools.pairwise(times[2:-1])],
        decode=times[-1] - times[-2],
        peak=peak(),
        pixels=output[0, :, ::16, ::16].flatten().tolist(),
    )


def forget_peak() -> None:
    try:
        from faceref.allocator import give_back_freed_memory
    except ImportError:
        pass
    else:
        give_back_freed_memory()
    Path("/proc/self/clear_refs").write_text("5")


def peak() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def build(dtype: Any) -> Any:
    """The pipeline as its checkout would use it: memory kept and weights laid out, if it does that."""
    import torch
    from diffusers import DDIMScheduler, VQModel
    from torch import nn

    from faceref.models.unet import ReferenceUNet
    from faceref.pipelines.refldm import ReFLDMPipeline

    try:
        from faceref.allocator import keep_freed_memory
    except ImportError:
        pass
    else:
        keep_freed_memory()
    torch.manual_seed(0)
    unet = ReferenceUNet(
        in_channels=16,
        out_channels=8,
        block_out_channels=(160, 320, 320, 640),
        layers_per_block=2,
        down_block_types=("DownBlock2D", *["AttnDownBlock2D"] * 3),
        up_block_types=(*["AttnUpBlock2D"] * 3, "UpBlock2D"),
        attention_head_dim=32,
    )
    vae = VQModel(
        block_out_channels=(128, 128, 256, 512),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=2,
        latent_channels=8,
        num_vq_embeddings=8192,
    )
    scheduler = DDIMScheduler(
        beta_start=0.0015,
        beta_end=0.0155,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        timestep_spacing="trailing",
    )
    for network in (unet, vae):
        nn.Module.to(network.eval(), dtype)  # diffusers' own would warn of layers to be kept: of none
    pipeline = ReFLDMPipeline(unet, vae, scheduler)  # type: ignore[arg-type]
    pipeline.set_progress_bar_config(disable=True)
    if hasattr(pipeline, "use_channels_last"):
        pipeline.use_channels_last()
    return pipeline


if __name__ == "__main__":
    work(*sys.argv[1:])
