"""Distances of distributions are what is known of Gaussians, whatever the number of photographs."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from faceref.evaluation.distribution import (
    BATCH,
    Seen,
    compare_distributions,
    frechet_distance,
    frechet_of_moments,
    kernel_distance,
    look_at_pictures,
)
from faceref.evaluation.pictures import picture_path
from faceref.models.identity import MobileFaceNet


def with_moments(count: int, mean: np.ndarray, deviations: np.ndarray, seed: int) -> np.ndarray:
    """Rows [count, D] whose mean and covariance are exactly these, not only about."""
    x = np.random.default_rng(seed).normal(size=(count, len(mean)))
    x -= x.mean(0)
    return x @ np.linalg.inv(np.linalg.cholesky(np.cov(x.T))).T * deviations + mean


def test_the_frechet_distance_of_gaussians_is_their_closed_form():
    a = with_moments(50, np.zeros(3), np.array([1.0, 2.0, 3.0]), seed=0)
    b = with_moments(70, np.array([1.0, 0.0, -2.0]), np.array([2.0, 2.0, 0.5]), seed=1)
    # |means|^2 = 5; for covariances that commute, the squared differences of deviations: 1 + 0 + 6.25
    assert frechet_distance(a, b) == pytest.approx(12.25)
    turned = np.linalg.qr(np.random.default_rng(2).normal(size=(3, 3)))[0]
    assert frechet_distance(a @ turned, b @ turned) == pytest.approx(12.25)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9)


def test_a_frechet_distance_of_fewer_photographs_than_dimensions_is_too_large_and_a_kernel_distance_is_not():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 20, 100)) / 10  # the same distribution
    assert frechet_distance(a, b) > 0.5
    kernel = kernel_distance(a, b, np.arange(20), seed=0)
    assert kernel.low < 0 < kernel.high


def test_the_kernel_distance_of_directions_is_their_closed_form():
    """Angles all around a circle, and of its upper half alone.

    The mean of (cos t + 1)^3 is 1 + 3 m1 + 3 (1 + m2) / 2 + (3 m1 + m3) / 4 with the means mk of cos(k t); of two
    angles of the half circle these are 4 / pi^2, 0 and 4 / (9 pi^2), and 0 if either is from anywhere.
    """
    tries, people = 200, 40
    angles = np.random.default_rng(0).uniform(0, np.pi, size=(tries, 2, people)) * [[1], [2]]
    rows = np.stack([np.cos(angles), np.sin(angles)], axis=-1) * 3  # lengths do not count
    found = np.array([kernel_distance(half, whole, np.arange(people), seed=0).mean for half, whole in rows])
    truth = (15 + 1 / 9) / np.pi**2
    assert abs(found.mean() - truth) < 2 * found.std() / np.sqrt(tries)  # without bias, however few there are
    assert found.std() / np.sqrt(tries) < truth / 20


def directions(*shape: int, seed: int) -> np.ndarray:
    """Rows of length 1, every direction as likely as every other."""
    x = np.random.default_rng(seed).normal(size=shape)
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def test_a_collapse_that_keeps_the_mean_is_told_from_equality():
    true, same, axis = directions(300, 128, seed=0), directions(300, 128, seed=1), directions(1, 128, seed=2)
    collapsed = np.where(np.arange(300)[:, None] % 2, axis, -axis)  # everybody has one of two opposite faces
    people = np.repeat(np.arange(100), 3)
    assert not kernel_distance(same, true, people, seed=0).excludes_zero
    found = kernel_distance(collapsed, true, people, seed=0)
    assert found.excludes_zero
    # (2^3 + 0^3) / 2 of the two points less 1 + 3 / 128 of directions; 1 % by the 300
    assert found.mean == pytest.approx(3 - 3 / 128, rel=0.02)


@pytest.mark.parametrize(("people", "each"), [(9, 13), (20, 5)])
def test_results_like_truths_have_no_distance_however_much_photographs_of_one_person_have_in_common(
    people: int, each: int
):
    tries = 40
    means = directions(tries, 2, people, 1, 128, seed=0)
    rows = (means + 0.7 * directions(tries, 2, people, each, 128, seed=1)).reshape(tries, 2, people * each, 128)
    identities = np.repeat(np.arange(people), each)
    found = [kernel_distance(a, b, identities, seed=0) for a, b in rows]
    distances = np.array([one.mean for one in found])
    assert abs(distances.mean()) < 2.5 * distances.std() / np.sqrt(tries)
    assert all(one.low < one.mean < one.high for one in found)
    assert sum(one.excludes_zero for one in found) <= 4


def test_photographs_of_one_person_are_drawn_together():
    a = np.repeat(directions(10, 4, seed=0), 8, axis=0)  # eight photographs of each of ten, all alike
    b = directions(80, 4, seed=1)
    together = kernel_distance(a, b, np.repeat(np.arange(10), 8), seed=0)
    apart = kernel_distance(a, b, np.arange(80), seed=0)
    assert together.high - together.low > apart.high - apart.low


def test_one_person_has_no_kernel_distance():
    seen = Seen(directions(3, 4, seed=0), np.ones((3, 2)), np.ones(2), np.eye(2))
    assert set(compare_distributions(seen, seen, np.zeros(3), seed=0)) == {
        "frechet",
        "frechet_pooled",
        "frechet_patches",
    }


def test_a_single_photograph_has_no_distribution():
    one = Seen(np.ones((1, 4)), np.ones((1, 2)), np.ones(2), np.eye(2))
    assert compare_distributions(one, one, np.array(["a"]), seed=0) == {}


def test_the_frechet_distance_of_moments_is_that_of_their_matrix_root_whether_or_not_they_are_singular():
    rng = np.random.default_rng(0)
    for count, tolerance in ((50, 1e-9), (3, 1e-6)):  # of three rows the covariances of four columns are singular
        a, b = rng.normal(size=(count, 4)) @ rng.normal(size=(4, 4)), rng.normal(size=(60, 4)) + 1
        (mean, covariance), (other, others) = ((x.mean(0), np.cov(x.T)) for x in (a, b))
        # A B has the eigenvalues of a symmetric matrix without negative ones: all are real
        root = np.sqrt(np.linalg.eigvals(covariance @ others).real.clip(min=0))
        expected = np.square(mean - other).sum() + np.trace(covariance + others) - 2 * root.sum()
        assert frechet_of_moments(mean, covariance, other, others) == pytest.approx(expected, abs=tolerance)
        assert frechet_distance(a, b) == pytest.approx(expected, abs=tolerance)


def test_the_frechet_distance_of_thousands_takes_no_more_than_that_of_their_dimensions():
    a, b = np.random.default_rng(0).normal(size=(2, 20_000, 16))
    assert 0 < frechet_distance(a, b) < 0.02  # a matrix of all pairs would take 3.2 GB, and days


def test_the_middle_map_is_seen_place_by_place(tmp_path: Path):
    recogniser, names = MobileFaceNet().eval(), [f"{number:05d}" for number in range(BATCH + 2)]
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (len(names), 32, 32, 3), dtype=np.uint8)
    for name, pixels in zip(names, pictures, strict=True):
        path = picture_path(tmp_path, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    seen = look_at_pictures(tmp_path, names, 32, recogniser)
    with torch.no_grad():
        x = torch.from_numpy(pictures).permute(0, 3, 1, 2) / 127.5 - 1
        rows = recogniser.identity_features(x)[2].double().permute(0, 2, 3, 1).numpy()  # [N, h, w, C]
    places = rows.reshape(-1, rows.shape[-1])
    assert len(places) == len(names) * 16
    np.testing.assert_allclose(seen.pooled, rows.mean((1, 2)), atol=1e-5)
    np.testing.assert_allclose(seen.mean, places.mean(0), atol=1e-5)
    np.testing.assert_allclose(seen.covariance, np.cov(places.T, bias=True), atol=1e-5)
    other = look_at_pictures(tmp_path, names[::-1], 32, recogniser)
    found = compare_distributions(seen, other, np.arange(len(names)), seed=0)
    assert {name: value.mean for name, value in found.items() if name.startswith("frechet")} == pytest.approx(
        {"frechet": 0, "frechet_pooled": 0, "frechet_patches": 0}, abs=1e-6
    )
