"""A network that cleans any photograph of noise and compression, for what lies around faces (ours)."""

from pathlib import Path
from typing import Self

import torch
from PIL import Image
from torch import Tensor, nn

from faceref.data.dataset import FaceDataset
from faceref.errors import UsageError
from faceref.models.cleaner import PictureCleaner
from faceref.models.loading import load_component
from faceref.training.pictures import compare, contact_sheet
from faceref.training.stages.components import new_network
from faceref.training.stages.configs import CleaningConfig
from faceref.training.stages.stage import Batch, Losses, Stage

LOOKED_AT = 4  # places of a photograph, of which the one with the most in it is trained on


class CleaningStage(Stage):
    """Parts of degraded photographs are to be what they were, by L1."""

    best_by = "psnr_cleaned"

    def __init__(self, config: CleaningConfig, cleaner: PictureCleaner):
        super().__init__()
        self.config, self.cleaner = config, cleaner

    @classmethod
    def build(cls, config: CleaningConfig, faces: FaceDataset) -> Self:
        if config.crop > config.data.resolution:
            raise UsageError("crop is larger than the photographs", hint="set it to data.resolution at the most")
        if config.initial is not None:
            cleaner = load_component(config.initial, (PictureCleaner,), "cleaner")
        else:
            cleaner = new_network(PictureCleaner, config.cleaner, "cleaner")
        if config.crop % cleaner.multiple:
            raise UsageError(f"crop has to be a multiple of {cleaner.multiple} for this cleaner")
        return cls(config, cleaner)

    def trainable(self, turn: str) -> dict[nn.Module, float]:
        return {self.cleaner: 1.0}

    def averaged(self) -> nn.Module:
        return self.cleaner

    @torch.no_grad()
    def make_batch(self, items: Batch, generator: torch.Generator) -> Batch:
        """hq, lq [B, 3, C, C] and mask [B, 1, C, C]: of each photograph a crop."""
        size = items["hq"].shape[-1] - self.config.crop + 1
        corners = torch.randint(size, (len(items["hq"]), LOOKED_AT, 2), generator=generator, device=generator.device)
        parts = [self._fullest(*one) for one in zip(items["hq"], items["mask"], corners.tolist(), strict=True)]
        hq, mask = (torch.stack(part) for part in zip(*parts, strict=True))
        batch = self.degraded(items | {"hq": hq, "mask": mask}, self.config.data, generator)
        return {"hq": batch["hq"], "lq": self._some_white(batch, generator), "mask": batch["mask"]}

    def _fullest(self, hq: Tensor, mask: Tensor, corners: list[list[int]]) -> tuple[Tensor, Tensor]:
        """Of crops at these corners [y, x] that of which most lies in the photograph: it and its mask."""
        side = self.config.crop
        crops = [(slice(None), slice(y, y + side), slice(x, x + side)) for y, x in corners]
        best = max(crops, key=lambda crop: int(mask[crop].sum(dtype=torch.int64)))
        return hq[best], mask[best]

    def _some_white(self, batch: Batch, generator: torch.Generator) -> Tensor:
        """The degraded pictures [B, 3, C, C], but that some are the photographs with white noise."""
        hq, device = batch["hq"], generator.device
        share, deviation, grey = torch.rand(3, len(hq), 1, 1, 1, generator=generator, device=device).to(hq.device)
        noise = torch.randn(len(hq), 4, *hq.shape[2:], generator=generator, device=device).to(hq.device)
        noise = grey.sqrt() * noise[:, 3:] + (1 - grey).sqrt() * noise[:, :3]  # in all channels alike, or in each
        noisy = (hq + 1) * 127.5 + self.config.white_noise * deviation * noise
        white = noisy.round().clamp(0, 255) / 127.5 - 1
        return torch.where(share < self.config.white, white, batch["lq"])

    def forward(self, batch: Batch, generator: torch.Generator, step: int, turn: str) -> Losses:
        wrong = (self.cleaner(batch["lq"]).float() - batch["hq"]).abs() * batch["mask"]
        loss = wrong.mean() / batch["mask"].mean().clamp(min=1e-6)
        return loss, {"l1": loss.detach()}

    def validate(self, batch: Batch, generator: torch.Generator) -> tuple[dict[str, float], Image.Image]:
        """Crops of held-out photographs; rows: degraded, cleaned, truth."""
        pictures = {"lq": batch["lq"], "cleaned": self.cleaner(batch["lq"]).float()}
        metrics = compare(pictures, batch["hq"], batch["mask"], None)
        return metrics, contact_sheet([*pictures.values(), batch["hq"]])

    def export(self, folder: Path) -> None:
        """Write the network in half precision."""
        half = PictureCleaner.from_config(self.cleaner.config)
        half.load_state_dict(self.cleaner.state_dict())  # type: ignore[union-attr]
        half.half().save_pretrained(folder)  # type: ignore[union-attr]
