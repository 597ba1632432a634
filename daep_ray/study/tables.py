"""A study's tables: tidy Parquet files in OUT/tables, sorted by their keys.

    cells      one row per cell of the design: what it was, its state, what it cost
    metrics    cell, modality, split, estimate, metric -> value, sd over objects or splits, count
    objects    cell, modality, object_id, estimate, metric -> value
    curves     training, num_objects, name -> value, seconds
    examples   measurements of a few test objects, chosen by percentile, and their draws
    profiles   residuals against each position: median, 16 and 84 %, count
    calibration  cell, modality, estimate, metric, axis, bin -> value, target, sd, count
    ledger     what every training and every evaluation cost, one row each
    groups     cell, modality, estimate, metric, class or signal to noise -> value, sd, count
    confusion  cell, modality, truth, said -> share
    codes      cell, modality, split, object_id -> class, place on a map

Two runs of one study with the same seeds differ in what `is_passing` names and in nothing else.
Neither torch nor Ray here: reports read these tables on a laptop.
"""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from daep_ray.errors import DataError, storage_error
from daep_ray.evaluate import tables as evaluate_tables

CELLS = pa.schema(
    [
        ("cell", pa.string()),  # hash of the training's and the evaluation's fingerprints
        ("training", pa.string()),
        ("evaluation", pa.string()),
        ("model", pa.string()),  # daep, vae, ...; pca, mean
        ("seed", pa.int64()),  # null: a reference
        ("num_floats", pa.int64()),  # code length x width; null: the training mean
        ("settings", pa.string()),  # JSON {path: value} of the axes
        ("state", pa.string()),  # done, failed, missing, stopped (early, by a scheduler)
        ("reason", pa.string()),  # why it is not done, one sentence; else empty
        ("num_objects", pa.int64()),  # seen in training; if it was stopped or failed, so far
        ("num_steps", pa.int64()),
        ("num_parameters", pa.int64()),
        ("seconds_training", pa.float64()),
        ("seconds_evaluation", pa.float64()),
        ("seconds_ray", pa.float64()),  # of the trial, neither training nor evaluation
        ("seconds_data", pa.float64()),  # of the training, spent waiting for data
        ("config", pa.string()),  # JSON
        ("command", pa.string()),  # repeats this training alone
    ]
)
CURVES = pa.schema(
    [
        ("training", pa.string()),
        ("num_objects", pa.int64()),
        ("seconds", pa.float64()),
        ("name", pa.string()),
        ("value", pa.float64()),
    ]
)
LEDGER = pa.schema(
    [
        ("training", pa.string()),
        ("cell", pa.string()),  # null: the training itself
        ("what", pa.string()),  # training, evaluation
        ("model", pa.string()),
        ("seed", pa.int64()),  # null: a reference
        ("state", pa.string()),  # as of the cell
        ("num_objects", pa.int64()),  # samples seen in training, or measured
        ("num_tokens", pa.int64()),  # their measurements
        ("flop", pa.float64()),  # of matrix products, counted from the settings; null: a reference
        ("seconds", pa.float64()),
        ("seconds_gpu", pa.float64()),  # seconds x GPUs; null: an older store has not noted it
        ("memory", pa.int64()),  # bytes, the most at a time
        ("memory_gpu", pa.int64()),
    ]
)
EVALUATED = tuple(evaluate_tables.SCHEMAS)  # what one evaluation gives, without the cell
NAMES = ("cells", "curves", "ledger", *EVALUATED)
SCHEMAS: dict[str, pa.Schema] = {
    "cells": CELLS,
    "curves": CURVES,
    "ledger": LEDGER,
    **{
        name: schema.insert(0, pa.field("cell", pa.string()))
        for name, schema in evaluate_tables.SCHEMAS.items()
    },
}

# Sorted by these; examples and profiles keep their order within a cell, cells the design's order.
KEYS: dict[str, tuple[str, ...]] = {
    "cells": (),
    "ledger": (),
    "metrics": ("cell", "modality", "split", "estimate", "metric"),
    "objects": ("cell", "modality", "object_id", "estimate", "metric"),
    "curves": ("training", "num_objects", "name"),
    "examples": ("cell", "modality"),
    "profiles": ("cell", "modality"),
    "calibration": ("cell", "modality", "estimate", "axis", "metric", "low"),
    "groups": ("cell", "modality", "estimate", "metric", "axis", "low", "name"),
    "confusion": ("cell", "modality", "truth", "said"),
    "codes": ("cell", "modality", "split", "object_id"),
}
# Tables that a study of an older version does not have: empty, they are outside the identity.
LATER = ("calibration", "groups", "confusion", "codes", "ledger")
# Columns that another run of the same study may change: times, memory, and words about paths and
# places.
PASSING = ("reason", "command")


def is_passing(column: str) -> bool:
    """Whether a column is outside a table's identity."""
    return column.startswith(("seconds", "memory")) or column in PASSING


def from_rows(name: str, rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """The table `name`; a column left out of a row is null."""
    return pa.Table.from_pylist([dict(row) for row in rows], schema=SCHEMAS[name])


def add_cell(table: pa.Table, cell: str) -> pa.Table:
    """An evaluation's table with the cell that it belongs to as first column."""
    return table.add_column(0, "cell", pa.array([cell] * table.num_rows, pa.string()))


def merge(name: str, parts: Sequence[pa.Table]) -> pa.Table:
    """One table of many, in the order of its keys whatever the order of the parts."""
    schema = SCHEMAS[name]
    parts = [part.select(schema.names).cast(schema) for part in parts]
    return sort(name, pa.concat_tables(parts) if parts else schema.empty_table())


def sort(name: str, table: pa.Table) -> pa.Table:
    """Rows in the order of the keys; equal keys keep their order."""
    place = "__place"  # pyarrow's sort is not stable
    table = table.append_column(place, pa.array(range(table.num_rows), pa.int64()))
    table = table.sort_by([(k, "ascending") for k in [*KEYS[name], place]])
    return table.drop_columns([place]).combine_chunks()


def write(folder: Path, tables: Mapping[str, pa.Table]) -> None:
    """Write `<name>.parquet` for every table, each replaced in one step.

    Raises:
        StorageError: the folder cannot be written, or the disk is full.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, table in tables.items():
            staged = folder / f".{name}.{os.getpid()}.partial"
            pq.write_table(table, staged, compression="zstd")
            staged.replace(folder / f"{name}.parquet")
    except OSError as error:
        raise storage_error(error, folder) from error


def read(out: Path, name: str) -> pa.Table:
    """A table of the study in `out`; empty if the study has written none of that name.

    Raises:
        DataError: no study there, a broken file, or another table than a study's.
    """
    path = out / "tables" / f"{name}.parquet"
    if not (out / "tables" / "cells.parquet").is_file():
        raise DataError(f"no study at {out}: give the folder that a study wrote (--out)")
    if not path.is_file():
        return merge(name, [])
    try:
        found = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"cannot read {path} ({error}): run the study again") from error
    lacking = [column for column in SCHEMAS[name].names if column not in found.column_names]
    if lacking:
        raise DataError(
            f"{path} is no table of a study's {name} (it has no {', '.join(lacking)}): give the "
            "folder that a study wrote (--out)"
        )
    return found


def read_all(out: Path) -> dict[str, pa.Table]:
    """Every table of the study in `out`, by name."""
    return {name: read(out, name) for name in NAMES}


def identity(out: Path) -> str:
    """Hash of what the tables say, leaving out seconds, hosts and times (law 8)."""
    digest = hashlib.sha256()
    for name, table in read_all(out).items():
        if name in LATER and not table.num_rows:
            continue
        kept = [c for c in table.column_names if not is_passing(c)]
        digest.update(json.dumps([name, kept]).encode())
        for batch in table.select(kept).to_batches(max_chunksize=10_000):
            for row in batch.to_pylist():
                digest.update(json.dumps(list(row.values()), default=str).encode())
    return digest.hexdigest()[:16]
