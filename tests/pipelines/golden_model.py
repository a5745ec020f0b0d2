"""A restoration with few steps, a generator for each face and tensors out, as tests of the pipelines want it."""

from typing import Any

import torch


def restore(pipeline, lq, references, seeds=(0,), **options) -> Any:
    options = {"guidance_scale": 1.5, "num_inference_steps": 2, "output_type": "raw"} | options
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    return pipeline(lq, references, generator=generators, **options).images
