"""A study in a few lines: per model and setting the error over seeds, and whether it has learnt.

In: the `cells` and `metrics` tables. Out: rows, and a table for the terminal.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from daep_ray.evaluate import METRICS, REFERENCES
from daep_ray.study.statistics import Interval, passes_gate, seed_interval

HEADLINE = "absolute_error"
ESTIMATES = ("mean_of_draws", "one_draw", "one_step", "reference")  # the first one there counts


@dataclass(frozen=True)
class Row:
    """One model at one point of the design, in one modality."""

    modality: str
    model: str
    num_floats: int | None
    settings: dict[str, Any]
    estimate: str
    error: Interval
    probe: Interval  # NaN where there is no probe
    num_failed: int  # replicates without a result that should have one
    has_learnt: bool | None  # the learning gate; None for a reference or without a training mean
    num_stopped: int = 0  # replicates that a scheduler stopped early


def headline(metrics: pa.Table) -> float | None:
    """The error of one evaluation in its first modality, None if it has none."""
    rows = [r for r in metrics.to_pylist() if r["metric"] == HEADLINE]
    for estimate in ESTIMATES:
        found = [row["value"] for row in rows if row["estimate"] == estimate]
        if found:
            return float(found[0])
    return None


def summary(tables: Mapping[str, pa.Table]) -> list[Row]:
    """Every point of the design per modality, in the design's order."""
    values = _values(tables["metrics"])
    modalities = sorted({m for m, _, _ in values if "+" not in m}) or [""]
    rows = [
        row
        for modality in modalities
        for row in _of_modality(modality, tables["cells"].to_pylist(), values)
    ]
    return [_gated(row, rows) for row in rows]


def _values(metrics: pa.Table) -> dict[tuple[str, str, str], dict[str, float]]:
    """(modality, cell, metric) -> estimate -> value."""
    found: dict[tuple[str, str, str], dict[str, float]] = {}
    for row in metrics.to_pylist():
        place = (row["modality"], row["cell"], row["metric"])
        found.setdefault(place, {})[row["estimate"]] = row["value"]
    return found


def _of_modality(
    modality: str,
    cells: list[dict[str, Any]],
    values: Mapping[tuple[str, str, str], Mapping[str, float]],
) -> list[Row]:
    groups: dict[tuple[str, int | None, str], list[str]] = {}
    stopped = {cell["cell"] for cell in cells if cell["state"] == "stopped"}
    done = {cell["cell"] for cell in cells if cell["state"] == "done"}
    for cell in cells:
        place = (cell["model"], cell["num_floats"], cell["settings"])
        groups.setdefault(place, []).append(cell["cell"])
    rows = []
    for (model, num_floats, settings), ids in groups.items():
        num_stopped = sum(i in stopped for i in ids)
        found = [values.get((modality, i, HEADLINE), {}) for i in ids]
        estimate = next((e for e in ESTIMATES if any(e in f for f in found)), "")
        if not estimate and model in REFERENCES and done.issuperset(ids):
            continue  # it says nothing of this modality: a Gaussian process of a spectrum
        probes = [v for (_, c, m), v in values.items() if c in ids and m == "probe_accuracy"]
        rows.append(
            Row(
                modality=modality,
                model=model,
                num_floats=num_floats,
                settings=json.loads(settings),
                estimate=estimate,
                error=seed_interval([f[estimate] for f in found if estimate in f]),
                probe=seed_interval([v["probe"] for v in probes if "probe" in v]),
                num_failed=sum(not estimate or estimate not in f for f in found) - num_stopped,
                has_learnt=None,
                num_stopped=num_stopped,
            )
        )
    return rows


def _gated(row: Row, rows: list[Row]) -> Row:
    means = [r.error.mean for r in rows if r.model == "mean" and r.modality == row.modality]
    if row.model in REFERENCES or not means or math.isnan(row.error.mean):
        return row
    return Row(**{**vars(row), "has_learnt": passes_gate(row.error.mean, min(means))})


def as_text(tables: Mapping[str, pa.Table]) -> str:
    """The summary as aligned columns."""
    rows = summary(tables)
    digits = METRICS[HEADLINE].digits
    head = ("model", "floats", "settings", "error", "probe", "")
    lines = [head, *(_cells_of(row, digits) for row in rows)]
    if len({row.modality for row in rows}) > 1:
        names = ("modality", *(row.modality for row in rows))
        lines = [(name, *line) for name, line in zip(names, lines, strict=True)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return "\n".join(
        "  ".join(text.ljust(w) for text, w in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def _cells_of(row: Row, digits: int) -> tuple[str, ...]:
    short = ", ".join(f"{path.rsplit('.', 1)[-1]} {v}" for path, v in row.settings.items())
    verdict = {True: "", False: "not trained enough", None: ""}[row.has_learnt]
    if row.num_stopped:
        verdict = f"{row.num_stopped} stopped early" + (f", {verdict}" if verdict else "")
    if row.num_failed:
        verdict = f"{row.num_failed} missing" + (f", {verdict}" if verdict else "")
    floats = "" if row.num_floats is None else str(row.num_floats)
    return (row.model, floats, short, _shown(row.error, digits), _shown(row.probe, 3), verdict)


def _shown(interval: Interval, digits: int) -> str:
    """`0.213 ± 0.011`; the half width of the 95 % interval over seeds where there are several."""
    if math.isnan(interval.mean):
        return "-"
    text = f"{interval.mean:.{digits}f}"
    if interval.count < 2:
        return text
    return f"{text} ± {interval.half_width:.{digits}f}"
