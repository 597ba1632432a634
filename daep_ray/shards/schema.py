"""The columns of a shard: samples -> Arrow table -> samples.

One row per sample: `sample_id`, `object_id`, `split`, `label.<name>`, and per modality `m` the
lists `m.value`, `m.error`, `m.<position>`, `m.<category>`, `m.<extra>` (all of one length) and the
scalars `m.<metadata>` (float64, or int16 codes of the vocabulary). Null: absent, missing, unknown.
An unknown error of a single point is NaN.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from daep_ray.errors import DataError
from daep_ray.sample import Category, Modality, Sample, Sequence
from daep_ray.shards.checks import defect_of, label_type
from daep_ray.shards.flat import Flat, column_types, flatten
from daep_ray.shards.split import split_of

ID_COLUMNS = ("sample_id", "object_id", "split")
LABEL_TYPES = {"string": pa.string(), "float": pa.float64()}


def columns_of(modality: Modality) -> list[str]:
    """Every column of a modality by its full name, lists first."""
    return list(_modality_types(modality))


def arrow_schema(modalities: tuple[Modality, ...], labels: Mapping[str, str]) -> pa.Schema:
    """The schema of a shard; `labels` maps a name to `string` or `float`."""
    types: dict[str, pa.DataType] = dict.fromkeys(ID_COLUMNS, pa.string())
    types |= {f"label.{name}": LABEL_TYPES[labels[name]] for name in sorted(labels)}
    for modality in modalities:
        types |= _modality_types(modality)
    return pa.schema(types)


def _modality_types(modality: Modality) -> dict[str, pa.DataType]:
    types = {n: pa.list_(pa.from_numpy_dtype(t)) for n, t in column_types(modality).items()}
    # the column is there even where the survey has no errors: all null
    types.setdefault("error", pa.list_(pa.float32()))
    for entry in modality.metadata:
        types[entry.name] = pa.int16() if isinstance(entry, Category) else pa.float64()
    return {f"{modality.name}.{name}": dtype for name, dtype in types.items()}


def table_from_samples(
    samples: list[Sample],
    modalities: tuple[Modality, ...],
    labels: Mapping[str, str] | None = None,
) -> pa.Table:
    """The samples as rows, in order; measurements with a non-finite value or position are left out.

    `labels` gives the label columns and their types; None takes them from the samples.

    Raises:
        DataError: a sample whose structure does not fit the modalities; the sentence names it.
    """
    by_name = {m.name: m for m in modalities}
    for sample in samples:
        if defect := defect_of(sample, by_name):
            raise DataError(f"sample {sample.sample_id!r} cannot be used: {defect}")
    flats = [flatten(samples, m) for m in modalities]
    flats = [f.keep(f.is_finite()) for f in flats]
    for i, defect in ((i, d) for f in flats for i, d in f.bad_codes().items()):
        raise DataError(f"sample {samples[i].sample_id!r} cannot be used: {defect}")
    return table_from_flats(samples, flats, labels)


def table_from_flats(
    samples: list[Sample], flats: list[Flat], labels: Mapping[str, str] | None = None
) -> pa.Table:
    """Rows of samples whose sequences are in `flats` already, one per modality."""
    if labels is None:
        known = ((n, v) for s in samples for n, v in s.labels.items() if v is not None)
        labels = {name: label_type(value) for name, value in known}
    arrays: dict[str, Any] = {
        "sample_id": [s.sample_id for s in samples],
        "object_id": [s.object_id for s in samples],
        "split": [s.split or split_of(s.object_id) for s in samples],
    }
    for name, kind in labels.items():
        arrays[f"label.{name}"] = _label_column([s.labels.get(name) for s in samples], kind)
    for flat in flats:
        arrays |= flat.to_arrow()
    schema = arrow_schema(tuple(f.modality for f in flats), labels)
    return pa.table([pa.array(arrays[f.name], f.type) for f in schema], schema=schema)


def _label_column(values: list[Any], kind: str) -> pa.Array:
    if kind == "string":
        return pa.array([None if v is None else str(v) for v in values], pa.string())
    numbers = np.array([np.nan if v is None else float(v) for v in values], np.float64)
    return pa.array(numbers, mask=~np.isfinite(numbers))


def samples_from_table(table: pa.Table, modalities: tuple[Modality, ...]) -> Iterator[Sample]:
    """The rows as samples; arrays are views of the table in its types on disk.

    A sequence of which no error is known has `error` None; metadata words come back as words.
    """
    flats = [Flat.from_table(table, m) for m in modalities]
    names = [n for n in table.column_names if n in ID_COLUMNS or n.startswith("label.")]
    for i, row in enumerate(table.select(names).to_pylist()):
        present = (f for f in flats if f.offsets[i] < f.offsets[i + 1])
        sequences = {f.modality.name: _sequence(f, i) for f in present}
        labels = {n.removeprefix("label."): v for n, v in row.items() if n not in ID_COLUMNS}
        yield Sample(row["sample_id"], row["object_id"], sequences, labels, row["split"])


def _sequence(flat: Flat, i: int) -> Sequence:
    modality, part = flat.modality, slice(flat.offsets[i], flat.offsets[i + 1])
    cut = {name: column[part] for name, column in flat.columns.items()}
    error = cut.get("error")
    words: dict[str, float | str | None] = {}
    for entry in modality.metadata:
        value = flat.metadata[entry.name][i]
        if isinstance(entry, Category):
            words[entry.name] = entry.vocabulary[value] if value >= 0 else None
        else:
            words[entry.name] = float(value) if np.isfinite(value) else None
    return Sequence(
        value=cut["value"],
        positions={a.name: cut[a.name] for a in modality.positions},
        error=None if error is None or np.isnan(error).all() else error,
        categories={c.name: cut[c.name] for c in modality.categories},
        metadata=words,
        extras={a.name: cut[a.name] for a in modality.extras},
    )
