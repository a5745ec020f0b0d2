"""The options of every command in which a network computes: which, where, by what, in what numbers and memory."""

from typing import Annotated

import typer

from faceref.compute import Backend, Compute, DtypeName, Memory

ModelName = Annotated[
    str, typer.Option("--model", help="small, refldm-512, a model folder, or org/name of Hugging Face's hub.")
]
Device = Annotated[
    str | None,
    typer.Option("--device", help="cuda, cuda:1, mps or cpu.", show_default="the best there is"),
]
Dtype = Annotated[
    DtypeName,
    typer.Option(
        "--dtype",
        help="Numbers that the networks compute in; auto: bfloat16 where that is measured to be faster, else float32.",
    ),
]
MemoryUse = Annotated[
    Memory,
    typer.Option("--memory", help="low: less memory, but slower: pictures in strips; layers leave the GPU while idle."),
]
BackendName = Annotated[
    Backend | None,
    typer.Option(
        "--backend",
        help="What computes the networks: torch, or on a CPU onnxruntime or openvino (extras; docs/performance.md).",
        show_default="torch, or what the model was exported for",
    ),
]

DEFAULTS = Compute()
