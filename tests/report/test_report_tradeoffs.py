"""Trade-offs: nothing shown is beaten, what has not learnt is not shown, one axis is no axis."""

import json
from pathlib import Path

from daep_ray.report.evidence import gather
from daep_ray.report.source import Study, read
from daep_ray.report.tradeoffs import (
    choices,
    finding,
    front_grid,
    importance,
    importance_grid,
    seconds_of,
)
from daep_ray.study import tables
from tests.report.fake_study import Fake, make


def study_of(out: Path, fake: Fake) -> Study:
    return read(make(out, fake))


def test_the_front_is_what_a_loop_finds(tmp_path: Path) -> None:
    study = study_of(tmp_path, Fake(gain={"daep/4": 2.5}))
    found = choices(study, gather(study, "spectrum"))
    assert len(found) == 6
    costs = [(c.point.mean, c.floats, c.seconds) for c in found]
    for own, choice in zip(costs, found, strict=True):
        is_beaten = any(
            all(a <= b for a, b in zip(other, own, strict=True)) and other != own for other in costs
        )
        assert choice.is_on_front is not is_beaten
    grid = front_grid(study, "spectrum", found)
    assert "daep, 16 floats" not in [e.text for e in grid.columns[0].entries]
    errors = [e.raw for e in grid.columns[1].entries]
    assert errors == sorted(errors)  # type: ignore[type-var]


def test_what_has_not_learnt_is_no_choice(tmp_path: Path) -> None:
    study = study_of(tmp_path, Fake(is_trained=False))
    assert choices(study, gather(study, "spectrum")) == []


def test_settings_of_one_training_cost_evaluations(tmp_path: Path) -> None:
    out = make(tmp_path, Fake(models=("daep",), seeds=(0,), sizes=((2, 2), (4, 4), (4, 8), (8, 8))))
    assert seconds_of(read(out))[0] == "seconds_training"
    cells = [
        row if row["seed"] is None else {**row, "training": "one"}
        for row in tables.read(out, "cells").to_pylist()
    ]
    tables.write(out / "tables", {"cells": tables.from_rows("cells", cells)})
    study = read(out)
    assert seconds_of(study)[0] == "seconds_evaluation"
    found = choices(study, gather(study, "spectrum"))
    assert {c.seconds for c in found} == {61.0}


def test_the_largest_axis_is_named(tmp_path: Path) -> None:
    study = study_of(tmp_path, Fake())
    found = importance(study, gather(study, "spectrum"))
    assert {i.path for i in found} == {"num_floats", "model", "seed"}
    assert finding(found).startswith("Of the axes, code floats explains most")
    grid = importance_grid("spectrum", found)
    assert grid.columns[0].entries[0].text == "code floats"


def test_one_axis_or_few_cells_say_nothing(tmp_path: Path) -> None:
    few = study_of(tmp_path / "few", Fake(seeds=(0,), sizes=((4, 4),)))
    assert importance(few, gather(few, "spectrum")) == []
    assert choices(few, gather(few, "spectrum")) == []
    alone = study_of(tmp_path / "alone", Fake(models=("daep",), seeds=(0,)))
    assert importance(alone, gather(alone, "spectrum")) == []


def test_a_conditional_axis_has_its_importance(tmp_path: Path) -> None:
    out = make(tmp_path, Fake(models=("daep", "maep")))
    cells = tables.read(out, "cells").to_pylist()
    for row in cells:
        if row["model"] == "maep":
            ratio = {4: 0.3, 16: 0.5, 64: 0.75}[row["num_floats"]]
            row["settings"] = json.dumps({"objective.mask_ratio": ratio})
        row["num_floats"] = None if row["model"] == "mean" else 16
    tables.write(out / "tables", {"cells": tables.from_rows("cells", cells)})
    study = read(out)
    found = {i.path: i for i in importance(study, gather(study, "spectrum"))}
    assert found["objective.mask_ratio"].num_cells == 9
