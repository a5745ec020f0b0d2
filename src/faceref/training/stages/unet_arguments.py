"""The sizes of a new U-Net, as a configuration gives them: diffusers' names, their ranges, and what has to agree."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from typing_extensions import TypedDict

Size = Annotated[int, Field(ge=1)]
Sizes = Annotated[list[Size], Field(min_length=1)]
Down = Literal["DownBlock2D", "AttnDownBlock2D"]
Up = Literal["UpBlock2D", "AttnUpBlock2D"]


class UNetArguments(TypedDict, total=False):
    """Arguments of `UNet2DModel`, `ReferenceUNet` and `InjectedUNet`; what is left out is as these have it."""

    __pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[misc] - pydantic's, no key

    sample_size: Size  # of the latents
    in_channels: Size
    out_channels: Size
    block_out_channels: Sizes
    layers_per_block: Size
    down_block_types: list[Down]
    up_block_types: list[Up]
    attention_head_dim: Size  # channels of a head
    norm_num_groups: Size
    norm_eps: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    act_fn: Literal["silu", "swish", "mish", "gelu", "relu"]
    distance_bias: bool
    lq_residual: bool
    identity_size: Literal[128]  # what dlib's recogniser has
    feature_channels: Size
    feature_size: Size


def check_unet(unet: UNetArguments, pictures: int) -> None:
    """Raises ValueError where the arguments do not fit together; none at all are right.

    pictures: latents that the U-Net sees at once, the noisy one and what is given beside it.
    """
    if not unet:
        return
    seen, made = unet.get("in_channels", 3), unet.get("out_channels", 3)
    if seen != pictures * made:
        raise ValueError(f"unet.in_channels must be {pictures * made}, {pictures} times out_channels, not {seen}")
    levels = (unet.get(name) for name in ("block_out_channels", "down_block_types", "up_block_types"))
    if len({len(given) for given in levels if given is not None}) > 1:
        raise ValueError("unet.block_out_channels, down_block_types and up_block_types must be of one length")
    if unet.get("identity_size") and not unet.get("sample_size"):
        raise ValueError("unet.identity_size needs unet.sample_size, the side of the latents")
    groups = unet.get("norm_num_groups", 32)
    if odd := [width for width in unet.get("block_out_channels", ()) if width % groups]:
        raise ValueError(f"unet.block_out_channels must be multiples of norm_num_groups, {groups}: {odd[0]} is not")
