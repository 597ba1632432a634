"""A model that does without the study's axis stands everywhere along it, and is compared there."""

import json
import re
from pathlib import Path

import pytest

from daep_ray.report.evidence import gather
from daep_ray.report.page import compose
from daep_ray.report.source import Study, read
from daep_ray.report.twins import markdown
from daep_ray.study import tables
from tests.report.fake_design import Cell, config_of
from tests.report.fake_study import Fake, make

RATIO = {4: 0.3, 16: 0.5, 64: 0.75}  # the fake study's numbers of floats serve as mask ratios


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """daep, the control, has one cell per seed; maep three, one per mask ratio."""
    fake = Fake(models=("daep", "maep"), seeds=(0, 1))
    out = make(tmp_path_factory.mktemp("masking"), fake)
    rows = []
    for row in tables.read(out, "cells").to_pylist():
        if row["model"] in ("daep", "pca") and row["num_floats"] != 16:
            continue
        is_masked = row["model"] == "maep"
        settings = {"objective.mask_ratio": RATIO[row["num_floats"]]} if is_masked else {}
        number = None if row["model"] == "mean" else 16
        config = config_of(Cell(row["model"], (4, 4), row["seed"]))
        written = {"settings": json.dumps(settings), "config": json.dumps(config)}
        rows.append({**row, "num_floats": number, **written})
    tables.write(out / "tables", {"cells": tables.from_rows("cells", rows)})
    spec = json.loads((out / "spec.json").read_text())
    axis = {"path": "objective.mask_ratio", "values": [0.3, 0.5, 0.75], "is_conditional": True}
    (out / "spec.json").write_text(json.dumps({**spec, "axes": [axis]}))
    return out


@pytest.fixture(scope="module")
def study(folder: Path) -> Study:
    return read(folder)


def test_the_control_is_a_flat_line(study: Study) -> None:
    evidence = gather(study, "spectrum")
    assert evidence.x.path == "objective.mask_ratio"
    by_model = {line.model: line for line in evidence.errors}
    assert set(by_model) == {"daep", "maep", "pca"}
    for line in by_model.values():
        assert [p.x for p in line.points] == [0.3, 0.5, 0.75]
    assert len({p.mean for p in by_model["daep"].points}) == 1
    assert len({p.mean for p in by_model["maep"].points}) == 3


def test_every_place_is_compared_with_it_once(study: Study) -> None:
    pairs = [(c.first.model, c.second.model, c.x) for c in gather(study, "spectrum").comparisons]
    assert pairs == [
        *(("daep", "maep", x) for x in (0.3, 0.5, 0.75)),
        ("daep", "pca", 0.3),  # both are flat: one comparison
        *(("maep", "pca", x) for x in (0.3, 0.5, 0.75)),
    ]


def test_what_does_without_the_axis_stands_at_no_place_of_it(study: Study) -> None:
    page = markdown(compose(study))
    assert "mask ratio" in page
    assert "daep at mask ratio" not in page
    assert "daep, mask ratio" not in page
    assert re.search(r"daep's error is [\d.]+;", page)  # beside maep's, which goes from to
    assert "at any mask ratio" in page  # daep against PCA
