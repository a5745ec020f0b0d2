"""A network that cleans any photograph of noise and compression, for what lies around faces (ours)."""

from pathlib import Path
from typing import Self, cast

import torch
from PIL import Image
from torch import Tensor, nn

from faceref.data.dataset import FaceDataset
from faceref.data.degradation import DegradationRanges
from faceref.data.mixed_degradation import AnyRanges, Ranges
from faceref.errors import UsageError
from faceref.models.cleaner import PictureCleaner
from faceref.models.loading import load_component
from faceref.training.pictures import compare, contact_sheet
from faceref.training.stages.components import new_network
from faceref.training.stages.configs import CleaningConfig
from faceref.training.stages.stage import Batch, Losses, Stage

LOOKED_AT = 4  # places of a photograph, of which the one with the most in it is trained on
GRID = 16  # pixels between the corners of JPEG's blocks, of colours, whose numbers are halved


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
        """hq, lq [B, 3, C, C] and mask [B, 1, C, C]: of each photograph a crop.

        It is cut out of one that was degraded: JPEG's grid begins at the corner of that, if the photograph has room.
        """
        crop, side, data = self.config.crop, items["hq"].shape[-1], self.config.data
        wider = crop + GRID if crop + GRID <= side else crop
        count = len(items["hq"]), LOOKED_AT, 2
        corners = torch.randint(side - wider + 1, count, generator=generator, device=generator.device).tolist()
        parts = []
        for hq, mask, places in zip(items["hq"], items["mask"], corners, strict=True):
            candidates = [(cut(hq, place, wider), cut(mask, place, wider)) for place in places]
            parts.append(max(candidates, key=lambda one: int(one[1].sum(dtype=torch.int64))))
        hq, mask = (torch.stack(part) for part in zip(*parts, strict=True))
        data = data.model_copy(update={"degradation": as_strong(data.degradation, crop, wider)})
        batch = self.degraded(items | {"hq": hq, "mask": mask}, data, generator)
        count = len(items["hq"]), 2
        corners = torch.randint(wider - crop or 1, count, generator=generator, device=generator.device).tolist()
        batch = {
            name: torch.stack([cut(*one, crop) for one in zip(batch[name], corners, strict=True)])
            for name in ("hq", "lq", "mask")
        }
        return batch | {"lq": self._some_white(batch, generator)}

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


def cut(picture: Tensor, corner: list[int], side: int) -> Tensor:
    """Of a picture [C, H, W] the square of so many pixels whose upper left corner is [y, x]."""
    y, x = corner
    return picture[:, y : y + side, x : x + side]


def as_strong(ranges: AnyRanges, side: int, larger: int) -> AnyRanges:
    """Ranges that do to pictures of `larger` pixels what these do to parts of them of `side` pixels."""
    if isinstance(ranges, tuple):
        return tuple(cast(Ranges, as_strong(one, side, larger)) for one in ranges)
    if isinstance(ranges, DegradationRanges):
        return ranges.at(side).model_copy(update={"resolution": larger})
    low, high = ranges.side
    return ranges.model_copy(update={"side": (low * larger / side, high * larger / side)})
