"""Tables: the order of the parts decides nothing, seconds are no part of their identity."""

import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from daep_ray.errors import DataError, StorageError
from daep_ray.study import tables


def metric(cell: str, name: str, value: float = 1.0) -> dict[str, Any]:
    place = {"modality": "spectrum", "split": "test", "estimate": "one_draw"}
    return {"cell": cell, **place, "metric": name, "value": value, "sd": 0.1, "count": 3}


def written(folder: Path, seconds: float = 1.0, value: float = 1.0, order: int = 0) -> Path:
    """A study's tables, its parts in a random order."""
    cells = [{"cell": c, "model": "vae", "state": "done", "reason": ""} for c in "ba"]
    rows = [metric(c, m, value) for c in "abc" for m in ("absolute_error", "squared_error")]
    random.Random(order).shuffle(rows)
    parts = [tables.from_rows("metrics", rows[:2]), tables.from_rows("metrics", rows[2:])]
    random.Random(order).shuffle(parts)
    tables.write(
        folder / "tables",
        {
            "cells": tables.from_rows("cells", [c | {"seconds_training": seconds} for c in cells]),
            "metrics": tables.merge("metrics", parts),
        },
    )
    return folder


@pytest.mark.parametrize("order", [1, 2, 3])
def test_the_order_of_the_parts_changes_no_byte(tmp_path: Path, order: int) -> None:
    one, other = written(tmp_path / "1"), written(tmp_path / "2", order=order)
    for name in ("cells", "metrics"):
        file = f"tables/{name}.parquet"
        assert (one / file).read_bytes() == (other / file).read_bytes()


def test_identity_leaves_out_seconds_and_nothing_else(tmp_path: Path) -> None:
    identity = tables.identity(written(tmp_path / "1"))
    assert identity == tables.identity(written(tmp_path / "2", seconds=99.0))
    assert identity != tables.identity(written(tmp_path / "3", value=1.0000001))


def test_cells_keep_the_order_of_the_design(tmp_path: Path) -> None:
    assert tables.read(written(tmp_path), "cells")["cell"].to_pylist() == ["b", "a"]


def test_equal_keys_keep_their_order() -> None:
    rows = [{"cell": "a", "modality": "m", "position": float(i)} for i in (5, 3, 4)]
    found = tables.merge("examples", [tables.from_rows("examples", rows)])
    assert found["position"].to_pylist() == [5, 3, 4]


def test_an_evaluation_gets_its_cell_in_front() -> None:
    evaluated = tables.from_rows("metrics", [metric("x", "absolute_error")]).drop_columns("cell")
    found = tables.merge("metrics", [tables.add_cell(evaluated, "c1")])
    assert found.schema.equals(tables.SCHEMAS["metrics"])
    assert found["cell"].to_pylist() == ["c1"]


def test_a_table_that_was_never_written_is_empty(tmp_path: Path) -> None:
    found = tables.read(written(tmp_path), "profiles")
    assert found.num_rows == 0
    assert "median" in found.column_names


def test_reading_where_there_is_no_study_says_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no study at"):
        tables.read(tmp_path, "cells")
    written(tmp_path)
    (tmp_path / "tables" / "metrics.parquet").write_bytes(b"PAR1 cut")
    with pytest.raises(DataError, match=r"cannot read .*metrics"):
        tables.read(tmp_path, "metrics")


def test_a_folder_that_cannot_be_written_says_so() -> None:
    with pytest.raises(StorageError):
        tables.write(Path("/proc/nothing"), {"cells": pa.table({"a": [1]})})


def test_the_calibration_table_is_sorted_and_part_of_the_identity_once_it_has_rows(
    tmp_path: Path,
) -> None:
    """A study that was evaluated before it existed keeps its identity."""
    old = written(tmp_path / "1")
    before = tables.identity(old)
    tables.write(old / "tables", {"calibration": tables.merge("calibration", [])})
    assert tables.identity(old) == before

    def row(cell: str, low: float) -> dict[str, Any]:
        place = {"modality": "spectrum", "estimate": "draws", "axis": "phase"}
        return {"cell": cell, **place, "metric": "crps", "low": low, "value": 0.1, "count": 3}

    rows = [row(c, low) for c in "ba" for low in (5.0, -15.0, -5.0)]
    parts = [tables.from_rows("calibration", rows[:2]), tables.from_rows("calibration", rows[2:])]
    merged = tables.merge("calibration", parts)
    assert merged.equals(tables.merge("calibration", parts[::-1]))
    assert merged["low"].to_pylist() == [-15.0, -5.0, 5.0] * 2
    tables.write(old / "tables", {"calibration": merged})
    assert tables.read_all(old)["calibration"].equals(merged)
    assert tables.identity(old) != before
