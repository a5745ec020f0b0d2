"""Ray for this process: the cluster that RAY_ADDRESS names, or one of its own on this machine."""

import logging
import os
import secrets
import sys
from importlib import import_module

from faceref.errors import UsageError


def check_ray(part: str) -> None:
    """Import a part of Ray: data, serve. Raises UsageError (code "no_ray") if it is not installed.

    A Ray of this process's own listens on every address of the machine: a token that nobody else has keeps others out.
    It reports nothing to Ray's makers. Whoever has imported Ray before has said such things for themselves.
    """
    if _is_local() and "ray" not in sys.modules:  # it reads these when it is imported; its processes inherit them
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_worker_niceness", "0")  # as urgent as this process, not 15
        os.environ.setdefault("RAY_AUTH_MODE", "token")
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex())
    try:
        import_module(f"ray.{part}")
    except ImportError:
        raise UsageError(
            "Ray is not installed", hint="pip install 'faceref[ray]', or do without", code="no_ray"
        ) from None


def start_ray(cores: int) -> None:
    """Connect to the cluster, or start a Ray of so many cores that ends with this process; `check_ray` comes before."""
    import ray  # type: ignore[import-not-found]

    if not ray.is_initialized():
        local = {"address": "local", "num_cpus": cores, "include_dashboard": False} if _is_local() else {}
        ray.init(**local, log_to_driver=False, logging_level=logging.ERROR)


def _is_local() -> bool:
    return not os.environ.get("RAY_ADDRESS")
