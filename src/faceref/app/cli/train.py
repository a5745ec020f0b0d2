"""`faceref train`: one stage of training, as its configuration says."""

import logging
import signal
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from faceref.app.cli.console import progress, working

REQUEUE_EXIT_CODE = 75  # EX_TEMPFAIL: the same command is to be started again, with --resume


def train(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="YAML file; see configs/.", show_default=False)],
    settings: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="Settings of the file to change, as loop.steps=1000."),
    ] = None,
    run_dir: Annotated[
        Path | None, typer.Option(help="Folder of the run.", show_default="runs/ and the name of CONFIG")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint in the folder.")] = False,
    max_minutes: Annotated[
        float | None, typer.Option(min=0, help="Stop with a checkpoint after so many minutes.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Compute one step; write nothing but data.cache.")] = False,
) -> None:
    """Train an autoencoder, a denoiser, what draws or corrects results, or a recogniser; Ctrl-C leaves a checkpoint.

    SIGUSR1 stops with a checkpoint and exit code 75, to be queued again. On several GPUs: torchrun
    --nproc-per-node gpu -m faceref train CONFIG.
    """
    from faceref.processes import is_first
    from faceref.training.config_files import load_config
    from faceref.training.run import train_from

    logging.getLogger("faceref.training").setLevel(logging.INFO)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: else half of a data.cache stays
    settings_read = load_config(config, settings or ())
    with ExitStack() as shown:
        if is_first():
            shown.enter_context(working("Reading photographs and building networks"))
        update: Callable[[int, int], None] | None = None

        def on_step(done: int, total: int) -> None:
            nonlocal update
            if update is None:
                shown.close()
                update = shown.enter_context(progress("training", "steps"))
            update(done, total)

        summary = train_from(
            settings_read,
            run_dir or Path("runs") / config.stem,
            resume=resume,
            max_minutes=max_minutes,
            dry_run=dry_run,
            on_step=on_step,
        )
    tell = typer.echo if is_first() else _nobody
    if dry_run:
        loop = settings_read.loop
        batch = loop.batch_size * loop.accumulate
        hours = loop.steps * batch / summary.samples_per_second / 3600
        cache = settings_read.data.cache
        written = f"Only the decoded photographs were written, to {cache}" if cache else "Nothing was written"
        tell(
            f"{summary.gigaflops_per_sample:.1f} GFLOP a sample, {summary.samples_per_second:.1f} samples/s in one "
            f"process here; {loop.steps} steps of {batch} would take {hours:.1f} hours. {written}."
        )
        return
    if summary.requeue:
        tell(f"step {summary.step}, stopped by SIGUSR1 with a checkpoint; go on with --resume")
        raise typer.Exit(REQUEUE_EXIT_CODE)
    if summary.samples_per_second == 0:
        tell(f"step {summary.step}, finished before; to go on, give more loop.steps")
        return
    metrics = ", ".join(f"{name} {value:.4g}" for name, value in summary.metrics.items())
    state = "finished" if summary.finished else "stopped; go on with --resume"
    tell(f"step {summary.step}, {state}; {summary.samples_per_second:.1f} samples/s; {metrics}")


def _nobody(_: str) -> None:
    """What the other processes of a training say."""
