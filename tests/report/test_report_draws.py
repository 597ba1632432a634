"""What draws, groups and codes say on the page is what their tables hold."""

from collections.abc import Callable
from pathlib import Path

import pytest

from daep_ray.report import sections
from daep_ray.report.chosen import Chosen, choose
from daep_ray.report.evidence import Evidence, across, gather, sources
from daep_ray.report.figures_calibration import coverages, with_draws
from daep_ray.report.figures_codes import map_figure
from daep_ray.report.html import render
from daep_ray.report.page import compose
from daep_ray.report.results_draws import across as across_grid
from daep_ray.report.results_draws import by_phase, calibration
from daep_ray.report.results_groups import confusion, groups, spectral_lines
from daep_ray.report.source import Study, read
from daep_ray.study import tables
from tests.report.fake_study import Fake, make

Known = tuple[Study, Evidence, Chosen]


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Known:
    study = read(make(tmp_path_factory.mktemp("study"), Fake(seeds=(0,))))
    evidence = gather(study, "spectrum")
    chosen = choose(evidence)
    assert chosen is not None
    return study, evidence, chosen


def test_coverage_is_shown_beside_what_finite_draws_can_give(known: Known) -> None:
    study, _, chosen = known
    (daep,) = with_draws(study, "spectrum", chosen)
    for level, target, found in coverages(study, "spectrum", daep):
        assert target == pytest.approx(level / 100 * 7 / 9)  # eight draws
        assert found == pytest.approx(0.8 * target)


def test_draws_that_are_all_the_same_are_left_out_and_said_so(known: Known) -> None:
    study, evidence, chosen = known
    section = sections.fails(study, evidence, chosen)
    (drawing,) = [d for d in section.drawings if d.name == "coverage-spectrum"]
    assert "All draws of VAE are the same: it is left out." in drawing.caption
    assert "VAE" not in drawing.alt
    grid = calibration(study, evidence)
    assert grid is not None
    assert "VAE" in [e.text for e in grid.columns[0].entries]


def test_phases_have_the_tables_numbers(known: Known) -> None:
    study, _, chosen = known
    grid = by_phase(study, "spectrum", chosen)
    assert grid is not None
    (daep,) = [c for c in chosen.trained if c.model == "daep"]
    where = {"cell": daep.cell, "axis": "phase", "metric": "crps"}
    wanted = [r["value"] for r in study.rows("calibration", **where).to_pylist()]
    column = next(c for c in grid.columns if c.key == "crps")
    assert [e.raw for e in column.entries][: len(wanted)] == wanted
    assert [e.text for e in column.entries][-1] == "\u2014"  # PCA has no draws


def test_groups_and_confusion_have_the_tables_numbers(known: Known) -> None:
    study, _, chosen = known
    grid = groups(study, "spectrum", chosen)
    assert grid is not None
    names = [e.text for e in grid.columns[0].entries]
    assert names[:4] == ["II", "Ia", "Ib", "Ic"]
    assert names[4:] == ["S/N 0 to 3", "S/N 3 to 10", "S/N 10 to 30", "S/N above 30"]
    told = confusion(study, "spectrum", chosen)
    assert told is not None
    for row in told.rows:
        shares = [e.raw for e in row[3:]]
        assert sum(shares) == pytest.approx(1)  # type: ignore[arg-type]


def test_a_single_group_is_told_too(tmp_path: Path) -> None:
    """A class with enough objects, and nothing to hold it against: no empty sentence."""
    out = make(tmp_path, Fake(seeds=(0,)))
    rows = [r for r in tables.read(out, "groups").to_pylist() if r["name"] == "Ia"]
    tables.write(out / "tables", {"groups": tables.from_rows("groups", rows)})
    (drawn,) = [d for d in compose(read(out)).drawings if d.name.startswith("groups")]
    assert drawn.alt.startswith("Error by group: daep 0.")
    assert "for Ia; VAE 0." in drawn.alt
    assert "S/N" not in drawn.caption


def test_a_map_says_how_many_objects_it_shows(known: Known) -> None:
    study, _, chosen = known
    drawing = map_figure("codes", study, "spectrum", chosen.cells[0].cell, "daep", "test")
    assert drawing is not None
    titles = [ax.get_title(loc="left") for ax in drawing.figure.axes]
    assert titles == ["training (120 objects)", "test (34 objects)"]
    points = [sum(len(line.get_xdata()) for line in ax.lines) for ax in drawing.figure.axes]
    assert points == [120, 34]


def test_a_study_of_before_says_what_it_lacks(
    text_of: Callable[[Fake], str], tmp_path: Path
) -> None:
    old = Fake(seeds=(0,), is_old=True)
    assert (
        "missing: calibration of the draws, errors by class and signal to noise, confusion of the "
        "probe and a map of the codes"
    ) in text_of(old)
    out = make(tmp_path, old)
    for name in tables.LATER:
        (out / "tables" / f"{name}.parquet").unlink(missing_ok=True)
    assert render(compose(read(out))) == text_of(old)  # without a file, or without rows


@pytest.fixture(scope="module")
def paired(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """Spectra told from photometry too, with a probe of the code of both."""
    out = make(tmp_path_factory.mktemp("pairs"), Fake(seeds=(0,), sizes=((4, 4),)))
    metrics = tables.read(out, "metrics").to_pylist()
    kept = [r | {"modality": _of_code(r)} for r in metrics]
    told = [
        r | {"estimate": "from_photometry", "value": 1.5 * r["value"]}
        for r in metrics
        if r["metric"] == "absolute_error" and r["estimate"] in ("mean_of_draws", "reference")
    ]
    found = tables.from_rows("metrics", [*kept, *told])
    tables.write(out / "tables", {"metrics": tables.sort("metrics", found)})
    return read(out)


def _of_code(row: dict[str, str]) -> str:
    return "photometry+spectrum" if row["estimate"] == "probe" else row["modality"]


def test_what_is_told_from_another_modality_is_shown(paired: Study) -> None:
    evidence = gather(paired, "spectrum")
    assert sources(paired, "spectrum") == ["photometry"]
    told = across(paired, evidence, "photometry")
    for one, other in zip(evidence.errors, told.errors, strict=True):
        assert other.points[0].mean == pytest.approx(1.5 * one.points[0].mean)
    assert told.mean == pytest.approx(1.5 * (evidence.mean or 0))
    names = [d.name for d in sections.main(paired, evidence).drawings]
    assert names == ["error-spectrum", "probe-spectrum", "across-spectrum-photometry"]
    grid = across_grid(paired, evidence)
    assert grid is not None
    assert {e.text for e in grid.columns[1].entries} == {"photometry"}


def test_the_probe_of_a_shared_code_is_each_modality_s(paired: Study) -> None:
    evidence = gather(paired, "spectrum")
    assert {line.model for line in evidence.probes} == {"daep", "vae", "pca"}
    assert evidence.majority == pytest.approx(0.556)
    page = compose(paired)
    assert [p.modality for p in page.parts] == ["spectrum"]
    assert "probe-photometry-spectrum" in [g.name for g in page.codes.grids]


def test_named_lines_have_the_tables_numbers(tmp_path: Path) -> None:
    out = make(tmp_path, Fake(seeds=(0,), sizes=((4, 4),)))
    known = tables.read(out, "groups")
    cell = next(c["cell"] for c in tables.read(out, "cells").to_pylist() if c["model"] == "daep")
    of = {"cell": cell, "modality": "spectrum", "split": "test", "estimate": "mean_of_draws"}
    rows = [
        {**of, "metric": metric, "axis": "line", "name": name, "low": low, "high": low + 90}
        | {"value": value, "sd": 1.0, "count": 30}
        for name, low, value in (("Si II 6355", 6100.0, 4.25), ("Ca II H&K", 3700.0, 8.5))
        for metric in ("line_width_error", "line_width_bias")
    ]
    more = [known, tables.from_rows("groups", rows)]
    tables.write(out / "tables", {"groups": tables.merge("groups", more)})
    study = read(out)
    chosen = choose(gather(study, "spectrum"))
    assert chosen is not None
    grid = spectral_lines(study, "spectrum", chosen)
    assert grid is not None
    assert [[e.raw for e in row[:3]] for row in grid.rows] == [
        ["Ca II H&K", "30", 8.5],
        ["Si II 6355", "30", 4.25],
    ]
    page = compose(study)
    assert "lines-spectrum" in [g.name for g in page.tables]
    assert "S/N" in render(page)


def test_a_gaussian_process_is_a_level_of_the_one_figure(tmp_path: Path) -> None:
    for name, sizes in (("sweep", ((2, 2), (4, 4))), ("flat", ((4, 4),))):
        out = make(tmp_path / name, Fake(seeds=(0,), sizes=sizes))
        cells = tables.read(out, "cells").to_pylist()
        own = next(c for c in cells if c["model"] == "mean")
        metrics = tables.read(out, "metrics").to_pylist()
        told = [{**m, "cell": "gp", "value": 0.123} for m in metrics if m["cell"] == own["cell"]]
        content = {"cells": [*cells, {**own, "cell": "gp", "model": "gp"}]}
        content["metrics"] = [*metrics, *told]
        found = {name: tables.from_rows(name, rows) for name, rows in content.items()}
        tables.write(out / "tables", {n: tables.sort(n, t) for n, t in found.items()})
        evidence = gather(read(out), "spectrum")
        assert evidence.process is not None
        assert evidence.process[0] == 0.123
        drawing = sections.main(read(out), evidence).drawings[0]
        assert "a Gaussian process" in drawing.caption
