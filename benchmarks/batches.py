"""What it changes when faces go through the network together: their bytes, and the seconds for one.

python benchmarks/batches.py small
"""

import argparse
import time

import torch
from rich.console import Console
from rich.table import Table

from faceref import Restorer
from faceref.pipelines.protocol import FacePipeline

FACES = 8
TOGETHER = (1, 2, 4, 8)
REPETITIONS = 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="small", help="small, refldm-512 or a model folder")
    parser.add_argument("--device", help="cuda, mps or cpu; the best there is by default")
    parser.add_argument("--steps", type=int, help="the model's own by default")
    arguments = parser.parse_args()
    restorer = Restorer.from_pretrained(arguments.model, device=arguments.device)
    info, pipeline = restorer.model.info, restorer.model.pipeline
    steps = arguments.steps or info.steps
    table = Table(title=f"{info.name}, {steps} steps, {pipeline.device}, {torch.get_num_threads()} threads")
    for column in ("references", "together", "seconds a face", "faces that differ", "pixels that differ", "at most"):
        table.add_column(column, justify="right")
    for counts in ([1] * FACES, [1, 2, 3, 4, 5, 1, 2, 3]):
        told = "1 each" if len(set(counts)) == 1 else "1 to 5"
        alone, _ = restored(pipeline, info.resolution, counts, 1, steps)
        for together in TOGETHER:
            pictures, seconds = restored(pipeline, info.resolution, counts, together, steps)
            apart = (pictures.int() - alone.int()).abs().flatten(1)
            table.add_row(
                told,
                str(together),
                f"{seconds:.3f}",
                f"{int(apart.any(dim=1).sum())} of {FACES}",
                str(int((apart > 0).sum())),
                str(int(apart.max())),
            )
    Console().print(table)


def restored(
    pipeline: FacePipeline, side: int, counts: list[int], together: int, steps: int
) -> tuple[torch.Tensor, float]:
    """Pictures of noise, restored so many at a time: uint8 [FACES, 3, S, S], and the shortest seconds for one."""
    generator = torch.Generator().manual_seed(0)
    lq = torch.rand(FACES, 3, side, side, generator=generator) * 2 - 1
    caches = [
        pipeline.encode_references(torch.rand(count, 3, side, side, generator=generator) * 2 - 1) for count in counts
    ]
    durations = []
    parts: list[torch.Tensor] = []
    for _ in range(REPETITIONS):
        began, parts = time.monotonic(), []
        for start in range(0, FACES, together):
            part = slice(start, start + together)
            noise = [torch.Generator().manual_seed(0) for _ in range(together)]
            output = pipeline(
                lq[part], caches[part], num_inference_steps=steps, generator=noise, output_type="raw"
            ).images
            assert isinstance(output, torch.Tensor)  # which output_type says
            parts.append(output.cpu())
        durations.append(time.monotonic() - began)
    return ((torch.cat(parts) / 2 + 0.5).clamp(0, 1) * 255).round().byte(), min(durations) / FACES


if __name__ == "__main__":
    main()
