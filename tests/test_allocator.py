"""Memory that was freed is taken again as it is, without new pages from the system."""

import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource
from faceref.allocator import keep_freed_memory
{first}
for _ in range(2):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = b"x" * 2**26
    del block
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told")
def test_freed_memory_is_kept():
    def faults(first: str) -> int:
        code = FAULTS.format(first=first)
        return int(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True).stdout)

    assert faults("keep_freed_memory()") < 50
    assert faults("") > 1000
