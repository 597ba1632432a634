"""What the training split held: the ranges that a model's answers can be trusted in.

In: flat arrays before z-scores (`Ranges.add`), later those of a sample that a user asks about. Out:
`Seen`, which is part of a checkpoint's statistics, and in words what of a sample lies outside it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from daep_ray.stream import position_chain
from daep_ray.stream.flat import FlatSequence
from daep_ray.stream.position_chain import Taken

if TYPE_CHECKING:
    from daep_ray.stream.fitted import FittedRecipe

_ROUNDING = 1e-6  # of a range: positions are float32 on disk and z-scored in between


@dataclass(frozen=True)
class Seen:
    """One modality of the training split, after the recipe's selection."""

    positions: tuple[tuple[float, float], ...]  # smallest and largest, after the position chain
    categories: tuple[tuple[int, ...], ...]  # measurements by code
    lengths: tuple[int, int]  # shortest and longest sequence
    values: tuple[float, float] | None = (
        None  # after the value chain; None: of before this was kept
    )

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> Self:
        return cls(
            values=tuple(raw["values"]) if raw.get("values") else None,
            positions=tuple((low, high) for low, high in raw["positions"]),
            categories=tuple(tuple(counts) for counts in raw["categories"]),
            lengths=(raw["lengths"][0], raw["lengths"][1]),
        )


@dataclass
class Ranges:
    """A running `Seen`."""

    low: np.ndarray  # (P,)
    high: np.ndarray  # (P,)
    counts: list[np.ndarray]  # by category, (vocabulary,)
    shortest: int = 2**62
    longest: int = 0
    values: tuple[float, float] = (np.inf, -np.inf)

    @classmethod
    def of(cls, num_positions: int, sizes: list[int]) -> "Ranges":
        """Of nothing yet; `sizes` are those of the categories' vocabularies."""
        low, high = np.full(num_positions, np.inf), np.full(num_positions, -np.inf)
        return cls(low, high, [np.zeros(size, dtype=np.int64) for size in sizes])

    def add(self, flat: FlatSequence) -> None:
        """Take samples in; empty ones do not count."""
        lengths = flat.lengths[flat.lengths > 0]
        if not len(lengths):
            return
        self.low = np.minimum(self.low, flat.position.min(axis=0))
        self.high = np.maximum(self.high, flat.position.max(axis=0))
        low, high = self.values
        self.values = (min(low, float(flat.value.min())), max(high, float(flat.value.max())))
        for place, counts in enumerate(self.counts):
            counts += np.bincount(flat.category[:, place], minlength=len(counts))
        self.shortest = min(self.shortest, int(lengths.min()))
        self.longest = max(self.longest, int(lengths.max()))

    def seen(self) -> Seen | None:
        """None if there was nothing."""
        if self.longest == 0:
            return None
        return Seen(
            positions=tuple(zip(self.low.tolist(), self.high.tolist(), strict=True)),
            categories=tuple(tuple(counts.tolist()) for counts in self.counts),
            lengths=(self.shortest, self.longest),
            values=self.values,
        )


def ranges_in_units(fitted: "FittedRecipe", name: str) -> list[tuple[float, float]]:
    """Smallest and largest by axis in the declared unit.

    Counted from the recipe's reference, and at rest where the recipe divides by 1 + z.
    """
    seen = fitted.statistics[name].seen
    assert seen is not None
    offsets, nothing = np.array([0, 2]), Taken(np.zeros(1), np.ones(1))
    found = []
    for axis, ends in zip(fitted.modalities[name].positions, seen.positions, strict=True):
        steps = fitted.recipe.modalities[name].positions.get(axis.name, ())
        low, high = position_chain.inverse(steps, np.array(ends), nothing, offsets, True).tolist()
        found.append((low, high))
    return found


def remarks(
    fitted: "FittedRecipe", name: str, flat: FlatSequence, has_values: bool = True
) -> dict[int, list[str]]:
    """By sample, in words: what of it no training sample had. `flat` is standardised.

    Empty for a model of before ranges were kept. `has_values` False: the values mean nothing, or
    are not read.
    """
    found: dict[int, list[str]] = {}
    for is_outside, words in _unseen(fitted, name, flat):
        before = np.concatenate([[0], np.cumsum(is_outside)])
        numbers = np.diff(before[flat.offsets])
        for i in np.flatnonzero(numbers):
            told = f"{numbers[i]:,} of {flat.lengths[i]:,} measurements of {name} {words}"
            found.setdefault(int(i), []).append(told)
    for i in np.flatnonzero(_is_far(fitted, name, flat)) if has_values else ():
        told = f"most values of {name} lie outside those of the training: check their unit"
        found.setdefault(int(i), []).append(told)
    return found


def _is_far(fitted: "FittedRecipe", name: str, flat: FlatSequence) -> np.ndarray:
    """(B,) bool: most of a sequence's values are lower or higher than any of the training.

    Most, because the brightest point of a new object may well be brighter than all before.
    """
    seen = fitted.statistics[name].seen
    if seen is None or seen.values is None:
        return np.zeros(len(flat.lengths), bool)
    low, high = seen.values
    value = fitted.chained_value(name, flat)
    margin = _ROUNDING * max(high - low, abs(low), abs(high))
    is_outside = (value < low - margin) | (value > high + margin)
    before = np.concatenate([[0], np.cumsum(is_outside)])
    return 2 * np.diff(before[flat.offsets]) > flat.lengths


def _unseen(
    fitted: "FittedRecipe", name: str, flat: FlatSequence
) -> Iterator[tuple[np.ndarray, str]]:
    """(N,) bool and what is wrong with these measurements."""
    seen, modality = fitted.statistics[name].seen, fitted.modalities[name]
    if seen is None:
        return
    scales = fitted.statistics[name].positions
    units = ranges_in_units(fitted, name)
    for place, axis in enumerate(modality.positions):
        position = flat.position[:, place] * scales[place].sd + scales[place].mean
        low, high = seen.positions[place]
        margin = _ROUNDING * max(high - low, abs(low), abs(high))
        is_outside = (position < low - margin) | (position > high + margin)
        ends = f"{units[place][0]:.6g} to {units[place][1]:.6g} {axis.unit}".rstrip()
        yield is_outside, f"lie outside the {axis.name} of the training, {ends}"
    for place, category in enumerate(modality.categories):
        for code in np.flatnonzero(np.array(seen.categories[place]) == 0):
            word = category.vocabulary[code]
            yield (
                flat.category[:, place] == code,
                f"have the {category.name} {word!r}, which no training sample had",
            )
