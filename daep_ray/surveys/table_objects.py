"""What is known of an object beside its measurements: labels, metadata, its common name.

In: an Arrow table with one row per object and the mapping. Out: a `Described`, asked row by row;
an `ObjectIndex`, asked by the object's id as the measurements spell it.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from daep_ray.surveys.names import supernova_class
from daep_ray.surveys.table_columns import measured, numbers, texts
from daep_ray.surveys.table_files import Malformed
from daep_ray.surveys.table_mapping import Label, Mapping, Number

LabelValue = str | float | None


@dataclass(frozen=True)
class Facts:
    """Of one object: labels and metadata by name; `common_name` "" where it has none."""

    labels: dict[str, LabelValue]
    metadata: dict[str, float | str | None]
    common_name: str = ""


class Described:
    """The labels and metadata in the rows of a table."""

    def __init__(self, table: pa.Table, mapping: Mapping) -> None:
        self._labels = {
            name: _label_column(table, label)
            for name, label in mapping.labels.items()
            if label.column
        }
        self._metadata = {
            name: _number_column(table, number) for name, number in mapping.metadata.items()
        }
        self._names: Callable[[int], LabelValue] = lambda row: None
        if mapping.objects is not None and mapping.objects.name:
            self._names = _words_of(texts(table[mapping.objects.name]), {})

    def row(self, row: int) -> Facts:
        """The facts of one row of the table.

        Raises:
            Malformed: text where a number must stand.
        """
        return Facts(
            labels={name: column(row) for name, column in self._labels.items()},
            metadata={name: column(row) for name, column in self._metadata.items()},
            common_name=str(self._names(row) or ""),
        )


class ObjectIndex:
    """An object table held in memory, about 150 bytes per object.

    `faults` names objects whose row could not be read, and why.
    """

    def __init__(self, table: pa.Table, mapping: Mapping, faults: dict[str, str]) -> None:
        assert mapping.objects is not None
        self._rows: dict[str, int] = {}
        self._faults = dict(faults)
        for row, key in enumerate(texts(table[mapping.objects.key]).to_pylist()):
            if key and self._rows.setdefault(key, row) != row:
                self._faults[key] = "it has two rows"
        self._described = Described(table, mapping)

    def facts(self, name: str) -> Facts | None:
        """What the table says of an object, None where it does not name it.

        Raises:
            Malformed: it has two rows for it, or one that cannot be read.
        """
        if name in self._faults:
            raise Malformed(f"in the object table {self._faults[name]}")
        row = self._rows.get(name)
        return None if row is None else self._described.row(row)


def folder_labels(mapping: Mapping, folder: str) -> dict[str, LabelValue]:
    """The labels that are the name of the file's folder."""
    return {
        name: _word(folder, label)
        for name, label in mapping.labels.items()
        if label.is_folder and folder
    }


def _word(text: str | None, label: Label) -> str | None:
    if not text:
        return None
    if label.is_supernova_type:
        return supernova_class(text) or text
    return label.words.get(text, text)


def _label_column(table: pa.Table, label: Label) -> Callable[[int], LabelValue]:
    if label.is_number:
        return _number_column(table, Number(column=(label.column,), missing=label.missing))
    column = texts(table[label.column])
    return lambda row: _word(column[row].as_py(), label)


def _words_of(column: pa.Array, words: dict[str, str]) -> Callable[[int], LabelValue]:
    return lambda row: words.get(column[row].as_py() or "", column[row].as_py())


def _number_column(table: pa.Table, number: Number) -> Callable[[int], float | None]:
    result = np.full(table.num_rows, np.nan)
    fault_of: dict[int, str] = {}
    for name in number.column:
        entries = numbers(table[name])
        if entries.is_fault is not None:
            rows = np.flatnonzero(entries.is_fault)
            for row, entry in zip(rows.tolist(), texts(table[name].take(rows)), strict=True):
                fault_of.setdefault(row, f"{name} {entry.as_py()[:40]!r} is not a number")
        is_open = np.isnan(result)
        result[is_open] = measured(entries, number)[is_open]

    def at(row: int) -> float | None:
        if row in fault_of:
            raise Malformed(fault_of[row])
        return None if math.isnan(result[row]) else float(result[row])

    return at
