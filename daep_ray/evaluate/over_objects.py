"""Means over objects, in parts that can be put together: what tables need of per-sample errors.

In: errors per sample, all samples of an object together. Out: per column the count, sum, spread
and number above 0 over objects. Two such of other objects join to that of both, so a survey of any
size is summed a share of its objects at a time. An object's number is the mean over its samples; an
object without one (NaN) does not count.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

ColumnName = tuple[str, str]  # (estimate, metric)
Kind = tuple[str, str, str]  # what, a modality and what it is told from, "" for all
ERRORS, BIASES, DETAILS, LINES = "errors", "biases", "details", "lines"


@dataclass(frozen=True)
class Moments:
    """Of one number per object."""

    count: int
    total: float
    squares: float  # of the deviations from the mean, summed
    num_positive: int

    @classmethod
    def of(cls, values: np.ndarray) -> "Moments":
        """Of (O,) numbers, NaN where an object has none."""
        known = values if np.isfinite(values).all() else values[~np.isnan(values)]
        if not len(known):
            return cls(0, 0.0, 0.0, 0)
        squares = ((known - known.mean()) ** 2).sum()
        return cls(len(known), float(known.sum()), float(squares), int((known > 0).sum()))

    @property
    def mean(self) -> float | None:
        return self.total / self.count if self.count else None

    @property
    def sd(self) -> float | None:
        """With one degree of freedom less; None for one object alone."""
        return float(np.sqrt(self.squares / (self.count - 1))) if self.count > 1 else None

    def joined(self, other: "Moments") -> "Moments":
        """Of both (T. F. Chan, G. H. Golub and R. J. LeVeque 1983, equation 2.1)."""
        if not self.count or not other.count:
            return other if not self.count else self
        count = self.count + other.count
        gap = other.total / other.count - self.total / self.count
        between = gap * gap * (self.count * other.count / count)
        return Moments(
            count,
            self.total + other.total,
            self.squares + other.squares + between,
            self.num_positive + other.num_positive,
        )


@dataclass(frozen=True)
class OverObjects:
    """The moments of every column."""

    num_objects: int
    columns: Mapping[ColumnName, Moments]

    def joined(self, other: "OverObjects") -> "OverObjects":
        """Of the objects of both, which have none in common."""
        names = dict.fromkeys([*self.columns, *other.columns])
        nothing = Moments(0, 0.0, 0.0, 0)
        return OverObjects(
            self.num_objects + other.num_objects,
            {
                name: self.columns.get(name, nothing).joined(other.columns.get(name, nothing))
                for name in names
            },
        )
