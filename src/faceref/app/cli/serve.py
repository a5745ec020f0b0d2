"""`faceref serve`: restoring in a browser and over HTTP, with one model in memory."""

import logging
from typing import Annotated

import typer

from faceref.app.cli.compute_options import DEFAULTS as COMPUTE
from faceref.app.cli.compute_options import BackendName, Device, Dtype, MemoryUse, ModelName
from faceref.app.cli.console import say, working
from faceref.app.cli.people import DataDir
from faceref.compute import Compute
from faceref.errors import UsageError

SHORTEST_TOKEN = 16  # characters
PATIENCE = 5  # seconds that the end waits for those who follow a job: their job outlives it


def serve(
    host: Annotated[
        str, typer.Option(help="The address to listen on; others than this computer's ask for --token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="The port to listen on.")] = 8000,
    model: ModelName = "small",
    device: Device = COMPUTE.device,
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
) -> None:
    """Restore photographs in a browser or over HTTP (docs/server.md); ends with Ctrl-C, and goes on where it was."""
    try:
        import uvicorn

        from faceref.app.server.connections import BACKLOG, bounded_protocol, most_connections
        from faceref.app.server.limits import Limits
        from faceref.app.server.owners import LOOPBACK
    except ImportError as error:
        raise UsageError("The server's packages are not installed", hint="pip install 'faceref[app]'") from error
    _check_tokens(tokens or [], needed=host not in LOOPBACK)
    bounds = Limits.of(limits or [])
    with working("Loading the model"):
        from faceref.app.server.api import create_app
        from faceref.restore.request import load_restorer

        restorer = load_restorer(model, Compute(device, dtype, memory, backend))
        app = create_app(restorer, tokens or [], data_dir, bounds)
    logging.getLogger("faceref.app.server").setLevel(logging.INFO)
    say(f"http://{host}:{port} (Ctrl-C ends it)")
    uvicorn.run(
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
