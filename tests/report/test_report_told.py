"""What a page shows of a modality told from another one: its residuals, and both ways by phase."""

from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest

from daep_ray.report import sections
from daep_ray.report.chosen import Chosen, choose
from daep_ray.report.evidence import Evidence, gather
from daep_ray.report.figures_residuals import told_rows
from daep_ray.report.numbers import MINUS
from daep_ray.report.results_draws import by_phase_of
from daep_ray.report.source import Study, read
from daep_ray.study import tables
from tests.report.fake_study import Fake, make

ENDS = ("residual_16", "residual_50", "residual_84")
BINS = ((4000.0, 5000.0), (5000.0, 6000.0))


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return read(make(tmp_path_factory.mktemp("study"), Fake(seeds=(0,))))


def told(study: Study, axis: str, values: dict[str, float], low: float, high: float) -> pa.Table:
    """Rows of what spectra told from photometry are, a value of each metric, of every training."""
    rows: list[dict[str, Any]] = [
        {
            "cell": cell.cell,
            "modality": "spectrum",
            "split": "test",
            "axis": axis,
            "estimate": "from_photometry",
            "metric": metric,
            "value": value,
            "low": low,
            "high": high,
            "count": 40,
        }
        for cell in study.trained
        for metric, value in values.items()
    ]
    return tables.from_rows("calibration", rows)


def with_rows(study: Study, *more: pa.Table) -> tuple[Study, Evidence, Chosen]:
    found = pa.concat_tables([study.tables["calibration"], *more])
    changed = replace(study, tables=study.tables | {"calibration": found})
    known = tables.from_rows(
        "metrics",
        [
            {**row, "estimate": "from_photometry"}
            for row in study.tables["metrics"].to_pylist()
            if row["estimate"] == "mean_of_draws" and row["modality"] == "spectrum"
        ],
    )
    metrics = pa.concat_tables([study.tables["metrics"], known])
    changed = replace(changed, tables=changed.tables | {"metrics": metrics})
    evidence = gather(changed, "spectrum")
    chosen = choose(evidence)
    assert chosen is not None
    return changed, evidence, chosen


def residuals(middle: float) -> dict[str, float]:
    # `residual_power` is of a spectrum's scales, not of a position
    values = dict(zip(ENDS, (middle - 1, middle, middle + 1), strict=True))
    return values | {"residual_power": 9.0, "absolute_error": 5.0}


def test_residuals_are_told_by_phase_where_phases_are_known(bare: Study) -> None:
    more = [told(bare, "position", residuals(7.0), *BINS[0])]
    for phase in (-10.0, 0.0):
        for low, high in BINS:
            axis = f"position at phase {phase:g}"
            more.append(told(bare, axis, residuals(phase + low / 1000), low, high))
    study, evidence, chosen = with_rows(bare, *more[::-1])
    rows = told_rows(study, "spectrum", "photometry", chosen)
    assert list(dict.fromkeys(r["category"] for r in rows)) == [f"{MINUS}10 day", "0 day"]
    (first,) = {c.cell for c in chosen.trained if c.model == "daep"}
    own = sorted(
        (r["category"], r["position_low"], r["median"]) for r in rows if r["cell"] == first
    )
    assert own == [
        ("0 day", 4000.0, 4.0),
        ("0 day", 5000.0, 5.0),
        (f"{MINUS}10 day", 4000.0, -6.0),
        (f"{MINUS}10 day", 5000.0, -5.0),
    ]
    assert all((r["low"], r["high"]) == (r["median"] - 1, r["median"] + 1) for r in rows)
    section = sections.fails(study, evidence, chosen)
    (drawing,) = [d for d in section.drawings if d.name == "residuals-spectrum-photometry"]
    assert drawing.caption.startswith("Told from photometry alone, with ")
    assert "by the phase of the spectrum" in drawing.caption
    assert "is furthest from 0" in drawing.alt
    assert f"Å at {MINUS}10 day" in drawing.alt


def test_residuals_are_told_by_band_else_over_all(bare: Study) -> None:
    of_all = told(bare, "position", residuals(7.0), *BINS[0])
    study, _, chosen = with_rows(bare, of_all)
    rows = told_rows(study, "spectrum", "photometry", chosen)
    assert {(r["category"], r["median"]) for r in rows} == {("", 7.0)}
    assert told_rows(study, "spectrum", "radio", chosen) == []
    study, evidence, chosen = with_rows(
        bare, of_all, told(bare, "position in g", residuals(3.0), *BINS[0])
    )
    rows = told_rows(study, "spectrum", "photometry", chosen)
    assert {(r["category"], r["median"]) for r in rows} == {("g", 3.0)}
    section = sections.fails(study, evidence, chosen)
    (drawing,) = [d for d in section.drawings if d.name == "residuals-spectrum-photometry"]
    assert "phase" not in drawing.caption


def test_a_study_measured_before_that_has_no_such_figure(bare: Study) -> None:
    study, evidence, chosen = with_rows(bare)
    names = {d.name for d in sections.fails(study, evidence, chosen).drawings}
    assert "residuals-spectrum" in names
    assert "residuals-spectrum-photometry" not in names


def test_what_a_source_tells_by_its_phase_is_a_table(bare: Study) -> None:
    axis = "phase of photometry"
    early = told(bare, axis, {"absolute_error": 0.25, "coverage_90": 0.8}, -10.0, 0.0)
    late = told(bare, axis, {"absolute_error": 0.5}, 0.0, 10.0)
    study, evidence, chosen = with_rows(bare, late, early)
    grid = by_phase_of("photometry", study, "spectrum", chosen)
    assert grid is not None
    found = {c.key: [e.text for e in c.entries] for c in grid.columns}
    num = len(chosen.trained)
    assert found["phase"] == [f"{MINUS}10 to 0", "0 to 10"] * num
    assert found["absolute_error"] == ["0.250", "0.500"] * num
    assert [found["coverage_90"][i] for i in (0, 1)] == ["0.800", "\u2014"]
    assert found["objects"] == ["40", "40"] * num
    assert (
        grid.caption
        == "spectrum told from photometry, by the phase of the photometry, test objects"
    )
    assert grid in sections.fails(study, evidence, chosen).grids
    assert by_phase_of("radio", study, "spectrum", chosen) is None
