"""Restoring in Ray Serve's replicas, on as many machines as its cluster has; all that is kept stays with the server."""

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from faceref.app.server.engine import Attempt, Engine
from faceref.app.server.replica import Replica
from faceref.app.server.restoring import Done, Failed, LostError, Task
from faceref.cluster import check_ray, start_ray
from faceref.compute import Compute
from faceref.errors import FacerefError, UsageError

LOOK = 0.25  # seconds between two looks whether a task that says nothing is still wanted
QUIET = {"log_level": "ERROR", "enable_access_log": False}
DEFAULTS = {"name": "faceref", "max_ongoing_requests": 1, "logging_config": QUIET}
SCALING = {"target_ongoing_requests": 1}  # more tasks than replicas ask for more replicas


@contextmanager
def ray_engines(model: str, compute: Compute, settings: Path | None = None) -> Iterator[list[Engine]]:
    """One for each task that the replicas can have at a time; at the end the replicas are ended.

    settings: a YAML file in the words of a deployment in Ray Serve's configuration. Raises UsageError for a wrong one
    or where Ray is not installed, FacerefError (code "no_replicas") if Ray or the replicas do not start.
    """
    chosen = DEFAULTS | (_read(settings) if settings else {})
    check_ray("serve")
    from ray import serve  # type: ignore[import-not-found]

    try:
        deployment = serve.deployment(Replica).options(**chosen)
        replicas = _most_replicas(chosen)
    except (TypeError, ValueError) as error:
        raise UsageError(f"is not as Ray Serve needs it: {_in_a_line(error)}", subject=settings) from error
    try:
        start_ray(cores=math.ceil(replicas * deployment.ray_actor_options["num_cpus"]))
        logging.getLogger("ray.serve").setLevel(logging.ERROR)  # what it says in this process
        serve.start(proxy_location="Disabled", logging_config=QUIET)
        handle = serve.run(deployment.bind(model, compute), name=deployment.name, route_prefix=None)
    except Exception as error:  # Ray raises plain ones, too
        reason = f"Ray Serve did not start the replicas: {_in_a_line(error)}"
        raise FacerefError(reason, hint="its logs, in /tmp/ray, say more", code="no_replicas") from error
    try:
        yield [RayEngine(handle.options(stream=True))] * (replicas * deployment.max_ongoing_requests)
    finally:
        serve.delete(deployment.name)


class RayEngine:
    """The replicas behind a handle of Ray Serve's: whichever is free does a task."""

    def __init__(self, handle: Any) -> None:
        self._handle = handle

    def restore(self, task: Task, attempt: Attempt) -> Done | Failed:
        from ray.exceptions import RayError, RayTaskError  # type: ignore[import-not-found]
        from ray.serve.exceptions import RayServeException  # type: ignore[import-not-found]

        try:
            return asyncio.run(self._followed(task, attempt))
        except RayTaskError:  # a failure of our own code
            raise
        except (RayError, RayServeException) as error:
            raise LostError(type(error).__name__) from error

    async def _followed(self, task: Task, attempt: Attempt) -> Done | Failed:
        answers = self._handle.restore.remote(task)
        try:
            while True:
                match await _next(answers, attempt):
                    case None:
                        attempt.begin()
                    case done, total:
                        attempt.on_step(done, total)
                    case outcome:
                        return outcome
        except BaseException:
            answers.cancel()
            raise


async def _next(answers: AsyncIterator[Any], attempt: Attempt) -> Any:
    """What a replica says next. Raises as `Attempt.check` while it says nothing."""
    coming = asyncio.ensure_future(anext(answers))
    try:
        while not (await asyncio.wait({coming}, timeout=LOOK))[0]:
            attempt.check()
        return coming.result()
    finally:
        coming.cancel()
        await asyncio.gather(coming, return_exceptions=True)


def _read(settings: Path) -> dict[str, Any]:
    """Raises UsageError for a file that cannot be read, or holds something else."""
    try:
        read = yaml.safe_load(settings.read_bytes())
    except (OSError, yaml.YAMLError) as error:
        raise UsageError(f"cannot be read: {_in_a_line(error)}", subject=settings) from error
    if not isinstance(read, dict):
        hint = "write some, such as num_replicas: 2"
        raise UsageError("holds no settings of a deployment of Ray Serve's", subject=settings, hint=hint)
    if isinstance(scaling := read.get("autoscaling_config"), dict):
        read["autoscaling_config"] = SCALING | scaling
    return read


def _most_replicas(settings: dict[str, Any]) -> int:
    """How many there may be at a time; the settings are right."""
    from ray.serve.config import AutoscalingConfig  # type: ignore[import-not-found]

    if scaling := settings.get("autoscaling_config"):
        return AutoscalingConfig(**scaling).max_replicas
    replicas = settings.get("num_replicas") or 1
    return AutoscalingConfig.default().max_replicas if replicas == "auto" else replicas


def _in_a_line(error: Exception) -> str:
    return " ".join(str(error).split())
