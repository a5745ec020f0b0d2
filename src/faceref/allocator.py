"""What becomes of memory that a network has done with: kept for its next layer, or given back to the system."""

import ctypes
import platform

# parameters of glibc's malloc.h: one pool for all threads; no block is a mapping of its own; no more than 2 GB are kept
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
_MOST = 2**31 - 1


def keep_freed_memory() -> None:
    """From now on the process keeps what is freed for whoever asks next, where its C library is GNU's.

    Otherwise each large tensor lies on new pages, which the system clears as they are first written: three tenths of
    what the released autoencoder takes on a CPU (docs/performance.md). It is for a process to decide and not for a
    library in it: commands call this before they load networks.
    """
    if _is_glibc():
        library = ctypes.CDLL(None)
        library.mallopt(_M_ARENA_MAX, 1)
        library.mallopt(_M_MMAP_THRESHOLD, _MOST)
        library.mallopt(_M_TRIM_THRESHOLD, _MOST)


def give_back_freed_memory() -> None:
    """What the process has kept until now goes back to the system."""
    if _is_glibc():
        ctypes.CDLL(None).malloc_trim(0)


def _is_glibc() -> bool:
    return platform.libc_ver()[0] == "glibc"
