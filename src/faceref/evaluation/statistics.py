"""How sure a number is: bootstrap over people, since photographs of one person are not independent of each other."""

from dataclasses import dataclass

import numpy as np

RESAMPLES = 2000
COVERAGE = 0.95


@dataclass(frozen=True)
class Estimate:
    """A mean over photographs and its 95 % confidence interval; `count` photographs had a value."""

    mean: float
    low: float
    high: float
    count: int

    @property
    def excludes_zero(self) -> bool:
        return self.low > 0 or self.high < 0


def estimate_mean(values: np.ndarray, identities: np.ndarray, seed: int) -> Estimate:
    """Mean of values [N] with a percentile interval from 2,000 resamples of the identities [N] (cluster bootstrap).

    Every photograph of a drawn person is drawn with them. NaN values are left out of the mean and of `count`. With
    fewer than two identities there is no interval: low and high are NaN.
    """
    known = ~np.isnan(values)
    values, identities = values[known], identities[known]
    if not len(values):
        return Estimate(np.nan, np.nan, np.nan, 0)
    _, person = np.unique(identities, return_inverse=True)
    sums, sizes = np.bincount(person, weights=values), np.bincount(person)
    if len(sums) < 2:
        return Estimate(float(values.mean()), np.nan, np.nan, len(values))
    draws = np.random.default_rng(seed).multinomial(len(sums), np.full(len(sums), 1 / len(sums)), size=RESAMPLES)
    means = (draws @ sums) / (draws @ sizes)  # [RESAMPLES]
    low, high = np.quantile(means, [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2])
    return Estimate(float(values.mean()), float(low), float(high), len(values))
