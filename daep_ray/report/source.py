"""A study's folder in, `Study` out: the tables, the design and the circumstances, nothing computed.

The report reads OUT/tables/*.parquet, OUT/spec.json and OUT/run.json and nothing else.
"""

import json
import math
from dataclasses import dataclass, field, fields
from pathlib import Path
from statistics import stdev
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from daep_ray.errors import DataError
from daep_ray.study import tables

PREFERENCE = ("mean_of_draws", "one_draw", "one_step", "reference")  # the first one there is ranked
MEAN, PCA, GP = "mean", "pca", "gp"
REFERENCES = (PCA, MEAN, GP)
WITHOUT_CODE = (MEAN, GP)  # a probe has nothing to ask them
# What must be finite, or null, to be drawn: a model that diverged somewhere predicts what is not.
DRAWN = {
    "examples": ("position", "truth", "error", "noiseless", "mean", "low", "high"),
    "profiles": ("median", "low", "high"),
    "calibration": ("value", "target", "sd"),
    "groups": ("value", "sd"),
    "confusion": ("value",),
    "codes": ("x", "y"),
}


@dataclass(frozen=True, eq=False)
class Cell:
    """One row of the design: a training plus inference settings, or a reference."""

    cell: str
    training: str
    evaluation: str
    model: str
    seed: int | None  # None: a reference
    num_floats: int | None  # None: the mean of the training set
    settings: dict[str, Any]  # the axes' values by dotted path
    state: str
    reason: str
    num_objects: int | None
    num_steps: int | None
    num_parameters: int | None
    seconds_training: float | None
    seconds_evaluation: float | None
    seconds_ray: float | None
    seconds_data: float | None
    config: dict[str, Any]
    command: str

    @property
    def is_reference(self) -> bool:
        return self.seed is None


@dataclass(frozen=True)
class Study:
    """What a study left: everything that a report may use."""

    spec: dict[str, Any]
    run: dict[str, Any]
    cells: tuple[Cell, ...]
    tables: dict[str, pa.Table] = field(repr=False)
    left_out: dict[str, int] = field(default_factory=dict)  # rows with infinite numbers, by table

    @property
    def trained(self) -> list[Cell]:
        """Cells that are trainings, failed ones included."""
        return [c for c in self.cells if not c.is_reference]

    @property
    def modalities(self) -> list[str]:
        """Modalities with a number in them; those measured together (`a+b`) have no page."""
        found = sorted(set(self._column("metrics", "modality")))
        return [m for m in found if "+" not in m]

    def declaration(self, modality: str) -> dict[str, Any]:
        """The modality as the manifest declares it, empty if the study does not say."""
        declared = self.spec.get("data", {}).get("modalities", [])
        return next((m for m in declared if m["name"] == modality), {})

    def rows(self, table: str, **wanted: Any) -> pa.Table:
        """The rows of a table whose columns have the wanted values."""
        found = self.tables[table]
        for column, value in wanted.items():
            if found.num_rows:
                found = found.filter(pc.equal(found[column], pa.scalar(value)))
        return found

    def coded(self, modality: str) -> str:
        """What the code that tells of a modality is made of: `photometry+spectrum` or itself."""
        names = (
            self._column("confusion", "modality")
            + self._column("codes", "modality")
            + self._column("metrics", "modality")
        )
        joint = sorted({m for m in names if "+" in m and modality in m.split("+")})
        return joint[0] if joint else modality

    def standard_errors(
        self, modality: str, metric: str, estimate: str | None = None
    ) -> dict[str, float]:
        """Per cell, of the mean over objects, in the estimate that `values` takes."""
        order = (estimate,) if estimate else PREFERENCE
        found: dict[str, tuple[int, float]] = {}
        for row in self.rows("metrics", modality=modality, metric=metric).to_pylist():
            sd = math.nan if row["sd"] is None else row["sd"]
            if row["estimate"] not in order or not row["count"] or not math.isfinite(sd):
                continue
            rank = order.index(row["estimate"])
            if row["cell"] not in found or rank < found[row["cell"]][0]:
                found[row["cell"]] = (rank, sd / math.sqrt(row["count"]))
        return {cell: error for cell, (_, error) in found.items()}

    def values(self, modality: str, metric: str, estimate: str | None = None) -> dict[str, float]:
        """A metric's value per cell; without an estimate, each cell's preferred one."""
        found = self._preferred(modality, metric, estimate)
        return {cell: row["value"] for cell, row in found.items()}

    def object_sds(self, modality: str, metric: str) -> dict[str, float]:
        """The sd over objects of the errors whose means are `values`, per cell that has one.

        Of an evaluation that did not store it, from the objects' own numbers, if all are there.
        """
        found = {}
        for cell, row in self._preferred(modality, metric).items():
            sd = row["sd"]
            if sd is None:
                same = {"cell": cell, "modality": modality, "metric": metric}
                rows = self.rows("objects", **same, estimate=row["estimate"])
                numbers = [v for v in rows["value"].to_pylist() if v is not None]
                is_whole = len(numbers) == row["count"] and len(numbers) > 1
                sd = stdev(numbers) if is_whole else math.nan
            if math.isfinite(sd):
                found[cell] = sd
        return found

    def _preferred(
        self, modality: str, metric: str, estimate: str | None = None
    ) -> dict[str, dict[str, Any]]:
        """Per cell, the row of `metrics` with a finite value in the preferred estimate."""
        order = (estimate,) if estimate else (*PREFERENCE, "probe")
        found: dict[str, tuple[int, dict[str, Any]]] = {}
        for row in self.rows("metrics", modality=modality, metric=metric).to_pylist():
            value = math.nan if row["value"] is None else row["value"]
            if row["estimate"] not in order or not math.isfinite(value):
                continue
            rank = order.index(row["estimate"])
            if row["cell"] not in found or rank < found[row["cell"]][0]:
                found[row["cell"]] = (rank, row)
        return {cell: row for cell, (_, row) in found.items()}

    def object_errors(
        self, modality: str, metric: str, estimate: str | None = None
    ) -> dict[str, dict[str, float]]:
        """Per cell, the error of each test object; without an estimate, in the preferred one."""
        order = (estimate,) if estimate else PREFERENCE
        rows = self.rows("objects", modality=modality, metric=metric)
        found: dict[str, dict[str, dict[str, float]]] = {}
        if not rows.num_rows:
            return {}
        columns = (rows[c].to_pylist() for c in ("cell", "estimate", "object_id", "value"))
        for cell, estimate, object_id, value in zip(*columns, strict=True):
            if value is not None and math.isfinite(value):
                found.setdefault(cell, {}).setdefault(estimate, {})[object_id] = value
        return {cell: next((by[e] for e in order if e in by), {}) for cell, by in found.items()}

    def _column(self, table: str, column: str) -> list[Any]:
        rows = self.tables[table]
        return rows[column].to_pylist() if column in rows.column_names else []


def read(out: Path) -> Study:
    """Read a study's folder.

    Raises:
        DataError: there are no tables, or a file cannot be read.
    """
    found = tables.read_all(out)
    cells = found.pop("cells").to_pylist()
    if not cells:
        raise DataError(f"the study at {str(out)!r} has no cells: run it again on the same --out")
    kept = {name: _finite(table, DRAWN.get(name, ())) for name, table in found.items()}
    lost = {name: found[name].num_rows - kept[name].num_rows for name in found}
    return Study(
        spec=_json(out / "spec.json"),
        run=_json(out / "run.json"),
        cells=tuple(_cell(row) for row in cells),
        tables=kept,
        left_out={name: number for name, number in lost.items() if number},
    )


def _finite(table: pa.Table, columns: tuple[str, ...]) -> pa.Table:
    """The rows whose numbers are finite or null."""
    for column in columns:
        table = table.filter(pc.fill_null(pc.is_finite(table[column]), True))
    return table


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise DataError(
            f"{str(path)!r} is no readable JSON ({error}): run the study again on the same --out"
        ) from None
    if not isinstance(found, dict):
        raise DataError(f"{str(path)!r} is no JSON object: run the study again on the same --out")
    return found


def _cell(row: dict[str, Any]) -> Cell:
    try:
        parsed = {key: json.loads(row[key] or "{}") for key in ("settings", "config")}
    except ValueError as error:
        raise DataError(
            f"the table 'cells' has settings that are no JSON ({error}): run the study again"
        ) from None
    whole = {**row, **parsed, "reason": row["reason"] or "", "command": row["command"] or ""}
    return Cell(**{f.name: whole[f.name] for f in fields(Cell)})
