"""The model card: true, the same bytes again, with metrics once there are some."""

from dataclasses import replace
from pathlib import Path

import pytest

from daep_ray.cli import app, run_app
from daep_ray.config import configure
from daep_ray.objectives.prior import PriorConfig
from daep_ray.shards.read import ShardFolder
from daep_ray.train.card import card, data_summary
from daep_ray.train.checkpoint import load_model
from daep_ray.train.ray_worker import fit

TINY = {
    "model.width": 16,
    "model.num_heads": 2,
    "optimisation.num_objects": 64,
    "runtime.validation_objects": 0,
    "evaluation.num_draws": 2,
    "evaluation.max_objects": 8,
    "evaluation.sampler.num_steps": 2,
}


@pytest.fixture(scope="module")
def run(synthetic_shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("card") / "run"
    manifest = ShardFolder.open(synthetic_shards).manifest
    fit(configure(manifest, "smoke", None, TINY), synthetic_shards, out)
    return out


def test_a_training_writes_its_card(run: Path, synthetic_shards: Path) -> None:
    text = (run / "MODEL.md").read_text()
    assert "arXiv:2510.20595" in text
    assert "`config.json`" in text
    assert (run / "checkpoint" / "config.json").exists()
    trained = load_model(run)
    folder = ShardFolder.open(synthetic_shards)
    parameters = sum(p.numel() for p in trained.objective.parameters())
    assert f"{parameters:,} parameters" in text
    assert folder.manifest.hash in text
    assert "Survey format `synthetic`" in text
    for split, counts in folder.manifest.counts.items():
        assert (
            f"- {split}: {counts.num_samples:,} samples of {counts.num_objects:,} objects" in text
        )
    assert "None yet: `daep-ray evaluate` adds them." in text
    seen = trained.fitted.statistics["photometry"].seen
    assert seen is not None
    ((low, high),) = seen.positions
    assert f"time: {low:.6g} to {high:.6g} day (after reference)" in text
    assert f"{seen.lengths[0]:,} to {seen.lengths[1]:,} measurements each" in text
    assert '"kind": "arcsinh", "scale": 150.0' in text
    assert str(run.parent) not in text


def test_the_same_training_has_the_same_card(run: Path, synthetic_shards: Path) -> None:
    trained, folder = load_model(run), ShardFolder.open(synthetic_shards)
    parameters = sum(p.numel() for p in trained.objective.parameters())
    again = card(trained.config, trained.fitted, parameters, data_summary(folder.manifest))
    assert (run / "MODEL.md").read_text() == again
    elsewhere = trained.config.model_copy(
        update={"runtime": trained.config.runtime.model_copy(update={"num_workers": 7})}
    )
    assert card(elsewhere, trained.fitted, parameters, data_summary(folder.manifest)) == again


def test_the_lines_that_load_it_run(run: Path, synthetic_shards: Path) -> None:
    text = (run / "MODEL.md").read_text()
    block = text.partition("```python\n")[2].partition("```")[0]
    assert len(block.splitlines()) == 5
    names = {"samples": ShardFolder.open(synthetic_shards).read_row_group(0, 0).slice(0, 3)}
    lengths = names["samples"]["photometry.value"].is_valid()
    names["samples"] = names["samples"].filter(lengths)
    exec(block.replace("this/folder", str(run)), names)
    assert len(names["codes"]) == names["rebuilt"].num_rows


def test_an_evaluation_adds_its_metrics(run: Path, synthetic_shards: Path, tmp_path: Path) -> None:
    before = (run / "MODEL.md").read_text()
    words = ["evaluate", str(run), str(synthetic_shards), "--out", str(tmp_path / "test")]
    assert run_app(app, words) == 0
    after = (run / "MODEL.md").read_text()
    assert "| photometry | test | mean_of_draws | absolute_error |" in after
    assert after.partition("## Metrics")[0] == before.partition("## Metrics")[0]
    assert after.partition("## Limits")[2] == before.partition("## Limits")[2]
    assert run_app(app, words) == 0
    assert (run / "MODEL.md").read_text() == after


def test_a_prior_does_not_say_where_its_parent_lies(run: Path) -> None:
    trained = load_model(run)
    prior = PriorConfig(parent="/home/somebody/run", parent_fingerprint="abc123")
    config = trained.config.model_copy(update={"objective": prior})
    text = card(config, trained.fitted, 1, None)
    assert "somebody" not in text
    assert "abc123" in text


def test_a_model_of_before_has_a_card_too(run: Path) -> None:
    trained = load_model(run)
    bare = {m: replace(s, seen=None) for m, s in trained.fitted.statistics.items()}
    text = card(trained.config, replace(trained.fitted, statistics=bare), 1, None)
    assert "Not known: this training was made before cards were written." in text
    assert "- photometry: not known" in text
