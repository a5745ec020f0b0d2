"""The released sizes restored by two checkouts in turn: seconds of each stage, and whether the pixels are the same.

    git worktree add ../before dde09ed
    OMP_NUM_THREADS=1 python benchmarks/side_by_side.py ../before . --references 4 --steps 2 --rounds 2

Random weights (seed 0), guidance 1.5, fp32, DDIM; each checkout has a process of its own, and only one works at a time.
CPU seconds are told, which tell most where other programs run; 50 steps are worked out from the median of one.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

WORK = "--work"
STEPS = 50


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkouts", nargs=2, type=Path)
    parser.add_argument("--references", type=int, default=4)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=2)
    given = parser.parse_args()
    workers = {checkout: start(checkout) for checkout in given.checkouts}
    told: dict[Path, list[dict[str, Any]]] = {checkout: [] for checkout in workers}
    for _ in range(given.rounds):
        for checkout, worker in workers.items():
            told[checkout].append(ask(worker, {"references": given.references, "steps": given.steps}))
            print(checkout, told[checkout][-1]["seconds"], f"load {os.getloadavg()[0]:.0f}", flush=True)
    whole = [summed(given, checkout, rows) for checkout, rows in told.items()]
    before, now = (rows[-1]["pixels"] for rows in told.values())
    apart = max(abs(a - b) for a, b in zip(before, now, strict=True)) / statistics.pstdev(before)
    print(f"{whole[0] / whole[1]:.2f} times as fast; pixels differ by {apart:.1e} of their deviation at most")


def summed(given: argparse.Namespace, checkout: Path, rows: list[dict[str, Any]]) -> float:
    """Seconds of a restoration of STEPS steps, from the medians of its stages."""
    stage = {name: statistics.median(row["seconds"][name] for row in rows) for name in rows[0]["seconds"]}
    whole = stage["references"] + stage["encode"] + STEPS * stage["step"] + stage["decode"]
    print(f"{checkout}: {', '.join(f'{name} {seconds:.2f}' for name, seconds in stage.items())}; {whole:.1f} s")
    return whole


def start(checkout: Path) -> subprocess.Popen[str]:
    """A process that restores with the code of a checkout."""
    environment = os.environ | {"PYTHONPATH": str(checkout.resolve() / "src")}
    command = [sys.executable, __file__, WORK]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)


def ask(worker: subprocess.Popen[str], request: dict[str, int]) -> dict[str, Any]:
    assert worker.stdin is not None
    assert worker.stdout is not None
    worker.stdin.write(json.dumps(request) + "\n")
    worker.stdin.flush()
    return json.loads(worker.stdout.readline())


def work() -> None:
    """The other process. Only what both checkouts have: the pipeline and its callback after each step."""
    import itertools
    import time

    import torch
    from diffusers import DDIMScheduler, VQModel

    from faceref.models.unet import ReferenceUNet
    from faceref.pipelines.refldm import ReFLDMPipeline

    torch.manual_seed(0)
    down, up = ("DownBlock2D", *["AttnDownBlock2D"] * 3), (*["AttnUpBlock2D"] * 3, "UpBlock2D")
    unet = ReferenceUNet(
        in_channels=16,
        out_channels=8,
        block_out_channels=(160, 320, 320, 640),
        layers_per_block=2,
        down_block_types=down,
        up_block_types=up,
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
    scheduler = DDIMScheduler(beta_start=0.0015, beta_end=0.0155, beta_schedule="scaled_linear", clip_sample=False)
    pipeline = ReFLDMPipeline(unet.eval(), vae.eval(), scheduler)  # type: ignore[arg-type]
    pipeline.set_progress_bar_config(disable=True)
    if hasattr(pipeline, "use_channels_last"):
        pipeline.use_channels_last()
    for line in sys.stdin:
        given = json.loads(line)
        generator = torch.Generator().manual_seed(0)
        pictures = torch.rand(1 + given["references"], 3, 512, 512, generator=generator) * 2 - 1
        times = [time.process_time()]
        cache = pipeline.encode_references(pictures[1:])
        times.append(time.process_time())

        def note(*_: Any, times: list[float] = times) -> dict[str, Any]:
            times.append(time.process_time())
            return {}

        options = {"num_inference_steps": given["steps"], "guidance_scale": 1.5, "generator": generator}
        output = pipeline(pictures[:1], cache, callback_on_step_end=note, output_type="raw", **options).images
        times.append(time.process_time())
        steps = [end - begin for begin, end in itertools.pairwise(times[2:-1])]
        step = statistics.median(steps)
        seconds = {
            "references": times[1] - times[0],
            "encode": times[2] - times[1] - step,  # the LQ picture, the cache of no reference
            "step": step,
            "decode": times[-1] - times[-2],
        }
        assert isinstance(output, torch.Tensor)
        print(json.dumps({"seconds": seconds, "pixels": output[0, :, ::16, ::16].flatten().tolist()}), flush=True)


if __name__ == "__main__":
    work() if sys.argv[1:] == [WORK] else main()
