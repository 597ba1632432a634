"""Selection and augmentation steps, and the cut to a largest length.

In: flat arrays. Out: which measurements stay, or which are drawn. Selections are the same every
time; augmentations are redrawn every epoch, keyed by (seed, epoch, sample id, place in the raw
sequence).
"""

from dataclasses import dataclass, replace
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, model_validator

from daep_ray.settings import Settings
from daep_ray.stream.flat import FlatSequence, index_within, offsets_of, reduce_samples, spread
from daep_ray.stream.keyed import element_bits, normal, stream_keys, uniform


class SignalToNoise(Settings):
    """Keep |value| >= minimum x error; a measurement of unknown error cannot pass."""

    kind: Literal["signal_to_noise"] = "signal_to_noise"
    minimum: float = Field(3.0, gt=0)


class Positive(Settings):
    """Keep value > 0."""

    kind: Literal["positive"] = "positive"


class Crop(Settings):
    """Keep low <= position <= high, in the position chain's result (days from the reference)."""

    kind: Literal["crop"] = "crop"
    position: str
    low: float | None = None
    high: float | None = None

    @model_validator(mode="after")
    def _is_a_range(self) -> "Crop":
        if self.low is not None and self.high is not None and not self.low < self.high:
            raise ValueError(f"crop needs low < high, got {self.low} and {self.high}")
        return self


class NoiseFromErrors(Settings):
    """Add normal noise of scale x error to the raw value; the error grows accordingly."""

    kind: Literal["noise_from_errors"] = "noise_from_errors"
    scale: float = Field(1.0, gt=0)


class Jitter(Settings):
    """Add normal noise to standardised values and positions."""

    kind: Literal["jitter"] = "jitter"
    value: float = Field(0.01, ge=0)
    position: float = Field(0.001, ge=0)


class RandomRemoval(Settings):
    """Leave out each measurement with this probability; one always stays."""

    kind: Literal["random_removal"] = "random_removal"
    fraction: float = Field(0.1, gt=0, lt=1)


Selection = Annotated[SignalToNoise | Positive | Crop, Field(discriminator="kind")]
Augmentation = Annotated[NoiseFromErrors | Jitter | RandomRemoval, Field(discriminator="kind")]


@dataclass(frozen=True)
class Turn:
    """One epoch's random numbers for B samples."""

    keys: np.ndarray  # (B,) uint64 of the sample ids
    seed: int
    epoch: int

    def bits(self, name: str, flat: FlatSequence, lane: int = 0) -> np.ndarray:
        keys = stream_keys(self.keys, self.seed, self.epoch, name)
        return element_bits(spread(keys, flat.offsets), flat.raw_index, lane)

    def normal(self, name: str, flat: FlatSequence) -> np.ndarray:
        """(N,) standard normal."""
        return normal(self.bits(name, flat, 0), self.bits(name, flat, 1))


def is_selected(steps: tuple[Selection, ...], flat: FlatSequence) -> np.ndarray:
    """(N,) bool: which raw measurements the value selections keep."""
    kept = np.isfinite(flat.value)
    for step in steps:
        if isinstance(step, SignalToNoise):
            assert flat.error is not None
            kept &= np.abs(flat.value) >= step.minimum * flat.error
        elif isinstance(step, Positive):
            kept &= flat.value > 0
    return kept


def is_inside(steps: tuple[Selection, ...], names: list[str], position: np.ndarray) -> np.ndarray:
    """(N,) bool: finite positions (N, P) within all crops."""
    kept = np.isfinite(position).all(axis=1)
    for step in steps:
        if isinstance(step, Crop):
            here = position[:, names.index(step.position)]
            kept &= True if step.low is None else here >= step.low
            kept &= True if step.high is None else here <= step.high
    return kept


def with_noise(
    step: NoiseFromErrors, flat: FlatSequence, turn: Turn, must_be_positive: bool
) -> FlatSequence:
    """Noise added to raw values; a measurement of unknown error stays as it is.

    Before a logarithm a value that noise would make negative stays as it is too: otherwise faint
    sequences would lose measurements, and perhaps all, at random.
    """
    assert flat.error is not None
    name = f"noise/{step.scale}"
    error = np.nan_to_num(flat.error, nan=0.0)
    value = flat.value + step.scale * error * turn.normal(name, flat)
    if must_be_positive:
        value = np.where((value > 0) | (flat.value <= 0), value, flat.value)
    return replace(flat, value=value, error=flat.error * np.hypot(1.0, step.scale))


def with_jitter(step: Jitter, flat: FlatSequence, turn: Turn) -> FlatSequence:
    """Noise added to standardised values and positions."""
    value = flat.value + step.value * turn.normal("jitter", flat)
    shifts = [turn.normal(f"jitter/{p}", flat) for p in range(flat.position.shape[1])]
    position = flat.position + step.position * np.stack(shifts, axis=1) if shifts else flat.position
    return replace(flat, value=value, position=position)


def with_removal(step: RandomRemoval, flat: FlatSequence, turn: Turn) -> FlatSequence:
    """A random subset; the luckiest measurement of each sample always stays."""
    luck = uniform(turn.bits("removal", flat))
    luckiest = spread(reduce_samples(np.maximum, luck, flat.offsets, 0.0), flat.offsets)
    return flat.where((luck >= step.fraction) | (luck == luckiest))


def cut_to_length(flat: FlatSequence, length: int, turn: Turn | None) -> FlatSequence:
    """At most `length` measurements of each sample, in their order.

    Evenly spread without a `turn`; with one, a random measurement of each of `length` equal
    stretches, the stretches turned by a random amount, so that each has the same chance.
    """
    lengths = flat.lengths
    long = np.flatnonzero(lengths > length)
    if not len(long):
        return flat
    kept = np.minimum(lengths, length)
    offsets = offsets_of(kept)
    index = spread(flat.offsets[:-1], offsets) + index_within(offsets)
    chosen = _even(lengths[long], length) if turn is None else _random(lengths, long, length, turn)
    # (long samples, length) places in the output, a full rectangle
    out = offsets[long][:, None] + np.arange(length)
    index[out] = flat.offsets[long][:, None] + chosen
    return flat.take(index, kept)


def _even(lengths: np.ndarray, length: int) -> np.ndarray:
    """(rows, length) the middles of `length` equal stretches."""
    return (2 * np.arange(length) + 1) * lengths[:, None] // (2 * length)


def _random(lengths: np.ndarray, long: np.ndarray, length: int, turn: Turn) -> np.ndarray:
    """(rows, length) one random place of each stretch, all turned by a random amount, sorted."""
    keys = stream_keys(turn.keys[long], turn.seed, turn.epoch, "cut")[:, None]
    num = lengths[long][:, None]
    places = np.arange(length + 1)
    luck = uniform(element_bits(keys, places[None, :]))  # the last one turns the whole
    borders = places * num // length
    inside = borders[:, :-1] + (luck[:, :-1] * np.diff(borders, axis=1)).astype(np.int64)
    chosen = (inside + (luck[:, -1:] * num).astype(np.int64)) % num
    chosen.sort(axis=1)
    return chosen
