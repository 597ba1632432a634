"""The forms in which a user has samples: `Sample`, plain dicts of arrays, Arrow or astropy tables.

In: any of them. Out: `Given`, shard rows in the given order and how many measurements were not
finite. An answer goes back in the same form (`pretrained.py`).

    dict     {"photometry": {"value": [...], "time": [...], "band": ["g", ...], "error": [...]}},
             with "sample_id" and "object_id" beside, or without
    astropy  a Table of measurements with the columns of the modality (`value`, or the value's own
             name; `sample_id` where there are several samples); {"photometry": Table, ...} where
             the model has several modalities. Units of columns are converted to the declared ones.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from daep_ray.errors import DataError
from daep_ray.evaluate.arrow_tables import checked
from daep_ray.sample import Axis, Category, Modality, Sample, Sequence
from daep_ray.shards.flat import column_types
from daep_ray.shards.schema import table_from_samples
from daep_ray.stream.fitted import FittedRecipe

Modalities = Mapping[str, Modality]


@dataclass(frozen=True)
class Given:
    """What a user gave, as shard rows."""

    kind: str  # "samples", "dicts", "dict", "arrow", "astropy"
    table: pa.Table
    num_dropped: np.ndarray  # (S,) measurements that are not finite and were left out
    is_one: bool = False  # one dict or a Table without sample ids, not a list


def given(samples: Any, fitted: FittedRecipe, names: tuple[str, ...]) -> Given:
    """Any form as rows of the modalities `names`.

    Raises:
        DataError: a form that is none of these, or a sample that the model cannot read.
    """
    modalities = {m: fitted.modalities[m] for m in names}
    if isinstance(samples, pa.Table):
        needed = [n for n in fitted.columns(modalities) if n != "object_id"]
        table = checked(samples, modalities, needed)
        return Given("arrow", table, np.zeros(table.num_rows, np.int64))
    if _is_astropy(samples):
        found, is_one = list(_from_astropy(samples, modalities)), _is_one(samples)
        return _rows("astropy", found, modalities, is_one)
    if isinstance(samples, Mapping):
        return _rows("dict", [_from_dict(samples, 0, modalities)], modalities, True)
    if not isinstance(samples, list | tuple):
        raise DataError(
            f"samples is a {type(samples).__name__}: give a list of Sample or of dicts, an Arrow "
            "or an astropy table"
        )
    kind = Mapping if samples and isinstance(samples[0], Mapping) else Sample
    for i, one in enumerate(samples):
        if not isinstance(one, kind):
            raise DataError(
                f"entry {i} of samples is a {type(one).__name__}: give Sample alone, or dicts alone"
            )
    if kind is Mapping:
        dicts = [_from_dict(s, i, modalities) for i, s in enumerate(samples)]
        return _rows("dicts", dicts, modalities)
    return _rows("samples", list(samples), modalities)


def _rows(kind: str, samples: list[Sample], modalities: Modalities, is_one: bool = False) -> Given:
    readable = [_readable(s, modalities) for s in samples]
    table = table_from_samples(readable, tuple(modalities.values()), labels={})
    dropped = [sum(_num_bad(q) for q in s.sequences.values()) for s in readable]
    return Given(kind, table, np.array(dropped, np.int64), is_one)


def _num_bad(sequence: Sequence) -> int:
    good = np.isfinite(np.asarray(sequence.value, np.float64))
    for position in sequence.positions.values():
        good &= np.isfinite(np.asarray(position, np.float64))
    return int((~good).sum())


def _readable(sample: Sample, modalities: Modalities) -> Sample:
    """Without what the model does not read, words of categories as codes."""
    sequences = {
        m: _with_codes(sample, declared, sample.sequences[m])
        for m, declared in modalities.items()
        if m in sample.sequences and len(sample.sequences[m])
    }
    if not sequences:
        has = ", ".join(m for m, s in sample.sequences.items() if len(s)) or "no measurement"
        raise DataError(
            f"sample {sample.sample_id!r} has {has}, but this model reads "
            f"{' or '.join(modalities)}: leave it out"
        )
    return replace(sample, sequences=sequences, labels={})


def _with_codes(sample: Sample, modality: Modality, sequence: Sequence) -> Sequence:
    """Categories as codes of the model's vocabulary, whether given as words or as codes."""
    categories = dict(sequence.categories)
    for category in modality.categories:
        if category.name in categories:
            array = np.asarray(categories[category.name])
            categories[category.name] = _codes(sample, category, array)
    return replace(sequence, categories=categories)


def _codes(sample: Sample, category: Category, array: np.ndarray) -> np.ndarray:
    where = f"sample {sample.sample_id!r} has the {category.name}"
    advice = "leave those measurements out, or call them 'unknown'"
    num_words = len(category.vocabulary)
    if array.dtype.kind in "UO":
        code_of = {word: code for code, word in enumerate(category.vocabulary)}
        for word in array:
            if str(word) not in code_of:
                known = ", ".join(category.vocabulary[1:])
                raise DataError(f"{where} {str(word)!r}, but this model knows {known}: {advice}")
        return np.array([code_of[str(word)] for word in array], np.int16)
    if array.dtype.kind in "iu":
        for code in array[(array < 0) | (array >= num_words)]:
            raise DataError(
                f"{where} code {code}, but this model knows 0 to {num_words - 1}: {advice}"
            )
    return array


def _from_dict(raw: Mapping[str, Any], number: int, modalities: Modalities) -> Sample:
    """A plain dict as a sample."""
    name = str(raw.get("sample_id", number))
    unknown = [k for k in raw if k not in modalities and k not in ("sample_id", "object_id")]
    if unknown:
        raise DataError(
            f"sample {name!r} has {unknown[0]!r}, but this model reads {' or '.join(modalities)}: "
            "write {'" + next(iter(modalities)) + "': {'value': [...], ...}}"
        )
    sequences = {
        m: _sequence(name, modalities[m], raw[m]) for m in modalities if raw.get(m) is not None
    }
    return Sample(name, str(raw.get("object_id", name)), sequences)


def _sequence(sample: str, modality: Modality, raw: Mapping[str, Any]) -> Sequence:
    """Arrays by name as a sequence; a name that the modality does not have is refused."""
    per_point = [*column_types(modality), "error"]
    known = [*per_point, *(entry.name for entry in modality.metadata)]
    if not isinstance(raw, Mapping):
        raise DataError(
            f"sample {sample!r} has a {type(raw).__name__} as {modality.name}: write "
            "{'value': [...], ...}"
        )
    for name in raw:
        if name not in known:
            raise DataError(
                f"sample {sample!r} has {name!r} in {modality.name}, which is none of "
                f"{', '.join(dict.fromkeys(known))}"
            )
    for name in ("value", *(a.name for a in modality.positions)):
        if name not in raw:
            raise DataError(f"sample {sample!r} has no {name!r} in {modality.name}: give it")
    error = raw.get("error")
    return Sequence(
        value=_array(sample, "value", raw["value"], modality.value),
        positions={a.name: _array(sample, a.name, raw[a.name], a) for a in modality.positions},
        error=None if error is None else _array(sample, "error", error, modality.value),
        categories={c.name: np.asarray(raw[c.name]) for c in modality.categories if c.name in raw},
        metadata={
            e.name: _plain(sample, e, raw[e.name]) for e in modality.metadata if e.name in raw
        },
        extras={
            a.name: _array(sample, a.name, raw[a.name], a) for a in modality.extras if a.name in raw
        },
    )


def _array(sample: str, name: str, given: Any, axis: Axis) -> np.ndarray:
    """Numbers in the axis' unit: an astropy quantity is converted."""
    if has_unit(given):
        given = in_unit(given, axis, f"sample {sample!r}: {name}")
    try:
        return np.atleast_1d(np.ma.filled(np.ma.asarray(given, np.float64), np.nan))
    except (TypeError, ValueError):
        raise DataError(f"sample {sample!r} has a {name} that is no list of numbers") from None


def _plain(sample: str, entry: Axis | Category, value: Any) -> Any:
    if isinstance(entry, Axis) and has_unit(value):
        value = in_unit(value, entry, f"sample {sample!r}: {entry.name}")[()]
    return value.item() if isinstance(value, np.generic) else value


# ---- astropy


def has_unit(given: Any) -> bool:
    """Whether it is an astropy quantity, or a column with a unit."""
    return getattr(given, "unit", None) is not None


def without_units(modality: Modality, at: Any) -> Any:
    """Places (`stream/query.py`) with quantities as numbers in the declared units.

    Raises:
        DataError: a unit that cannot be converted.
    """
    if not isinstance(at, Mapping):
        return [without_units(modality, a) for a in at] if isinstance(at, list | tuple) else at
    axes = {a.name: a for a in (*modality.positions, *modality.continuous_metadata)}
    what = f"`at` for {modality.name}: "
    return {
        name: in_unit(given, axes[name], what + name) if has_unit(given) and name in axes else given
        for name, given in at.items()
    }


def _is_astropy(samples: Any) -> bool:
    if isinstance(samples, Mapping) and not hasattr(samples, "colnames"):
        return bool(samples) and all(hasattr(t, "colnames") for t in samples.values())
    return hasattr(samples, "colnames")


def _is_one(samples: Any) -> bool:
    tables = samples.values() if isinstance(samples, Mapping) else [samples]
    return all("sample_id" not in t.colnames for t in tables)


def _from_astropy(samples: Any, modalities: Modalities) -> Iterator[Sample]:
    """Tables of measurements as samples, in the order in which their ids first appear."""
    if not isinstance(samples, Mapping):
        if len(modalities) != 1:
            raise DataError(
                f"this model reads {' and '.join(modalities)}: give a table for each, "
                "{'" + next(iter(modalities)) + "': Table, ...}"
            )
        samples = {next(iter(modalities)): samples}
    found: dict[str, dict[str, Sequence]] = {}
    for name, table in samples.items():
        if name not in modalities:
            raise DataError(f"this model has no modality {name!r}: {', '.join(modalities)}")
        ids = np.asarray(table["sample_id"], str) if "sample_id" in table.colnames else None
        rows = {"0": slice(None)} if ids is None else {i: ids == i for i in dict.fromkeys(ids)}
        for sample_id, chosen in rows.items():
            sequence = _from_rows(str(sample_id), modalities[name], table[chosen])
            found.setdefault(str(sample_id), {})[name] = sequence
    for sample_id, sequences in found.items():
        yield Sample(sample_id, sample_id, sequences)


def _from_rows(sample: str, modality: Modality, table: Any) -> Sequence:
    axes = {a.name: a for a in (*modality.positions, *modality.extras)}
    raw: dict[str, Any] = {}
    for name in table.colnames:
        entry = next((e for e in modality.metadata if e.name == name), None)
        if name in ("value", modality.value.name):
            raw["value"] = _column(table, name, modality.value)
        elif name == "error":
            raw[name] = _column(table, name, modality.value)
        elif name in axes:
            raw[name] = _column(table, name, axes[name])
        elif isinstance(entry, Axis) and len(table):
            raw[name] = float(_column(table, name, entry)[0])
        elif name not in ("sample_id", "object_id") and len(table):
            raw[name] = str(table[name][0]) if entry else np.asarray(table[name])
    return _sequence(sample, modality, raw)


def _column(table: Any, name: str, axis: Axis) -> np.ndarray:
    return in_unit(table[name], axis, f"the column {name!r}")


def in_unit(column: Any, axis: Axis, what: str) -> np.ndarray:
    """Numbers in the axis' unit; masked ones are NaN.

    Raises:
        DataError: a unit that cannot be converted.
    """
    unit = getattr(column, "unit", None)
    values = getattr(column, "value", column)
    numbers = np.ma.filled(np.ma.asarray(values, np.float64), np.nan)
    if unit is None or str(unit) == axis.unit:
        return numbers
    from astropy import units

    try:
        return np.asarray((numbers * units.Unit(unit)).to_value(units.Unit(axis.unit)))
    except (ValueError, TypeError, units.UnitConversionError):
        raise DataError(
            f"{what} is in {unit}, but this model reads "
            f"{axis.unit or 'numbers without a unit'}: convert it"
        ) from None
