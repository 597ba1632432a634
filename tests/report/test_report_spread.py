"""How far objects' errors lie apart stands beside their mean, where the tables know it."""

import statistics
from pathlib import Path
from typing import Any

import pytest

from daep_ray.report import latex, twins
from daep_ray.report.evidence import gather
from daep_ray.report.grid import DOES_NOT_APPLY, Column, Grid
from daep_ray.report.page import compose
from daep_ray.report.results import reconstruction
from daep_ray.report.source import Study, read
from daep_ray.study import tables
from tests.report.fake_study import Fake, make

FAILED = ("vae/4/0", "vae/4/1")
DESIGN = Fake(seeds=(0, 1), sizes=((2, 2), (4, 4)), failed=FAILED)
TITLE = "sd over objects"
ESTIMATES = ("mean_of_draws", "reference")


def grid_of(out: Path) -> Grid:
    study = read(out)
    return reconstruction(study, gather(study, "spectrum"))


def spread(grid: Grid) -> Column:
    (found,) = [c for c in grid.columns if c.title == TITLE]
    return found


def changed(out: Path, name: str, rows: list[dict[str, Any]]) -> Path:
    tables.write(out / "tables", {name: tables.from_rows(name, rows)})
    return out


def by_loop(study: Study) -> dict[tuple[str, int | None], float]:
    """The mean over seeds of the objects' standard deviation, by model and size."""
    found: dict[tuple[str, int | None], list[float]] = {}
    for cell in study.cells:
        rows = study.tables["objects"].to_pylist()
        own = [
            r["value"]
            for r in rows
            if r["cell"] == cell.cell
            and r["metric"] == "absolute_error"
            and r["estimate"] in ESTIMATES
        ]
        if own:
            found.setdefault((cell.model, cell.num_floats), []).append(statistics.stdev(own))
    return {place: sum(own) / len(own) for place, own in found.items()}


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study that nobody writes to."""
    return make(tmp_path_factory.mktemp("study"), DESIGN)


def test_it_is_the_objects_standard_deviation(out: Path) -> None:
    grid, wanted = grid_of(out), by_loop(read(out))
    place = grid.columns.index(spread(grid))
    assert grid.columns[place - 1].key == "absolute_error"
    assert spread(grid).unit == "z"
    names = {"daep": "daep", "VAE": "vae", "PCA": "pca", "training mean": "mean"}
    seen = {(names[row[0].text], row[1].raw): row[place] for row in grid.rows}
    assert seen.pop(("vae", 16)).text.startswith("missing: failed")
    assert {key: e.raw for key, e in seen.items()} == pytest.approx(wanted)


def test_the_note_says_what_it_is_and_every_twin_has_it(out: Path) -> None:
    grid = grid_of(out)
    assert "Sd over objects: how far test objects' absolute errors lie apart" in grid.notes[0]
    assert f"{TITLE} (z)" in twins.table(grid)
    assert f"{TITLE} (z)" in latex.table(grid)
    assert ",absolute_error_sd," in twins.comma_separated(grid).splitlines()[0]


def test_what_is_not_stored_is_told_from_the_objects(out: Path, tmp_path: Path) -> None:
    made = make(tmp_path, DESIGN)
    rows = [{**r, "sd": None} for r in tables.read(made, "metrics").to_pylist()]
    changed(made, "metrics", rows)
    stored = [e.raw for e in spread(grid_of(out)).entries]
    assert [e.raw for e in spread(grid_of(made)).entries] == pytest.approx(stored)
    # some of the objects say little of all of them
    kept = tables.read(made, "objects").to_pylist()
    first = read(made).cells[0].cell
    ids = sorted({r["object_id"] for r in kept})[:9]
    changed(made, "objects", [r for r in kept if r["cell"] != first or r["object_id"] in ids])
    assert spread(grid_of(made)).entries[0].raw != pytest.approx(stored[0])


def test_a_study_that_does_not_know_it_has_no_such_column(tmp_path: Path) -> None:
    made = make(tmp_path, DESIGN)
    metrics = tables.read(made, "metrics").to_pylist()
    changed(made, "metrics", [{**r, "sd": None} for r in metrics])
    changed(made, "objects", [])
    assert TITLE not in [c.title for c in grid_of(made).columns]
    assert TITLE not in " ".join(grid_of(made).notes).lower()
    assert compose(read(made)).tables
    reference = [{**r, "sd": None} if r["estimate"] != "reference" else r for r in metrics]
    changed(made, "metrics", reference)
    assert [e.text for e in spread(grid_of(made)).entries][:2] == [DOES_NOT_APPLY] * 2
