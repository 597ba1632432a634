"""What a study cost, on its page: a sweep of solver steps is one training and many evaluations."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from daep_ray.report import sections
from daep_ray.report.costs import costs, sentence
from daep_ray.report.evidence import gather
from daep_ray.report.grid import Grid
from daep_ray.report.html import render
from daep_ray.report.numbers import NARROW
from daep_ray.report.page import compose
from daep_ray.report.provenance import why_no_probe
from daep_ray.report.source import Study, read
from daep_ray.report.twins import markdown
from daep_ray.study import tables
from tests.report.fake_study import Fake, make

NUM_STEPS = 6


def row(what: str, model: str = "daep", **more: Any) -> dict[str, Any]:
    known = {"training": f"{model}0", "state": "done", "memory": 500_000_000, "memory_gpu": 0}
    return {**known, "what": what, "model": model, "seconds_gpu": 0.0, **more}


def sweep() -> list[dict[str, Any]]:
    """One training, an evaluation per number of steps, the training mean."""
    seen = {"num_objects": 16_000, "num_tokens": 640_000, "flop": 4e12}
    one = {"num_objects": 100, "num_tokens": 4000, "flop": 5e11}
    return [
        row("training", seconds=60.0, **seen),
        *(row("evaluation", seconds=2.5, cell=f"c{i}", **one) for i in range(NUM_STEPS)),
        row("evaluation", "mean", seconds=1.0, **(one | {"flop": None})),
    ]


def study_with(folder: Path, rows: list[dict[str, Any]]) -> Study:
    make(folder, Fake(seeds=(0,), is_old=True))
    tables.write(folder / "tables", {"ledger": tables.from_rows("ledger", rows)})
    return read(folder)


def shown(grid: Grid, key: str) -> list[str]:
    return [e.text for c in grid.columns if c.key == key for e in c.entries]


def test_a_sweep_of_solver_steps_reads_as_one_training(tmp_path: Path) -> None:
    study = study_with(tmp_path, sweep())
    grid = costs(study)
    assert grid is not None
    assert shown(grid, "model")[-1] == "all"
    assert shown(grid, "trainings") == ["1", "\u2014", "1"]
    assert shown(grid, "evaluations") == ["6", "1", "7"]
    assert shown(grid, "objects") == [f"16{NARROW}000", "\u2014", f"16{NARROW}000"]
    assert [float(t) for t in shown(grid, "tflop_evaluation")[::2]] == [3.0, 3.0]
    assert shown(grid, "tflop_evaluation")[1] == "\u2014"
    assert shown(grid, "seconds") == ["75", "1", "76"]
    assert shown(grid, "memory") == ["0.50"] * 3
    assert sentence(study) == (
        f"1 training took 1{NARROW}min 0{NARROW}s; "
        f"7 evaluations took 16{NARROW}s, 2.29{NARROW}s each."
    )
    page = compose(study)
    for text in (render(page), markdown(page)):
        assert sentence(study) in text
        assert "What it cost" in text
    assert "ledger" in {g.name for g in page.grids}


def test_what_has_no_result_is_counted_and_what_was_not_noted_says_so(tmp_path: Path) -> None:
    lost = {"state": "failed", "memory": None, "memory_gpu": None, "seconds_gpu": None}
    old = {"seconds_gpu": None, "memory": None, "memory_gpu": None}
    rows = [
        row("training", "vae", seconds=10.0, num_objects=5, num_tokens=9, flop=1e12, **old),
        row("evaluation", "vae", seconds=1.0, num_objects=5, num_tokens=9, flop=1e12, **old),
        row("training", "maep", seconds=None, **lost),
        row("evaluation", "maep", seconds=None, **lost),
    ]
    early = {**lost, "state": "stopped", "num_objects": 2, "flop": 1e11}
    rows.append(row("training", "vae", seconds=4.0, **early))
    study = study_with(tmp_path, rows)
    grid = costs(study)
    assert grid is not None
    assert shown(grid, "trainings") == ["1 of 2", "0 of 1", "1 of 3"]
    assert shown(grid, "objects")[0] == "7"
    assert shown(grid, "seconds")[0] == "15"
    assert shown(grid, "seconds_training")[0] == "10.0"  # of one that came to its end
    assert sentence(study).endswith(f"; 1 training stopped early took 4{NARROW}s.")
    assert shown(grid, "seconds")[1] == "missing: no result"
    assert shown(grid, "memory")[0] == "missing: an older store has not noted it"
    assert shown(grid, "seconds_gpu")[1] == "missing: no result"


def test_a_study_older_than_the_ledger_has_no_such_table(
    text_of: Callable[[Fake], str], tmp_path: Path
) -> None:
    assert costs(read(make(tmp_path))) is None
    assert "What it cost" not in text_of(Fake())


@pytest.mark.parametrize(
    ("classes", "label", "said"),
    [
        (None, "class", "no labels"),
        ({}, "class", "no labels"),
        ({"Ia": 9}, "class", "one class only (Ia)"),
        ({"Ia": 9, "II": 2}, "class", "too few objects of two classes"),
        ({"Ia": 9, "II": 2}, None, "no probe was asked for"),
    ],
)
def test_why_there_is_no_probe(
    classes: dict[str, int] | None, label: str | None, said: str, tmp_path: Path
) -> None:
    """The study goes on; its page says what is missing."""
    study = read(make(tmp_path))
    spec = dict(study.spec)
    counts = {"num_objects": 9, "num_samples": 9, "classes": classes}
    spec["data"] = {**spec["data"], "counts": {"train": counts, "test": counts}}
    evaluation = {**spec["base"].get("evaluation", {}), "probe_label": label}
    spec["base"] = {**spec["base"], "evaluation": evaluation}
    kept = {**study.tables, "metrics": _without_probe(study)}
    asked = replace(study, spec=spec, tables=kept)
    assert why_no_probe(asked) == said
    if classes is None:
        shown = sections.main(asked, gather(asked, "spectrum"))
        assert shown.missing == {"probe accuracy": said}


def _without_probe(study: Study) -> Any:
    rows = [r for r in study.tables["metrics"].to_pylist() if not r["metric"].startswith("probe")]
    return tables.from_rows("metrics", rows)
