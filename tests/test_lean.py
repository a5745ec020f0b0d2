"""What takes long to import is imported when it is used, and not because diffusers imports it."""

import gc
import subprocess
import sys

import pytest

from faceref.lean import importing

DIFFUSERS = """
import sys
from faceref.lean import import_late
import_late()
from diffusers import UNet2DModel
"""


@pytest.mark.parametrize(
    ("then", "module", "imported"),
    [
        ("", "torch._dynamo.eval_frame", False),
        ("import torch; torch._dynamo.config.verbose", "torch._dynamo.eval_frame", True),
        ("", "scipy.stats._stats_py", False),
        ("import scipy; scipy.stats.beta.ppf(0.5, 1, 1)", "scipy.stats._stats_py", True),
        ("from scipy.stats import beta", "scipy.stats._stats_py", True),
    ],
)
def test_what_takes_long_is_imported_by_whoever_uses_it(then, module, imported):
    code = f"{DIFFUSERS}\n{then}\nsys.exit(({module!r} in sys.modules) != {imported})"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


IMPORTING = """
import gc, sys
from faceref.lean import importing
with importing():
    assert not gc.isenabled()
    import json
assert gc.isenabled()
kept = gc.get_freeze_count()
assert kept > 1000
with importing():
    other = [[] for _ in range(1000)]
sys.exit(gc.get_freeze_count() != kept)
"""


def test_what_was_loaded_first_is_not_looked_through_for_garbage_again():
    assert subprocess.run([sys.executable, "-c", IMPORTING], check=False).returncode == 0


def test_garbage_is_looked_for_again_after_an_error():
    with pytest.raises(ValueError, match="damaged"), importing():
        raise ValueError("damaged")
    assert gc.isenabled()
