"""How a good photograph becomes a bad one: Eq. 4 of ReF-LDM, for one PIL image and for a batch of tensors.

    blur (Gaussian, sigma s) -> downsample by r -> add Gaussian noise n -> JPEG of quality q -> resize back

Both resizes are `cv2.INTER_LINEAR` (bilinear, no antialiasing), as in the BasicSR pipelines the paper builds on. The
picture is rounded to 8 bit where a real one would be: on entering the JPEG encoder and at the end.
"""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Self

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor

from faceref.pictures.colour import YCC


@dataclass(frozen=True)
class Degradation:
    """The parameters of one degraded picture, in pixels of that picture.

    sigma_x and sigma_y are the blur's standard deviations along its own axes, angle (radians) turns them; downsample is
    the factor r >= 1; noise the standard deviation on the 0..255 scale; quality JPEG's 1..100; kernel_size is odd.
    """

    sigma_x: float
    sigma_y: float
    angle: float
    downsample: float
    noise: float
    quality: int
    kernel_size: int


Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Quality = Annotated[int, Field(ge=1, le=100)]  # of JPEG


class DegradationRanges(BaseModel):
    """(low, high) of each parameter for faces of `resolution` pixels; every parameter is drawn uniformly."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sigma: tuple[Amount, Amount]
    downsample: tuple[Amount, Amount]
    noise: tuple[Amount, Amount]
    quality: tuple[Quality, Quality]
    resolution: int = Field(default=512, ge=1)
    kernel_size: int = Field(default=41, ge=1)  # odd

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name in ("sigma", "downsample", "noise", "quality"):
            low, high = getattr(self, name)
            if low > high:
                raise ValueError(f"{name} must be (low, high) with low <= high, not ({low}, {high})")
        if self.kernel_size % 2 == 0:
            raise ValueError(f"kernel_size must be odd, not {self.kernel_size}")
        return self

    def at(self, resolution: int) -> "DegradationRanges":
        """The same degradation at another resolution: blur and downsampling scale with it, noise and JPEG do not."""
        scale = resolution / self.resolution
        return self.model_copy(
            update={
                "sigma": (self.sigma[0] * scale, self.sigma[1] * scale),
                "downsample": (self.downsample[0] * scale, self.downsample[1] * scale),
                "kernel_size": 2 * round((self.kernel_size - 1) / 2 * scale) + 1,
                "resolution": resolution,
            }
        )

    def sample(self, rng: np.random.Generator) -> Degradation:
        """Draw the parameters of one picture; the blur is isotropic in half of the draws.

        A downsampling factor below 1 (ranges scaled to a small resolution) becomes 1: nothing is ever enlarged.
        """
        sigma_x, sigma_y = rng.uniform(*self.sigma, size=2)
        isotropic = rng.random() < 0.5
        return Degradation(
            sigma_x=sigma_x,
            sigma_y=sigma_x if isotropic else sigma_y,
            angle=rng.uniform(-math.pi, math.pi),
            downsample=max(1.0, rng.uniform(*self.downsample)),
            noise=rng.uniform(*self.noise),
            quality=int(rng.integers(self.quality[0], self.quality[1], endpoint=True)),
            kernel_size=self.kernel_size,
        )


# The table under "Degradation" in the ReF-LDM paper; LDBFR from that model's released configuration; MILD is ours: what
# a good photograph suffers on its way, and restoring must not make worse.
TRAINING = DegradationRanges(sigma=(0, 16), downsample=(1, 32), noise=(0, 20), quality=(30, 100))
MODERATE = DegradationRanges(sigma=(0, 8), downsample=(1, 8), noise=(0, 15), quality=(60, 100))
MILD = DegradationRanges(sigma=(0, 2), downsample=(1, 2), noise=(0, 5), quality=(80, 100))
SEVERE = DegradationRanges(sigma=(8, 16), downsample=(8, 32), noise=(0, 20), quality=(30, 100))
LDBFR = DegradationRanges(sigma=(0.1, 10), downsample=(0.8, 8), noise=(0, 20), quality=(60, 100), resolution=256)
GRADES = {"mild": MILD, "moderate": MODERATE, "severe": SEVERE}  # how bad a photograph is that is restored


def degrade(image: Image.Image, degradation: Degradation, rng: np.random.Generator) -> Image.Image:
    """Degrade one picture (Eq. 4 of ReF-LDM) with OpenCV and a real JPEG codec; `rng` draws the noise.

    Returns an RGB image of the same size; the same image, degradation and rng state give the same bytes.
    """
    pixels = np.asarray(image.convert("RGB"), dtype=np.float32)
    height, width = pixels.shape[:2]
    blurred = cv2.filter2D(pixels, -1, gaussian_kernels([degradation])[0].numpy(), borderType=cv2.BORDER_REFLECT_101)
    small_size = (_small_side(width, degradation), _small_side(height, degradation))
    small = cv2.resize(blurred, small_size, interpolation=cv2.INTER_LINEAR)
    noisy = small + degradation.noise * rng.standard_normal(small.shape, dtype=np.float32)
    file = io.BytesIO()
    Image.fromarray(_to_uint8(noisy)).save(file, "JPEG", quality=degradation.quality, subsampling="4:2:0")
    compressed = np.asarray(Image.open(file), dtype=np.float32)
    return Image.fromarray(_to_uint8(cv2.resize(compressed, (width, height), interpolation=cv2.INTER_LINEAR)))


@torch.no_grad()
def apply_degradations(images: Tensor, degradations: Sequence[Degradation], generator: torch.Generator) -> Tensor:
    """`degrade` for a batch: images [B, 3, H, W] in [-1, 1], one degradation each, generator on the images' device.

    Downsampled pictures have different sizes; each lies in the upper left corner of a common canvas [H', W'], H' and W'
    being H and W rounded up to JPEG's blocks of 16.
    """
    with torch.autocast(images.device.type, enabled=False):
        batch, _, height, width = images.shape
        device = images.device
        small_heights = torch.tensor([_small_side(height, d) for d in degradations], device=device)
        small_widths = torch.tensor([_small_side(width, d) for d in degradations], device=device)
        canvas_height, canvas_width = math.ceil(height / 16) * 16, math.ceil(width / 16) * 16
        heights, widths = torch.full_like(small_heights, height), torch.full_like(small_widths, width)

        blurred = blur((images.float() + 1) * 127.5, gaussian_kernels(degradations).to(device))
        down_y = _bilinear_matrices(heights, small_heights, height, canvas_height)
        down_x = _bilinear_matrices(widths, small_widths, width, canvas_width)
        small = down_y @ blurred @ down_x.mT  # [B, 3, H', W']

        sigma = torch.tensor([d.noise for d in degradations], device=device, dtype=torch.float32)
        noise = torch.randn(small.shape, generator=generator, device=device)
        noisy = (small + sigma.view(batch, 1, 1, 1) * noise).round().clamp(0, 255)
        # JPEG continues the last row and column into the unfinished blocks
        rows = torch.minimum(torch.arange(canvas_height, device=device), small_heights[:, None] - 1)  # [B, H']
        columns = torch.minimum(torch.arange(canvas_width, device=device), small_widths[:, None] - 1)  # [B, W']
        picture = torch.arange(batch, device=device)[:, None, None]
        padded = noisy.permute(0, 2, 3, 1)[picture, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
        compressed = jpeg(padded, torch.tensor([d.quality for d in degradations], device=device))

        up_y = _bilinear_matrices(small_heights, heights, canvas_height, height)
        up_x = _bilinear_matrices(small_widths, widths, canvas_width, width)
        return (up_y @ compressed @ up_x.mT).round().clamp(0, 255) / 127.5 - 1


def gaussian_kernels(degradations: Sequence[Degradation]) -> Tensor:
    """The blur kernels [B, K, K] of degradations that share one kernel size; each sums to 1."""
    parameters = torch.tensor([(d.sigma_x, d.sigma_y, d.angle) for d in degradations], dtype=torch.float32)
    return kernels_of(*parameters.unbind(1), radius=(degradations[0].kernel_size - 1) // 2)


def kernels_of(sigma_x: Tensor, sigma_y: Tensor, angle: Tensor, radius: int) -> Tensor:
    """Gaussian kernels [B, K, K], K = 2 radius + 1, of deviations along axes that are turned by angle, [B] each."""
    offsets = torch.arange(-radius, radius + 1, dtype=torch.float32, device=angle.device)
    y, x = torch.meshgrid(offsets, offsets, indexing="ij")
    sigma_x, sigma_y, angle = (one[:, None, None] for one in (sigma_x, sigma_y, angle))
    along = (angle.cos() * x + angle.sin() * y) / sigma_x.clamp(min=1e-3)  # sigma 0: a single 1 in the middle
    across = (angle.cos() * y - angle.sin() * x) / sigma_y.clamp(min=1e-3)
    kernels = torch.exp(-0.5 * (along**2 + across**2))
    return kernels / kernels.sum(dim=(1, 2), keepdim=True)


def jpeg(images: Tensor, quality: Tensor) -> Tensor:
    """What baseline JPEG (4:2:0, libjpeg's tables) makes of images: encode and decode without the lossless part.

    images [B, 3, H, W] in 0..255 with H and W multiples of 16, quality [B] in 1..100 -> [B, 3, H, W], whole numbers.
    """
    # kornia's codec is differentiable, so it only approximates the rounding that makes JPEG lossy
    to_ycbcr, offset = _COLOUR.to(images), _COLOUR_OFFSET.to(images)
    ycbcr = (torch.einsum("dc,bchw->bdhw", to_ycbcr, images) + offset).round()
    scale = torch.where(quality < 50, 5000 // quality, 200 - 2 * quality).view(-1, 1, 1)
    luma_table = ((_LUMA_TABLE.to(images) * scale + 50) / 100).floor().clamp(1, 255)  # [B, 1, 64]
    chroma_table = ((_CHROMA_TABLE.to(images) * scale + 50) / 100).floor().clamp(1, 255)
    luma = _quantise_blocks(ycbcr[:, :1], luma_table)
    # libjpeg rounds the mean of four up and down in alternate columns
    bias = torch.tensor([0.25, 0.5], device=images.device).repeat(images.shape[-1] // 4)
    chroma = _quantise_blocks((F.avg_pool2d(ycbcr[:, 1:], 2) + bias).floor(), chroma_table)
    chroma = F.interpolate(chroma, scale_factor=2, mode="bilinear", align_corners=False)
    decoded = torch.cat([luma, chroma], dim=1) - offset
    return torch.einsum("dc,bchw->bdhw", torch.linalg.inv(_COLOUR).to(images), decoded).round().clamp(0, 255)


def _quantise_blocks(planes: Tensor, table: Tensor) -> Tensor:
    """Round the 8x8 cosine coefficients of planes [B, C, H, W] to multiples of table [B, 1, 64]."""
    batch, channels, height, width = planes.shape
    dct = _DCT.to(planes)
    blocks = planes.view(batch, channels, height // 8, 8, width // 8, 8).transpose(3, 4).reshape(batch, -1, 64)
    coefficients = (((blocks - 128) @ dct.T) / table).round() * table
    blocks = (coefficients @ dct + 128).round().clamp(0, 255)
    blocks = blocks.view(batch, channels, height // 8, width // 8, 8, 8).transpose(3, 4)
    return blocks.reshape(batch, channels, height, width)


def blur(images: Tensor, kernels: Tensor) -> Tensor:
    """Filter images [B, C, H, W] with kernels [B, K, K], edges reflected; by FFT, as K is 41 at 512 px."""
    height, width = images.shape[-2:]
    radius = kernels.shape[-1] // 2
    padded = F.pad(images, (radius,) * 4, mode="reflect")
    size = padded.shape[-2:]
    spectrum = torch.fft.rfft2(padded) * torch.fft.rfft2(kernels, s=size)[:, None]
    # the kernel's origin is its corner, so that the result is shifted by `radius` on top of the padding's `radius`
    return torch.fft.irfft2(spectrum, s=size)[..., 2 * radius : 2 * radius + height, 2 * radius : 2 * radius + width]


def _bilinear_matrices(size_in: Tensor, size_out: Tensor, columns: int, rows: int) -> Tensor:
    """Matrices [B, 1, rows, columns] that resize size_in samples to size_out as cv2.INTER_LINEAR does (sizes [B]).

    Rows past size_out repeat its last one; columns past size_in are zero.
    """
    ratio = (size_in / size_out)[:, None]
    position = (torch.arange(rows, device=size_in.device) + 0.5) * ratio - 0.5
    position = position.clamp(min=0).minimum(size_in[:, None] - 1)  # [B, rows]
    distance = position[:, :, None] - torch.arange(columns, device=size_in.device)
    return (1 - distance.abs()).clamp(min=0)[:, None]


def _small_side(side: int, degradation: Degradation) -> int:
    """In pixels, rounded; ReF-LDM's released code cuts it (`int(w // scale)`): one less, in half of all pictures."""
    return max(1, round(side / degradation.downsample))


def _to_uint8(pixels: np.ndarray) -> np.ndarray:
    return pixels.round().clip(0, 255).astype(np.uint8)


def _dct_matrix() -> Tensor:
    """The orthonormal 8x8 two-dimensional cosine transform as a matrix [64, 64] on flattened blocks."""
    k, n = torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing="ij")
    basis = torch.cos(math.pi * (n + 0.5) * k / 8) / 2
    basis[0] /= math.sqrt(2)
    return torch.kron(basis, basis)


_DCT = _dct_matrix()
_COLOUR = torch.tensor(YCC)
_COLOUR_OFFSET = torch.tensor([0.0, 128.0, 128.0]).view(3, 1, 1)
# ITU T.81 annex K: the tables of quality 50, row by row
# fmt: off
_LUMA_TABLE = torch.tensor([
    16, 11, 10, 16, 24, 40, 51, 61,
    12, 12, 14, 19, 26, 58, 60, 55,
    14, 13, 16, 24, 40, 57, 69, 56,
    14, 17, 22, 29, 51, 87, 80, 62,
    18, 22, 37, 56, 68, 109, 103, 77,
    24, 35, 55, 64, 81, 104, 113, 92,
    49, 64, 78, 87, 103, 121, 120, 101,
    72, 92, 95, 98, 112, 100, 103, 99,
])
_CHROMA_TABLE = torch.tensor([
    17, 18, 24, 47, 99, 99, 99, 99,
    18, 21, 26, 66, 99, 99, 99, 99,
    24, 26, 56, 99, 99, 99, 99, 99,
    47, 66, 99, 99, 99, 99, 99, 99,
    *[99] * 32,
])
# fmt: on
