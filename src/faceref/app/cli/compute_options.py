"""The options of every command in which a network computes: which, where, in what numbers, in how much memory."""

from typing import Annotated

import typer

from faceref.compute import Compute, DtypeName, Memory

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
    typer.Option("--memory", help="low: in less of it, and slower: tiled, and off a GPU what does not compute."),
]

DEFAULTS = Compute()
