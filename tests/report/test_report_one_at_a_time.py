"""One choice at a time: differences are of the objects' own errors, and what is missing says so."""

from pathlib import Path

import numpy as np
import pytest

from daep_ray.report.grid import Entry, Grid
from daep_ray.report.joint import Section, write_joint
from daep_ray.report.one_at_a_time import Moved, Place, error_grid, probe_grid
from daep_ray.report.source import Study, read
from tests.report.fake_study import Fake, make

SEEDS = (0, 1)


@pytest.fixture
def study(tmp_path: Path) -> Study:
    fake = Fake(
        models=("daep", "daep, apart", "vae"),
        sizes=((4, 4),),
        seeds=SEEDS,
        failed=("vae/4/0", "vae/4/1"),
        gain={"daep, apart": 2.0},
    )
    return read(make(tmp_path / "studies" / "daep", fake))


def rows_of(study: Study) -> list[Moved]:
    base = Place(study, "daep")
    return [
        Moved("apart", "1", base, Place(study, "daep, apart")),
        Moved("one draw", "1", base, Place(study, "daep", "one_draw")),
        Moved("failed", "1", base, Place(study, "vae")),
    ]


def column(grid: Grid, key: str) -> tuple[Entry, ...]:
    return next(c.entries for c in grid.columns if c.key == key)


def mean_error(study: Study, model: str, estimate: str) -> float:
    cells = {c.cell for c in study.cells if c.model == model}
    rows = study.tables["objects"].to_pylist()
    values = [r["value"] for r in rows if r["cell"] in cells and r["estimate"] == estimate]
    return float(np.mean(values))


def test_differences_are_after_less_before(study: Study) -> None:
    grid = error_grid("errors", "Errors", "spectrum", rows_of(study))
    before = mean_error(study, "daep", "mean_of_draws")
    for place, (model, estimate) in enumerate(
        [("daep, apart", "mean_of_draws"), ("daep", "one_draw")]
    ):
        after = mean_error(study, model, estimate)
        difference = column(grid, "difference")[place]
        assert column(grid, "before")[place].raw == pytest.approx(before)
        assert column(grid, "after")[place].raw == pytest.approx(after)
        assert difference.raw == pytest.approx(after - before)
        assert difference.low is not None
        assert difference.high is not None
        assert difference.low <= after - before <= difference.high
    assert column(grid, "estimate")[1].text == "mean of draws to one draw"


def test_what_failed_says_why(study: Study) -> None:
    grid = error_grid("errors", "Errors", "spectrum", rows_of(study))
    assert column(grid, "after")[2].text.startswith("missing: the loss became non-finite")
    assert column(grid, "difference")[2].is_missing
    assert column(grid, "p")[2].is_missing


def test_probes_are_compared_seed_by_seed(study: Study) -> None:
    grid = probe_grid("probes", "Probes", "spectrum", rows_of(study))
    found = {
        model: {
            row["cell"]: row["value"]
            for row in study.rows("metrics", metric="probe_accuracy").to_pylist()
            if row["cell"] in {c.cell for c in study.trained if c.model == model}
        }
        for model in ("daep", "daep, apart")
    }
    before, after = (np.mean(list(found[model].values())) for model in ("daep", "daep, apart"))
    assert column(grid, "difference")[0].raw == pytest.approx(after - before)
    assert column(grid, "difference")[2].is_missing


def test_the_page_and_its_tables_say_the_same(study: Study, tmp_path: Path) -> None:
    grid = error_grid("errors", "Errors", "spectrum", rows_of(study))
    folder = tmp_path / "studies"
    page = write_joint(folder, "page", "What moves?", ["words"], [Section("Part", (), (grid,))])
    text = page.read_text()
    assert text.startswith("# What moves?\n")
    for entry in column(grid, "before")[:2]:
        assert entry.text in text
        assert repr(entry.raw) in (folder / "errors.csv").read_text()
        assert entry.text in (folder / "page.tex").read_text()
    assert 'href="daep/' not in (folder / "index.html").read_text()  # its report is not built
