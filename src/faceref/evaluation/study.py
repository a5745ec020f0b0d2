"""A whole evaluation: from the request to the table, the plots and the contact sheets in a folder."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import torch

from faceref.compute import Compute
from faceref.devices import best_device, check_device
from faceref.errors import UsageError
from faceref.evaluation.cases import Case, CaseSet, load_cases
from faceref.evaluation.conditions import Plan
from faceref.evaluation.distribution import compare_distributions, look_at_pictures
from faceref.evaluation.elsewhere import load_restored
from faceref.evaluation.faces import FaceDescriber, compute_centre, read_face
from faceref.evaluation.families import MeasuredModel
from faceref.evaluation.figures import draw_sheets, plot_all
from faceref.evaluation.groups import ITA, by_ita
from faceref.evaluation.learned import load_learned_metrics
from faceref.evaluation.measurement import Instruments
from faceref.evaluation.models import load_models
from faceref.evaluation.naturalness import load_naturalness
from faceref.evaluation.notes import notes_of
from faceref.evaluation.onnx_restorer import load_onnx_restorer
from faceref.evaluation.pictures import as_file_name, picture_folder, to_tensor
from faceref.evaluation.report import write_summary
from faceref.evaluation.request import Request, check_out, counts_of, groups_of, mapping_of, sets_of
from faceref.evaluation.restorer import MeasuredRestorer
from faceref.evaluation.run import measure_cases, settings_of
from faceref.evaluation.statistics import Estimate
from faceref.evaluation.summary import Subject, Summary, Table, summarise
from faceref.faces.centre import Centre
from faceref.faces.dlib_torch import TorchDlibRecogniser
from faceref.jobs import OnItem
from faceref.models.recogniser_files import load_face_recogniser
from faceref.processes import is_main

ANY_SIZE = 512  # pixels at which a network that takes any size is measured if there is no model beside it


def run_study(
    request: Request, out: Path, compute: Compute = Compute(), on_case: OnItem = lambda *_: None
) -> Summary | None:
    """Measure and write everything below `out`, going on where it was interrupted; docs/evaluation.md has the files.

    Of several processes (`faceref.processes.together`) the main one writes; None in the others. on_case: told in the
    main process how many faces are measured.
    Raises UsageError for a request that contradicts itself, DataError, CheckpointError and OutputError.
    """
    sets, counts = sets_of(request), counts_of(request)
    check_out(request, out)
    models = load_models(request.models, compute, product=request.product)
    device = models[0].device if models else check_device(compute.device or best_device())
    mapping = mapping_of(request)
    groups = groups_of(request, mapping)
    cases = load_cases(mapping, request.hq, request.lq, with_references=request.references > 0, groups=groups)
    several = len(cases.photographs) > 1
    plan = Plan(sets, request.references, counts, request.seed, request.batch_size, several, request.product)
    chosen = cases.sample(request.limit, request.seed)
    restorers, size = _restorers(request, models, sets, cases, chosen, device)
    describer = FaceDescriber(TorchDlibRecogniser(device), size)
    learned, not_measured = load_learned_metrics(device)
    naturalness, without_it = load_naturalness(size)
    instruments = Instruments(
        device,
        describer,
        _centre(request, describer),
        load_face_recogniser(request.recogniser) if request.recogniser else None,
        learned,
        naturalness,
    )
    rows = measure_cases(cases, chosen, restorers, plan, instruments, out, on_case)
    if not is_main():
        return None
    if request.center_index:
        instruments.centre.write(out / "center.json")
    conditions = {one.label: one.conditions(plan) for one in restorers}
    table = Table(by_ita(rows) if request.group_by == ITA else rows)
    summary = summarise(
        table,
        plan,
        conditions,
        settings=settings_of(cases, chosen, restorers, plan, instruments),
        left_out=cases.left_out,
        notes=notes_of(request, plan, instruments, chosen, restorers),
        not_measured=not_measured | without_it,
        of_all=_of_all(table, plan, instruments, out / "pictures"),
    )
    write_summary(summary, out)
    plot_all(table, plan, conditions, out)
    draw_sheets(table, chosen, plan, conditions, size, out)
    return summary


def _restorers(
    request: Request,
    models: Sequence[MeasuredModel],
    sets: Sequence[str],
    cases: CaseSet,
    chosen: Sequence[Case],
    device: torch.device,
) -> tuple[list[MeasuredRestorer], int]:
    """All that is measured, the models first, and the side in pixels at which: the models', or else what others take.

    Raises UsageError if two have one name, or the same names of files.
    """
    labels = [one.label for one in (*models, *request.restored, *request.onnx)]
    for one, other in combinations(labels, 2):
        if as_file_name(one).casefold() == as_file_name(other).casefold():  # macOS and Windows ignore case
            reason = f"Two are called {one}" if one == other else f"{one} and {other} would have the same files"
            raise UsageError(reason, hint="give one of them another name, as in NAME=FOLDER")
    size = models[0].resolution if models else None
    example = to_tensor(np.stack([read_face(chosen[0].hq, size or ANY_SIZE).pixels]))
    networks = [load_onnx_restorer(spec, example, device) for spec in request.onnx]
    if networks and size is None:
        size = min(one.side or ANY_SIZE for one in networks)
    folders = [load_restored(spec, sets, cases, chosen, size) for spec in request.restored]
    size = size or min(one.side for one in folders)
    return [*models, *(replace(one, size=size) for one in folders), *networks], size


def _centre(request: Request, describer: FaceDescriber) -> Centre:
    if request.center_index is None:
        return Centre.shipped()
    return compute_centre(request.center_index, "train", describer, request.seed)


def _of_all(table: Table, plan: Plan, instruments: Instruments, pictures: Path) -> dict[Subject, dict[str, Estimate]]:
    """What is measured on all pictures at once, of every row of the table."""
    truth, names, recogniser = pictures / "truth", table.images, instruments.second_recogniser
    size = instruments.describer.size
    true = None if recogniser is None else look_at_pictures(truth, names, size, recogniser)
    of_all: dict[Subject, dict[str, Estimate]] = {}
    for subject in table.values:
        folder = pictures / picture_folder(*_parts(subject))
        numbers: dict[str, Estimate] = {}
        if instruments.learned is not None:
            numbers |= instruments.learned.of_folders(folder, truth, plan.seed)
        if recogniser is not None and true is not None:
            restored = look_at_pictures(folder, names, size, recogniser)
            numbers |= compare_distributions(restored, true, table.identities, plan.seed)
        of_all[subject] = numbers
    return of_all


def _parts(subject: Subject) -> tuple[str, str, str]:
    return subject.set, subject.model, subject.condition
