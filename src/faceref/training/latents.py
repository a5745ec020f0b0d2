"""Latents encoded once: a data set for machines on which the autoencoder would take most of every step."""

import hashlib
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import VQModel
from numpy.lib.format import open_memmap
from rich.progress import track
from torch import Tensor
from torch.utils.data import Dataset

from faceref.data.augment import augment_references
from faceref.data.dataset import FaceDataset
from faceref.data.degradation import DegradationRanges, degrade_batch
from faceref.training.config import LatentCacheConfig
from faceref.training.loop import seeded_generator

CHUNK = 64  # photographs encoded at a time


class LatentDataset(Dataset[dict[str, Tensor]]):
    """The samples of a `FaceDataset` as latents: every photograph plain and mirrored, degraded and augmented a few times.

    Sample `key` (see `SeededSampler`): hq_latent, lq_latent [C, h, w] of one target with one of its degraded copies,
    mirrored alike; reference_latents [R, C, h, w], each a random augmented copy; mask_latent [1, h, w].
    """

    def __init__(
        self,
        faces: FaceDataset,
        vae: VQModel,
        degradation: DegradationRanges,
        copies: LatentCacheConfig,
        folder: Path,
        seed: int,
        device: torch.device,
    ):
        self.faces, self.copies = faces, copies
        key = repr((_fingerprint(vae), degradation, copies, seed, faces.photographs.shape, _fingerprint_photos(faces)))
        path = folder / f"latents-{hashlib.sha256(key.encode()).hexdigest()[:16]}.npy"
        if not path.exists():
            _encode_all(faces.photographs, vae, degradation, copies, path, seed, device)
        # [photographs, 2 plain and mirrored + degraded copies + reference copies, C, h, w], float16
        self.latents = np.load(path, mmap_mode="r")

    def __len__(self) -> int:
        return len(self.faces)

    def __getitem__(self, key: int) -> dict[str, Tensor]:
        rng = np.random.default_rng([self.faces.seed, key])
        index = key % len(self)
        row = self.faces.targets[index]
        mirrored = int(rng.integers(2))
        degraded = 2 + mirrored + 2 * int(rng.integers(self.copies.degraded_copies // 2))
        references = self.faces.choose_references(index, rng)
        first = 2 + self.copies.degraded_copies
        chosen = first + rng.integers(self.copies.reference_copies, size=len(references))
        latents = self.latents[references, chosen]
        if not len(references):
            latents = np.zeros((self.faces.reference_count, *self.latents.shape[2:]), np.float16)
        mask = torch.from_numpy(self.faces.photographs[row, 3:]).float()[None] / 255
        mask = F.interpolate(mask, size=self.latents.shape[-2:], mode="area")[0]
        return {
            "hq_latent": torch.from_numpy(self.latents[row, mirrored].copy()),
            "lq_latent": torch.from_numpy(self.latents[row, degraded].copy()),
            "reference_latents": torch.from_numpy(np.ascontiguousarray(latents)),
            "mask_latent": mask.flip(-1) if mirrored else mask,
        }


@torch.no_grad()
def _encode_all(
    photographs: np.ndarray,
    vae: VQModel,
    degradation: DegradationRanges,
    copies: LatentCacheConfig,
    path: Path,
    seed: int,
    device: torch.device,
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    latents = None
    starts = range(0, len(photographs), CHUNK)
    for start in track(starts, description="encoding photographs"):
        generator = seeded_generator(device, seed, start)
        hq = torch.from_numpy(photographs[start : start + CHUNK, :3].copy()).to(device).float() / 127.5 - 1
        plain_and_mirrored = [hq, hq.flip(-1)]
        versions = list(plain_and_mirrored)
        versions += [
            degrade_batch(plain_and_mirrored[i % 2], degradation, generator) for i in range(copies.degraded_copies)
        ]
        versions += [augment_references(hq, generator) for _ in range(copies.reference_copies)]
        with torch.autocast(device.type, torch.bfloat16):
            encoded = torch.stack([vae.encode(v).latents for v in versions], dim=1)  # [chunk, versions, C, h, w]
        if latents is None:
            latents = open_memmap(partial, "w+", np.float16, (len(photographs), *encoded.shape[1:]))
        latents[start : start + CHUNK] = encoded.float().cpu().numpy()
    partial.rename(path)


def _fingerprint(vae: VQModel) -> str:
    return hashlib.sha256(b"".join(p.detach().cpu().numpy().tobytes() for p in vae.parameters())).hexdigest()


def _fingerprint_photos(faces: FaceDataset) -> str:
    sample = faces.photographs[:: max(1, len(faces.photographs) // 256)]
    return hashlib.sha256(np.ascontiguousarray(sample).tobytes()).hexdigest()
