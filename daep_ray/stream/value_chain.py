"""Value steps: what turns a raw value into one that a network learns well, and back.

In: flat float64 values with offsets. Out: transformed values, errors through the chain's local
derivative, the log scale per sample. Every step inverts but `median_filter`, which loses detail on
purpose.
"""

from typing import Annotated, Literal

import numpy as np
from pydantic import Field, field_validator

from daep_ray.settings import Settings
from daep_ray.stream.flat import index_within, offsets_of, reduce_samples, spread

LN10 = float(np.log(10.0))


class Arcsinh(Settings):
    """asinh(value / scale): linear within the scale (the noise), logarithmic above it."""

    kind: Literal["arcsinh"] = "arcsinh"
    scale: float = Field(1.0, gt=0)

    def forward(self, value: np.ndarray) -> np.ndarray:
        return np.arcsinh(value / self.scale)

    def inverse(self, value: np.ndarray) -> np.ndarray:
        return np.sinh(value) * self.scale

    def slope(self, value: np.ndarray) -> np.ndarray:
        return 1.0 / np.sqrt(value * value + self.scale**2)


class Log10(Settings):
    """Decimal logarithm; measurements that are not positive are dropped."""

    kind: Literal["log10"] = "log10"

    def forward(self, value: np.ndarray) -> np.ndarray:
        return np.log10(value)

    def inverse(self, value: np.ndarray) -> np.ndarray:
        return 10.0**value

    def slope(self, value: np.ndarray) -> np.ndarray:
        return 1.0 / (value * LN10)


class Magnitude(Settings):
    """zero_point - 2.5 log10(value); measurements that are not positive are dropped."""

    kind: Literal["magnitude"] = "magnitude"
    zero_point: float = 27.5

    def forward(self, value: np.ndarray) -> np.ndarray:
        return self.zero_point - 2.5 * np.log10(value)

    def inverse(self, value: np.ndarray) -> np.ndarray:
        return 10.0 ** (0.4 * (self.zero_point - value))

    def slope(self, value: np.ndarray) -> np.ndarray:
        return 2.5 / (value * LN10)


class MedianFilter(Settings):
    """Median of `width` neighbours along the first position; the ends repeat their last value."""

    kind: Literal["median_filter"] = "median_filter"
    width: int = Field(3, ge=1)

    @field_validator("width")
    @classmethod
    def _is_odd(cls, width: int) -> int:
        if width % 2 == 0:
            raise ValueError("a median filter's width must be odd: 3, 5, 7")
        return width


class ScaleByMedian(Settings):
    """Divide each sequence by the median of its absolute values; the log scale is kept."""

    kind: Literal["scale_by_median"] = "scale_by_median"


Elementwise = Arcsinh | Log10 | Magnitude
ValueStep = Annotated[
    Arcsinh | Log10 | Magnitude | MedianFilter | ScaleByMedian, Field(discriminator="kind")
]


def needs_positive(steps: tuple[ValueStep, ...]) -> bool:
    """Whether a step takes a logarithm of the value."""
    return any(isinstance(step, Log10 | Magnitude) for step in steps)


def forward(
    steps: tuple[ValueStep, ...],
    value: np.ndarray,
    error: np.ndarray | None,
    first_position: np.ndarray,
    offsets: np.ndarray,
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
    """Values (N,), errors (N,) and the decimal log scale (B,) after the chain.

    What a step cannot take (the logarithm of a negative value) becomes NaN.
    """
    log_scale = np.zeros(len(offsets) - 1)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        for step in steps:
            if isinstance(step, ScaleByMedian):
                log_scale = np.log10(_scales(value, offsets))
                factor = spread(10.0**-log_scale, offsets)
                value = value * factor
                error = None if error is None else error * factor
            elif isinstance(step, MedianFilter):
                value = median_filter(value, first_position, offsets, step.width)
            else:
                error = None if error is None else error * step.slope(value)
                value = step.forward(value)
    return value, error, log_scale


def inverse(
    steps: tuple[ValueStep, ...], value: np.ndarray, log_scale: np.ndarray, offsets: np.ndarray
) -> np.ndarray:
    """Physical values from (..., N) transformed ones; a median filter is left as it is."""
    for step in reversed(steps):
        if isinstance(step, ScaleByMedian):
            value = value / spread(10.0**-log_scale, offsets)
        elif not isinstance(step, MedianFilter):
            value = step.inverse(value)
    return value


def _scales(value: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """(B,) median of the absolute values, 1 where that is 0 or the sample is empty.

    float64: a flux of 1e-17 erg/s/cm2/A squared underflows float32.
    """
    scale = sample_medians(np.abs(value), offsets)
    # more than half exact zeros: the largest value still says how bright the sequence is
    largest = reduce_samples(np.maximum, np.abs(value), offsets, 0.0)
    scale = np.where(scale > 0, scale, largest)
    return np.where((scale > 0) & np.isfinite(scale), scale, 1.0)


def sample_medians(value: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """(B,) median of each sample's values; NaN for an empty sample."""
    lengths = np.diff(offsets)
    medians = np.full(len(lengths), np.nan)
    order = np.argsort(lengths, kind="stable")
    order = order[lengths[order] > 0]
    # samples of similar length side by side, so that a padded block is nearly full
    for rows in np.array_split(order, max(1, len(order) // 256)):
        if not len(rows):
            continue
        block = _padded(value, offsets, rows)
        block.sort(axis=1)
        low, high = (lengths[rows] - 1) // 2, lengths[rows] // 2
        line = np.arange(len(rows))
        medians[rows] = 0.5 * (block[line, low] + block[line, high])
    return medians


def _padded(value: np.ndarray, offsets: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """(rows, longest) the samples' values, filled up with infinity."""
    lengths = np.diff(offsets)[rows]
    inner = offsets_of(lengths)
    place = index_within(inner)
    block = np.full((len(rows), int(lengths.max())), np.inf)
    block[spread(np.arange(len(rows)), inner), place] = value[spread(offsets[rows], inner) + place]
    return block


def median_filter(
    value: np.ndarray, position: np.ndarray, offsets: np.ndarray, width: int
) -> np.ndarray:
    """(N,) running median in the order of `position`, never across the border of two samples."""
    order = _sorted_within(position, offsets)
    ordered = value if order is None else value[order]
    first = spread(offsets[:-1], offsets)
    last = spread(offsets[1:], offsets) - 1
    reach = width // 2
    here = np.arange(len(value))
    windows = np.empty((len(value), width))
    for shift in range(-reach, reach + 1):
        windows[:, shift + reach] = ordered[np.clip(here + shift, first, last)]
    windows.sort(axis=1)
    if order is None:
        return windows[:, reach].copy()
    filtered = np.empty(len(value))
    filtered[order] = windows[:, reach]
    return filtered


def _sorted_within(position: np.ndarray, offsets: np.ndarray) -> np.ndarray | None:
    """The order that sorts each sample by position; None if all are sorted, as spectra are."""
    rises = np.diff(position) >= 0
    borders = offsets[1:-1]
    rises[borders[(borders > 0) & (borders < len(position))] - 1] = True
    if rises.all():
        return None
    sample = spread(np.arange(len(offsets) - 1), offsets)
    return np.lexsort((position, sample))
