"""Intervals agree with scipy's where photographs are independent, and are wider where they are not."""

import numpy as np
import pytest
from scipy.stats import bootstrap

from faceref.evaluation.statistics import estimate_mean


def test_one_photograph_for_each_person_gives_the_interval_of_scipys_bootstrap():
    values = np.random.default_rng(1).exponential(size=80)
    estimate = estimate_mean(values, np.arange(80), seed=0)
    expected = bootstrap((values,), np.mean, n_resamples=5000, method="percentile", rng=np.random.default_rng(0))
    interval = expected.confidence_interval
    assert estimate.mean == pytest.approx(values.mean())
    assert (estimate.low, estimate.high) == pytest.approx((interval.low, interval.high), abs=0.02)


def test_photographs_of_one_person_do_not_count_as_independent():
    rng = np.random.default_rng(2)
    people = np.repeat(np.arange(20), 10)
    values = rng.normal(size=20)[people] + 0.01 * rng.normal(size=200)
    naive = estimate_mean(values, np.arange(200), seed=0)
    honest = estimate_mean(values, people, seed=0)
    assert 2.5 < (honest.high - honest.low) / (naive.high - naive.low) < 3.8  # about sqrt(10)


def test_a_difference_is_real_only_if_the_interval_excludes_zero():
    noise = np.random.default_rng(3).normal(size=100)
    assert not estimate_mean(noise - noise.mean(), np.arange(100), seed=0).excludes_zero
    assert estimate_mean(noise + 1, np.arange(100), seed=0).excludes_zero


def test_missing_values_are_counted_out_and_one_person_has_no_interval():
    estimate = estimate_mean(np.array([1.0, np.nan, 3.0]), np.array(["a", "a", "b"]), seed=0)
    assert (estimate.mean, estimate.count) == (2.0, 2)
    alone = estimate_mean(np.array([1.0, 3.0]), np.array(["a", "a"]), seed=0)
    assert alone.mean == 2
    assert np.isnan(alone.low)
    assert not alone.excludes_zero
    assert estimate_mean(np.array([np.nan]), np.array(["a"]), seed=0).count == 0


def test_of_few_people_no_more_is_told_from_nothing_than_of_many():
    told = {}
    for people in (3, 8, 40):
        rng = np.random.default_rng(people)
        whom = np.repeat(np.arange(people), 4)
        values = [rng.normal(size=people)[whom] + rng.normal(size=4 * people) for _ in range(300)]
        told[people] = np.mean([estimate_mean(one, whom, seed=i).excludes_zero for i, one in enumerate(values)])
    assert told[3] == 0
    assert told[8] < 0.09  # with plain percentiles 0.11 and more
    assert told[40] < 0.09
