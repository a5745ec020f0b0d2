"""Pixels of any kind to 8-bit RGB: grey of any depth, alpha, profiles of grey and of print, PNG's own colour fields."""

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageCms

_SRGB_GAMMA = 0.45455  # PNG's way to say: as sRGB
_SRGB_PRIMARIES = (0.3127, 0.329, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06)  # white, red, green, blue
_CICP_AS_SRGB = {(1, transfer) for transfer in (1, 6, 13, 14, 15)}  # ITU-T H.273: BT.709's primaries, curves as sRGB's
LUMINANCE = (0.299, 0.587, 0.114)  # of RGB: Rec. 601
YCC = (LUMINANCE, (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))  # JFIF: RGB -> Y, Cb, Cr
_GREY_WHITES = (255, 1023, 4095, 65535)  # 8, 10, 12 and 16 bits
_PHOTOMETRIC, _WHITE_IS_ZERO = 262, 0  # TIFF's tag, and its value for grey that is stored as a negative
_BITS, _FORMAT, _UNSIGNED = 258, 339, 1  # TIFF's tags of its numbers, and the value for those without a sign


@dataclass(frozen=True, eq=False)
class Pixels:
    """8-bit RGB; alpha (mode L) if anything is transparent; the profile of this RGB, if the file had one.

    remarks: how it differs from what the file says, each continuing "The picture ".
    """

    rgb: Image.Image
    alpha: Image.Image | None = None
    icc_profile: bytes | None = None
    remarks: tuple[str, ...] = ()


def to_rgb(image: Image.Image, cicp: bytes | None = None) -> Pixels:
    """The pixels of a decoded picture of any mode; cicp: the PNG chunk of that name, which Pillow does not read."""
    remarks: list[str] = []
    alpha, deep_remark = None, None
    if image.mode.startswith(("I", "F")):
        alpha = _alpha_of_deep_grey(image)
        image, deep_remark = _scaled_to_8_bit(image)
    elif image.has_transparency_data:
        grey = image.mode in ("L", "LA", "La", "1")
        image = _with_info(image.convert("LA" if grey else "RGBA"), image)
        alpha = image.getchannel("A")
        image = _with_info(image.convert("L" if grey else "RGB"), image)
    if alpha is not None and alpha.getextrema() == (255, 255):
        alpha = None
    remarks += [deep_remark] if deep_remark else []
    profile = image.info.get("icc_profile")
    if profile and image.mode in ("L", "1", "CMYK"):
        rgb, remark = _by_profile(image if image.mode == "CMYK" else image.convert("L"), profile)
        profile = None  # it is not one of RGB
    else:
        profile = profile if image.mode in ("RGB", "P") else None
        rgb, remark = _by_png_fields(image, cicp)
    remarks += [remark] if remark else []
    return Pixels(_plain(rgb), alpha, profile, tuple(remarks))


def is_grey(rgb: Image.Image) -> bool:
    """Whether no colour differs from grey by more than JPEG's rounding, seen at 256 px."""
    small = rgb if max(rgb.size) <= 256 else rgb.resize((256, 256), Image.Resampling.BOX)
    return bool(np.ptp(np.asarray(small), axis=2).max() <= 2)


def as_srgb(rgb: Image.Image, icc_profile: bytes | None) -> Image.Image:
    """An RGB picture with a profile of its own, for sheets that have none."""
    return _by_profile(rgb, icc_profile)[0] if icc_profile else rgb


def _by_profile(image: Image.Image, icc_profile: bytes) -> tuple[Image.Image, str | None]:
    """A picture with a profile, as sRGB; plainly converted, with a remark, where the profile does not serve."""
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(icc_profile))
        srgb = ImageCms.profileToProfile(image, profile, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError):
        return image.convert("RGB"), "has a colour profile that does not fit its pixels; it is left out."
    assert srgb is not None  # only when converting in place
    return srgb, None


def _by_png_fields(image: Image.Image, cicp: bytes | None) -> tuple[Image.Image, str | None]:
    """RGB by PNG's gamma; a remark for what is not honoured. cICP counts before a profile, and that before the rest."""
    rgb = image.convert("RGB")
    if cicp is not None:
        as_srgb = len(cicp) == 4 and (cicp[0], cicp[1]) in _CICP_AS_SRGB
        return rgb, None if as_srgb else "has colours other than sRGB's (cICP), which are taken for sRGB."
    if image.info.get("icc_profile") or "srgb" in image.info or image.format not in ("PNG", None):
        return rgb, None
    gamma = image.info.get("gamma", _SRGB_GAMMA)
    if gamma > 0 and abs(gamma - _SRGB_GAMMA) > 0.02:
        rgb = rgb.point(_gamma_to_srgb(gamma) * 3)
    primaries = image.info.get("chromaticity", _SRGB_PRIMARIES)
    if np.abs(np.subtract(primaries, _SRGB_PRIMARIES)).max() > 0.01:
        return rgb, "has primaries other than sRGB's (cHRM), which are taken for sRGB's."
    return rgb, None


def _gamma_to_srgb(gamma: float) -> list[int]:
    """A table: samples that are light to the power of `gamma` (PNG, gAMA) as samples of sRGB (IEC 61966-2-1)."""
    light = (np.arange(256) / 255) ** (1 / gamma)
    srgb = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.rint(srgb * 255).astype(int).tolist()


def _scaled_to_8_bit(image: Image.Image) -> tuple[Image.Image, str | None]:
    """Mode L of 16-bit, 32-bit or float grey: white is the smallest usual one that holds all values.

    A picture of 10 or 12 bits in 16 would be black otherwise; a remark says so.
    """
    values, tags = np.asarray(image), getattr(image, "tag_v2", {})
    is_negative = tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO
    if image.mode == "I;16" and is_negative:
        values = 65535 - values  # Pillow does so with fewer bits
    if image.mode == "I" and tags.get(_FORMAT, (_UNSIGNED,)) == (_UNSIGNED,) and tags.get(_BITS) == (32,):
        values = values.view(np.uint32)  # Pillow has no mode for it
    if values.itemsize != 2:  # a table is enough for 16 bits, and takes a quarter of the memory
        values = np.nan_to_num(values.astype(np.float32), posinf=0, neginf=0).clip(0)
    highest = values.max()
    whites = (1, 255, 65535) if image.mode == "F" else _GREY_WHITES
    if image.mode == "I" and tags.get(_BITS) == (16,):  # one of them for the sign
        whites = (*_GREY_WHITES[:-1], 32767)
    white = next((white for white in whites if highest <= white), highest)
    if image.mode == "F" and is_negative:
        values = white - values
    if values.itemsize == 2:
        scaled = np.rint(np.arange(white + 1) * (255 / white)).astype(np.uint8)[values]
    else:
        scaled = np.rint(values * (255 / white)).astype(np.uint8)
    remark = None
    if white in (1023, 4095):
        remark = f"has grey values of at most {highest:.0f} in 16 bits, which are taken for {white} being white."
    return _with_info(Image.fromarray(scaled), image), remark


def _alpha_of_deep_grey(image: Image.Image) -> Image.Image | None:
    """Of a 16-bit PNG in which one grey value stands for transparent."""
    transparent = image.info.get("transparency")
    if not isinstance(transparent, int):
        return None
    return Image.fromarray(np.where(np.asarray(image) == transparent, 0, 255).astype(np.uint8))


def _with_info(image: Image.Image, source: Image.Image) -> Image.Image:
    """`image` with what a conversion of its source has forgotten: profile and gamma, but not transparency."""
    image.info = {key: value for key, value in source.info.items() if key != "transparency"}
    image.format = source.format
    return image


def _plain(image: Image.Image) -> Image.Image:
    """The pixels alone: Pillow would write what its `info` holds (comments, transparency) into the next file."""
    image.info = {}
    return image
