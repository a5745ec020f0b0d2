"""What was measured, as JSON, as tables, and as ratios to what was measured before."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError
from rich.table import Table

from faceref.bench.machine import Machine
from faceref.bench.stopwatch import Measured
from faceref.compute import Backend
from faceref.errors import UsageError
from faceref.files import write_atomically

BRIEF = 0.01  # seconds: what takes less is as often disturbed as not, and its ratio only shown


class Setting(BaseModel):
    """How faces are restored: references of each, denoising steps, faces together, number format of the networks."""

    model_config = ConfigDict(frozen=True)

    references: int
    steps: int
    batch: int
    dtype: str


class Stage(BaseModel):
    """A stage of restoring a batch of faces, or, without a setting, of a photograph.

    times: how often it is done for the batch; seconds (the median), memory (bytes at the peak) and flops: of once.
    networks: of a photograph's stage, the number format of the networks that restored it.
    """

    name: str
    setting: Setting | None = None
    times: int = 1
    seconds: float
    memory: int
    flops: int = 0
    networks: str = ""

    @classmethod
    def of(cls, name: str, measured: Measured, setting: Setting | None = None, times: int = 1) -> "Stage":
        return cls(name=name, setting=setting, times=times, **vars(measured))

    @property
    def measures(self) -> tuple[str, Setting | None, str]:
        """What tells it from the other stages of a report."""
        return self.name, self.setting, self.networks

    def described(self) -> list[str]:
        """A value for each field of a `Setting`."""
        if self.setting is None:
            return ["", "", "", self.networks]
        return [str(value) for _, value in self.setting]


class Report(BaseModel):
    """guidance: None: the model's own. backend: what computed the networks. peak_flops: what the machine reaches in a
    plain matrix product, operations a second, by number format."""

    faceref: str
    model: str
    guidance: float | None
    machine: Machine
    peak_flops: dict[str, float]
    backend: Backend = "torch"
    stages: list[Stage]

    def save(self, path: Path) -> None:
        """Raises OutputError if it cannot be written."""
        with write_atomically(path) as temporary:
            temporary.write_text(self.model_dump_json(indent=2) + "\n", encoding="utf-8")

    def settings(self) -> list[Setting]:
        return list(dict.fromkeys(stage.setting for stage in self.stages if stage.setting))

    def in_all(self, setting: Setting) -> float:
        """Seconds of all stages of a batch, each as often as it is done."""
        return sum(stage.times * stage.seconds for stage in self.stages if stage.setting == setting)


def read_report(path: Path) -> Report:
    """What `Report.save` wrote. Raises UsageError if it is missing or something else."""
    try:
        return Report.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise UsageError("is not what faceref bench --json writes", subject=path) from error


def heading(report: Report) -> str:
    """Of what, on what."""
    guidance = "" if report.guidance is None else f", guidance {report.guidance:g}"
    load = "load not known" if report.machine.load is None else f"load {report.machine.load:.1f}"
    machine = f"{report.machine.device}, torch {report.machine.pytorch}, {load}"
    peaks = ", ".join(f"{peak / 1e9:.0f} in {dtype}" for dtype, peak in report.peak_flops.items())
    backend = "" if report.backend == "torch" else f", {report.backend}"
    return f"{report.model}{guidance}{backend}; {machine}; GFLOP/s of a matrix product: {peaks}"


def tables(report: Report) -> Iterator[Table]:
    """Each stage; then each setting in all."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in ("stage", *Setting.model_fields, "seconds", "times", "peak MiB", "GFLOP", "GFLOP/s", "of peak"):
        table.add_column(column, justify="left" if column == "stage" else "right")
    for stage in report.stages:
        table.add_row(stage.name, *stage.described(), *_numbers(stage, report))
    yield table
    sums = Table("", box=None, padding=(0, 2, 0, 0))
    for column in (*Setting.model_fields, "seconds in all", "a face", "peak MiB"):
        sums.add_column(column, justify="right")
    for setting in report.settings():
        seconds = report.in_all(setting)
        peak = max(stage.memory for stage in report.stages if stage.setting == setting)
        row = f"{seconds:.3f}", f"{seconds / setting.batch:.3f}", f"{peak / 2**20:.0f}"
        sums.add_row("in all", *(str(value) for _, value in setting), *row)
    if sums.rows:
        yield sums


def _numbers(stage: Stage, report: Report) -> tuple[str, ...]:
    seconds, memory = f"{stage.seconds:.4f}", f"{stage.memory / 2**20:.0f}"
    if stage.setting is None or not stage.flops:
        return seconds, str(stage.times), memory
    speed = stage.flops / stage.seconds
    share = speed / report.peak_flops[stage.setting.dtype]
    return seconds, str(stage.times), memory, f"{stage.flops / 1e9:.1f}", f"{speed / 1e9:.1f}", f"{share:.0%}"


@dataclass(frozen=True)
class Ratio:
    """A stage now and before: more than 1 is slower, or takes more memory."""

    now: Stage
    before: Stage

    @property
    def seconds(self) -> float:
        return self.now.seconds / self.before.seconds

    @property
    def memory(self) -> float:
        return self.now.memory / self.before.memory

    def is_worse(self, margin: float) -> bool:
        """Beyond the margin in memory or, if it takes long enough to tell, in seconds."""
        tells = max(self.now.seconds, self.before.seconds) >= BRIEF
        return (tells and self.seconds > margin) or self.memory > margin


def compare(now: Report, before: Report) -> list[Ratio]:
    """The stages that both have, with the same settings. Raises UsageError if there are none or the model differs."""
    check_comparable(before, now.model, now.guidance)
    known = {stage.measures: stage for stage in before.stages}
    pairs = [Ratio(stage, known[stage.measures]) for stage in now.stages if stage.measures in known]
    if not pairs:
        raise _not_comparable(before, now.model)
    return pairs


def check_comparable(before: Report, model: str, guidance: float | None) -> None:
    """Raises UsageError unless a model, with this guidance, is what was measured before."""
    if (model, guidance) != (before.model, before.guidance):
        raise _not_comparable(before, model)


def _not_comparable(before: Report, model: str) -> UsageError:
    reason = f"What was measured before ({before.model}) is not what is measured now ({model})"
    return UsageError(reason, hint="measure the same model with the same settings")


def ratio_table(ratios: list[Ratio], margin: float) -> Table:
    """Now, before and their ratios; a mark where it is beyond the margin."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    columns = "seconds now", "before", "ratio", "MiB now", "before", "ratio"
    for column in ("stage", *Setting.model_fields, *columns, ""):
        table.add_column(column, justify="left" if column == "stage" else "right")
    for one in ratios:
        memory = [f"{stage.memory / 2**20:.0f}" for stage in (one.now, one.before)]
        seconds = [f"{stage.seconds:.4f}" for stage in (one.now, one.before)]
        worse = "worse" if one.is_worse(margin) else ""
        ratio = f"{one.seconds:.2f}", f"{one.memory:.2f}"
        table.add_row(one.now.name, *one.now.described(), *seconds, ratio[0], *memory, ratio[1], worse)
    return table
