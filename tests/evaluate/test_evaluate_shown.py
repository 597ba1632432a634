"""A model that is shown values is judged by the others; what is shown follows from the seed."""

from typing import Any

import numpy as np
import pytest
import torch

from daep_ray.config import EvaluationConfig, RunConfig, evaluation_fingerprint
from daep_ray.diffusion.samplers import OneStepConfig, SamplerConfig
from daep_ray.evaluate.reconstruction import sample_means
from daep_ray.evaluate.run import evaluate
from daep_ray.evaluate.tables import Tables
from daep_ray.objectives.base import Code, Draws
from daep_ray.objectives.maep import MaepConfig
from daep_ray.shards.read import ShardFolder
from daep_ray.stream.batch import PackedBatch
from daep_ray.stream.fitted import FittedRecipe
from daep_ray.stream.noise import Noise
from tests.evaluate.conftest import Oracle, settings, trained


class Shown(Oracle):
    """Misses every hidden value by exactly `offset`; the shown ones are as in the query."""

    def __init__(self, offset: float) -> None:
        super().__init__()
        self.offset = offset
        self.shares: list[float] = []

    def asks_for_values(self) -> bool:
        return True

    def decode(
        self, code: Code, query: PackedBatch, sampler: SamplerConfig, num_draws: int, noise: Noise
    ) -> Draws:
        given = query.sequences["photometry"].value
        wrong = self.seen + self.offset
        found = wrong if given is None else torch.where(given.isnan(), wrong, given)
        self.shares.append(0.0 if given is None else float((~given.isnan()).double().mean()))
        return Draws({"photometry": found.expand(1 if _is_one_step(sampler) else num_draws, -1)})


def _is_one_step(sampler: SamplerConfig) -> bool:
    return isinstance(sampler, OneStepConfig)


def tables_of(
    share: float, folder: ShardFolder, fitted: FittedRecipe, **changes: Any
) -> tuple[Tables, Shown]:
    model = Shown(0.5)
    given = settings(visible_share=share, probe_label=None, **changes)
    return evaluate(trained(model, fitted), folder, given), model


def errors(tables: Tables) -> dict[str, float]:
    rows = tables["metrics"].to_pylist()
    return {r["estimate"]: r["value"] for r in rows if r["metric"] == "absolute_error"}


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_errors_are_of_hidden_points_and_the_published_way_apart(
    share: float, folder: ShardFolder, fitted: FittedRecipe
) -> None:
    tables, model = tables_of(share, folder, fitted)
    found = errors(tables)
    for estimate in ("one_draw", "mean_of_draws", "one_step"):
        assert found[estimate] == pytest.approx(0.5, rel=1e-6)
    assert found["shown_copied"] == pytest.approx(0.5 * (1 - share), rel=0.1)
    assert np.mean(model.shares) == pytest.approx(share, abs=0.02)
    profile = tables["profiles"].to_pandas()
    assert np.abs(profile[["low", "median", "high"]] - 0.5).to_numpy().max() < 0.02


def test_with_nothing_shown_it_is_measured_as_every_model(
    folder: ShardFolder, fitted: FittedRecipe
) -> None:
    tables, model = tables_of(0.0, folder, fitted)
    assert set(errors(tables)) == {"one_draw", "mean_of_draws", "one_step"}
    assert errors(tables)["mean_of_draws"] == pytest.approx(0.5, rel=1e-6)
    assert set(model.shares) == {0.0}


def test_what_is_shown_follows_from_the_seed_whatever_the_packing(
    folder: ShardFolder, fitted: FittedRecipe
) -> None:
    first, _ = tables_of(0.3, folder, fitted)
    packed, _ = tables_of(0.3, folder, fitted, token_budget=100)
    other, _ = tables_of(0.3, folder, fitted, seed=1)
    assert first["objects"].equals(packed["objects"])
    assert errors(first)["shown_copied"] != errors(other)["shown_copied"]


def test_means_of_chosen_points() -> None:
    chosen = np.array([True, False, True, False, True, True])
    found = sample_means(np.arange(6.0), np.array([0, 3, 3, 4, 6]), chosen)
    np.testing.assert_array_equal(found, [1.0, 0.0, 0.0, 4.5])


def test_the_share_is_part_of_a_masked_autoencoders_evaluation_alone() -> None:
    def identity(config: RunConfig, share: float) -> str:
        evaluation = EvaluationConfig(visible_share=share)
        return evaluation_fingerprint(config.model_copy(update={"evaluation": evaluation}), "t")

    assert identity(RunConfig(), 0.1) == identity(RunConfig(), 0.2)
    maep = RunConfig(objective=MaepConfig())
    assert identity(maep, 0.1) != identity(maep, 0.2)
