"""Statistics over few seeds, by rliable: interquartile means, probabilities of improvement, and their intervals.

Agarwal et al. 2021, Deep RL at the edge of the statistical precipice, arXiv:2108.13264.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hetrl.errors import DependencyError
from hetrl.report.curve import half_width

LEAST = 3
"""Runs below which no interval is given: a bootstrap of two is their range."""
ENOUGH = 5
"""Runs from which on intervals are bootstrapped; of fewer, a bootstrap comes out too narrow."""
RESAMPLES, FEWER_RESAMPLES = 5000, 2000
"""Of a mean; and of probabilities and curves, which take longer."""


@dataclass(frozen=True)
class Estimate:
    """A statistic with its 95 % interval; without one where there are too few runs."""

    value: float
    low: float | None = None
    high: float | None = None
    student: bool = False
    """Whether the interval is Student's t of the mean rather than a bootstrap of the value itself."""

    def within(self, least: float, most: float) -> "Estimate":
        """Return it with its interval cut off at what the value cannot leave."""
        low, high = (None if end is None else min(max(end, least), most) for end in (self.low, self.high))
        return replace(self, low=low, high=high)


def interquartile_mean(scores: np.ndarray) -> Estimate:
    """Return the mean of the middle half of all runs, with a bootstrap over runs within each task.

    Of fewer than :data:`ENOUGH` runs the interval is Student's t of the mean, each run's mean over tasks being one.

    Args:
        scores: ``[runs, tasks]``. A quarter of the runs is left out at each end, rounded down: none of 3, 1 of 5.
    """
    _, metrics, _ = _packages()
    if LEAST <= len(scores) < ENOUGH:
        mean, half = scores.mean(), float(half_width(scores.mean(1)))
        return Estimate(float(metrics.aggregate_iqm(scores)), float(mean - half), float(mean + half), student=True)
    values, bounds = _estimates(scores, lambda each: np.array([metrics.aggregate_iqm(each)]), RESAMPLES)
    low, high = (None if bound is None else float(bound[0]) for bound in _sides(bounds))
    return Estimate(float(values[0]), low, high)


def interquartile_curve(curves: np.ndarray) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
    """Return the interquartile mean at every point, and the ends of its interval there (None with too few runs).

    Args:
        curves: ``[runs, points]``; of fewer than :data:`ENOUGH` runs the interval is Student's t of the mean.
    """
    _, _, trim_mean = _packages()
    if LEAST <= len(curves) < ENOUGH:
        mean, half = curves.mean(0), half_width(curves)
        return trim_mean(curves, 0.25, axis=0), mean - half, mean + half

    def along(each: np.ndarray) -> np.ndarray:  # rliable's own, for all points at once
        return trim_mean(each[:, 0], 0.25, axis=0)

    values, bounds = _estimates(curves[:, None], along, FEWER_RESAMPLES)
    low, high = _sides(bounds)
    return values, low, high


def probability_of_improvement(one: np.ndarray, other: np.ndarray) -> Estimate:
    """Return how likely a run of ``one`` scores above a run of ``other`` on the same task; ties count half.

    Args:
        one: ``[runs, tasks]``; averaged over tasks.
        other: ``[runs, tasks]``; the runs may be more or fewer.
    """
    library, metrics, _ = _packages()

    def probability(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore"):  # of its p-value, where all runs are equal
            return np.array([metrics.probability_of_improvement(x, y)])

    if min(len(one), len(other)) < LEAST:
        return Estimate(float(probability(one, other)[0]))
    with _own_randomness():
        values, bounds = library.get_interval_estimates({"": (one, other)}, probability, reps=FEWER_RESAMPLES)
    return Estimate(float(values[""][0]), float(bounds[""][0][0]), float(bounds[""][1][0]))


def _estimates(
    scores: np.ndarray, statistic: Callable[[np.ndarray], np.ndarray], resamples: int
) -> tuple[np.ndarray, np.ndarray | None]:
    library, _, _ = _packages()
    if len(scores) < LEAST:
        return statistic(scores), None
    with _own_randomness():
        values, bounds = library.get_interval_estimates({"": scores}, statistic, reps=resamples)
    return values[""], bounds[""]


def _sides(bounds: np.ndarray | None) -> tuple[Any, Any]:
    return (None, None) if bounds is None else (bounds[0], bounds[1])


@contextmanager
def _own_randomness() -> Iterator[None]:
    """Seed numpy's global generator, from which rliable resamples whatever it is given, and put it back."""
    state = np.random.get_state()
    np.random.seed(0)
    try:
        yield
    finally:
        np.random.set_state(state)


def _packages() -> tuple[Any, Any, Any]:
    try:
        from rliable import library, metrics
        from scipy.stats import trim_mean
    except ImportError:
        raise DependencyError("hetrl compare needs rliable: pip install 'hetrl[compare]'.") from None
    except TypeError as error:  # arch, below rliable, calls a function of pandas that pandas 3 has changed
        raise DependencyError(
            f"hetrl compare needs rliable with pandas 2 ({error}): pip install 'hetrl[compare]'."
        ) from None
    return library, metrics, trim_mean
