"""Rows of whole objects -> one light curve per object, vectorised over the rows.

In: an Arrow table whose rows are grouped by object, and where each object begins. Out: per object
its measurements in order of time, or the reason why it has none. A row without a value, an error
above zero, or a time is no measurement and is left out; text where a number must stand and a word
that the mapping does not know are faults of the object.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from daep_ray.sample import Sequence
from daep_ray.surveys.table_columns import hours, measured, numbers, places, texts
from daep_ray.surveys.table_mapping import Flux, Mapping, Number

_LN10_PER_MAGNITUDE = 0.4 * np.log(10)
_LEFT_OUT, _UNKNOWN_WORD = -2, -1  # instead of a code


@dataclass
class _Rows:
    """The columns of one batch, (N,) each; `faults` by place of the object among the batch's."""

    value: np.ndarray  # NaN where not measured
    error: np.ndarray | None
    time: np.ndarray
    code: np.ndarray  # int16, or below zero
    statics: dict[str, np.ndarray]  # by label: (num_objects,) float64, NaN where not given
    faults: dict[int, str]


@dataclass(frozen=True)
class ObjectRows:
    """One object of a batch: its sequence without metadata, or `reason`."""

    first_row: int
    sequence: Sequence | None
    reason: str = ""
    statics: dict[str, float | None] = field(default_factory=dict)


def objects_in(table: pa.Table, starts: np.ndarray, mapping: Mapping) -> Iterator[ObjectRows]:
    """The objects of a table; object k has the rows `starts[k]` to `starts[k + 1]`."""
    num_objects = len(starts) - 1
    owner = np.repeat(np.arange(num_objects), np.diff(starts))
    rows = _read(table, owner, num_objects, mapping)
    is_measured = np.isfinite(rows.value) & np.isfinite(rows.time) & (rows.code >= 0)
    if rows.error is not None:
        is_measured &= np.isfinite(rows.error) & (rows.error > 0)
    kept = np.flatnonzero(is_measured)
    kept = kept[np.lexsort((rows.time[kept], owner[kept]))]  # stable: equal times stay as they are
    bounds = np.searchsorted(owner[kept], np.arange(num_objects + 1))
    for k in range(num_objects):
        one = kept[bounds[k] : bounds[k + 1]]
        statics = {n: _known(column[k]) for n, column in rows.statics.items()}
        reason = rows.faults.get(k, "" if len(one) else _nothing(mapping))
        sequence = None if reason else _sequence(rows, one, mapping)
        yield ObjectRows(int(starts[k]), sequence, reason, statics)


def _known(number: float) -> float | None:
    return float(number) if np.isfinite(number) else None


def _nothing(mapping: Mapping) -> str:
    error = ", an error above zero" if mapping.error is not None else ""
    return f"no valid measurement: no row has a {mapping.value.name}{error} and a time"


def _sequence(rows: _Rows, kept: np.ndarray, mapping: Mapping) -> Sequence:
    category = mapping.category
    return Sequence(
        value=rows.value[kept],
        positions={"time": rows.time[kept]},
        error=None if rows.error is None else rows.error[kept],
        categories={category.name: rows.code[kept].astype(np.int16)} if category else {},
    )


def _read(table: pa.Table, owner: np.ndarray, num_objects: int, mapping: Mapping) -> _Rows:
    faults: dict[int, str] = {}
    time = _number(table, mapping.time, owner, faults, mapping.time.format == "hh:mm")
    value = _number(table, mapping.value, owner, faults)
    error = None if mapping.error is None else _number(table, mapping.error, owner, faults)
    code, statics = np.zeros(table.num_rows, np.int64), {}
    if mapping.category is not None and mapping.category.constant:
        code[:] = 1
    elif mapping.category is not None:
        place = places(table[mapping.category.column], _words(mapping))
        statics = _statics(mapping, place, time, table, owner, num_objects)
        code = _codes(mapping, place, time)
        _unknown_words(table, code == _UNKNOWN_WORD, mapping, owner, faults)
    if mapping.value.to_flux is not None and error is not None:
        value, error = _fluxes(table, value, error, mapping.value.to_flux, owner, faults)
    return _Rows(value, error, time, code, statics, faults)


def _number(
    table: pa.Table,
    number: Number,
    owner: np.ndarray,
    faults: dict[int, str],
    is_hours: bool = False,
) -> np.ndarray:
    """(N,) the first of the columns that is measured, NaN where none is."""
    result = np.full(table.num_rows, np.nan)
    for name in number.column:
        entries = hours(table[name]) if is_hours else numbers(table[name])
        if entries.is_fault is not None:
            wanted = "a time hh:mm" if is_hours else "a number"
            _blame(table, name, entries.is_fault, f"is not {wanted}", owner, faults)
        is_open = np.isnan(result)
        result[is_open] = measured(entries, number)[is_open]
    return result


def _blame(
    table: pa.Table,
    column: str,
    is_fault: np.ndarray,
    what: str,
    owner: np.ndarray,
    faults: dict[int, str],
) -> None:
    """One reason per object that holds a fault, the first that is found."""
    rows = np.flatnonzero(is_fault)
    owners, first = np.unique(owner[rows], return_index=True)
    shown = texts(table[column].take(rows[first]))
    for k, entry in zip(owners.tolist(), shown.to_pylist(), strict=True):
        faults.setdefault(k, f"{column} {str(entry)[:40]!r} {what}")


# ---------------------------------------------------------------- categories


def _words(mapping: Mapping) -> tuple[str, ...]:
    """All words that the category's column may hold."""
    assert mapping.category is not None
    static = mapping.static
    extra = (*static.labels, *static.left_out) if static else ()
    return tuple(dict.fromkeys([*mapping.category.words, *extra]))


def _codes(mapping: Mapping, place: np.ndarray, time: np.ndarray) -> np.ndarray:
    """(N,) int64 codes, below zero for what is no measurement."""
    category, static, words = mapping.category, mapping.static, _words(mapping)
    assert category is not None
    vocabulary = category.vocabulary
    code_of = np.full(len(words) + 1, _UNKNOWN_WORD)  # the last entry serves place -1
    for i, word in enumerate(words):
        if word in category.words:
            ours = category.words[word]
            code_of[i] = _LEFT_OUT if ours is None else vocabulary.index(ours)
    codes = code_of[place]
    if static is not None:
        apart = {*static.labels, *static.left_out} - set(static.is_measured_too)
        is_apart = np.array([word in apart for word in words] + [False])
        codes[is_apart[place] & (time == static.time)] = _LEFT_OUT
    return codes


def _unknown_words(
    table: pa.Table,
    is_unknown: np.ndarray,
    mapping: Mapping,
    owner: np.ndarray,
    faults: dict[int, str],
) -> None:
    category = mapping.category
    if category is not None and is_unknown.any():
        known = ", ".join(list(category.words)[:12]) + (" ..." if len(category.words) > 12 else "")
        what = f"is no {category.name} of the mapping ({known})"
        _blame(table, category.column, is_unknown, what, owner, faults)


def _statics(
    mapping: Mapping,
    place: np.ndarray,
    time: np.ndarray,
    table: pa.Table,
    owner: np.ndarray,
    num_objects: int,
) -> dict[str, np.ndarray]:
    """By label: (num_objects,) float64, the first value that rows at the static time give."""
    static = mapping.static
    if static is None:
        return {}
    number = Number(column=mapping.value.column, missing=static.missing)
    value = measured(numbers(table[number.column[0]]), number)
    words = _words(mapping)
    is_given = (time == static.time) & np.isfinite(value)
    result = {}
    for word, label in static.labels.items():
        rows = np.flatnonzero(is_given & (place == words.index(word)))[::-1]  # the first one wins
        result[label] = np.full(num_objects, np.nan)
        result[label][owner[rows]] = value[rows]
    return result


# ---------------------------------------------------------------- magnitudes


def _fluxes(
    table: pa.Table,
    magnitude: np.ndarray,
    error: np.ndarray,
    to_flux: Flux,
    owner: np.ndarray,
    faults: dict[int, str],
) -> tuple[np.ndarray, np.ndarray]:
    """Fluxes and their errors; a sign of zero, or none, is no measurement."""
    with np.errstate(over="ignore"):
        flux = 10 ** (0.4 * (to_flux.zero_point - magnitude))
        flux_error = flux * _LN10_PER_MAGNITUDE * error
    if to_flux.sign:
        sign = np.sign(_number(table, Number(column=(to_flux.sign,)), owner, faults))
        flux = np.where(sign == 0, np.nan, sign * flux)
    return flux, flux_error
