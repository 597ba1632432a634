"""Tables of what draws say: calibration, by phase, and one modality told from another.

Study and evidence in, `Grid`s out; None where the study has nothing of the kind.
"""

from collections.abc import Callable
from typing import Any

from daep_ray.report.chosen import Chosen
from daep_ray.report.evidence import FROM, METRIC, Evidence, sources
from daep_ray.report.figures_calibration import DRAWS, LEVELS
from daep_ray.report.grid import Column, Grid, number_column, text_column
from daep_ray.report.numbers import MINUS
from daep_ray.report.results import (
    Configuration,
    configurations,
    design,
    is_at_one_place,
    metric_column,
    place,
)
from daep_ray.report.source import Study
from daep_ray.report.style import title
from daep_ray.report.svg import slug

MEAN_OF_DRAWS = ("mean_of_draws", "reference")


def calibration(study: Study, evidence: Evidence) -> Grid | None:
    """Coverage and width of the intervals, CRPS and the ranks' bias and spread."""
    modality = evidence.modality
    rows = _with(study, evidence, "crps", DRAWS)
    if not rows:
        return None
    columns = design(evidence, rows)
    metrics = [f"{what}_{level}" for what in ("coverage", "width") for level in LEVELS]
    for metric in (*metrics, "crps", "rank_bias", "rank_spread"):
        words = metric.replace("_", " ") + (" %" if metric[-1].isdigit() else "")
        words = "CRPS" if metric == "crps" else words
        columns.append(metric_column(study, evidence, rows, metric, DRAWS, words))
    targets = {
        level: sorted(set(study.values(modality, f"coverage_{level}_target", DRAWS).values()))
        for level in LEVELS
    }
    expected = [
        f"{' or '.join(f'{v:.3f}' for v in values)} at {level} %"
        for level, values in targets.items()
        if values
    ]
    return Grid(
        f"calibration-{slug(modality)}",
        f"Calibration of the draws of {modality}, test objects{place(evidence, rows)}",
        tuple(columns),
        (
            f"Coverage to be expected of as many calibrated draws: {', '.join(expected)}. Width in "
            f"z units. Rank bias: below 0 draws are too high, above 0 too low. Rank spread: above "
            "1 draws are too narrow or biased, below 1 too wide.",
        ),
    )


def _with(study: Study, evidence: Evidence, metric: str, estimate: str) -> list[Configuration]:
    """The configurations that have a number of the kind."""
    known = study.values(evidence.modality, metric, estimate)
    found = configurations(study, evidence)
    return [row for row in found if any(c.cell in known for c in row.cells)]


def by_phase(study: Study, modality: str, chosen: Chosen) -> Grid | None:
    """Errors and calibration of the shown models by phase, told from all and from one modality."""

    def source(estimate: str) -> str | None:
        if estimate.startswith(FROM):
            return estimate.removeprefix(FROM)
        return "" if estimate in (*MEAN_OF_DRAWS, DRAWS) else None

    found = _at_phases(study, modality, chosen, "phase", source)
    title = f"{modality} by phase, test objects"
    return _phases(f"phases-{slug(modality)}", title, found, chosen)


def by_phase_of(source: str, study: Study, modality: str, chosen: Chosen) -> Grid | None:
    """The same of what is told from a sample of `source` alone, by the phase of that sample."""

    def told(estimate: str) -> str | None:
        return "" if estimate == FROM + source else None  # one source: the title names it

    found = _at_phases(study, modality, chosen, f"phase of {source}", told)
    title = f"{modality} told from {source}, by the phase of the {source}, test objects"
    return _phases(f"phases-{slug(modality)}-{slug(source)}", title, found, chosen)


def _at_phases(
    study: Study,
    modality: str,
    chosen: Chosen,
    axis: str,
    source: Callable[[str], str | None],
) -> list[tuple[str, tuple[str, float, float], dict[str, dict[str, Any]]]]:
    """Name of the model; source, from and to; rows by metric. `source` of an estimate: "" is all,
    None is not wanted."""
    found = []
    for cell in chosen.cells:
        rows = study.rows("calibration", cell=cell.cell, modality=modality, axis=axis)
        bins: dict[tuple[str, float, float], dict[str, dict[str, Any]]] = {}
        for row in rows.to_pylist():
            if (told := source(row["estimate"])) is not None:
                bins.setdefault((told, row["low"], row["high"]), {})[row["metric"]] = row
        found += [(chosen.names[cell.cell], at, bins[at]) for at in sorted(bins)]
    return found


def _phases(
    key: str,
    title: str,
    found: list[tuple[str, tuple[str, float, float], dict[str, dict[str, Any]]]],
    chosen: Chosen,
) -> Grid | None:
    if not found:
        return None
    columns = [text_column("model", "model", [name for name, _, _ in found])]
    if any(at[0] for _, at, _ in found):
        origins = [at[0] or "all" for _, at, _ in found]
        columns.append(text_column("from", "told from", origins))
    spans = [f"{p[1]:g} to {p[2]:g}".replace("-", MINUS) for _, p, _ in found]
    columns.append(text_column("phase", "phase (day)", spans, "number"))
    for metric, words, unit in (
        ("absolute_error", "absolute error", "z"),
        ("squared_error", "squared error", "z"),
        *((f"coverage_{level}", f"coverage {level} %", "") for level in LEVELS),
        *((f"width_{level}", f"width {level} %", "z") for level in LEVELS),
        ("crps", "CRPS", "z"),
    ):
        values = [_value(metrics, metric) for _, _, metrics in found]
        columns.append(number_column(metric, words, values, unit))
    counts = [max(m["count"] for m in metrics.values()) for _, _, metrics in found]
    columns.append(text_column("objects", "objects", [str(n) for n in counts], "number"))
    return Grid(
        key,
        title,
        tuple(columns),
        (f"{chosen.note}Mean over the objects with a sample in the bin.".strip(),),
    )


def _value(metrics: dict[str, dict[str, Any]], metric: str) -> float | str:
    return metrics[metric]["value"] if metric in metrics else "\u2014"


def across(study: Study, evidence: Evidence) -> Grid | None:
    """One modality told from another alone: error and calibration."""
    modality = evidence.modality
    found = sources(study, modality)
    if not found:
        return None
    grids = [_from(study, evidence, source) for source in found]
    columns = list(grids[0])
    for i, column in enumerate(columns):
        entries = tuple(e for grid in grids for e in grid[i].entries)
        columns[i] = Column(column.key, column.title, entries, column.unit, column.kind)
    return Grid(
        f"across-{slug(modality)}",
        f"{modality} told from another modality alone, test objects that have both",
        tuple(columns),
        (
            "Told from all: the error of the same model that reads every modality, over all test "
            "objects.",
        ),
    )


def _from(study: Study, evidence: Evidence, source: str) -> list[Column]:
    estimate = FROM + source
    rows = _with(study, evidence, METRIC, estimate)
    columns = [
        text_column("model", "model", [title(r.model) for r in rows]),
        text_column("from", "told from", [source] * len(rows)),
    ]
    if not is_at_one_place(configurations(study, evidence)):
        places = [str(r.x or "") for r in rows]
        columns.append(text_column("x", evidence.x.title, places, "number"))
    for metric, told, words in (
        (METRIC, estimate, "absolute error"),
        (METRIC, None, "told from all"),
        ("squared_error", estimate, "squared error"),
        *((f"coverage_{level}", estimate, f"coverage {level} %") for level in LEVELS),
        ("width_90", estimate, "width 90 %"),
        ("crps", estimate, "CRPS"),
    ):
        columns.append(metric_column(study, evidence, rows, metric, told, words))
    return columns
