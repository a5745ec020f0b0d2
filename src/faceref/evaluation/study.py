"""A whole evaluation: from the request to the table, the plots and the contact sheets in a folder."""

from pathlib import Path

from faceref.compute import Compute
from faceref.evaluation.cases import load_cases
from faceref.evaluation.conditions import Plan, with_product
from faceref.evaluation.faces import Centre, FaceDescriber, compute_centre
from faceref.evaluation.figures import draw_sheets, plot_all
from faceref.evaluation.groups import ITA, by_ita
from faceref.evaluation.learned import LearnedMetrics, load_learned_metrics
from faceref.evaluation.measurement import Instruments
from faceref.evaluation.models import load_models
from faceref.evaluation.notes import notes_of
from faceref.evaluation.pictures import picture_folder
from faceref.evaluation.report import Subject, Summary, Table, summarise, write_summary
from faceref.evaluation.request import Request, counts_of, groups_of, mapping_of, sets_of
from faceref.evaluation.run import measure_cases, settings_of
from faceref.faces.dlib_torch import TorchDlibRecogniser
from faceref.models.recogniser_files import load_recogniser


def run_study(request: Request, out: Path, compute: Compute = Compute()) -> Summary:
    """Measure and write everything below `out`, going on where it was interrupted; docs/evaluation.md has the files.

    Raises UsageError for a request that contradicts itself, DataError, CheckpointError and OutputError.
    """
    sets, counts = sets_of(request), counts_of(request)
    models = load_models(request.models, compute)
    device = models[0].device
    cases = load_cases(
        mapping_of(request),
        request.hq,
        request.lq,
        with_references=request.references > 0,
        groups=groups_of(request),
    )
    several = len(cases.photographs) > 1
    plan = Plan(sets, request.references, counts, request.seed, request.batch_size, several, request.product)
    chosen = cases.sample(request.limit, request.seed)
    size = models[0].resolution
    describer = FaceDescriber(TorchDlibRecogniser(device), size)
    learned, not_measured = load_learned_metrics(device)
    instruments = Instruments(
        describer,
        _centre(request, describer),
        load_recogniser(request.recogniser) if request.recogniser else None,
        learned,
    )
    rows = measure_cases(cases, chosen, models, plan, instruments, out)
    if request.center_index:
        instruments.centre.write(out / "center.json")
    conditions = {model.label: with_product(model.conditions(plan), plan) for model in models}
    table = Table(by_ita(rows) if request.group_by == ITA else rows)
    summary = summarise(
        table,
        plan,
        conditions,
        settings=settings_of(cases, chosen, models, plan, instruments),
        left_out=cases.left_out,
        notes=notes_of(request, plan, instruments, chosen, size, conditions, device),
        not_measured=not_measured,
        of_all=_of_all(learned, table, plan, out / "pictures") if learned else {},
    )
    write_summary(summary, out)
    plot_all(table, plan, conditions, out)
    draw_sheets(table, chosen, plan, conditions, size, out)
    return summary


def _centre(request: Request, describer: FaceDescriber) -> Centre:
    if request.center_index is None:
        return Centre.shipped()
    return compute_centre(request.center_index, "train", describer, request.seed)


def _of_all(learned: LearnedMetrics, table: Table, plan: Plan, pictures: Path) -> dict[Subject, dict[str, float]]:
    folders = {subject: pictures / picture_folder(*_parts(subject)) for subject in table.values}
    return {subject: learned.of_folders(folder, pictures / "truth", plan.seed) for subject, folder in folders.items()}


def _parts(subject: Subject) -> tuple[str, str, str]:
    return subject.set, subject.model, subject.condition
