"""What one choice at a time moves: a number before, the same after, the difference.

In: two places of studies (a model, and which estimate of its error). Out: grids. Errors are paired
over test objects and crossed with the seeds; probes have one number per seed, so their difference
has an interval over seeds alone.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from daep_ray.report.grid import Column, Entry, Grid, missing, range_entry, text_column
from daep_ray.report.numbers import p_value
from daep_ray.report.source import Study
from daep_ray.study.statistics import Difference, holm, paired_difference, seed_interval

PLACES = 3  # decimals


@dataclass(frozen=True)
class Place:
    """Where a number stands."""

    study: Study
    model: str
    estimate: str = "mean_of_draws"


@dataclass(frozen=True)
class Moved:
    """One choice: `what` it is, the paper's `tables` that it concerns, its two places.

    `metric` of the error: `absolute_error_physical` where z units differ between the places.
    """

    what: str
    tables: str
    before: Place
    after: Place
    metric: str = "absolute_error"


def error_grid(name: str, caption: str, modality: str, rows: Sequence[Moved]) -> Grid:
    """A row per choice: error from, to, difference with its 95 % interval, Holm's p over all."""
    found = [_difference(row, modality) for row in rows]
    corrected = holm([d.p for d in found])
    columns = [
        text_column("what", "the published code's choice", [row.what for row in rows]),
        text_column("tables", "concerns", [row.tables for row in rows]),
        text_column("estimate", "error", [_kind(row) for row in rows]),
        _numbers("before", "from", [_error(row.before, modality, row.metric) for row in rows]),
        _numbers("after", "to", [_error(row.after, modality, row.metric) for row in rows]),
        _numbers("difference", "difference, 95 % interval", [_ranged(d) for d in found]),
        _numbers("p", "p", [_p(p) for p in corrected]),
    ]
    notes = ("p: bootstrap over objects crossed with seeds, corrected over all rows (Holm).",)
    return Grid(name, caption, tuple(columns), notes)


def probe_grid(name: str, caption: str, modality: str, rows: Sequence[Moved]) -> Grid:
    """A row per choice: the probe's accuracy from, to; (SD) over splits."""
    before = [_probes(row.before, modality) for row in rows]
    after = [_probes(row.after, modality) for row in rows]
    columns = [
        text_column("what", "the published code's choice", [row.what for row in rows]),
        _numbers("before", "from (SD)", [_accuracy(found) for found in before]),
        _numbers("after", "to (SD)", [_accuracy(found) for found in after]),
        _numbers(
            "difference", "difference", [_of_seeds(*p) for p in zip(before, after, strict=True)]
        ),
    ]
    return Grid(name, caption, tuple(columns))


def _numbers(key: str, head: str, entries: Sequence[Entry]) -> Column:
    return Column(key, head, tuple(entries), kind="number")


def _kind(row: Moved) -> str:
    """`mean of draws`, `mean of draws to one draw`, `mean of draws, physical`."""
    ends = dict.fromkeys((row.before.estimate, row.after.estimate))
    words = " to ".join(ends).replace("_", " ")
    return words + (", physical" if row.metric.endswith("physical") else "")


def _cells(place: Place) -> dict[str, int]:
    """The seeds of the place's cells."""
    cells = [c for c in place.study.trained if c.model == place.model]
    return {c.cell: c.seed for c in cells if c.seed is not None}


def _errors(place: Place, modality: str, metric: str) -> dict[tuple[int, str], float]:
    """(seed, object) -> error."""
    seeds = _cells(place)
    rows = place.study.rows("objects", modality=modality, metric=metric, estimate=place.estimate)
    return {
        (seeds[row["cell"]], row["object_id"]): row["value"]
        for row in rows.to_pylist()
        if row["cell"] in seeds and row["value"] is not None and math.isfinite(row["value"])
    }


def _difference(row: Moved, modality: str) -> Difference:
    after, before = (_errors(p, modality, row.metric) for p in (row.after, row.before))
    return paired_difference(after, before)


def _error(place: Place, modality: str, metric: str) -> Entry:
    found = list(_errors(place, modality, metric).values())
    if not found:
        return missing(_reason(place))
    mean = sum(found) / len(found)
    return Entry(f"{mean:.{PLACES}f}", mean)


def _reason(place: Place) -> str:
    cells = [c for c in place.study.trained if c.model == place.model]
    return next((c.reason for c in cells if c.state != "done"), "no such number")


def _ranged(found: Difference) -> Entry:
    return range_entry(found.mean, found.low, found.high, PLACES, is_best=False)


def _p(p: float) -> Entry:
    return missing("nothing in common") if math.isnan(p) else Entry(p_value(p), p)


def _probes(place: Place, modality: str) -> dict[int, tuple[float, float]]:
    """By seed: accuracy and its SD over splits."""
    seeds = _cells(place)
    rows = place.study.rows("metrics", modality=modality, metric="probe_accuracy", estimate="probe")
    return {
        seeds[row["cell"]]: (row["value"], row["sd"] or 0.0)
        for row in rows.to_pylist()
        if row["cell"] in seeds
    }


def _accuracy(found: dict[int, tuple[float, float]]) -> Entry:
    if not found:
        return missing("no probe")
    mean, sd = (sum(part) / len(found) for part in zip(*found.values(), strict=True))
    return Entry(f"{mean:.{PLACES}f} ({sd:.{PLACES}f})", mean)


def _of_seeds(
    before: dict[int, tuple[float, float]], after: dict[int, tuple[float, float]]
) -> Entry:
    common = sorted(before.keys() & after.keys())
    if not common:
        return missing("no seed in common")
    found = seed_interval([after[s][0] - before[s][0] for s in common])
    if found.count < 2:
        return Entry(f"{found.mean:+.{PLACES}f}", found.mean)
    return range_entry(found.mean, found.low, found.high, PLACES, is_best=False)
