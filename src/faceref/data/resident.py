"""A data set whose photographs are all on the device."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from faceref.data.dataset import FaceDataset


class ResidentFaces:
    """A FaceDataset with all its photographs on the device, as uint8: an accelerator need not wait for the next."""

    def __init__(self, dataset: FaceDataset, device: torch.device):
        self.dataset = dataset
        photographs = dataset.photographs
        size = (len(photographs), 4, photographs.resolution, photographs.resolution)
        self.photographs = torch.zeros(size, dtype=torch.uint8, device=device)
        for row in photographs.whole:
            self.photographs[row] = torch.from_numpy(np.array(photographs[row]))

    def batch(self, keys: Sequence[int]) -> dict[str, Tensor]:
        """The samples of these keys, as `default_collate` makes a batch of them, on the device."""
        dataset, device = self.dataset, self.photographs.device
        targets, references = zip(*(dataset.rows(key) for key in keys), strict=True)
        has_references = torch.tensor([len(rows) > 0 for rows in references])
        shown = [rows if len(rows) else np.zeros(dataset.reference_count, np.int64) for rows in references]
        taken = self.photographs[torch.from_numpy(np.stack(shown)).to(device)][:, :, :3]  # [B, R, 3, H, W]
        targets_taken = self.photographs[torch.tensor(targets, device=device)]
        index = [key % len(dataset) for key in keys]
        batch = {
            "has_references": has_references,
            "coarse": torch.tensor([dataset.coarse[i] for i in index]),
            "index": torch.tensor(index),
        }
        on_device = {name: values.to(device) for name, values in batch.items()}
        references_or_black = taken * on_device["has_references"].view(-1, 1, 1, 1, 1)
        return on_device | {"hq": targets_taken[:, :3], "mask": targets_taken[:, 3:], "references": references_or_black}
