"""torch's compiler is imported when it is used, and not because diffusers is imported."""

import subprocess
import sys

import pytest

DIFFUSERS = """
import sys
from faceref.lean import import_compiler_late
import_compiler_late()
from diffusers import UNet2DModel
"""


@pytest.mark.parametrize(
    ("then", "imported"),
    [("", False), ("import torch; torch._dynamo.config.verbose", True)],
)
def test_the_compiler_is_imported_by_whoever_uses_it(then, imported):
    code = f"{DIFFUSERS}\n{then}\nsys.exit(('torch._dynamo.eval_frame' in sys.modules) != {imported})"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
