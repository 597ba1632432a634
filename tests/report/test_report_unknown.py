"""Metrics, estimates and tables that a page does not know change nothing on it."""

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa

from daep_ray.report.evidence import gather
from daep_ray.report.html import render
from daep_ray.report.page import compose
from daep_ray.report.results import reconstruction
from daep_ray.report.source import read
from daep_ray.study import tables
from tests.report.fake_study import Fake, make


def test_rows_that_no_part_of_a_page_shows_do_not_change_it(
    text_of: Callable[[Fake], str], tmp_path: Path
) -> None:
    out = make(tmp_path / "study", Fake())
    before = text_of(Fake())
    metrics = tables.read(out, "metrics")
    cell, place = metrics["cell"][0].as_py(), {"modality": "spectrum", "split": "test"}
    rows = [
        {"cell": cell, **place, "estimate": estimate, "metric": metric, "value": 0.5, "count": 3}
        for estimate, metric in (
            ("draws", "something_new"),
            ("neighbour_probe", "probe_accuracy"),
            ("told_by_nobody", "absolute_error"),
            ("told_by_nobody", "something_new"),
        )
    ]
    bins = [
        {**row, "axis": axis, "low": -15.0, "high": -5.0, "metric": "something_new"}
        for row in rows
        for axis in ("scale", "hour")
    ]
    known = tables.read(out, "calibration")
    tables.write(
        out / "tables",
        {
            "metrics": tables.sort(
                "metrics", pa.concat_tables([metrics, tables.from_rows("metrics", rows)])
            ),
            "calibration": tables.merge(
                "calibration", [known, tables.from_rows("calibration", bins)]
            ),
        },
    )
    assert render(compose(read(out))) == before


def test_an_unknown_metric_of_an_estimate_that_is_shown_has_a_column(tmp_path: Path) -> None:
    out = make(tmp_path / "study", Fake())
    metrics = tables.read(out, "metrics")
    shown = [
        {**row, "metric": "something_new", "value": 0.5}
        for row in metrics.to_pylist()
        if (row["metric"], row["estimate"]) == ("absolute_error", "mean_of_draws")
    ]
    assert shown
    more = pa.concat_tables([metrics, tables.from_rows("metrics", shown)])
    tables.write(out / "tables", {"metrics": tables.sort("metrics", more)})
    study = read(out)
    titles = [c.title for c in reconstruction(study, gather(study, "spectrum")).columns]
    assert "something new" in titles
