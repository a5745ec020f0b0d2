"""Decoded photographs on disk: what was cut short there is decoded again."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from faceref.data.decoded import open_photographs


@pytest.mark.parametrize("left", [0, 100, 3000])
@pytest.mark.parametrize("suffix", [".npy", ".json"])
def test_what_was_cut_short_is_decoded_again(tmp_path: Path, suffix: str, left: int):
    for shade in (50, 200):
        Image.new("RGB", (32, 32), (shade, 0, 0)).save(tmp_path / f"{shade}.png")
    (tmp_path / "damaged.png").write_bytes(b"no picture")
    paths, cache = [tmp_path / name for name in ("50.png", "damaged.png", "200.png")], tmp_path / "cache"
    whole = open_photographs(paths, 32, cache, 0)
    assert list(whole.damaged) == [1]
    (file,) = cache.glob(f"*{suffix}")
    content = file.read_bytes()
    file.unlink()  # whoever maps it still has it
    file.write_bytes(content[: min(left, len(content) - 1)])
    again = open_photographs(paths, 32, cache, 0)
    assert again.damaged == whole.damaged
    assert np.array_equal(again.take([0, 2]), whole.take([0, 2]))
    assert file.read_bytes() == content
