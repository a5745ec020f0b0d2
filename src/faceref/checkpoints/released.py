"""The authors' checkpoints of ReF-LDM, from their release page or a mirror: fetched, checked, and imported."""

import shutil
from collections.abc import Mapping
from pathlib import Path

from faceref.checkpoints.info import REFLDM
from faceref.checkpoints.original import ImportSummary, import_refldm
from faceref.consent import accept, check_accepted
from faceref.download import Expected, Progress, obtain
from faceref.errors import OutputError

REFLDM_RELEASE = "https://github.com/ChiWeiHsiao/ref-ldm/releases/download/1.0.0"
# As another public program lists them; we have not been able to compare them with the files.
REFLDM_SHA256 = {
    "refldm.ckpt": "ad953ba72b52ed32dd280232ff0070bc6cb097a71dce250318730c884e38b778",
    "vqgan.ckpt": "7b08407b454f5328aaaf1eda35418a5a53dcc68caaf3bcf12ab88b8f21ec1a5d",
}


def download_refldm(
    folder: Path,
    source: str = REFLDM_RELEASE,
    *,
    accept_licence: bool = False,
    sha256: Mapping[str, str] = REFLDM_SHA256,
    resolution: int = 512,
    on_progress: Progress = lambda *_: None,
) -> ImportSummary:
    """Import refldm.ckpt and vqgan.ckpt of `source` into the new model folder; the import alone is kept.

    source: a URL or a folder that has both. accept_licence: the user agrees to the terms of `REFLDM`, which is
    remembered beside `folder`. sha256: the files' digests, by name. A download that breaks off is gone on with the next
    time; until then it lies in `folder` with the ending .download.

    Raises UsageError if the licence was never accepted, OutputError if the download or the disk fails, CheckpointError
    if what came is not what it should be.
    """
    if accept_licence:
        accept(REFLDM, folder.parent)
    check_accepted(REFLDM, folder.parent)
    if folder.exists():
        raise OutputError("exists already", subject=folder, hint="remove it to download the model again")
    downloads = folder.with_name(f"{folder.name}.download")
    paths = [obtain(name, source, downloads, Expected(sha256[name]), on_progress) for name in REFLDM_SHA256]
    summary = import_refldm(paths[0], paths[1], folder, resolution)
    shutil.rmtree(downloads, ignore_errors=True)
    return summary
