"""A page says how its settings were chosen: on validation objects, never on the test's."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from daep_ray.report import sections, selection
from daep_ray.report.evidence import gather
from daep_ray.report.source import Study, read
from daep_ray.study import tables
from tests.report.fake_study import Fake, make

CURVE = "validation/absolute_error"


def study(folder: Path, **spec: Any) -> Study:
    """The setting with the highest test error has the best validation curve."""
    out = make(folder, Fake(seeds=(0, 1)))
    described = json.loads((out / "spec.json").read_text()) | spec
    (out / "spec.json").write_text(json.dumps(described))
    floats = {c["training"]: c["num_floats"] for c in tables.read(out, "cells").to_pylist()}
    rows = [
        {"training": t, "num_objects": n, "seconds": 1.0, "name": CURVE, "value": value}
        for t, num in floats.items()
        if num
        for n, value in ((100, 0.1), (200, 0.5 if num == 4 else 0.7))
    ]
    tables.write(out / "tables", {"curves": tables.from_rows("curves", rows)})
    return read(out)


def test_validation_chooses_and_the_test_reports(tmp_path: Path) -> None:
    found = study(tmp_path, search="optuna", num_trials=6, target=CURVE)
    evidence = gather(found, "spectrum")
    said = selection.choice(found, evidence)
    assert said.startswith(f"Chosen by {CURVE} (0.500, the best of 6 settings that came to their")
    assert ": daep, length 2, width 2" in said
    values = found.values("spectrum", "absolute_error")
    own = [values[c.cell] for c in found.trained if c.model == "daep" and c.num_floats == 4]
    assert f"on test objects it has an error of {np.mean(own):.3f} z units" in said
    assert said in sections.says(found, evidence, ()).words


@pytest.mark.parametrize("search", ["grid", "pareto"])
def test_a_grid_and_a_trade_off_choose_nothing(search: str, tmp_path: Path) -> None:
    found = study(tmp_path, search=search)
    assert selection.choice(found, gather(found, "spectrum")) == ""


def test_a_curve_may_be_a_gain(tmp_path: Path) -> None:
    found = study(tmp_path, search="random", num_trials=6, target=f"-{CURVE}")
    assert "(0.700, the best of 6" in selection.choice(found, gather(found, "spectrum"))


@pytest.mark.parametrize(
    ("spec", "said", "note"),
    [
        ({}, "all of a grid", "settings were fixed before any of them was trained"),
        ({"search": "random", "num_trials": 8}, "6 drawn at random", "which has chosen nothing"),
        (
            {"search": "optuna", "num_trials": 8, "target": CURVE},
            f"6 suggested by Optuna for the lowest {CURVE}",
            "what earlier ones did on the validation split",
        ),
        (
            {"search": "pareto", "num_trials": 8, "targets": [CURVE, "num_floats", "seconds"]},
            f"the lowest {CURVE}, few floats and few seconds",
            "what earlier ones did on the validation split",
        ),
        (
            {"base": {"evaluation": {"split": "validation"}}},
            "all of a grid",
            "Errors are those of the validation split",
        ),
    ],
)
def test_it_is_said(spec: dict[str, Any], said: str, note: str, tmp_path: Path) -> None:
    found = study(tmp_path, **spec)
    assert said in selection.how(found)
    assert note in selection.note(found)
