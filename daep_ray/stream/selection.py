"""Selection and augmentation steps, and the cut to a largest length.

In: flat arrays. Out: which measurements stay, or which are drawn. Selections are the same every
time; augmentations are redrawn every epoch, keyed by (seed, epoch, sample id, place in the raw
sequence).
"""

from dataclasses import dataclass, replace
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, model_validator

from daep_ray.sample import Modality
from daep_ray.settings import Settings
from daep_ray.stream.flat import FlatSequence, index_within, offsets_of, reduce_samples, spread
from daep_ray.stream.keyed import GOLDEN, element_bits, mix, normal, stream_keys, uniform

MAG_PER_LN = 2.5 / np.log(10.0)  # an error of so many magnitudes is an error of 100 % in flux


class SignalToNoise(Settings):
    """Keep |value| >= minimum x error; a measurement of unknown error cannot pass.

    For magnitudes the flux is meant: an error of at most 1.086 / minimum.
    """

    kind: Literal["signal_to_noise"] = "signal_to_noise"
    minimum: float = Field(3.0, gt=0)

    def passes(self, value: np.ndarray, error: np.ndarray, is_magnitude: bool) -> np.ndarray:
        """(N,) bool."""
        return (MAG_PER_LN if is_magnitude else np.abs(value)) >= self.minimum * error


class Positive(Settings):
    """Keep value > 0."""

    kind: Literal["positive"] = "positive"


class KeepCategory(Settings):
    """Keep measurements whose category is one of the words: bands g and r."""

    kind: Literal["keep_category"] = "keep_category"
    category: str = "band"
    words: tuple[str, ...] = Field(min_length=1)

    def passes(self, flat: FlatSequence, modality: Modality) -> np.ndarray:
        """(N,) bool."""
        place = [c.name for c in modality.categories].index(self.category)
        vocabulary = modality.categories[place].vocabulary
        is_wanted = np.array([word in self.words for word in vocabulary])
        return is_wanted[flat.category[:, place]]


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


Selection = Annotated[SignalToNoise | Positive | KeepCategory | Crop, Field(discriminator="kind")]
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


def is_selected(steps: tuple[Selection, ...], flat: FlatSequence, modality: Modality) -> np.ndarray:
    """(N,) bool: which raw measurements the value selections keep."""
    kept = np.isfinite(flat.value)
    for step in steps:
        if isinstance(step, SignalToNoise):
            assert flat.error is not None
            kept &= step.passes(flat.value, flat.error, modality.value.unit == "mag")
        elif isinstance(step, KeepCategory):
            kept &= step.passes(flat, modality)
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
    if (flat.lengths <= length).all():
        return flat
    return flat.take(*_cut(flat.offsets, length, turn))


def cut_each_category(
    flat: FlatSequence, place: int, length: int, turn: Turn | None
) -> FlatSequence:
    """At most `length` measurements of each word of category `place` (a band) of each sample."""
    code = flat.category[:, place]
    sample = spread(np.arange(flat.num_samples), flat.offsets)
    order = np.lexsort((code, sample))  # stable: in their order within a word
    sample, code = sample[order], code[order]
    is_start = np.ones(len(order), dtype=bool)
    is_start[1:] = (np.diff(sample) != 0) | (np.diff(code) != 0)
    starts = np.flatnonzero(is_start)
    groups = np.append(starts, len(order))
    if (np.diff(groups) <= length).all():
        return flat
    if turn is not None:  # every word of a sample draws its own numbers
        words = code[starts].astype(np.uint64) * GOLDEN
        turn = replace(turn, keys=mix(turn.keys[sample[starts]] + words))
    index, _ = _cut(groups, length, turn)
    lengths = np.bincount(sample[index], minlength=flat.num_samples)
    return flat.take(np.sort(order[index]), lengths)


def _cut(offsets: np.ndarray, length: int, turn: Turn | None) -> tuple[np.ndarray, np.ndarray]:
    """Which measurements stay, and how many of each sequence."""
    lengths = np.diff(offsets)
    long = np.flatnonzero(lengths > length)
    kept = np.minimum(lengths, length)
    inner = offsets_of(kept)
    index = spread(offsets[:-1], inner) + index_within(inner)
    chosen = _even(lengths[long], length) if turn is None else _random(lengths, long, length, turn)
    # (long sequences, length) places in the output, a full rectangle
    out = inner[long][:, None] + np.arange(length)
    index[out] = offsets[long][:, None] + chosen
    return index, kept


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
