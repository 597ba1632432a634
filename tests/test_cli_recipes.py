"""`daep-ray recipes`, `train --recipe`, and how a name becomes a configuration."""

import re
from pathlib import Path

import pytest

from daep_ray.cli import app as cli
from daep_ray.cli import run_app
from daep_ray.config import RunConfig, configure, preset, resolve
from daep_ray.errors import ConfigError
from daep_ray.shards.ingest import ingest
from daep_ray.shards.read import ShardFolder
from daep_ray.stream.named import RECIPES, named_recipe
from daep_ray.study.spec import StudySpec
from daep_ray.study_cli import Options, run


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("recipes") / "synthetic"
    ingest("synthetic", None, out, {"num_objects": 60})
    return out


def test_every_recipe_is_listed(capsys):
    assert run_app(cli, ["recipes"]) == 0
    lines = capsys.readouterr().out.splitlines()
    listed = {line.split("  ")[0] for line in lines[2:]}
    assert listed == set(RECIPES)


def test_a_name_alone_says_where_it_comes_from(capsys):
    assert run_app(cli, ["recipes", "lamost"]) == 0
    assert "table 1" in capsys.readouterr().out


def test_one_object_before_and_after(data: Path, tmp_path: Path, capsys):
    figures = [tmp_path / name for name in ("a.svg", "b.svg")]
    for figure in figures:
        assert run_app(cli, ["recipes", "goldstein", str(data), "--figure", str(figure)]) == 0
    said = capsys.readouterr().out
    assert "value: magnitude zero_point=27.5" in said
    assert "no sample is left out" in said
    content = figures[0].read_text()
    assert figures[1].read_text() == content
    for words in ("spectrum as measured", "photometry as measured", "rest frame", "since the peak"):
        assert words in content


def test_what_is_left_out_is_counted_with_reasons(data: Path, tmp_path: Path, capsys):
    figure = ["--figure", str(tmp_path / "c.svg")]
    assert run_app(cli, ["recipes", "ztf-photometry", str(data), *figure]) == 0
    said = capsys.readouterr().out
    folder = ShardFolder.open(data)
    lengths = folder.lengths().column("photometry.length").to_numpy()
    row = next(line.split() for line in said.splitlines() if line.startswith("photometry  "))
    samples, kept, left_out = (int(word) for word in row[1:4])
    assert samples == (lengths > 0).sum() == kept + left_out
    reasons = [line for line in said.splitlines() if "of r " in line or "in r " in line]
    assert sum(int(line.split()[-1]) for line in reasons) == left_out > 0
    assert Path(said.split("which: ")[1].split("\n")[0]).is_file()


def test_the_figure_stands_beside_the_data_by_default(data: Path):
    assert run_app(cli, ["recipes", "lamost:published", str(data)]) == 0
    assert (data.parent / "synthetic-lamost-published.svg").is_file()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["recipes", "ztf"], "unknown recipe 'ztf': choose one of lamost"),
        (["recipes", "lamost", "DATA", "--sample", "x"], "no sample 'x'"),
        (["recipes", "lamost", "DATA", "--figure", "x.gif"], "end the name of the figure"),
        (["train", "DATA", "--out", "OUT", "--recipe", "ztf"], "unknown recipe 'ztf'"),
        (
            ["train", "DATA", "--out", "OUT", "--recipe", "lamost", "--modality", "photometry"],
            "the recipe says nothing about 'photometry'",
        ),
    ],
)
def test_faults_are_one_sentence(arguments, said, data: Path, tmp_path: Path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    places = {"DATA": str(data), "OUT": str(tmp_path / "run")}
    assert run_app(cli, [places.get(word, word) for word in arguments]) == 1
    error = capsys.readouterr().err
    assert len(error.strip().splitlines()) == 1
    assert re.search(said, error)


def test_a_name_becomes_the_runs_recipe(data: Path):
    manifest = ShardFolder.open(data).manifest
    config = configure(manifest, "smoke", recipe="ztf-photometry")
    assert config.recipe == named_recipe("ztf-photometry", manifest)
    assert config.modalities == ("photometry",)
    # resolved again, as every worker does it, nothing changes
    assert resolve(config, manifest) == config
    changed = {"recipe.modalities.photometry.max_length": 7}
    config = configure(manifest, "smoke", assignments=changed, recipe="ztf-photometry")
    assert config.recipe is not None
    assert config.recipe.modalities["photometry"].max_length == 7


def test_a_recipe_that_does_not_fit_is_refused_before_anything_runs(data: Path):
    manifest = ShardFolder.open(data).manifest
    with pytest.raises(ConfigError, match="unknown recipe"):
        resolve(preset("smoke"), manifest, None, "nothing")
    with pytest.raises(ConfigError, match="the recipe says nothing about 'photometry'"):
        resolve(preset("smoke"), manifest, "photometry", "lamost")


class _Designed(Exception):
    """The study was asked for its design: nothing more is wanted here."""


def test_studies_take_a_recipe_by_name(data: Path, tmp_path: Path):
    seen: list[RunConfig] = []

    def build(config: RunConfig, name: str) -> StudySpec:
        seen.append(config)
        raise _Designed

    options = Options(
        data=data,
        modality=None,
        preset="smoke",
        seeds=None,
        settings=(),
        workers=None,
        gpus_per_trial=0.0,
        storage=None,
        address=None,
        out=tmp_path / "study",
        dry_run=True,
        recipe="ztf-photometry",
    )
    with pytest.raises(_Designed):
        run(options, build)
    assert seen[-1].recipe == named_recipe("ztf-photometry", ShardFolder.open(data).manifest)
    assert seen[-1].modalities == ("photometry",)
