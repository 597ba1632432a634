"""A model along the study's axis: differences to the declared value, against loops."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from daep_ray.errors import ConfigError
from daep_ray.report import along_axis
from daep_ray.report.evidence import gather
from daep_ray.report.page import compose
from daep_ray.report.source import Study, read
from daep_ray.report.twins import comma_separated
from daep_ray.study import tables
from daep_ray.study.axes import Axis, axis_json
from daep_ray.study.statistics import Difference
from tests.report.fake_design import Cell, config_of
from tests.report.fake_study import Fake, make

PATH = "objective.mask_ratio"
RATIO = {4: 0.3, 16: 0.5, 64: 0.75}  # the fake study's numbers of floats serve as mask ratios


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study whose models all have the axis, with 0.5 for its control."""
    out = make(tmp_path_factory.mktemp("along"), Fake(models=("daep", "vae"), seeds=(0, 1)))
    rows = tables.read(out, "cells").to_pylist()
    for row in rows:
        has_axis = row["model"] in ("daep", "vae")
        row["settings"] = json.dumps({PATH: RATIO[row["num_floats"]]} if has_axis else {})
        row["num_floats"] = None if row["model"] == "mean" else 16
        row["config"] = json.dumps(config_of(Cell(row["model"], (4, 4), row["seed"])))
    rows = [r for r in rows if r["model"] != "pca"]
    tables.write(out / "tables", {"cells": tables.from_rows("cells", rows)})
    spec = json.loads((out / "spec.json").read_text())
    axes = list(axis_json(Axis(PATH, [0.3, 0.5, 0.75], control=0.5)))
    (out / "spec.json").write_text(json.dumps({**spec, "axes": axes}))
    return out


@pytest.fixture(scope="module")
def study(folder: Path) -> Study:
    return read(folder)


def errors(study: Study, model: str, ratio: float) -> dict[tuple[int, str], float]:
    """By seed and object, by hand."""
    cells = {
        c.cell: c.seed for c in study.cells if c.model == model and c.settings == {PATH: ratio}
    }
    table = study.tables["objects"].to_pylist()
    return {
        (cells[r["cell"]], r["object_id"]): r["value"]
        for r in table
        if r["cell"] in cells
        and (r["modality"], r["metric"], r["estimate"])
        == ("spectrum", "absolute_error", "mean_of_draws")
    }


def test_each_value_is_paired_with_the_control_of_its_own_model(study: Study) -> None:
    found = along_axis.steps(study, gather(study, "spectrum"))
    of_error = [s for s in found if s.measure.words == "error"]
    assert [(s.line.model, s.point.x) for s in of_error] == [
        (model, ratio) for model in ("daep", "vae") for ratio in (0.3, 0.75)
    ]
    for step in of_error:
        a, b = (errors(study, step.line.model, x) for x in (step.point.x, 0.5))
        assert a.keys() == b.keys()
        mean = np.mean([a[key] - b[key] for key in a])
        assert step.difference.mean == pytest.approx(mean)
        assert step.relative == pytest.approx(mean / np.mean(list(b.values())))
        assert step.p >= step.difference.p  # corrected


def test_a_share_is_the_same_to_the_last_digit(study: Study) -> None:
    """Objects are added in their order, not in that of a set, which every process has its own."""
    for step in along_axis.steps(study, gather(study, "spectrum")):
        if step.measure.words == "error":
            base = errors(study, step.line.model, 0.5)
            assert step.base == sum(base[key] for key in sorted(base)) / len(base)


def test_settings_of_one_training_share_its_luck(study: Study) -> None:
    """Two seeds far apart tell of the luck of a training, which its own settings have in common."""
    evidence = gather(study, "spectrum")
    line = next(line for line in evidence.trained if line.model == "daep")
    far = {
        cell.cell: {str(i): 0.3 + 0.1 * seed + 0.001 * i - shift for i in range(20)}
        for shift, point in zip((0.0, 0.01, 0.01), line.points, strict=True)
        for seed, cell in enumerate(point.cells)
    }
    measure = along_axis.Measure("error", [line], far, evidence.has_learnt)
    apart = [s.difference for s in along_axis.of_line(measure, line, 0.3)]
    of_seed = {cell.seed: cell.training for cell in line.points[0].cells}
    points = tuple(
        replace(p, cells=tuple(replace(c, training=of_seed[c.seed]) for c in p.cells))
        for p in line.points
    )
    shared = replace(line, points=points)
    measure = along_axis.Measure("error", [shared], far, evidence.has_learnt)
    own = [s.difference for s in along_axis.of_line(measure, shared, 0.3)]
    for wide, narrow in zip(apart, own, strict=True):
        assert wide.mean == pytest.approx(narrow.mean) == pytest.approx(-0.01)
        assert wide.low < 0 < wide.high  # 0.01 is nothing beside the seeds' 0.1
        assert narrow.high < 0


def test_the_answer_is_of_the_axis_the_page_has_the_table_and_both_are_told_once(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their bootstrap is the longest part of a page without figures."""
    pairs = []
    original = along_axis.paired_difference

    def counted(a: Any, b: Any, **kwargs: Any) -> Difference:
        pairs.append((a, b))
        return original(a, b, **kwargs)

    num_steps = len(along_axis.steps(study, gather(study, "spectrum")))
    monkeypatch.setattr(along_axis, "paired_difference", counted)
    page = compose(study)
    assert len(pairs) == num_steps > 0
    told = page.answer.sentence
    assert told.startswith("Against mask ratio 0.5, daep's error")
    assert "at 0.3" in told
    assert "at 0.75" in told
    (grid,) = [g for g in page.tables if g.name == "along-spectrum"]
    assert len(comma_separated(grid).splitlines()) == 1 + num_steps


def test_without_a_declared_value_there_is_nothing(folder: Path, tmp_path: Path) -> None:
    spec = json.loads((folder / "spec.json").read_text())
    for axis in spec["axes"]:
        axis.pop("control")
    bare = Study(spec, {}, read(folder).cells, read(folder).tables)
    assert along_axis.steps(bare, gather(bare, "spectrum")) == []


@pytest.mark.parametrize(
    ("path", "values", "control"),
    [("model.width", [8, 16], 32), (("model.width", "model.depth"), [(8, 1), (16, 2)], (8, 2))],
)
def test_a_control_that_is_no_value_is_refused(path: Any, values: list[Any], control: Any) -> None:
    with pytest.raises(ConfigError, match="name one of its values"):
        Axis(path, values, control=control).assignments()


def test_values_that_go_together_have_their_own_part_of_the_control() -> None:
    axis = Axis(("model.width", "model.depth"), [(8, 1), (16, 2)], control=(16, 2))
    assert [entry["control"] for entry in axis_json(axis)] == [16, 2]


def test_a_model_that_does_not_draw_has_no_crps_of_its_own(study: Study, folder: Path) -> None:
    rows = study.tables["objects"].to_pylist()
    cells = {c.cell for c in study.cells if c.model == "vae"}
    error = {
        (r["cell"], r["object_id"], r["modality"]): r["value"]
        for r in rows
        if (r["metric"], r["estimate"]) == ("absolute_error", "mean_of_draws")
    }
    template = {"metric": "crps", "estimate": "draws"}
    rows = [r for r in rows if r["metric"] != "crps"]
    rows += [
        {"cell": cell, "object_id": name, "modality": modality, "value": value, **template}
        if cell in cells
        else {"cell": cell, "object_id": name, "modality": modality, "value": value / 2, **template}
        for (cell, name, modality), value in error.items()
    ]
    metrics = study.tables["metrics"].to_pylist()
    told = [
        r for r in metrics if (r["metric"], r["estimate"]) == ("absolute_error", "mean_of_draws")
    ]
    metrics = [r for r in metrics if r["metric"] != "crps"] + [{**r, **template} for r in told]
    drawn = {
        **study.tables,
        "objects": tables.from_rows("objects", rows),
        "metrics": tables.from_rows("metrics", metrics),
    }
    told_of = replace(study, tables=drawn)
    found = along_axis.steps(told_of, gather(told_of, "spectrum"))
    assert {s.line.model for s in found if s.measure.words == "CRPS"} == {"daep"}
