"""Two studies side by side: paired numbers by hand, and what cannot be compared in one sentence."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from daep_ray.cli import app, run_app
from daep_ray.errors import DataError
from daep_ray.study import tables
from daep_ray.study.compare import compare
from tests.report.fake_study import Fake, make


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("a") / "a", Fake(seeds=(0, 1)))


@pytest.fixture
def second(first: Path, tmp_path: Path) -> Path:
    """The same study, to be changed."""
    return Path(shutil.copytree(first, tmp_path / "b"))


def change(out: Path, name: str, how: Callable[[dict[str, Any]], dict[str, Any] | None]) -> None:
    rows = [row for old in tables.read(out, name).to_pylist() if (row := how(old)) is not None]
    tables.write(out / "tables", {name: tables.from_rows(name, rows)})


def models(out: Path) -> dict[str, str]:
    return {row["cell"]: row["model"] for row in tables.read(out, "cells").to_pylist()}


def test_a_study_differs_from_itself_by_nothing(first: Path) -> None:
    found = compare(first, first)
    assert [(r.model, r.num_floats) for r in found.rows] == [
        *((m, n) for m in ("daep", "vae") for n in (4, 16, 64)),
        *(("pca", n) for n in (4, 16, 64)),
        ("mean", None),
    ]
    assert all(r.first == r.second and r.difference.mean == 0 for r in found.rows)
    assert {r.p for r in found.rows} == {1.0}
    assert found.only_first == found.only_second == found.notes == ()


def test_a_gain_of_one_model_is_found_in_it_alone(first: Path, second: Path) -> None:
    """daep a tenth better on every object: the pairs cancel the objects' difficulty."""
    of = models(second)

    def better(row: dict[str, Any]) -> dict[str, Any]:
        return row | {"value": row["value"] * (0.9 if of[row["cell"]] == "daep" else 1.0)}

    change(second, "objects", better)
    for row in compare(first, second).rows:
        is_daep = row.model == "daep"
        assert row.second == pytest.approx(row.first * (0.9 if is_daep else 1.0))
        assert row.difference.mean == pytest.approx(row.second - row.first)
        assert (row.p < 0.05, row.difference.high < 0) == (is_daep, is_daep)
        assert row.difference.num_objects == 34


def test_only_what_both_have_is_paired(first: Path, second: Path) -> None:
    change(second, "cells", lambda row: None if row["model"] == "vae" else row)
    change(second, "objects", lambda row: None if row["object_id"] < "m" else row)
    kept = {row["object_id"] for row in tables.read(second, "objects").to_pylist()}
    if not kept:
        pytest.fail("the fake study's objects all come before m")
    found = compare(first, second)
    assert {row.model for row in found.rows} == {"daep", "pca", "mean"}
    assert {row.difference.num_objects for row in found.rows} == {len(kept)}
    assert len(found.only_first) == 3
    assert all(name.startswith("vae, ") for name in found.only_first)
    assert found.only_second == ()


def rewrite(out: Path, *path: str, value: Any) -> None:
    spec = json.loads((out / "spec.json").read_text())
    node = spec
    for part in path[:-1]:
        node = node[part]
    node[path[-1]] = value
    (out / "spec.json").write_text(json.dumps(spec))


def test_other_recipes_are_noted(first: Path, second: Path) -> None:
    rewrite(second, "base", "recipe", value={"modalities": {}})
    assert "recipes differ" in compare(first, second).notes[0]


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("data", "manifest"), "0000", "other data"),
        (("base", "evaluation", "split"), "validation", "other split"),
    ],
)
def test_other_data_are_refused(
    first: Path, second: Path, path: tuple[str, ...], value: str, message: str
) -> None:
    rewrite(second, *path, value=value)
    with pytest.raises(DataError, match=message) as caught:
        compare(first, second)
    assert "\n" not in str(caught.value)


def test_nothing_in_common_is_refused(first: Path, second: Path) -> None:
    change(second, "cells", lambda row: row | {"settings": '{"model.width": 1}'})
    with pytest.raises(DataError, match="no configuration with results"):
        compare(first, second)


@pytest.mark.parametrize(
    ("words", "said"), [([], "Missing command."), (["list"], "No such command 'list'.")]
)
def test_a_command_that_is_none(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_app(app, ["study", *words]) == 2
    assert capsys.readouterr().err == f"error: {said} (see --help)\n"


def test_one_object_in_common_is_none(first: Path, second: Path) -> None:
    kept = tables.read(second, "objects")["object_id"][0].as_py()
    change(second, "objects", lambda row: row if row["object_id"] == kept else None)
    with pytest.raises(DataError, match="of two objects or more in both"):
        compare(first, second)


def test_the_command_prints_one_table(first: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_app(app, ["study", "compare", str(first), str(first)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[3].split()[:3] == ["model", "floats", "settings"]
    assert [line.split()[0] for line in lines[5:]] == [
        *(["daep"] * 3 + ["vae"] * 3 + ["pca"] * 3 + ["mean"])
    ]


def test_a_folder_without_a_study_is_refused_in_one_line(
    first: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_app(app, ["study", "compare", str(first), str(tmp_path)]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(f"error: no study at {tmp_path}")
    assert len(printed.err.splitlines()) == 1
