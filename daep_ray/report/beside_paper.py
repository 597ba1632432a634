"""Tables laid out as a paper prints them, each of our numbers beside the paper's.

In: a study and the paper's entries as printed, `0.038 (0.034)`. Out: grids and sentences: errors
and probes of one modality (Tables 1 to 3 of arXiv 2510.20595), squared errors of a modality told
from another by phase (its Table 4), and whether two models stand in the paper's order.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from daep_ray.evaluate.phases import CENTRES, HALF_WIDTH
from daep_ray.report.grid import DOES_NOT_APPLY, Column, Entry, Grid, missing, range_entry
from daep_ray.report.grid import text_column as words_column
from daep_ray.report.numbers import listing, significant
from daep_ray.report.printed import Printed, value_of
from daep_ray.report.source import MEAN, REFERENCES, Cell, Study
from daep_ray.report.style import title
from daep_ray.study.statistics import (
    paired_difference,
    passes_gate,
    seed_interval,
)

ERROR, REFERENCE = "mean_of_draws", "reference"
PAPER = "paper"
MAGNITUDES = "mag"
PLACES = 3  # decimals, as the paper has them


@dataclass(frozen=True)
class _Column:
    """What is shown of every model; `printed` names the paper's entry beside it."""

    key: str
    head: str
    metric: str
    estimate: str  # of a trained model
    of_reference: str = ""  # the same of a reference; empty: it has none
    printed: str = ""


def reconstruction_grid(
    study: Study,
    name: str,
    caption: str,
    modality: str,
    printed: Mapping[str, Printed],
) -> Grid:
    """Tables 1 to 3: a row per model, then the references and the majority's answer.

    Of a survey in magnitudes the error in magnitudes too. Notes say what was measured; a model that
    has not passed the learning gate says so.
    """
    shown = [
        _Column("error", "abs. error", "absolute_error", ERROR, REFERENCE, "error"),
        _Column("one_draw", "one draw", "absolute_error", "one_draw"),
        _Column("copied", "shown copied", "absolute_error", "shown_copied"),
        _Column("accuracy", "probe accuracy", "probe_accuracy", "probe", "probe", "accuracy"),
        _Column("f1", "macro F1", "probe_macro_f1", "probe", "probe", "f1"),
    ]
    if study.declaration(modality).get("value", {}).get("unit") == MAGNITUDES:
        physical = "absolute_error_physical"
        shown.insert(1, _Column("physical", f"error, {MAGNITUDES}", physical, ERROR, REFERENCE))
    models = list(dict.fromkeys(cell.model for cell in study.cells))
    columns = [_names(study, modality, models)]
    for column in shown:
        entries = [_entry(study, modality, model, column) for model in models]
        columns.append(_column(column.key, column.head, [*entries, _majority(study, column.key)]))
        if column.printed:
            of_paper = [_as_printed(getattr(printed.get(m), column.printed, "")) for m in models]
            columns.append(_column(f"{column.key}_{PAPER}", PAPER, [*of_paper, _nothing()]))
    notes = (
        "Errors: mean absolute error in z units of the mean of the draws, mean (SD) over test "
        "objects; of a masked autoencoder over the values that it was not shown, under 'shown "
        "copied' over all. Probes: mean (SD) over splits. With several seeds the 95 % interval of "
        "their mean follows.",
    )
    return Grid(name, caption, tuple(columns), notes)


def phase_grid(
    study: Study,
    name: str,
    caption: str,
    source: str,
    target: str,
    printed: Mapping[str, Sequence[str]],
    sd: float = 1.0,
) -> Grid:
    """Table 4: squared errors of `target` told from `source` alone, by days from peak.

    `sd` is the size of a z unit in the unit that errors are shown in. `printed`: per model an entry
    for each of `CENTRES`.
    """
    models = list(dict.fromkeys(cell.model for cell in study.cells))
    columns = [words_column("model", "model", [title(model) for model in models])]
    for place, centre in enumerate(CENTRES):
        ours = [_of_phase(study, model, source, target, centre, sd) for model in models]
        theirs = [_as_printed(printed[m][place] if m in printed else "") for m in models]
        days = f"{centre:g} d"
        columns.append(_column(f"day_{centre:g}", days, ours))
        columns.append(_column(f"day_{centre:g}_{PAPER}", PAPER, theirs))
    notes = (
        f"Mean (SD) over test objects of the squared error of the mean of draws, {target} told "
        f"from {source} alone, samples within {HALF_WIDTH:g} days.",
    )
    return Grid(name, caption, tuple(columns), notes)


def order_grid(
    study: Study, name: str, modality: str, printed: Mapping[str, Printed]
) -> tuple[list[Grid], str]:
    """Whether every two models of the paper stand here as there; the sentence about all of them.

    No grid where fewer than two can be ranked.

    Paired over test objects and crossed with seeds; a model below the learning gate is not ranked.
    """
    errors = _object_errors(study, modality)
    learnt = [m for m in printed if m in errors and has_learnt(study, modality, m)]
    rows = []
    for first, second in combinations(learnt, 2):
        theirs = value_of(printed[first].error) - value_of(printed[second].error)
        difference = paired_difference(errors[first], errors[second])
        low, high = difference.low, difference.high
        is_open = low <= 0 <= high
        verdict = "open" if is_open else _verdict(theirs, difference.mean)
        ours = range_entry(difference.mean, low, high, PLACES, is_best=False)
        pair = f"{title(first)} less {title(second)}"
        rows.append((Entry(pair), Entry(f"{theirs:+.3f}"), ours, Entry(verdict)))
    heads = ("models", "paper", "here, 95 % interval", "order")
    kinds = ("text", "number", "number", "text")
    if not rows:
        return [], _order(study, modality, printed, learnt)
    columns = zip(heads, kinds, zip(*rows, strict=True), strict=True)
    grid = Grid(
        name,
        "Which of two models has the lower error?",
        tuple(
            Column(f"c{i}", head, tuple(column), kind=kind)
            for i, (head, kind, column) in enumerate(columns)
        ),
    )
    return [grid], _order(study, modality, printed, learnt)


def _order(
    study: Study, modality: str, printed: Mapping[str, Printed], learnt: Sequence[str]
) -> str:
    ours = study.values(modality, "absolute_error")
    mean = {m: _mean([ours[c.cell] for c in _cells(study, m) if c.cell in ours]) for m in learnt}
    there = sorted(printed, key=lambda m: value_of(printed[m].error))
    said = (
        f"Lowest error first, the paper: {_listed({m: value_of(printed[m].error) for m in there})}"
    )
    here = _listed({m: mean[m] for m in sorted(learnt, key=mean.__getitem__)})
    said += f"; here: {here or 'nothing to rank'}."
    if behind := [title(m) for m in printed if m not in learnt]:
        said += f" Not trained enough to be ranked, or missing: {listing(behind)}."
    return said


def _verdict(theirs: float, ours: float) -> str:
    if theirs == 0:
        return "level in the paper"
    return "as in the paper" if (theirs < 0) == (ours < 0) else "turned round"


def _listed(values: Mapping[str, float]) -> str:
    return ", ".join(f"{title(model)} {significant(value)}" for model, value in values.items())


def _cells(study: Study, model: str) -> list[Cell]:
    return [cell for cell in study.cells if cell.model == model]


def _object_errors(study: Study, modality: str) -> dict[str, dict[tuple[int, str], float]]:
    """By model: (seed, object) -> error."""
    found: dict[str, dict[tuple[int, str], float]] = {}
    by_cell = study.object_errors(modality, "absolute_error")
    for cell in study.trained:
        for object_id, error in by_cell.get(cell.cell, {}).items():
            assert cell.seed is not None
            found.setdefault(cell.model, {})[cell.seed, object_id] = error
    return found


def has_learnt(study: Study, modality: str, model: str) -> bool:
    """The learning gate, over all of a model's cells; False where it or the mean is missing."""
    values = study.values(modality, "absolute_error")
    of_mean, own = (
        [values[c.cell] for c in _cells(study, m) if c.cell in values] for m in (MEAN, model)
    )
    return bool(of_mean and own) and passes_gate(_mean(own), _mean(of_mean))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan


def _names(study: Study, modality: str, models: Sequence[str]) -> Column:
    """The models' names; who has not passed the learning gate has it behind the name."""
    words = []
    for model in models:
        is_done = any(c.state == "done" for c in _cells(study, model))
        is_low = model not in REFERENCES and is_done and not has_learnt(study, modality, model)
        words.append(title(model) + (", not trained enough" if is_low else ""))
    return words_column("model", "model", [*words, "always the commonest class"])


def _entry(study: Study, modality: str, model: str, column: _Column) -> Entry:
    is_reference = model in REFERENCES
    estimate = column.of_reference if is_reference else column.estimate
    cells = _cells(study, model)
    if reasons := [c.reason for c in cells if c.state != "done"]:
        return missing(reasons[0])
    rows = study.rows("metrics", metric=column.metric, estimate=estimate).to_pylist()
    ids = {cell.cell for cell in cells}
    found = [r for r in rows if r["cell"] in ids and r["modality"] == modality]
    if not found:
        return _nothing()
    return _shown(found)


def _shown(rows: Sequence[Mapping[str, float | None]], scale: float = 1.0) -> Entry:
    """`0.076 (0.025)`, and `± 0.004` behind it where there are several seeds."""
    over_seeds = seed_interval([r["value"] * scale for r in rows if r["value"] is not None])
    sds = [r["sd"] * scale for r in rows if r["sd"] is not None]
    text = _fixed(over_seeds.mean) + (f" ({_fixed(_mean(sds))})" if sds else "")
    if over_seeds.count < 2:
        return Entry(text, over_seeds.mean)
    half = f"± {_fixed(over_seeds.half_width)}"
    return Entry(text, over_seeds.mean, half, over_seeds.low, over_seeds.high)


def _fixed(value: float) -> str:
    """Three decimals as the paper has, two digits where that leaves nothing."""
    return f"{value:.{PLACES}f}" if abs(value) >= 0.01 or value == 0 else significant(value, 2)


def _majority(study: Study, key: str) -> Entry:
    """Accuracy p of the commonest class of C; its macro F1 is 2 p / (1 + p) / C."""
    found: dict[str, float] = {}
    for row in study.rows("metrics", estimate="probe").to_pylist():
        found.setdefault(row["metric"], row["value"])
    p, number = found.get("probe_majority_accuracy"), found.get("probe_num_classes")
    if key not in ("accuracy", "f1") or p is None or not number:
        return _nothing()
    value = p if key == "accuracy" else 2 * p / (1 + p) / number
    return Entry(_fixed(value), value)


def _of_phase(
    study: Study, model: str, source: str, target: str, centre: float, sd: float
) -> Entry:
    cells = _cells(study, model)
    if reasons := [c.reason for c in cells if c.state != "done"]:
        return missing(reasons[0])
    wanted = {"modality": target, "axis": "phase", "metric": "squared_error"}
    rows = study.rows("calibration", **wanted, estimate=f"from_{source}").to_pylist()
    ids = {cell.cell for cell in cells}
    found = [r for r in rows if r["cell"] in ids and r["low"] == centre - HALF_WIDTH]
    return _shown(found, sd**2) if found else missing("no sample at this phase")


def _as_printed(entry: str) -> Entry:
    return Entry(entry, value_of(entry)) if entry else _nothing()


def _nothing() -> Entry:
    return Entry(DOES_NOT_APPLY)


def _column(key: str, head: str, entries: Sequence[Entry]) -> Column:
    return Column(key, head, tuple(entries), kind="number")
