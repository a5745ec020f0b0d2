"""What an evaluation is asked for, and what is wrong with a request that contradicts itself."""

from dataclasses import dataclass
from pathlib import Path

from faceref.data.degradation import GRADES
from faceref.data.mapping import ReferenceMapping, mapping_from_index
from faceref.errors import DataError, UsageError
from faceref.evaluation.cases import mapping_from_folders
from faceref.evaluation.elsewhere import RestoredSpec
from faceref.evaluation.groups import ITA, read_groups
from faceref.evaluation.measurement import STORED
from faceref.evaluation.models import ModelSpec
from faceref.evaluation.onnx_restorer import OnnxSpec

COUNTS = (1, 3)  # references shown beside the most, unless others are asked for


@dataclass(frozen=True)
class Request:
    """What `faceref evaluate` was asked for; see its help. At most one of mapping and index is given."""

    models: tuple[ModelSpec, ...]
    restored: tuple[RestoredSpec, ...]
    onnx: tuple[OnnxSpec, ...]
    hq: Path
    mapping: Path | None
    index: Path | None
    split: str
    lq: Path | None
    degradations: tuple[str, ...]
    references: int
    reference_counts: tuple[int, ...] | None  # None: those of COUNTS that are smaller
    seed: int
    limit: int | None
    batch_size: int
    recogniser: Path | None
    center_index: Path | None
    group_by: str | None
    labels: Path | None
    product: bool


def sets_of(request: Request) -> tuple[str, ...]:
    """The sets to measure on. Raises UsageError if the request contradicts itself."""
    if not (request.models or request.restored or request.onnx):
        hint = "name a model, a folder of restored pictures or an ONNX file"
        raise UsageError("There is nothing to measure", hint=hint, code="nothing_to_measure")
    if request.product and not request.models:
        hint = "name a model, or leave the product out"
        raise UsageError("Only a model's product can be measured", hint=hint, code="no_product")
    if request.lq is not None and request.degradations:
        reason = "LQ pictures and a degradation were given"
        raise UsageError(reason, hint="give either: LQ pictures are read or made, not both", code="lq_and_degradation")
    unknown = [name for name in request.degradations if name not in GRADES]
    if unknown:
        raise UsageError(f"There is no degradation {unknown[0]!r}", hint=f"choose {' or '.join(GRADES)}")
    if request.mapping is not None and request.index is not None:
        hint = "give either: a CSV of targets and references, or one of people"
        raise UsageError("A mapping and an index were given", hint=hint, code="mapping_and_index")
    if request.group_by not in (None, ITA) and request.index is None and request.labels is None:
        reason = f"Groups are by a column of a table, or by {ITA}, and there is no table"
        raise UsageError(reason, hint="give an index or labels", code="no_groups")
    if request.labels is not None and request.group_by in (None, ITA):
        hint = "name one of their columns to group by"
        raise UsageError("Labels were given and no column of them", hint=hint, code="no_column")
    return (STORED,) if request.lq is not None else tuple(dict.fromkeys(request.degradations)) or ("severe",)


def check_out(request: Request, out: Path) -> None:
    """Raise UsageError if what is written below `out` would be counted when the same is measured again.

    With a mapping or an index nothing is, but among pictures that others restored: each is to belong to a target.
    """
    listed = request.mapping is not None or request.index is not None
    searched = [one.folder for one in request.restored] + ([] if listed else [request.hq, request.lq])
    for folder in searched:
        if folder is not None and out.resolve().is_relative_to(folder.resolve()):
            reason = f"lies in {folder}, where its pictures would be counted as photographs when this is done again"
            raise UsageError(reason, subject=out, hint="choose another folder for the results")


def counts_of(request: Request) -> tuple[int, ...]:
    """The smaller numbers of references to measure as well. Raises UsageError for those that cannot be shown."""
    if request.reference_counts is None:
        return tuple(count for count in COUNTS if count < request.references)
    impossible = [count for count in request.reference_counts if not 0 < count <= request.references]
    if impossible:
        reason = f"{impossible[0]} references cannot be measured where at most {request.references} are shown"
        raise UsageError(reason, hint="give numbers from 1 to that, or show more", code="impossible_count")
    return request.reference_counts


def mapping_of(request: Request) -> ReferenceMapping:
    """Who is to be restored, with which references."""
    if request.mapping is not None:
        return ReferenceMapping.read(request.mapping)
    if request.index is not None:
        return mapping_from_index(request.index, request.split)
    return mapping_from_folders(request.hq)


def groups_of(request: Request, mapping: ReferenceMapping) -> dict[str, str] | None:
    """File -> group, by a column of a table; None without one. Raises DataError if it groups no target of `mapping`."""
    column, table = request.group_by, request.labels or request.index
    if column in (None, ITA) or table is None:
        return None
    groups = read_groups(table, column)
    if len(mapping) and not any(groups.get(entry.gt_image) for entry in mapping):
        reason = f"has no {column} for any of the {len(mapping)} photographs that are to be measured"
        hint = f"name them in its column file as they are named here, like {mapping.entries[0].gt_image}"
        raise DataError(reason, subject=table, hint=hint)
    return groups
