"""A whole evaluation: from the request to the table, the plots and the contact sheets in a folder."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from faceref.data.mapping import ReferenceMapping, mapping_from_index
from faceref.errors import UsageError
from faceref.evaluation.batch import PRESETS, STORED, Instruments
from faceref.evaluation.cases import Case, load_cases, mapping_from_folders
from faceref.evaluation.conditions import STAGE_1, Conditions, Plan
from faceref.evaluation.faces import Centre, FaceDescriber, compute_centre
from faceref.evaluation.figures import draw_sheets, plot_all
from faceref.evaluation.groups import ITA, by_ita, read_groups
from faceref.evaluation.learned import LearnedMetrics, load_learned_metrics
from faceref.evaluation.metrics import MS_SSIM_WEIGHTS, ms_ssim_weights
from faceref.evaluation.models import ModelSpec, load_models
from faceref.evaluation.pictures import picture_folder
from faceref.evaluation.report import Subject, Summary, Table, summarise, write_summary
from faceref.evaluation.run import evaluate, name_device
from faceref.faces.dlib_torch import TorchDlibRecogniser
from faceref.models.recogniser_files import load_recogniser


@dataclass(frozen=True)
class Request:
    """What `faceref evaluate` was asked for; see its help. At most one of mapping and index is given."""

    models: tuple[ModelSpec, ...]
    hq: Path
    mapping: Path | None
    index: Path | None
    split: str
    lq: Path | None
    degradations: tuple[str, ...]
    references: int
    reference_counts: tuple[int, ...]
    seed: int
    limit: int | None
    batch_size: int
    recogniser: Path | None
    center_index: Path | None
    group_by: str | None
    labels: Path | None


def run_study(request: Request, out: Path, *, resume: bool, device: torch.device) -> Summary:
    """Measure and write everything below `out`; see docs/evaluation.md for the files.

    Raises UsageError for a request that contradicts itself, DataError, CheckpointError and OutputError.
    """
    sets = _sets(request)
    models = load_models(request.models, device)
    cases = load_cases(
        _mapping(request),
        request.hq,
        request.lq,
        with_references=request.references > 0,
        groups=_groups(request),
    )
    several = len(cases.photographs) > 1
    plan = Plan(sets, request.references, request.reference_counts, request.seed, request.batch_size, several)
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
    rows = evaluate(cases, chosen, models, plan, instruments, out, resume=resume)
    if request.center_index:
        instruments.centre.write(out / "center.json")
    conditions = {model.label: model.conditions(plan) for model in models}
    table = Table(by_ita(rows) if request.group_by == ITA else rows)
    summary = summarise(
        table,
        plan,
        conditions,
        settings=json.loads((out / "settings.json").read_text()),
        left_out=cases.left_out,
        notes=_notes(request, plan, instruments, chosen, size, conditions, device),
        not_measured=not_measured,
        of_all=_of_all(learned, table, plan, out / "pictures") if learned else {},
    )
    write_summary(summary, out)
    plot_all(table, plan, conditions, out)
    draw_sheets(table, chosen, plan, conditions, size, out)
    return summary


def _sets(request: Request) -> tuple[str, ...]:
    """The sets to measure on. Raises UsageError if the request contradicts itself."""
    if request.lq is not None and request.degradations:
        raise UsageError("Give either --lq or --degradation: LQ pictures are read or made, not both.")
    unknown = [name for name in request.degradations if name not in PRESETS]
    if unknown:
        raise UsageError(f"There is no degradation {unknown[0]!r}; choose {' or '.join(PRESETS)}.")
    if request.mapping is not None and request.index is not None:
        raise UsageError("Give either --mapping, a CSV of targets and references, or --index, a CSV of people.")
    if request.group_by not in (None, ITA) and request.index is None and request.labels is None:
        raise UsageError(f"--group-by names a column of a table, or {ITA}: give --index or --labels.")
    if request.labels is not None and request.group_by in (None, ITA):
        raise UsageError("--labels gives a table for --group-by: name one of its columns.")
    return (STORED,) if request.lq is not None else tuple(dict.fromkeys(request.degradations)) or ("severe",)


def _mapping(request: Request) -> ReferenceMapping:
    if request.mapping is not None:
        return ReferenceMapping.read(request.mapping)
    if request.index is not None:
        return mapping_from_index(request.index, request.split)
    return mapping_from_folders(request.hq)


def _groups(request: Request) -> dict[str, str] | None:
    table = request.labels or request.index
    if request.group_by in (None, ITA) or table is None:
        return None
    return read_groups(table, request.group_by)


def _centre(request: Request, describer: FaceDescriber) -> Centre:
    if request.center_index is None:
        return Centre.shipped()
    return compute_centre(request.center_index, "train", describer, request.seed)


def _of_all(learned: LearnedMetrics, table: Table, plan: Plan, pictures: Path) -> dict[Subject, dict[str, float]]:
    folders = {subject: pictures / picture_folder(*_parts(subject)) for subject in table.values}
    return {subject: learned.of_folders(folder, pictures / "truth", plan.seed) for subject, folder in folders.items()}


def _parts(subject: Subject) -> tuple[str, str, str]:
    return subject.set, subject.model, subject.condition


def _notes(
    request: Request,
    plan: Plan,
    instruments: Instruments,
    chosen: Sequence[Case],
    size: int,
    conditions: Conditions,
    device: torch.device,
) -> list[str]:
    """How to read the table."""
    centre = instruments.centre
    notes = [
        "identity (cosine): of dlib's embeddings of result and truth after subtracting their mean over "
        f"{centre.photographs} photographs ({centre.source}); identity (distance): Euclidean, as dlib defines it; "
        "below 0.6 is the same person. dlib is in no loss of this project. Every result is cut out at the landmarks "
        "of the truth, so that no picture drops out because no face is found in it; only the nearest reference, in "
        "another pose, is cut out at landmarks of its own",
        "to own references: mean embedding distance to the references of the person (whether shown or not); to shown "
        "references: to those that the model was given",
        "face PSNR: within the convex hull of the truth's landmarks; sharpness: variance of the Laplacian there at 128 "
        "px, which noise raises, too",
        f"seconds per face: of a batch of up to {plan.batch_size} faces on {name_device(device)}, shared by them, and "
        "of encoding each one's references; reading and writing of pictures not counted",
        "no references: an empty cache, or a model that takes no references; zero references: as many zero latents as "
        "there are references, which is what guidance subtracts",
        f"a case with fewer than {plan.references} references is shown all it has (mean in the second column)",
    ]
    if any(STAGE_1 in of_model for of_model in conditions.values()):
        notes.append("stage 1 alone: LD-BFR's vector-quantised restoration decoded as it is, without diffusion")
    if len(weights := ms_ssim_weights(size)) < len(MS_SSIM_WEIGHTS):
        notes.append(f"MS-SSIM has {len(weights)} scales, their weights renormalised: {size} px are too few for five")
    if request.lq is None:
        notes.append("there is no bicubic row: LQ inputs are made at full size (Eq. 4 ends with a bilinear resize)")
    if request.recogniser:
        notes.append(
            f"2nd recogniser: {request.recogniser.name}; for a model that had it in its loss this is no evidence of "
            "identity; its features: LPIPS without learned weights on its feature maps"
        )
    if not plan.wrong_person:
        notes.append("there is only one identity, so that nobody else's references could be shown")
    if request.group_by == ITA:
        notes.append(
            "groups: thirds of the people by the median individual typology angle (ITA, from CIELAB) of the skin in "
            "their true photographs; light and camera shift it more than skin does, so that it takes some ten "
            "photographs of each person, and is no label of anybody"
        )
    elif request.group_by and (missing := sum(not case.group for case in chosen)):
        notes.append(f"{missing} of {len(chosen)} photographs have no {request.group_by} and are in no group")
    if request.limit:
        notes.append(f"a sample of {len(chosen)} photographs, spread over people (--limit)")
    return notes
