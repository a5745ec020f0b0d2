"""How sure a number is: bootstrap over people, since photographs of one person are not independent of each other."""

import math
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm, t

RESAMPLES = 2000
COVERAGE = 0.95
FEWEST = 6  # people: of five, all differ in one direction by chance in 6 % of cases, whatever is measured


@dataclass(frozen=True)
class Estimate:
    """A mean over photographs and its 95 % confidence interval; `count` photographs of `people` had a value.

    people: 0 where there is no interval.
    """

    mean: float
    low: float
    high: float
    count: int
    people: int = 0

    @property
    def excludes_zero(self) -> bool:
        """Whether it is told from 0; of fewer than six people nothing is."""
        return self.people >= FEWEST and (self.low > 0 or self.high < 0)


def estimate_mean(values: np.ndarray, identities: np.ndarray, seed: int) -> Estimate:
    """Mean of values [N] with an interval from 2,000 resamples of the identities [N] (cluster bootstrap).

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
    return Estimate(float(values.mean()), *interval_of(means, len(sums)), len(values), len(sums))


def draw_people(identities: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """How often each of P people is drawn in each resample [RESAMPLES, P], and whom each photograph [N] shows."""
    _, person = np.unique(identities, return_inverse=True)
    people = int(person.max()) + 1
    draws = np.random.default_rng(seed).multinomial(people, np.full(people, 1 / people), size=RESAMPLES)
    return draws, person


def interval_of(resampled: np.ndarray, people: int) -> tuple[float, float]:
    """The expanded percentile interval of what resamples of P people gave (Hesterberg 2015, section 5.3).

    Percentiles alone are too narrow for few people, as an interval of the normal distribution is beside one of
    Student's; the outer percentiles that are taken differ from those by as much. NaN is left out, of resamples that
    could not be measured.
    """
    tail = norm.cdf(-math.sqrt(people / (people - 1)) * t.ppf((1 + COVERAGE) / 2, people - 1))
    low, high = np.nanquantile(resampled, [tail, 1 - tail])
    return float(low), float(high)
