"""Gaussian processes that predict each measurement from the others of its sequence.

In: one sequence's positions, words, values and errors, z units. Out: for every measurement the mean
and the standard deviation that the others predict for it, its own noise included, in closed form
(C. E. Rasmussen and C. K. I. Williams, Gaussian Processes for Machine Learning, 2006, eq. 5.12).

The kernel between two measurements of a sequence, positions x, words w (bands), is

    level^2 + amplitude^2 prod_p M(|x_p - x_p'| / scale_p) prod_c likeness_c^[w_c != w_c']

with the Matern function M(r) = (1 + sqrt(3) r) exp(-sqrt(3) r): a sequence is a level that all its
measurements share, and a curve whose bands go together as far as `likeness` says (a word is no
number: nothing is assumed of the order of bands). To its diagonal come the measurement's own error
and what noise there is beside it.

The few numbers of the kernel are the survey's, not the object's: `fit` maximises the mean of the
logarithm of the predictive density (eq. 5.13) over training sequences, so that nothing is learnt
from the object that is predicted but its other measurements. (The peak of a light curve, in
`stream/peak.py`, is another process: squared exponential, one band, fitted to each object alone as
published.)
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

LONGEST = 256  # measurements that are worked on together: a longer sequence is cut in time
_STEPS = (4.0, 2.0, 1.4)  # factors that `fit` tries, one after another
_MOST_ROUNDS = 12  # over all numbers at one step
_LEAST_GAIN = 1e-3  # in the mean log density: less is no reason to change a number
_LEAST, _MOST = 1e-3, 30.0  # z units: bounds of all numbers; noise keeps the kernel regular


@dataclass(frozen=True)
class Points:
    """One sequence, n measurements."""

    position: np.ndarray  # (n, P)
    category: np.ndarray  # (n, C)
    value: np.ndarray  # (n,)
    variance: np.ndarray  # (n,) of the measurement's own error, 0 where unknown

    def take(self, some: np.ndarray) -> "Points":
        """The measurements at these places."""
        return Points(
            self.position[some], self.category[some], self.value[some], self.variance[some]
        )


@dataclass(frozen=True)
class Kernel:
    """The process: standard deviations and scales in z units, `likeness` in [0, 1)."""

    mean: np.ndarray  # (words,) of the first category; (1,) without categories
    level: float
    amplitude: float
    noise: float
    scales: tuple[float, ...]  # (P,)
    likeness: tuple[float, ...]  # (C,)

    def covariance(self, points: Points) -> np.ndarray:
        """(n, n) of the measurements, noise on the diagonal."""
        curve = np.full((len(points.value),) * 2, self.amplitude**2)
        for column, scale in zip(points.position.T, self.scales, strict=True):
            distance = np.sqrt(3.0) / scale * np.abs(column[:, None] - column)
            curve *= (1.0 + distance) * np.exp(-distance)
        for words, likeness in zip(points.category.T, self.likeness, strict=True):
            curve *= np.where(words[:, None] == words, 1.0, likeness)
        curve += self.level**2
        curve[np.diag_indices_from(curve)] += self.noise**2 + points.variance
        return curve

    def prior(self, points: Points) -> np.ndarray:
        """(n,) what is expected of a measurement without any other."""
        return self.mean[points.category[:, 0]] if points.category.shape[1] else self.mean[:1]


def from_the_others(kernel: Kernel, points: Points) -> tuple[np.ndarray, np.ndarray]:
    """Mean (n,) and standard deviation (n,) of every measurement, given all others.

    Of a sequence longer than LONGEST, given those of its own stretch in the first position.
    """
    mean, sd = np.zeros(len(points.value)), np.zeros(len(points.value))
    for some in stretches(points, LONGEST):
        part = points.take(some)
        inverse = np.linalg.inv(kernel.covariance(part))
        precision = np.diagonal(inverse)
        pull = inverse @ (part.value - kernel.prior(part))
        mean[some] = part.value - pull / precision
        sd[some] = precision**-0.5
    return mean, sd


def fit(sequences: Sequence[Points], num_words: int) -> Kernel:
    """The kernel under which the measurements of `sequences` are predicted best by the others.

    One number after another is multiplied or divided by a step as long as that helps, then the
    step is made smaller: deterministic, some eighty passes over the sequences.
    """
    kernel = _start(sequences, num_words)
    best = _density(kernel, sequences)
    for step in _STEPS:
        for _ in range(_MOST_ROUNDS):
            before = best
            for name, place in _numbers(kernel):
                for factor in (step, 1 / step):
                    tried = _changed(kernel, name, place, factor)
                    density = _density(tried, sequences)
                    if density > best + _LEAST_GAIN:
                        kernel, best = tried, density
                        break
            if best <= before:
                break
    return kernel


def _start(sequences: Iterable[Points], num_words: int) -> Kernel:
    """The mean of each word's values; scales of 1."""
    value = np.concatenate([s.value for s in sequences])
    num_positions, num_categories = next(
        (s.position.shape[1], s.category.shape[1]) for s in sequences
    )
    if num_categories:
        words = np.concatenate([s.category[:, 0] for s in sequences])
    else:
        words = np.zeros(len(value), np.int64)
    counts = np.bincount(words, minlength=num_words)
    mean = np.bincount(words, value, num_words) / np.maximum(counts, 1)
    return Kernel(mean, 0.5, 1.0, 0.1, (1.0,) * num_positions, (0.8,) * num_categories)


def _numbers(kernel: Kernel) -> list[tuple[str, int]]:
    """What `fit` may change: (field, place in it)."""
    found = [("level", 0), ("amplitude", 0), ("noise", 0)]
    found += [("scales", p) for p in range(len(kernel.scales))]
    return found + [("likeness", c) for c in range(len(kernel.likeness))]


def _changed(kernel: Kernel, name: str, place: int, factor: float) -> Kernel:
    """One number times a factor; of a likeness its odds, so that it stays between 0 and 1."""
    value = getattr(kernel, name)
    if name == "likeness":
        odds = factor * value[place] / (1 - value[place])
        return replace(kernel, likeness=_set(value, place, min(odds / (1 + odds), 1 - 1e-6)))
    if name == "scales":
        return replace(kernel, scales=_set(value, place, _bounded(value[place] * factor)))
    changed: dict[str, Any] = {name: _bounded(value * factor)}
    return replace(kernel, **changed)


def _bounded(value: float) -> float:
    return min(max(value, _LEAST), _MOST)


def _set(values: tuple[float, ...], place: int, value: float) -> tuple[float, ...]:
    return (*values[:place], value, *values[place + 1 :])


def _density(kernel: Kernel, sequences: Iterable[Points]) -> float:
    """Mean over sequences of the mean log density that the others predict for a measurement."""
    found = []
    for points in sequences:
        mean, sd = from_the_others(kernel, points)
        off = (points.value - mean) / sd
        found.append(float(np.mean(-0.5 * off**2 - np.log(sd))))
    return float(np.mean(found))


def stretches(points: Points, longest: int) -> list[np.ndarray]:
    """Places (k,) of measurements that are worked on together: cut in the first position into
    stretches of at most `longest`, as even in number as can be."""
    num = len(points.value)
    if num <= longest:
        return [np.arange(num)]
    order = np.argsort(points.position[:, 0], kind="stable")
    return np.array_split(order, -(-num // longest))
