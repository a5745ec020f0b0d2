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
    draws, person = draw_people(identities, seed)
    sums, sizes = np.bincount(person, weights=values), np.bincount(person)
    if len(sums) < 2:
        return Estimate(float(values.mean()), np.nan, np.nan, len(values))
    means = (draws @ sums) / (draws @ sizes)  # [RESAMPLES]
    return Estimate(float(values.mean()), *interval_of(means), len(values))


def draw_people(identities: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """How often each of P people is drawn in each resample [RESAMPLES, P], and whom each photograph [N] shows."""
    _, person = np.unique(identities, return_inverse=True)
    people = int(person.max()) + 1
    draws = np.random.default_rng(seed).multinomial(people, np.full(people, 1 / people), size=RESAMPLES)
    return draws, person


def interval_of(resampled: np.ndarray) -> tuple[float, float]:
    """The percentile interval of what resamples gave; NaN is left out, of those that could not be measured."""
    low, high = np.nanquantile(resampled, [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2])
    return float(low), float(high)
