"""recall@k against a loop, its chance, and the rows that an evaluation writes."""

from pathlib import Path

import numpy as np
import pytest
import torch

from daep_ray.config import EvaluationConfig, RunConfig, resolve
from daep_ray.diffusion.samplers import DPMSolverConfig
from daep_ray.evaluate import METRICS
from daep_ray.evaluate.retrieval import Aligned, recall
from daep_ray.evaluate.run import evaluate
from daep_ray.nn.config import MixerConfig, ModelConfig, OneStageEncoderConfig
from daep_ray.objectives import build_objective
from daep_ray.objectives.contrastive import ContrastiveConfig
from daep_ray.objectives.daep import DaepConfig
from daep_ray.shards.read import ShardFolder
from daep_ray.stream.pack import layouts
from daep_ray.stream.statistics import fit_recipe
from daep_ray.train.checkpoint import Trained

NAMES = ("photometry", "spectrum")


def unit(num: int, seed: int) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(num, 4))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_recall_is_that_of_a_sorted_list() -> None:
    asking, asked = unit(60, 0), unit(60, 1)
    asked = asked + 2 * asking
    asked /= np.linalg.norm(asked, axis=1, keepdims=True)
    objects = np.arange(60) // 2
    found = recall(asking, asked, objects)
    for k in (1, 10):
        hits = [objects[i] in objects[np.argsort(-(asked @ asking[i]))[:k]] for i in range(60)]
        assert found[f"recall_at_{k}"] == pytest.approx(np.mean(hits))
    # two of sixty are an object's own: 1 - (58 / 60) (57 / 59) ...
    missed = np.prod([(58 - i) / (60 - i) for i in range(10)])
    assert found["recall_at_10_chance"] == pytest.approx(1 - missed)
    assert found["recall_at_1_chance"] == pytest.approx(2 / 60)


def test_what_knows_nothing_finds_as_chance_does() -> None:
    """Among many random vectors, within four standard errors; a collapsed code finds nothing."""
    found = recall(unit(3000, 0), unit(3000, 1), np.arange(3000))
    expected = 10 / 3000
    assert found["recall_at_10_chance"] == pytest.approx(expected)
    assert abs(found["recall_at_10"] - expected) < 4 * (expected / 3000) ** 0.5
    same = np.ones((50, 1))
    assert recall(same, same, np.arange(50))["recall_at_10"] == 0
    assert recall(unit(50, 0), unit(50, 0), np.arange(50))["recall_at_1"] == 1


def test_only_samples_that_have_both_are_asked() -> None:
    compared = Aligned()
    present = {"a": np.array([1, 1, 0, 1], bool), "b": np.array([1, 1, 1, 0], bool)}
    rows = unit(4, 0)
    compared.add(["x", "y", "z", "w"], {"a": rows, "b": rows}, present)
    found = list(compared.metric_rows("test"))
    assert {(r["modality"], r["estimate"]) for r in found} == {("a", "from_b"), ("b", "from_a")}
    assert {r["count"] for r in found} == {2}
    one_object = Aligned()
    one_object.add(["x"] * 4, {"a": rows, "b": rows}, present)
    assert not list(one_object.metric_rows("test"))
    assert not list(Aligned().metric_rows("test"))


@pytest.mark.parametrize("config", [ContrastiveConfig(), DaepConfig()], ids=lambda c: c.kind)
def test_an_evaluation_says_how_well_modalities_find_each_other(
    config: ContrastiveConfig | DaepConfig, synthetic_shards: Path
) -> None:
    shards = ShardFolder.open(synthetic_shards)
    model = ModelConfig(
        width=16,
        num_heads=2,
        encoder=OneStageEncoderConfig(num_layers=1),
        mixer=MixerConfig(num_layers=1, num_tokens=2),
    )
    run = resolve(RunConfig(modalities=NAMES, model=model, objective=config), shards.manifest)
    assert run.recipe is not None
    fitted = fit_recipe(shards, run.recipe)
    torch.manual_seed(0)
    objective = build_objective(config, model, layouts(fitted, NAMES))
    settings = EvaluationConfig(
        split="train",
        sampler=DPMSolverConfig(num_steps=1),
        num_draws=1,
        max_objects=40,
        probe_label=None,
    )
    trained = Trained(objective.eval().requires_grad_(False), run, fitted, {})
    rows = evaluate(trained, shards, settings)["metrics"].to_pylist()
    both = next(r["count"] for r in rows if r["estimate"] == "from_photometry")
    found = [r for r in rows if r["metric"].startswith("recall")]
    assert len(found) == 8
    assert {r["metric"] for r in rows} <= METRICS.keys()
    for row in found:
        assert row["count"] == both
        assert 0 <= row["value"] <= 1
    chance = next(r["value"] for r in found if r["metric"] == "recall_at_10_chance")
    assert chance == pytest.approx(10 / both)
