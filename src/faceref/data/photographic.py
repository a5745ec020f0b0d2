"""How photographs go bad outside of papers: lens, sensor, sharpening, JPEG, and being saved again (ours).

    blur or shake -> fewer pixels -> noise, smoothed as cameras do -> over-sharpening -> JPEG -> saved again smaller or
    larger -> enlarged to the face's square

Each of them strikes a share of the pictures only. The order is that of second-order degradations (Real-ESRGAN, Wang et
al. 2021); sizes are given in pixels of the picture that was stored, since that is where cameras and programs worked.
"""

from typing import Annotated, Literal, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor

from faceref.data.degradation import Amount, blur, jpeg, kernels_of

Pixels = Annotated[float, Field(ge=1, allow_inf_nan=False)]
Quality = Annotated[float, Field(ge=1, le=100)]


class PhotographicRanges(BaseModel):
    """(low, high) of each parameter, drawn uniformly (side: logarithmically)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["photographic"] = "photographic"
    side: tuple[Pixels, Pixels] = (24, 256)  # of the face's square in the photograph, in pixels
    focus: tuple[Amount, Amount] = (0.3, 1.6)  # deviation of the blur
    shake: Amount = 3.0  # and along its longer axis, up to; every fourth picture
    noise: tuple[Amount, Amount] = (0, 22)  # of brightness, deviation on the 0..255 scale; and of colours
    sharpening: Amount = 1.5  # how many times what blurring takes away is added, up to; two in five pictures
    quality: tuple[Quality, Quality] = (30, 98)  # of JPEG

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name in ("side", "focus", "noise", "quality"):
            low, high = getattr(self, name)
            if low > high:
                raise ValueError(f"{name} must be (low, high) with low <= high, not ({low}, {high})")
        return self


@torch.no_grad()
def photograph(images: Tensor, ranges: PhotographicRanges, generator: torch.Generator) -> Tensor:
    """Degrade pictures [B, 3, S, S] in [-1, 1], each by its own draws: the same shape, float32, on the 8-bit grid."""
    with torch.autocast(images.device.type, enabled=False):
        draw = _Draws(len(images), generator, images.device)
        full = torch.full((len(images),), float(images.shape[-1]), device=images.device)
        stored = draw.between_logarithmically(*ranges.side).minimum(full).round()
        pixels = _out_of_focus((images.float() + 1) * 127.5, full / stored, ranges, draw)
        small = _resize(pixels, full, stored, smooth=draw.share(0.7))
        small = _sharpened(small + _noise(small, ranges, draw), ranges, draw)
        small = _saved(small, draw, ranges)
        again = torch.where(draw.share(0.4), (stored * draw.between(0.6, 1.3)).minimum(full).round(), stored)
        smaller = _saved(_resize(small, stored, again, smooth=draw.share(0.5)), draw, ranges)
        small = torch.where((again != stored).view(-1, 1, 1, 1), smaller, small)
        result = _resize(small, again, full, cubic=draw.share(0.6))
        return result.round().clamp(0, 255) / 127.5 - 1


class _Draws:
    """Uniform random numbers [B], a fresh one each time."""

    def __init__(self, pictures: int, generator: torch.Generator, device: torch.device):
        self.pictures, self.generator, self.device = pictures, generator, device
        self.noise = torch.Generator(device).manual_seed(
            int(torch.randint(2**62, (), generator=generator, device=generator.device))
        )

    def _uniform(self) -> Tensor:
        return torch.rand(self.pictures, generator=self.generator, device=self.generator.device).to(self.device)

    def between(self, low: float, high: float) -> Tensor:
        return low + (high - low) * self._uniform()

    def between_logarithmically(self, low: float, high: float) -> Tensor:
        return low * (high / low) ** self._uniform()

    def share(self, share: float) -> Tensor:
        """True [B] with this probability."""
        return self._uniform() < share


def _out_of_focus(pixels: Tensor, ratio: Tensor, ranges: PhotographicRanges, draw: _Draws) -> Tensor:
    """ratio [B]: pixels of these pictures to one that is stored."""
    across = ratio * draw.between(*ranges.focus)
    shaken = ratio * draw.between(min(ranges.focus[1], ranges.shake), ranges.shake)
    along = torch.where(draw.share(0.25), shaken.maximum(across), across)
    side = pixels.shape[-1]
    radius = min(max(31, 31 * side // 256), (side - 1) // 2)
    return blur(pixels, kernels_of(along, across, draw.between(0, torch.pi), radius))


def _noise(pixels: Tensor, ranges: PhotographicRanges, draw: _Draws) -> Tensor:
    """Of brightness and of colours, apart; in half of the pictures smoothed, as cameras do, and as strong as before."""
    size = (len(pixels), 1, 1, 1)
    of_brightness = draw.between(*ranges.noise) * draw.share(0.5)
    of_colours = draw.between(*ranges.noise) * draw.share(0.25)
    white = torch.randn(len(pixels), 4, *pixels.shape[2:], generator=draw.noise, device=pixels.device)
    sigma = draw.between(0.4, 1.0) * draw.share(0.5)
    smoothed = blur(white, kernels_of(sigma, sigma, sigma, radius=4))
    smoothed = smoothed / smoothed.std(dim=(1, 2, 3), keepdim=True)
    return of_brightness.view(size) * smoothed[:, :1] + of_colours.view(size) * smoothed[:, 1:]


def _sharpened(pixels: Tensor, ranges: PhotographicRanges, draw: _Draws) -> Tensor:
    amount = draw.between(min(0.2, ranges.sharpening), ranges.sharpening) * draw.share(0.4)
    sigma = draw.between(0.6, 1.5)
    return pixels + amount.view(-1, 1, 1, 1) * (pixels - blur(pixels, kernels_of(sigma, sigma, sigma, radius=5)))


def _saved(pixels: Tensor, draw: _Draws, ranges: PhotographicRanges) -> Tensor:
    """As JPEG; the pictures' sides are multiples of 16."""
    return jpeg(pixels.round().clamp(0, 255), draw.between(*ranges.quality).round())


def _resize(
    pixels: Tensor, before: Tensor, after: Tensor, smooth: Tensor | None = None, cubic: Tensor | None = None
) -> Tensor:
    """Bring the upper left square of side `before` [B] of each canvas [B, 3, S, S] to side `after` [B].

    Bilinear; where `smooth` [B], averaged over what a pixel covers; where `cubic` [B], with Keys' kernel. What lies
    beside the square repeats its last row and column.
    """
    matrix = _resize_matrices(before, after, pixels.shape[-1], smooth, cubic)
    return matrix @ pixels @ matrix.mT


def _resize_matrices(before: Tensor, after: Tensor, side: int, smooth: Tensor | None, cubic: Tensor | None) -> Tensor:
    """[B, 1, side, side]: rows are the weights of a pixel of the result."""
    ratio = (before / after)[:, None]
    places = torch.arange(side, device=before.device)
    position = (places.minimum(after[:, None] - 1) + 0.5) * ratio - 0.5  # [B, side]
    position = position.clamp(min=0).minimum(before[:, None] - 1)
    support = ratio.clamp(min=1)[:, :, None]
    if smooth is not None:
        support = torch.where(smooth[:, None, None], support, 1.0)
    distance = (position[:, :, None] - places).abs() / support
    weights = (1 - distance).clamp(min=0)
    if cubic is not None:
        weights = torch.where(cubic[:, None, None], _keys(distance), weights)
    weights = weights * (places < before[:, None])[:, None]
    return (weights / weights.sum(dim=2, keepdim=True))[:, None]


def _keys(x: Tensor, a: float = -0.5) -> Tensor:
    """Keys' cubic convolution kernel (1981) at distances x >= 0."""
    near = (a + 2) * x**3 - (a + 3) * x**2 + 1
    far = a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a
    return torch.where(x <= 1, near, torch.where(x < 2, far, 0.0))
