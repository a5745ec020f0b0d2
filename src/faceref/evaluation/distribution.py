"""How far restored faces are from true ones as a whole: distances of distributions, on what a recogniser sees.

Its embeddings tell who they are; its middle map, place by place, how skin, eyes and hair look. They stand in for FID
and KID, whose network (Inception) is not here, and are no FID: numbers of different features, or of different numbers
of photographs, cannot be compared.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from faceref.evaluation.faces import read_face
from faceref.evaluation.pictures import picture_path, to_tensor
from faceref.evaluation.statistics import Estimate, draw_people, interval_of
from faceref.models.identity import FaceRecogniser

BATCH = 32  # faces embedded at a time


@dataclass(frozen=True, eq=False)
class Seen:
    """What a recogniser sees in N pictures, float64.

    embeddings [N, D]; pooled [N, C]: means of its middle map over each picture; mean [C] and covariance [C, C] of that
    map over all places of all pictures.
    """

    embeddings: np.ndarray
    pooled: np.ndarray
    mean: np.ndarray
    covariance: np.ndarray


def compare_distributions(restored: Seen, true: Seen, identities: np.ndarray, seed: int) -> dict[str, Estimate]:
    """Fréchet distances and kernel distance (times 1,000) of the same N photographs, by name.

    frechet and kernel: of embeddings; frechet_pooled, frechet_patches: of the middle map, a picture or a place being
    one. Nothing for a single photograph, and no kernel distance for a single person.
    """
    count = len(restored.embeddings)
    if count < 2:
        return {}
    places = frechet_of_moments(restored.mean, restored.covariance, true.mean, true.covariance)
    frechet = {
        "frechet": frechet_distance(restored.embeddings, true.embeddings),
        "frechet_pooled": frechet_distance(restored.pooled, true.pooled),
        "frechet_patches": places,
    }
    estimates = {name: Estimate(value, np.nan, np.nan, count) for name, value in frechet.items()}
    if len(np.unique(identities)) < 2:
        return estimates
    kernel = kernel_distance(restored.embeddings, true.embeddings, identities, seed)
    scaled = Estimate(1000 * kernel.mean, 1000 * kernel.low, 1000 * kernel.high, kernel.count, kernel.people)
    return estimates | {"kernel": scaled}


@torch.no_grad()
def look_at_pictures(folder: Path, names: Sequence[str], size: int, recogniser: FaceRecogniser) -> Seen:
    """What the recogniser sees in an evaluation's pictures of `size` px, in the order of the names."""
    embeddings, pooled, squares, places = [], [], 0.0, 0
    for start in range(0, len(names), BATCH):
        files = [picture_path(folder, name) for name in names[start : start + BATCH]]
        pictures = to_tensor(np.stack([read_face(file, size).pixels for file in files]))
        embeddings.append(recogniser.embed(pictures))
        maps = recogniser.identity_features(pictures)
        middle = maps[len(maps) // 2].double().flatten(2)  # [B, C, h * w]
        pooled.append(middle.mean(dim=2))
        squares = squares + torch.einsum("bcp,bdp->cd", middle, middle).cpu().numpy()
        places += middle.shape[0] * middle.shape[2]
    of_pictures = torch.cat(pooled).cpu().numpy()
    mean = of_pictures.mean(axis=0)
    covariance = squares / places - np.outer(mean, mean)
    return Seen(torch.cat(embeddings).double().cpu().numpy(), of_pictures, mean, covariance)


def frechet_distance(a: np.ndarray, b: np.ndarray) -> float:
    """As `frechet_of_moments`, of rows a [N, D] and b [M, D], at least two; it grows where they are fewer than 10 D."""
    return frechet_of_moments(*_moments(a), *_moments(b))


def frechet_of_moments(mean: np.ndarray, covariance: np.ndarray, other: np.ndarray, others: np.ndarray) -> float:
    """Between Gaussians with these means [D] and covariances A and B [D, D] (Dowson and Landau 1982).

    |mean_a - mean_b|^2 + tr(A + B - 2 (A B)^(1/2)).
    """
    values, vectors = np.linalg.eigh(covariance)
    root = vectors * np.sqrt(values.clip(min=0))
    # the eigenvalues of A B are those of this matrix, which is symmetric
    common = np.sqrt(np.linalg.eigvalsh(root.T @ others @ root).clip(min=0)).sum()
    return float(np.square(mean - other).sum() + np.trace(covariance) + np.trace(others) - 2 * common)


def _moments(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    mean = rows.mean(axis=0)
    centred = rows - mean
    return mean, centred.T @ centred / (len(rows) - 1)


def kernel_distance(a: np.ndarray, b: np.ndarray, identities: np.ndarray, seed: int) -> Estimate:
    """Squared MMD, without bias, under the kernel (cosine + 1)^3, with its 95 % interval from resamples of people.

    a, b [N, D]: of the same N photographs, restored and true; identities [N]: whom each shows, at least two. The
    kernel is (x y / D + 1)^3 of Binkowski et al. 2018 on rows of length sqrt(D): on shorter ones it sees little but
    means. Only photographs of different people are compared (a U-statistic over people): those of one are not
    independent of each other.
    """
    a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b))

    def kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return (x @ y.T + 1) ** 3

    draws, person = draw_people(identities, seed)
    people = draws.shape[1]
    shows = np.eye(people)[person]  # [N, P]
    pairs = shows.T @ (kernel(a, a) + kernel(b, b) - kernel(a, b) - kernel(b, a)) @ shows  # [P, P], sums
    counts = np.outer(shows.sum(0), shows.sum(0))
    np.fill_diagonal(pairs, 0)
    np.fill_diagonal(counts, 0)

    def distance(weights: np.ndarray) -> np.ndarray:
        """Of people drawn so many times, [..., P]; copies of one are not compared, either."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return ((weights @ pairs) * weights).sum(-1) / ((weights @ counts) * weights).sum(-1)

    mean = float(distance(np.ones(people)))
    return Estimate(mean, *interval_of(distance(draws), people), len(a), people)
