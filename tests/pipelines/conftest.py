"""The golden checkpoints, imported once, and what the original program computes with them."""

import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from faceref.checkpoints.original import import_refldm
from faceref.pipelines.refldm import ReFLDMPipeline

REPOSITORY = Path(__file__).parents[2]
SHARED = Path(os.environ.get("FACEREF_SHARED", REPOSITORY.parent / "shared"))


def import_golden(folder: Path, out: Path, resolution: int) -> tuple[ReFLDMPipeline, dict[str, torch.Tensor]]:
    import_refldm(folder / "refldm.ckpt", folder / "vqgan.ckpt", out, resolution)
    return ReFLDMPipeline.from_pretrained(out), load_file(folder / "expected.safetensors")


@pytest.fixture(scope="session")
def mini_folder(tmp_path_factory) -> Path:
    """The imported model folder of golden/refldm-mini."""
    out = tmp_path_factory.mktemp("mini") / "model"
    import_golden(REPOSITORY / "tests" / "golden" / "refldm-mini", out, 32)
    return out


@pytest.fixture(scope="session")
def mini(mini_folder) -> tuple[ReFLDMPipeline, dict[str, torch.Tensor]]:
    expected = load_file(REPOSITORY / "tests" / "golden" / "refldm-mini" / "expected.safetensors")
    return ReFLDMPipeline.from_pretrained(mini_folder), expected


@pytest.fixture(scope="session")
def tiny(tmp_path_factory) -> tuple[ReFLDMPipeline, dict[str, torch.Tensor]]:
    folder = SHARED / "golden" / "refldm-tiny"
    if not folder.is_dir():
        pytest.skip(
            f"the larger golden checkpoint is not in {folder}; set FACEREF_SHARED to the folder that holds golden/"
        )
    return import_golden(folder, tmp_path_factory.mktemp("tiny") / "model", 128)
