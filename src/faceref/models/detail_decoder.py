"""The last step of a restoration: latents drawn at twice their size, with what LQ picture and references show."""

import functools
import itertools

import torch
import torch.nn.functional as F
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn

from faceref.models.fusion import ResidualBlock
from faceref.models.texture import TEXTURE_CHANNELS, blur, convolved, luminance

COARSEST_TEXTURED = 4  # pixels to a side of what one pixel stands for, at the coarsest level that is shown texture
CHROMA = 1.5  # chosen, as the next, on people for validation (docs/experiments.md)
COLOUR_CHANGE = 0.04  # five levels of 255
COARSE_CHROMA, BLURRED, NOISY = 5.0, 0.06, 0.01  # where an LQ picture's colours are believed by half; all of [-1, 1]
MOUTH = ((0.672, 0.836), (0.328, 0.672))  # from where to where it lies, down and across an aligned face
MOUTH_CRISPNESS = 0.5  # how crisply it is drawn, of how crisply the face is
MOUTH_EDGE = 6 / 256  # the Gaussian by which this begins, of the side
SMOOTH = (-1, 8, -28, 56, 186, 56, -28, 8, -1)  # / 256: 1 - sin(w / 2)^8 of a frequency w


class DetailDecoder(ModelMixin, ConfigMixin):
    """Draws a face from its denoised latent and the LQ picture, larger than the latent's own decoder does.

    Ours, beyond both papers. It begins as the decoded picture, enlarged; the LQ picture is an input only, since what is
    added to it would keep its noise. Convolutions work from the latents' resolution up to the picture's, each level
    being shown both pictures at its own scale, and the texture of references (`faceref.models.texture`) where it is
    fine enough to hold it. Levels are enlarged by nearest neighbours before a convolution (Odena et al. 2016):
    pixel-shuffles draw grids along edges once a discriminator asks for sharpness.
    """

    @register_to_config
    def __init__(
        self,
        latent_channels: int = 8,
        patch_size: int = 8,
        enlargement: int = 2,
        channels: tuple[int, ...] = (160, 64, 32, 16),
        residual_blocks: tuple[int, ...] = (4, 3, 2, 0),
        textured: bool = False,
    ) -> None:
        """patch_size: pixels of the picture to one of the latent, a power of 2; enlargement: its side to that of the
        picture that the latent decodes to.

        channels, residual_blocks: of each level, from the latents' resolution to the picture's, doubling it each time;
        multiples of 32 where there are blocks (norm groups). textured: whether it is shown texture, and told how
        crisply to draw.
        """
        super().__init__()
        levels = len(channels)
        if 2 ** (levels - 1) != patch_size or len(residual_blocks) != levels:
            raise ValueError(f"patch_size {patch_size} takes {patch_size.bit_length()} levels, not {channels}")
        below = (latent_channels, *channels[1:])
        pictures = [
            6 + (TEXTURE_CHANNELS + 1 if textured and shows_texture(patch_size >> i) else 0) for i in range(levels)
        ]
        self.inputs = nn.ModuleList(
            nn.Conv2d(below[level] + pictures[level] * (patch_size >> level) ** 2, width, 3, padding=1)
            for level, width in enumerate(channels)
        )
        self.blocks = nn.ModuleList(
            nn.Sequential(*(ResidualBlock(width) for _ in range(count)))
            for width, count in zip(channels, residual_blocks, strict=True)
        )
        self.ups = nn.ModuleList(nn.Conv2d(*widths, 3, padding=1) for widths in itertools.pairwise(channels))
        self.conv_out = nn.Conv2d(channels[-1], 3, 3, padding=1)
        nn.init.zeros_(self.conv_out.weight)
        nn.init.zeros_(self.conv_out.bias)  # type: ignore[arg-type]

    def forward(
        self, latents: Tensor, decoded: Tensor, lq: Tensor, texture: Tensor | None = None, crisp: Tensor | None = None
    ) -> Tensor:
        """Latents [B, C, h, w], what they decode to, and the LQ picture [B, 3, H, W] in [-1, 1] -> [B, 3, H, W].

        H and W are h and w times `patch_size`; the decoded picture is smaller by `enlargement`. Of a textured decoder:
        texture [B, TEXTURE_CHANNELS, H, W], as `find_texture` gives it for the `enlarged` decoded picture, zeros
        without references; crisp [B] or, by place, [B, 1, H, W], from 0, the likeliest picture, to 1, what looks like a
        photograph. Raises ValueError where these are missing, or given to another.
        """
        if not self.config["textured"] == (texture is not None) == (crisp is not None):
            raise ValueError("a textured decoder, and only that, is given texture and crispness")
        larger = enlarged(decoded, lq)
        pictures = [lq, larger]
        if texture is not None and crisp is not None:
            by_place = crisp.view(len(crisp), 1, *(crisp.shape[2:] or (1, 1)))
            pictures += [texture, by_place.expand_as(texture[:, :1])]
        # together and laid out as convolutions take them, not once more for each level
        seen = torch.cat(pictures, dim=1).contiguous(memory_format=torch.channels_last)
        x = latents
        for level, (enter, blocks) in enumerate(zip(self.inputs, self.blocks, strict=True)):
            if level:
                x = self.ups[level - 1](F.interpolate(F.silu(x), scale_factor=2, mode="nearest"))
            patch = self.config["patch_size"] >> level
            x = blocks(enter(torch.cat([x, _patches(seen if shows_texture(patch) else seen[:, :6], patch)], dim=1)))
        return larger + self.conv_out(F.silu(x))


def _patches(pictures: Tensor, size: int) -> Tensor:
    """Pictures [B, C, H, W] as [B, C size^2, H / size, W / size]: each place has the pixels of a patch."""
    return pictures if size == 1 else F.pixel_unshuffle(pictures, size)  # which by 1 is a copy, laid out otherwise


def enlarged(decoded: Tensor, lq: Tensor) -> Tensor:
    """A decoded picture at the size, and in the numbers, of the LQ one."""
    # in float32: CPUs do not resize in half precision, and pixel by pixel half as fast as plane by plane
    return F.interpolate(decoded.float().contiguous(), size=lq.shape[-2:], mode="bicubic").to(lq.dtype)


def crispness_by_place(height: int, width: int) -> Tensor:
    """How crisply to draw an aligned face, as shares of how crisply it is to be drawn: [1, 1, H, W], on the CPU.

    Mouths less: teeth and lips that references show otherwise glitter and tear where they are drawn crisply, which
    blind readers call broken (docs/experiments.md).
    """
    return 1 - (1 - MOUTH_CRISPNESS) * mouth_of(height, width)


@functools.cache
def mouth_of(height: int, width: int) -> Tensor:
    """Where an aligned face has its mouth, from 0 to 1, beginning softly: [1, 1, H, W], on the CPU."""
    place = torch.zeros(1, 1, height, width)
    (top, bottom), (left, right) = MOUTH
    place[..., round(top * height) : round(bottom * height), round(left * width) : round(right * width)] = 1
    return blur(place, MOUTH_EDGE * height)


def with_colours_of(decoded: Tensor, drawn: Tensor) -> Tensor:
    """The luminance of drawn pictures [B, 3, H, W] with the colours of the decoded ones, `enlarged`; float32.

    These are fine enough, as in photographs stored as usual (4:2:0). What the decoder draws of colour beyond them, a
    discriminator having asked for more than the LQ picture tells, are yellow teeth and sparks around eyes: it may
    change them by COLOUR_CHANGE, no more finely than under a Gaussian of CHROMA pixels.
    """
    decoded, drawn = decoded.float(), drawn.float()
    colours, grey = decoded - luminance(decoded), luminance(drawn)
    change = blur(drawn - grey - colours, CHROMA).clamp(-COLOUR_CHANGE, COLOUR_CHANGE)
    return grey + colours + change - luminance(change)


def with_colours_seen(lq: Tensor, drawn: Tensor) -> Tensor:
    """Drawn pictures [B, 3, H, W] with the colours of the LQ ones, as far as these can be believed; float32.

    What latents have no room for are colours of what is small, irises first, which a photograph that is only soft shows
    well. It is believed the less the more its luminance and, more finely, its colours are unlike what was drawn of it:
    the one of what is blurred, both of what is noisy. Luminance stays.
    """
    lq, drawn = lq.float(), drawn.float()
    unlike = lq - drawn
    grey = luminance(unlike)
    colours, coarse = (blur(unlike - grey, deviation) for deviation in (CHROMA, COARSE_CHROMA))
    of_luminance, of_colours = blur(grey, CHROMA), colours - coarse
    believed = 1 / (1 + (_size(of_luminance) / BLURRED) ** 4 * (_size(of_colours) / NOISY) ** 2)
    return drawn + believed * colours


def _size(pictures: Tensor) -> Tensor:
    """The root mean square of each, [B, 1, 1, 1]."""
    return pictures.square().mean(dim=(1, 2, 3), keepdim=True).sqrt()


def without_grid(pictures: Tensor) -> Tensor:
    """Pictures [B, 3, H, W] less what alternates from pixel to pixel, and nearly so.

    The convolutions after enlarging by nearest neighbours leave a faint weave of 2.1 pixels on smooth skin, which is
    seen where there is no texture.
    """
    return convolved(pictures, pictures.new_tensor(SMOOTH) / 256)


def shows_texture(patch: int) -> bool:
    """Whether a level, one of whose pixels stands for `patch` x `patch`, is shown texture: coarser ones need none."""
    return patch <= COARSEST_TEXTURED


def shrink(pictures: Tensor, factor: int) -> Tensor:
    """Pictures [B, C, H, W] as [B, C, H / factor, W / factor]; each pixel the mean of those that it replaces."""
    return F.avg_pool2d(pictures, factor)
