"""A recogniser of degraded faces: dlib's network learns to see in them what it sees in good ones (ours)."""

import copy
from pathlib import Path
from typing import Self

import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn

from faceref.data.dataset import FaceDataset
from faceref.faces.dlib_torch import load_dlib_resnet
from faceref.faces.recognise import SAME_PERSON_DISTANCE
from faceref.models.dlib_resnet import DlibResNet, chips_of_aligned
from faceref.training.pictures import contact_sheet
from faceref.training.stages.configs import RecognitionConfig
from faceref.training.stages.stage import Batch, Losses, Stage


class RecognitionStage(Stage):
    """Embeddings of degraded faces are to be those that dlib's network makes of the photographs before.

    The squared distance to them, and a contrast (InfoNCE, van den Oord et al. 2018): a degraded face is to be nearer to
    another photograph of its person than to those of the others in the batch. Chips are moved a little, as landmarks
    of degraded faces are.
    """

    best_by = "auc"

    def __init__(self, config: RecognitionConfig, network: DlibResNet):
        super().__init__()
        self.config = config
        self.network = copy.deepcopy(network).train().requires_grad_(True)
        self.keep_frozen(teacher=network)

    @classmethod
    def build(cls, config: RecognitionConfig, faces: FaceDataset) -> Self:
        return cls(config, load_dlib_resnet())

    def trainable(self, turn: str) -> dict[nn.Module, float]:
        return {self.network: 1.0}

    def averaged(self) -> nn.Module:
        return self.network

    @torch.no_grad()
    def make_batch(self, items: Batch, generator: torch.Generator) -> Batch:
        """chips [B, 3, 150, 150] in 0..255 of degraded faces; wanted [B, 128]: dlib's embeddings of the photographs;
        others [B, 128]: of another photograph of each person, if there is one; has_references bool [B].
        """
        batch = self.degraded(items, self.config.data, generator)
        hq, lq, has_references = batch["hq"], batch["lq"], batch["has_references"]
        second = torch.where(has_references.view(-1, 1, 1, 1), batch["references"][:, 0], hq)
        wanted, others = self.frozen["teacher"](chips_of_aligned(torch.cat([hq, second]))).float().chunk(2)
        moves = self.config.jitter * torch.randn(4, len(lq), generator=generator, device=generator.device)
        moved = chips_of_aligned(lq, moves.to(lq.device))
        return {"chips": moved, "wanted": wanted, "others": others, "has_references": has_references}

    def forward(self, batch: Batch, generator: torch.Generator, step: int, turn: str) -> Losses:
        embedded = self.network(batch["chips"]).float()
        apart = (embedded - batch["wanted"]).square().sum(1).mean()
        contrast = self._contrast(embedded, batch["wanted"], batch["others"])
        loss = apart + self.config.contrast * contrast
        return loss, {"apart": apart.detach(), "contrast": contrast.detach()}

    def _contrast(self, embedded: Tensor, wanted: Tensor, others: Tensor) -> Tensor:
        logits = -torch.cdist(embedded, others).square() / self.config.temperature  # [B, B]
        # whom dlib takes for the same person is no stranger
        same = torch.cdist(wanted, others) < SAME_PERSON_DISTANCE
        same.fill_diagonal_(False)
        return F.cross_entropy(logits.masked_fill(same, -torch.inf), torch.arange(len(logits), device=logits.device))

    def validate(self, batch: Batch, generator: torch.Generator) -> tuple[dict[str, float], Image.Image]:
        """Each face with a second photograph, against those of all: area under the curve, ours and dlib's."""
        has, pictures = batch["has_references"], batch["chips"]
        own = torch.eye(int(has.sum()), dtype=torch.bool, device=has.device)
        metrics = {"apart": float((self.network(pictures).float() - batch["wanted"]).square().sum(1).mean())}
        for name, network in (("auc", self.network), ("auc_of_dlib", self.frozen["teacher"])):
            distances = torch.cdist(network(pictures[has]).float(), batch["others"][has])
            nearer = distances[own][:, None] < distances[~own]  # than a stranger
            metrics[name] = float(nearer.float().mean().nan_to_num(0.5))  # alone: as good as chance
        return metrics, contact_sheet([pictures / 127.5 - 1])

    def export(self, folder: Path) -> None:
        """Write recogniser.safetensors, in half precision."""
        folder.mkdir(parents=True, exist_ok=True)
        weights = {name: weight.half().cpu().contiguous() for name, weight in self.network.state_dict().items()}
        save_file(weights, folder / "recogniser.safetensors")
