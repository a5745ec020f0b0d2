"""`faceref data download`: data sets that others host."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from faceref.app.cli.console import output
from faceref.app.cli.downloads import AcceptLicence, Source, agreed, bytes_bar, check_digest


class Downloadable(StrEnum):
    """Data sets that others host."""

    FFHQ_REF = "ffhq-ref"


def download(
    name: Annotated[Downloadable, typer.Argument(metavar="ffhq-ref", help="Which data set.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", "-o", help="The new folder.")] = Path("FFHQ-Ref"),
    accept_licence: AcceptLicence = False,
    source: Source = None,
    sha256: Annotated[
        str | None,
        typer.Option(
            metavar="DIGEST",
            help="The digest of FFHQ-Ref.zip.",
            show_default="not known to us: its size is checked, and the checksum of each file in it",
        ),
    ] = None,
) -> None:
    """Fetch FFHQ-Ref (0.45 GB): reference mappings, splits and degraded test images; the photographs are FFHQ's.

    Given again it goes on where it broke off.
    """
    from faceref.checkpoints.info import models_home
    from faceref.data.ffhq_ref import FFHQ_REF, LQ_SETS, RELEASE, download_ffhq_ref

    if sha256 is not None:
        check_digest(sha256, sha256, "give 64 hexadecimal digits")
    home = models_home()
    accept_licence = agreed(FFHQ_REF, home, accept_licence)
    with bytes_bar() as on_progress:
        done = download_ffhq_ref(
            out, home, source or RELEASE, accept_licence=accept_licence, sha256=sha256, on_progress=on_progress
        )
    counts = ", ".join(f"{done.images[name]} in {name}" for name in LQ_SETS)
    output.print(f"{done.folder}: the mappings and splits, and degraded images: {counts}.")
    if sha256 is None:
        output.print(f"FFHQ-Ref.zip had the SHA-256 {done.sha256}; what it should be we do not know.")
    output.print(
        f"faceref evaluate MODEL --hq ffhq/images512x512 --mapping {out}/reference_mapping/test_references.csv "
        f"--lq {out}/{LQ_SETS[0]}"
    )
