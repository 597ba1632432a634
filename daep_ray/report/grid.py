"""One table, three outlets: the page, its Markdown twin, its CSV twin print the same entries.

A column's numbers have the same decimals (three significant digits of its middle value, fewer
where that lies within its own interval of zero); the CSV has every digit. What is missing says why.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from daep_ray.report.numbers import (
    DIGITS,
    decimals,
    fixed,
    is_number,
    percent,
    power_of,
    size,
    ten_to,
)
from daep_ray.study.statistics import Difference, Interval

DOES_NOT_APPLY = "\u2014"  # a reference has no draws: nothing is missing
NOT_MEASURED = "not measured, or not finite"  # of what is done


@dataclass(frozen=True)
class Entry:
    """What one cell of a table says; `raw` is the number behind it."""

    text: str
    raw: float | str | None = None
    spread: str = ""  # "± 0.006", or "−0.031 to −0.015"
    low: float | None = None
    high: float | None = None
    is_best: bool = False
    is_missing: bool = False

    @property
    def plain(self) -> str:
        return f"{self.text} {self.spread}".strip()


@dataclass(frozen=True)
class Column:
    """`kind`: text, number, state, code (monospaced), command (copied by a click)."""

    key: str
    title: str
    entries: tuple[Entry, ...]
    unit: str = ""
    kind: str = "text"

    @property
    def head(self) -> str:
        return f"{self.title} ({self.unit})" if self.unit else self.title

    @property
    def room(self) -> int:
        """Characters that the longest spread takes: kept free in every row, so points align."""
        return max((len(e.spread) for e in self.entries), default=0)


@dataclass(frozen=True)
class Grid:
    """A table with a name (of its CSV) and a caption."""

    name: str
    caption: str
    columns: tuple[Column, ...]
    notes: tuple[str, ...] = ()

    @property
    def rows(self) -> list[tuple[Entry, ...]]:
        return list(zip(*(c.entries for c in self.columns), strict=True))


def missing(reason: str) -> Entry:
    return Entry(f"missing: {reason}", None, is_missing=True)


def text_column(key: str, title: str, words: Sequence[str], kind: str = "text") -> Column:
    return Column(key, title, tuple(Entry(w, w) for w in words), kind=kind)


def number_column(
    key: str,
    title: str,
    values: Sequence[Interval | float | str],
    unit: str = "",
    best: Sequence[bool] = (),
    num_decimals: int | None = None,
    digits: int = DIGITS,
) -> Column:
    """Numbers with common decimals; an Interval shows its half width, a string is why one lacks.

    With a unit, huge and tiny ones leave a power of ten to it: 304 (10\u00b9\u2075 FLUXCAL).
    """
    ranged = [(_middle(v), _half_width(v)) for v in values]
    sizes = sorted(max(abs(m), h) for m, h in ranged if is_number(m) and max(abs(m), h) > 0)
    is_free = bool(sizes and unit) and num_decimals is None
    power = power_of(sizes[len(sizes) // 2], least=1e-4) if is_free else 0
    shown = [size(m / 10.0**power, h / 10.0**power, digits) for m, h in ranged if is_number(m)]
    places = decimals(shown, digits) if num_decimals is None else num_decimals
    bold = best or [False] * len(values)
    entries = tuple(_entry(v, places, b, power) for v, b in zip(values, bold, strict=True))
    return Column(key, title, entries, f"{ten_to(power)} {unit}" if power else unit, "number")


def _middle(value: Interval | float | str) -> float:
    """NaN of words."""
    if isinstance(value, str):
        return math.nan
    return value.mean if isinstance(value, Interval) else value


def _half_width(value: Interval | float | str) -> float:
    """0 of what has no interval."""
    return value.half_width if isinstance(value, Interval) and value.count > 1 else 0.0


def _entry(value: Interval | float | str, digits: int, is_best: bool, power: int) -> Entry:
    if value == DOES_NOT_APPLY:
        return Entry(DOES_NOT_APPLY)
    if isinstance(value, str):
        return missing(value)
    mean = value.mean if isinstance(value, Interval) else value
    text = fixed(mean / 10.0**power, digits)
    if not isinstance(value, Interval) or value.count < 2:
        return Entry(text, mean, is_best=is_best)
    half = fixed(value.half_width / 10.0**power, digits)
    return Entry(text, mean, f"± {half}", value.low, value.high, is_best)


def range_decimals(found: Iterable[Difference]) -> int:
    """The decimals that a column of differences shares."""
    return decimals([size(d.mean, (d.high - d.low) / 2) for d in found])


def range_entry(mean: float, low: float, high: float, digits: int, is_best: bool) -> Entry:
    """A difference with its interval: `−0.0231`, `−0.0310 to −0.0150`."""
    if math.isnan(mean):
        return missing("no object in common")
    text, ends = fixed(mean, digits, sign=True), [fixed(v, digits, sign=True) for v in (low, high)]
    return Entry(text, mean, " to ".join(ends), low, high, is_best)


def percent_entry(fraction: float, sign: bool = False) -> Entry:
    return Entry(percent(fraction, sign), fraction)
