"""Tables of the results: every configuration's numbers, and the comparisons.

Study and evidence in, `Grid`s out. A configuration without a finished training keeps its row, and
says why.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

from daep_ray.evaluate import METRICS, Metric
from daep_ray.report.evidence import METRIC, Comparison, Evidence
from daep_ray.report.grid import (
    DOES_NOT_APPLY,
    NOT_MEASURED,
    Column,
    Entry,
    Grid,
    missing,
    number_column,
    percent_entry,
    range_decimals,
    range_entry,
    text_column,
)
from daep_ray.report.numbers import MINUS, NARROW, p_value
from daep_ray.report.points import FLOATS, model_order, shape, variant
from daep_ray.report.source import PREFERENCE, WITHOUT_CODE, Cell, Study
from daep_ray.report.style import title
from daep_ray.report.svg import slug
from daep_ray.study.statistics import Interval, passes_gate, seed_interval

# told apart from the ranked one, for the ranked metric
ESTIMATES = ("one_draw", "one_step", "shown_copied")
NETWORK = "network_probe"
BY_NETWORK = (
    ("probe_accuracy", "accuracy"),
    ("probe_balanced_accuracy", "balanced accuracy"),
    ("probe_macro_f1", "macro F1"),
)
SD_NOTE = (
    "Sd over objects: how far test objects' absolute errors lie apart (standard deviation, the "
    "mean of it over seeds). "
)
SHAPE = "length \u00d7 width"


@dataclass(frozen=True, eq=False)
class Configuration:
    """A row of the results: replicates of one model at one point of the design."""

    model: str
    x: Any
    shape: str
    variant: str
    cells: tuple[Cell, ...]

    @property
    def why_missing(self) -> str:
        states = [c.state for c in self.cells if c.state != "done"]
        return f"{states[0]}, see its training" if states else NOT_MEASURED


def configurations(study: Study, evidence: Evidence) -> list[Configuration]:
    """Every configuration of the design, finished or not."""
    x = evidence.x
    groups: dict[tuple[str, Any, str, str], list[Cell]] = {}
    for cell in study.cells:
        further = "" if cell.is_reference else variant(cell, x, study)
        groups.setdefault((cell.model, x.of(cell), shape(cell), further), []).append(cell)
    order = model_order(study)
    found = [Configuration(*key, tuple(cells)) for key, cells in groups.items()]

    def rank(c: Configuration) -> tuple[Any, ...]:
        place = math.inf if c.x is None else x.place(c.x)
        return (order.index(c.model), c.variant, place, c.shape)

    return sorted(found, key=rank)


def reconstruction(study: Study, evidence: Evidence) -> Grid:
    """Every configuration's errors, and whether it has learnt."""
    rows = configurations(study, evidence)
    best = [_is_best(evidence, row) for row in rows]
    columns, sd = [*design(evidence, rows), _seeds(rows)], _sd_column(study, evidence, rows)
    for metric in _metrics(study, evidence.modality, is_probe=False):
        for estimate in (None, *(ESTIMATES if metric == METRIC else ())):
            column = metric_column(study, evidence, rows, metric, estimate)
            if metric == METRIC and estimate is None:
                column = replace(column, entries=_in_bold(column.entries, best))
            columns += [column] if estimate is None or _has_numbers(column) else []
            if metric == METRIC and estimate is None and _has_numbers(sd):
                columns.append(sd)
    verdicts = [_gate(study, evidence, r) for r in rows]
    columns.append(text_column("verdict", "learning gate", verdicts))
    return Grid(
        f"reconstruction-{slug(evidence.modality)}",
        f"Reconstruction of {evidence.modality}, test objects{place(evidence, rows)}",
        tuple(columns),
        (
            "Errors are those of the mean of draws, where a model has draws, unless the column "
            "says otherwise; mean over objects. \u00b1: half width of the "
            f"95{NARROW}% interval over seeds. {SD_NOTE if _has_numbers(sd) else ''}"
            "Bold: better than every other of its size, interval and corrected p-value agreeing. "
            f"{DOES_NOT_APPLY}: does not apply.",
        ),
    )


def probe(study: Study, evidence: Evidence) -> Grid | None:
    """What a linear probe reads from every configuration's code, and a small network where it was
    asked too; None if nobody asked one."""
    coded = replace(evidence, modality=study.coded(evidence.modality))
    metrics = _metrics(study, coded.modality, is_probe=True)
    rows = [r for r in configurations(study, evidence) if r.model not in WITHOUT_CODE]
    if not metrics or not rows:
        return None
    columns = [*design(evidence, rows), _seeds(rows)]
    columns += [metric_column(study, coded, rows, metric, None) for metric in metrics]
    bent = [
        metric_column(study, coded, rows, metric, NETWORK, f"network, {words}")
        for metric, words in BY_NETWORK
    ]
    bent = [column for column in bent if _has_numbers(column)]
    notes = ["Mean over the probe's splits, which keep an object's samples together."]
    if bent:
        notes.append("Network: one hidden layer on the same splits.")
    return Grid(
        f"probe-{slug(coded.modality)}",
        f"Linear probe of the code of {coded.modality}{place(evidence, rows)}",
        (*columns, *bent),
        (" ".join(notes),),
    )


def told(study: Study, evidence: Evidence) -> Grid | None:
    """Numbers told from every configuration's code (R2), and whether codes fall into classes."""
    coded = replace(evidence, modality=study.coded(evidence.modality))
    where = {"modality": coded.modality}
    known = study.rows("metrics", **where, metric="probe_r2")["estimate"].to_pylist()
    asked = [("probe_r2", e, f"{_label(e)}, R\u00b2") for e in sorted(set(known)) if e != "probe"]
    for metric, title_ in (("kmeans_adjusted_rand", "k-means, Rand"), ("class_silhouette", "")):
        if study.rows("metrics", **where, metric=metric).num_rows:
            asked.append((metric, "clusters", title_ or METRICS[metric].title))
    rows = [r for r in configurations(study, evidence) if r.model not in WITHOUT_CODE]
    if not asked or not rows:
        return None
    columns = design(evidence, rows)
    columns += [metric_column(study, coded, rows, *one) for one in asked]
    return Grid(
        f"told-{slug(coded.modality)}",
        f"Numbers and clusters in the code of {coded.modality}{place(evidence, rows)}",
        tuple(columns),
        (
            "R\u00b2 of a ridge regression on objects that it was not fitted on: 1 tells the "
            "number, 0 no better than its mean. Adjusted Rand index between k-means clusters and "
            "classes, and silhouette of the classes: 1 apart, 0 mixed.",
        ),
    )


def _label(estimate: str) -> str:
    return estimate.removeprefix("probe_").replace("_", " ")


def _metrics(study: Study, modality: str, is_probe: bool) -> list[str]:
    """The metrics that anything was measured by, in the package's order, unknown ones last.

    Those that compare modalities alone (recall, told `from_` one of them), and what is told of all
    draws together or by other probes, have no column here.
    """
    rows = study.rows("metrics", modality=modality)
    if not rows.num_rows:
        return []
    kinds = zip(rows["metric"].to_pylist(), rows["estimate"].to_pylist(), strict=True)
    found = {
        metric
        for metric, estimate in kinds
        if (estimate == "probe" if is_probe else estimate in (*PREFERENCE, *ESTIMATES))
    }
    return [m for m in METRICS if m in found] + sorted(found - METRICS.keys())


def design(evidence: Evidence, rows: list[Configuration]) -> list[Column]:
    """What tells the rows apart; what all share stands in the caption (`place`)."""
    columns = [text_column("model", "model", [title(r.model) for r in rows])]
    if not is_at_one_place(rows):
        columns.append(_place_column(evidence, rows))
        if evidence.x.path == FLOATS and any(r.shape for r in rows):
            columns.append(text_column("shape", SHAPE, [r.shape for r in rows]))
    if any(r.variant for r in rows):
        columns.append(text_column("variant", "variant", [r.variant for r in rows]))
    return columns


def is_at_one_place(rows: list[Configuration]) -> bool:
    """Whether all rows stand at one place of the x-axis, with one shape of the code."""
    places = {r.x for r in rows if r.x is not None}
    return len(places) == 1 and len({r.shape for r in rows if r.shape}) <= 1


def place(evidence: Evidence, rows: list[Configuration]) -> str:
    """The place that all rows share, as a caption's end."""
    if not is_at_one_place(rows):
        return ""
    x = next(r.x for r in rows if r.x is not None)
    shape = next((r.shape for r in rows if r.shape), "")
    return f", {evidence.x.label(x)}" + (f" ({shape})" if shape else "")


def _seeds(rows: list[Configuration]) -> Column:
    return text_column("seeds", "seeds", [_count(r) for r in rows], "number")


def _count(row: Configuration) -> str:
    if row.cells[0].is_reference:
        return ""
    done = sum(c.state == "done" for c in row.cells)
    return f"{done} of {len(row.cells)}"


def _place_column(evidence: Evidence, rows: list[Configuration]) -> Column:
    if not evidence.x.is_numeric:
        return text_column("x", evidence.x.title, [str(r.x or "") for r in rows])
    entries = tuple(Entry("", None) if r.x is None else Entry(f"{r.x:g}", r.x) for r in rows)
    return Column("x", evidence.x.title, entries, kind="number")


def metric_column(
    study: Study,
    evidence: Evidence,
    rows: list[Configuration],
    metric: str,
    estimate: str | None,
    title: str = "",
) -> Column:
    """A metric of every configuration."""
    values = study.values(evidence.modality, metric, estimate)
    known = METRICS.get(metric, Metric(metric.replace("_", " "), "", is_lower_better=True))
    unit = known.unit
    if unit == "physical":
        unit = study.declaration(evidence.modality).get("value", {}).get("unit") or unit
    found = [_interval(row, values, metric, estimate) for row in rows]
    name = estimate.replace("_", " ") if estimate else known.title.removeprefix("probe ")
    name = title or name
    key = f"{metric}_{estimate}" if estimate else metric
    is_count = known.unit == "count"
    return number_column(
        key,
        name,
        found,
        "" if unit in ("count", "fraction") else unit,
        num_decimals=0 if is_count else None,
        digits=known.digits,
    )


def _sd_column(study: Study, evidence: Evidence, rows: list[Configuration]) -> Column:
    """How far the objects' errors lie apart, beside the mean over objects."""
    known = study.object_sds(evidence.modality, METRIC)
    measured = study.values(evidence.modality, METRIC)
    found: list[Interval | float | str] = []
    for row in rows:
        own = [known[c.cell] for c in row.cells if c.cell in known]
        is_measured = any(c.cell in measured for c in row.cells)
        found.append(fmean(own) if own else DOES_NOT_APPLY if is_measured else row.why_missing)
    return number_column(f"{METRIC}_sd", "sd over objects", found, METRICS[METRIC].unit, digits=2)


def _has_numbers(column: Column) -> bool:
    return any(e.raw is not None for e in column.entries)


def _in_bold(entries: tuple[Entry, ...], best: list[bool]) -> tuple[Entry, ...]:
    return tuple(replace(e, is_best=b) for e, b in zip(entries, best, strict=True))


def _interval(
    row: Configuration, values: Mapping[str, float], metric: str, estimate: str | None
) -> Interval | float | str:
    found = [values[c.cell] for c in row.cells if c.cell in values]
    if found and metric.startswith("probe_num"):
        return sum(found) / len(found)
    if found:
        return seed_interval(found)
    is_done = any(c.state == "done" for c in row.cells)
    return DOES_NOT_APPLY if estimate and is_done else row.why_missing


def _gate(study: Study, evidence: Evidence, row: Configuration) -> str:
    values = study.values(evidence.modality, METRIC)
    found = [values[c.cell] for c in row.cells if c.cell in values]
    if row.cells[0].is_reference or not found:
        return ""
    if evidence.mean is None:
        return "missing: no training mean"
    return (
        "passed" if passes_gate(seed_interval(found).mean, evidence.mean) else "not trained enough"
    )


def _is_best(evidence: Evidence, row: Configuration) -> bool:
    """Whether the row won every comparison that it was in, and was in one."""
    won = []
    for c in evidence.comparisons:
        if c.x != row.x:
            continue
        if (c.first.model, c.first.variant, c.shape) == (row.model, row.variant, row.shape):
            won.append(c.verdict == "better")
        elif c.second.model == row.model and row.shape in ("", c.shape):
            won.append(c.verdict == "worse")
    return bool(won) and all(won)


def comparisons(evidence: Evidence) -> Grid:
    """Every paired comparison, the first minus the second."""
    found = evidence.comparisons
    digits = range_decimals(c.difference for c in found)
    columns = [
        text_column("pair", f"first {MINUS} second", [_pair(c) for c in found]),
        text_column(
            "x", evidence.x.title, ["" if c.is_flat else str(c.x) for c in found], "number"
        ),
    ]
    if _shapes_differ(found):
        columns.append(text_column("shape", SHAPE, [c.shape for c in found]))
    columns += [
        Column(
            "difference", "difference", tuple(_difference(c, digits) for c in found), "z", "number"
        ),
        Column("relative", "relative", tuple(_relative(c) for c in found), "", "number"),
        Column("p", "corrected p", tuple(p_entry(c.p) for c in found), "", "number"),
        Column("better", "objects better", tuple(_share(c) for c in found), "", "number"),
        text_column("objects", "objects", [str(c.difference.num_objects) for c in found], "number"),
        text_column("seeds", "seeds", [str(c.difference.num_seeds) for c in found], "number"),
        text_column("verdict", "the first is", [_words(c) for c in found]),
    ]
    return Grid(
        f"comparisons-{slug(evidence.modality)}",
        f"Paired differences of the error, {evidence.modality}; negative: the first is better",
        tuple(columns),
    )


def _pair(c: Comparison) -> str:
    return f"{c.first.name} {MINUS} {c.second.name}"


def _shapes_differ(found: tuple[Comparison, ...]) -> bool:
    return len({(c.x, c.shape) for c in found}) > len({c.x for c in found})


def _difference(c: Comparison, digits: int) -> Entry:
    d = c.difference
    return range_entry(d.mean, d.low, d.high, digits, c.verdict in ("better", "worse"))


def _relative(c: Comparison) -> Entry:
    return (
        percent_entry(c.relative[0], sign=True)
        if c.difference.num_objects
        else missing("no object in common")
    )


def p_entry(p: float) -> Entry:
    """A corrected p-value, NaN where nothing is paired."""
    return missing("no object in common") if math.isnan(p) else Entry(p_value(p), p)


def _share(c: Comparison) -> Entry:
    return percent_entry(c.difference.share_better)


def _words(c: Comparison) -> str:
    words = {"better": "better", "worse": "worse", "tie": "not told apart"}
    return words.get(c.verdict, "not ranked: not trained enough")
