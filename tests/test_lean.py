"""What takes long to import is imported when it is used, and not because diffusers imports it."""

import subprocess
import sys

import pytest

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
