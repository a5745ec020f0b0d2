"""How far restored faces are from true ones as a whole: distances of distributions, on a recogniser's embeddings.

They stand in for FID and KID, whose network (Inception) is not here, and are no FID: numbers of different features, or
of different numbers of photographs, cannot be compared.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from faceref.evaluation.faces import read_face
from faceref.evaluation.pictures import picture_path, to_tensor
from faceref.evaluation.statistics import Estimate, draw_people, interval_of
from faceref.models.identity import FaceRecogniser

BATCH = 32  # faces embedded at a time


def compare_distributions(
    restored: np.ndarray, true: np.ndarray, identities: np.ndarray, seed: int
) -> dict[str, Estimate]:
    """Fréchet distance and kernel distance (times 1,000) of embeddings [N, D] of the same N photographs, by name.

    Nothing for a single photograph.
    """
    if len(restored) < 2:
        return {}
    kernel = kernel_distance(restored, true, identities, seed)
    return {
        "frechet": Estimate(frechet_distance(restored, true), np.nan, np.nan, len(restored)),
        "kernel": Estimate(1000 * kernel.mean, 1000 * kernel.low, 1000 * kernel.high, kernel.count),
    }


@torch.no_grad()
def embed_pictures(folder: Path, names: Sequence[str], size: int, recogniser: FaceRecogniser) -> np.ndarray:
    """Embeddings float64 [N, D] of an evaluation's pictures of `size` px, in the order of the names."""
    found = []
    for start in range(0, len(names), BATCH):
        files = [picture_path(folder, name) for name in names[start : start + BATCH]]
        found.append(recogniser.embed(to_tensor(np.stack([read_face(file, size).pixels for file in files]))))
    return torch.cat(found).double().cpu().numpy()


def frechet_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Between Gaussians with the means and covariances of a [N, D] and b [M, D] (Dowson and Landau 1982).

    |mean_a - mean_b|^2 + tr(A + B - 2 (A B)^(1/2)). Both need two rows. It grows as rows get fewer than some 10 D.
    """
    centred = [(x - x.mean(0)) / np.sqrt(len(x) - 1) for x in (a, b)]  # covariances are x' x
    # the eigenvalues of A B are the squares of the singular values of this product, also where A is singular
    common = np.linalg.svd(centred[0] @ centred[1].T, compute_uv=False).sum()
    shift = np.square(a.mean(0) - b.mean(0)).sum()
    return float(shift + sum(np.square(x).sum() for x in centred) - 2 * common)


def kernel_distance(a: np.ndarray, b: np.ndarray, identities: np.ndarray, seed: int) -> Estimate:
    """Squared MMD, without bias, under the kernel (x y / D + 1)^3 of Binkowski et al. 2018, with its 95 % interval.

    a, b [N, D]: of the same N photographs, restored and true; identities [N]: whom each shows. The interval is from
    resamples of people; with fewer than two of them there is none. It needs two photographs.
    """

    def kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return (x @ y.T / x.shape[1] + 1) ** 3

    pairs = kernel(a, a) + kernel(b, b) - kernel(a, b) - kernel(b, a)
    np.fill_diagonal(pairs, 0)  # a photograph is compared with others, never with itself

    def distance(weights: np.ndarray) -> np.ndarray:
        """Of photographs drawn so many times, [..., N]; copies of one photograph are not compared, either."""
        count = weights.sum(-1) ** 2 - np.square(weights).sum(-1)
        with np.errstate(invalid="ignore", divide="ignore"):
            return ((weights @ pairs) * weights).sum(-1) / count

    mean = float(distance(np.ones(len(a))))
    draws, person = draw_people(identities, seed)
    low, high = interval_of(distance(draws[:, person])) if len(draws[0]) > 1 else (np.nan, np.nan)
    return Estimate(mean, low, high, len(a))
