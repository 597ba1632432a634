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
    """Three samples of every object ask; an object counts once, however many it has."""
    gallery, owner = unit(30, 1), np.repeat(np.arange(30), 3)[:-2]
    asking = unit(len(owner), 0) + 0.7 * gallery[owner]
    found = recall(asking, gallery, owner)
    for k in (1, 10):
        hits = [owner[i] in np.argsort(-(gallery @ asking[i]))[:k] for i in range(len(owner))]
        own = [np.mean([h for h, o in zip(hits, owner, strict=True) if o == n]) for n in range(30)]
        assert 0.1 < np.mean(own) < 1
        assert found[f"recall_at_{k}"] == pytest.approx(np.mean(own))
        assert found[f"recall_at_{k}_chance"] == pytest.approx(k / 30)


def test_what_knows_nothing_finds_as_chance_does() -> None:
    """Among many random vectors, within four standard errors; a collapsed code exactly."""
    found = recall(unit(3000, 0), unit(3000, 1), np.arange(3000))
    expected = 10 / 3000
    assert found["recall_at_10_chance"] == pytest.approx(expected)
    assert abs(found["recall_at_10"] - expected) < 4 * (expected / 3000) ** 0.5
    for num in (2, 15, 50):
        same = recall(np.ones((num, 1)), np.ones((num, 1)), np.arange(num))
        for k in (1, 10):
            assert same[f"recall_at_{k}"] == pytest.approx(same[f"recall_at_{k}_chance"])
    assert recall(unit(50, 0), unit(50, 0), np.arange(50))["recall_at_1"] == 1
    nothing = recall(np.full((50, 4), np.nan), unit(50, 0), np.arange(50))
    assert nothing["recall_at_10"] == 0


def aligned(asking: np.ndarray, asked: np.ndarray, owners: list[str]) -> Aligned:
    found, present = Aligned(), np.ones(len(owners), bool)
    ids = [f"{name}/{i:03d}" for i, name in enumerate(owners)]
    rows, both = {"curve": asking, "spectrum": asked}, {"curve": present, "spectrum": present}
    found.add(ids, owners, rows, both)
    return found


def test_an_object_with_many_samples_does_not_fill_the_first_places() -> None:
    """Ten light curves, each paired with 15 spectra, and vectors that know nothing: chance."""
    owners = [f"o{i}" for i in range(10) for _ in range(15)]
    values: dict[str, list[float]] = {"curve": [], "spectrum": []}
    for seed in range(100):
        curves = unit(10, 2 * seed)[np.repeat(np.arange(10), 15)]
        for row in aligned(curves, unit(150, 2 * seed + 1), owners).metric_rows("test"):
            assert row["count"] == 10
            if row["metric"] == "recall_at_1":
                values[row["modality"]].append(row["value"])
            elif row["metric"].startswith("recall_at_10"):
                assert row["value"] == 1.0
    for found in values.values():
        assert abs(np.mean(found) - 0.1) < 4 * np.std(found) / 10


def test_the_order_of_samples_does_not_matter() -> None:
    owners = [f"o{i % 7}" for i in range(40)]
    asking, asked = unit(40, 0), unit(40, 1)
    ids = [f"s{i:03d}" for i in range(40)]
    both = {"a": np.ones(40, bool), "b": np.arange(40) % 5 != 0}
    one, other = Aligned(), Aligned()
    one.add(ids, owners, {"a": asking, "b": asked}, both)
    for i in np.random.default_rng(0).permutation(40):
        part = slice(i, i + 1)
        rows = {"a": asking[part], "b": asked[part]}
        other.add(ids[part], owners[part], rows, {m: p[part] for m, p in both.items()})
    assert list(one.metric_rows("test")) == list(other.metric_rows("test"))


def test_only_samples_that_have_both_are_asked() -> None:
    compared = Aligned()
    present = {"a": np.array([1, 1, 0, 1], bool), "b": np.array([1, 1, 1, 0], bool)}
    rows = unit(4, 0)
    compared.add("1234", ["x", "y", "z", "w"], {"a": rows, "b": rows}, present)
    found = list(compared.metric_rows("test"))
    assert {(r["modality"], r["estimate"]) for r in found} == {("a", "from_b"), ("b", "from_a")}
    assert {r["count"] for r in found} == {2}
    one_object = Aligned()
    one_object.add("1234", ["x"] * 4, {"a": rows, "b": rows}, present)
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
