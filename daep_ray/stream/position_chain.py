"""Position steps: time from a reference, rest frame, logarithm; and back.

In: flat float64 positions of one axis. Out: transformed positions with the reference and 1 + z
that were taken per sample. A sample without the column (or the fitted peak) that a step needs gets
NaN, and so leaves the plan, counted: a wrong rest frame is worse than none.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, field_validator

from daep_ray.settings import Settings
from daep_ray.stream.flat import reduce_samples, spread
from daep_ray.stream.peak import FittedPeak


class Reference(Settings):
    """Subtract a position per sample: where the brightest value is, the first, or a column.

    Where `column:<metadata>` is missing, `otherwise` takes its place.
    """

    kind: Literal["reference"] = "reference"
    at: str = "peak"
    otherwise: Literal["peak", "first"] = "peak"

    @field_validator("at")
    @classmethod
    def _is_known(cls, at: str) -> str:
        if at in ("peak", "first") or (at.startswith("column:") and at != "column:"):
            return at
        raise ValueError("a reference is 'peak', 'first' or 'column:<metadata name>'")

    @property
    def column(self) -> str | None:
        return self.at.removeprefix("column:") if self.at.startswith("column:") else None


class DivideByOnePlus(Settings):
    """Divide by 1 + a metadata column: observed to rest frame by redshift."""

    kind: Literal["divide_by_one_plus"] = "divide_by_one_plus"
    column: str = "redshift"


class Log(Settings):
    """Natural logarithm; measurements at positions that are not positive are dropped."""

    kind: Literal["log"] = "log"


PositionStep = Annotated[
    Reference | FittedPeak | DivideByOnePlus | Log, Field(discriminator="kind")
]
FindPeaks = Callable[[FittedPeak, np.ndarray], np.ndarray]  # (step, (N,) position) -> (B,) peaks


@dataclass(frozen=True)
class Taken:
    """What one axis' chain took per sample, (B,) each: the inverse needs it."""

    reference: np.ndarray
    one_plus_redshift: np.ndarray


def forward(
    steps: tuple[PositionStep, ...],
    position: np.ndarray,
    value: np.ndarray,
    brightest_is_smallest: bool,
    metadata: dict[str, np.ndarray],
    offsets: np.ndarray,
    find_peaks: FindPeaks | None = None,
) -> tuple[np.ndarray, Taken]:
    """(N,) positions after the chain. `value` is raw: it tells where the peak is."""
    num = len(offsets) - 1
    reference, one_plus_redshift = np.zeros(num), np.ones(num)
    for step in steps:
        if isinstance(step, Reference):
            brightness = -value if brightest_is_smallest else value
            reference = _reference(step, position, brightness, metadata, offsets)
            position = position - spread(reference, offsets)
        elif isinstance(step, FittedPeak):
            assert find_peaks is not None
            reference = find_peaks(step, position)
            position = position - spread(reference, offsets)
        elif isinstance(step, DivideByOnePlus):
            one_plus_redshift = 1.0 + metadata[step.column]
            position = position / spread(one_plus_redshift, offsets)
        else:
            with np.errstate(invalid="ignore", divide="ignore"):
                position = np.log(position)
    return position, Taken(reference, one_plus_redshift)


def inverse(
    steps: tuple[PositionStep, ...],
    position: np.ndarray,
    taken: Taken,
    offsets: np.ndarray,
    keep_reference: bool = False,
) -> np.ndarray:
    """(N,) positions in the declared unit; `keep_reference` leaves them counted from it."""
    for step in reversed(steps):
        if isinstance(step, Log):
            position = np.exp(position)
        elif isinstance(step, DivideByOnePlus):
            position = position * spread(taken.one_plus_redshift, offsets)
        elif not keep_reference:
            position = position + spread(taken.reference, offsets)
    return position


def _reference(
    step: Reference,
    position: np.ndarray,
    brightness: np.ndarray,
    metadata: dict[str, np.ndarray],
    offsets: np.ndarray,
) -> np.ndarray:
    """(B,) the position that a sample's positions are counted from; 0 for an empty sample."""
    at = step.otherwise if step.column else step.at
    if at == "first":
        found = reduce_samples(np.minimum, position, offsets, 0.0)
    else:
        found = _peak(position, brightness, offsets)
    if step.column is None:
        return found
    column = metadata[step.column]
    return np.where(np.isfinite(column), column, found)


def _peak(position: np.ndarray, brightness: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """(B,) position of each sample's largest value, the earliest of equal ones."""
    largest = spread(reduce_samples(np.maximum, brightness, offsets, 0.0), offsets)
    candidates = np.where(brightness == largest, position, np.inf)
    return reduce_samples(np.minimum, candidates, offsets, 0.0)
