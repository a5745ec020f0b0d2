"""`faceref serve`: restoring in a browser and over HTTP, with one model in memory, or in Ray Serve's replicas."""

import logging
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from faceref.app.cli.compute_options import DEFAULTS as COMPUTE
from faceref.app.cli.compute_options import BackendName, Dtype, MemoryUse, ModelName
from faceref.app.cli.console import say, working
from faceref.app.cli.people import DataDir
from faceref.compute import Compute
from faceref.errors import UsageError
from faceref.lean import importing

if TYPE_CHECKING:
    from faceref.app.server.engine import Engine
    from faceref.restore.restorer import Restorer

SHORTEST_TOKEN = 16  # characters
PATIENCE = 5  # seconds that the end waits for those who follow a job: their job outlives it

Devices = Annotated[
    str | None,
    typer.Option(
        "--device",
        help="cuda, cuda:1, mps or cpu; several, by commas, each with a worker.",
        show_default="the best there is",
    ),
]
Ray = Annotated[
    bool, typer.Option("--ray", help="Restore in replicas of Ray Serve's: on RAY_ADDRESS's cluster, or a local one.")
]
RayConfig = Annotated[
    Path | None,
    typer.Option(help="How many replicas, with what: YAML, as Ray Serve has it for a deployment.", show_default=False),
]


def serve(
    host: Annotated[
        str, typer.Option(help="The address to listen on; others than this computer's ask for --token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="The port to listen on.")] = 8000,
    model: ModelName = "small",
    devices: Devices = COMPUTE.device,
    dtype: Dtype = COMPUTE.dtype,
    memory: MemoryUse = COMPUTE.memory,
    backend: BackendName = COMPUTE.backend,
    data_dir: DataDir = None,
    tokens: Annotated[
        list[str] | None,
        typer.Option(
            "--token",
            envvar="FACEREF_TOKEN",
            show_envvar=True,
            help="Who sends it is let in; several, each with people and jobs of its own (in the variable: by blanks).",
        ),
    ] = None,
    limits: Annotated[
        list[str] | None, typer.Option("--limit", metavar="NAME=VALUE", help="Another limit; see docs/server.md.")
    ] = None,
    ray: Ray = False,
    ray_config: RayConfig = None,
) -> None:
    """Restore photographs in a browser or over HTTP (docs/server.md); ends with Ctrl-C, and goes on where it was."""
    try:
        import uvicorn

        from faceref.app.server.connections import BACKLOG, Server, bounded_protocol, most_connections
        from faceref.app.server.limits import Limits
        from faceref.app.server.owners import LOOPBACK
    except ImportError as error:
        raise UsageError("The server's packages are not installed", hint="pip install 'faceref[app]'") from error
    _check_tokens(tokens or [], needed=host not in LOOPBACK)
    _check_free(host, port)
    bounds = Limits.of(limits or [])
    names = devices.split(",") if devices else [None]
    if ray_config and not ray:
        raise UsageError("--ray-config is for --ray", hint="give both, or neither")
    if ray and len(names) > 1:
        raise UsageError("Ray gives each replica its device", hint="give one --device, or none")
    computes = [Compute(name, dtype, memory, backend) for name in names]
    with _started(model, computes, ray, ray_config) as (restorer, engines):
        from faceref.app.server.api import create_app

        app = create_app(restorer, tokens or [], data_dir, bounds, engines)
        logging.getLogger("faceref.app.server").setLevel(logging.INFO)
        say(f"http://{f'[{host}]' if ':' in host else host}:{port} (Ctrl-C ends it)")
        config = uvicorn.Config(
            app,
            host=host,
            port=port,
            http=bounded_protocol(most_connections()),
            ws="none",
            backlog=BACKLOG,
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=PATIENCE,
        )
        server = Server(config, on_exit=app.state.service.ending.set)
        with suppress(KeyboardInterrupt):
            server.run()
        if not server.started:  # it has said why
            raise typer.Exit(1)


@contextmanager
def _started(
    model: str, computes: list[Compute], ray: bool, ray_config: Path | None
) -> Iterator[tuple["Restorer", "Sequence[Engine]"]]:
    """What looks for faces in this process, and what restores: its own models, or Ray's replicas as long as needed."""
    if not ray:
        with importing(), working("Loading the model"):
            from faceref.app.server.engine import local_engines

            engines = local_engines(model, computes)
        yield engines[0].restorer, engines
        return
    with ExitStack() as stack:
        with importing(), working("Loading the model, here and in Ray's replicas"):
            from faceref.app.server.ray_engine import ray_engines
            from faceref.restore.request import load_restorer

            engines = stack.enter_context(ray_engines(model, computes[0], ray_config))
            restorer = load_restorer(model, Compute("cpu", backend=computes[0].backend))
        yield restorer, engines


def _check_free(host: str, port: int) -> None:
    """Raises UsageError for an address that cannot be listened on, before seconds are spent on a model."""
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family) as free:
            free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # one that was just left is free, as for uvicorn
            free.bind(address)
    except (OSError, UnicodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it can be no name"
        reason = f"{host}:{port} cannot be listened on ({why})"
        raise UsageError(reason, hint="choose another --port or --host") from error


def _check_tokens(tokens: list[str], needed: bool) -> None:
    if needed and not tokens:
        raise UsageError(
            "Others can reach this address, and everybody would be let in",
            hint="give --token or FACEREF_TOKEN, or listen on 127.0.0.1",
        )
    if any(len(token) < SHORTEST_TOKEN for token in tokens):
        raise UsageError(
            f"A token has fewer than {SHORTEST_TOKEN} characters and could be guessed", hint="make one with uuidgen"
        )
    if not all(token.isascii() and token.isprintable() and " " not in token for token in tokens):
        raise UsageError(
            "A token has blanks or letters that no header of a request can carry", hint="make one with uuidgen"
        )
