"""How well identities that were found agree with labels: precision and recall over pairs of photographs, as a curve."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from faceref.data.embedding import Embeddings
from faceref.data.embedding_space import EmbeddingSpace
from faceref.data.table import write_table
from faceref.errors import DataError
from faceref.files import write_atomically
from faceref.people.graph import close_pairs, components
from faceref.people.grouping import average_linkage

CURVE_POINTS = np.linspace(0.7, 1.2, 11)  # shares of the threshold


@dataclass(frozen=True)
class Agreement:
    """Shares of pairs: precision, of those called the same person, that are; recall, of those that are, called so."""

    precision: float
    recall: float


@dataclass(frozen=True)
class CurvePoint:
    """Agreement at one threshold: of the pairs below it alone, of their connected components, and the identities."""

    threshold: float
    pairs: Agreement
    components: Agreement
    identities: Agreement


def pairwise_agreement(found: Sequence[int] | np.ndarray, truth: Sequence[str]) -> Agreement:
    """Agreement of two partitions of N photographs, over all N (N - 1) / 2 pairs; counted, never listed."""
    both = _pairs_within(zip(np.asarray(found).tolist(), truth, strict=True))
    called, same = _pairs_within(np.asarray(found).tolist()), _pairs_within(truth)
    return Agreement(both / called if called else 1.0, both / same if same else 1.0)


def agreement_curve(
    embeddings: Embeddings, space: EmbeddingSpace, threshold: float, truth: dict[str, str]
) -> list[CurvePoint]:
    """Agreement with labels (file -> person) at thresholds around `threshold`, which is one of them.

    Faces without a label are left out. Raises DataError if no two faces have the same label.
    """
    chosen = [i for i, file in enumerate(embeddings.files) if truth.get(file)]
    files, vectors = [embeddings.files[i] for i in chosen], embeddings.vectors[chosen]
    labels = [truth[file] for file in files]
    if len(set(labels)) == len(labels):
        raise DataError("No two photographs have the same label, so that there is nothing to compare with")
    thresholds = threshold * CURVE_POINTS
    everything = close_pairs(vectors, space.measure.radius(thresholds.max()))
    number = np.unique(labels, return_inverse=True)[1]
    same = _pairs_within(labels)
    points = []
    for value in thresholds.tolist():
        pairs = everything.within(space.measure.radius(value))
        right = int((number[pairs.first] == number[pairs.second]).sum())
        groups = average_linkage(vectors, pairs, space.measure, value)
        points.append(
            CurvePoint(
                value,
                Agreement(right / len(pairs) if len(pairs) else 1.0, right / same),
                pairwise_agreement(components(len(files), pairs.first, pairs.second), labels),
                pairwise_agreement(groups, labels),
            )
        )
    return points


def write_curve(points: Sequence[CurvePoint], folder: Path) -> None:
    """Write curve.csv and curve.png into `folder`."""
    rows = [
        {
            "threshold": f"{p.threshold:.3f}",
            **{f"{name}_precision": f"{a.precision:.4f}" for name, a in _by_name(p).items()},
            **{f"{name}_recall": f"{a.recall:.4f}" for name, a in _by_name(p).items()},
        }
        for p in points
    ]
    write_table(folder / "curve.csv", list(rows[0]), rows)
    from matplotlib.figure import Figure  # takes no display and no global state

    figure = Figure(figsize=(9, 4), layout="constrained")
    against, over = figure.subplots(1, 2)
    for name in ("pairs", "components", "identities"):
        agreements = [_by_name(p)[name] for p in points]
        against.plot([a.recall for a in agreements], [a.precision for a in agreements], marker=".", label=name)
    for what, style in (("precision", "-"), ("recall", "--")):
        over.plot(
            [p.threshold for p in points], [getattr(p.identities, what) for p in points], style, marker=".", label=what
        )
    against.set(xlabel="recall", ylabel="precision", xlim=(0, 1.02), ylim=(0, 1.02), title="pairs of photographs")
    over.set(xlabel="threshold", ylim=(0, 1.02), title="identities")
    for axis in (against, over):
        axis.grid(alpha=0.3)
        axis.legend()
    with write_atomically(folder / "curve.png") as temporary:
        figure.savefig(temporary, dpi=120)


def _by_name(point: CurvePoint) -> dict[str, Agreement]:
    return {"pairs": point.pairs, "components": point.components, "identities": point.identities}


def _pairs_within(values) -> int:
    """Pairs of equal values."""
    return sum(n * (n - 1) // 2 for n in Counter(values).values())
