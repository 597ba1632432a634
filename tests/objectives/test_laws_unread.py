"""What an objective declares that it does not look at, it does not; and all else counts."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from daep_ray.config import RunConfig, evaluation_fingerprint, ignores, training_fingerprint
from daep_ray.diffusion.samplers import DDIMConfig, DPMSolverConfig
from daep_ray.errors import ConfigError
from daep_ray.objectives import OBJECTIVES, as_trained, asked_with, build_objective
from daep_ray.objectives.base import SHOWN_VALUES, SOLVER
from daep_ray.settings import override
from daep_ray.stream.batch import PackedBatch
from daep_ray.stream.noise import Noise
from daep_ray.stream.recipe import ModalityRecipe, Recipe
from tests.objectives.conftest import (
    Names,
    accepted,
    informed,
    layouts_of,
    make_sequence,
    model_of,
)

# some valid value for every word among the settings of models and objectives
WORDS = (
    *("single_stage", "two_stage", "one_stage", "adaln", "x0", "cosine", "min_snr", "objects"),
    *("object", "sample", "points", "laplace", "pooled", "mean", "equal", "bernoulli", "all"),
    *("nothing", "class", "linear", "batch"),
)
CASES = [(kind, names) for kind in OBJECTIVES for names in accepted(kind)]
every_case = pytest.mark.parametrize(
    ("kind", "names"), CASES, ids=["-".join([kind, *names]) for kind, names in CASES]
)


def config_of(kind: str, names: Names) -> RunConfig:
    recipe = Recipe(modalities={name: ModalityRecipe() for name in names})
    return RunConfig(
        modalities=names, recipe=recipe, model=model_of("two_stage"), objective=OBJECTIVES[kind]()
    )


def is_among(path: str, parts: tuple[str, ...]) -> bool:
    return f"{path}.".startswith(tuple(f"{part}." for part in parts))


def leaves(node: Any, path: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    if isinstance(node, dict) and node:
        for key, below in node.items():
            yield from leaves(below, (*path, key))
    else:
        yield ".".join(path), node


def others(config: RunConfig) -> Iterator[tuple[str, RunConfig]]:
    """The configuration with one setting of model or objective changed, for each of them."""
    whole = config.model_dump(mode="json")
    for part in ("model", "objective"):
        for path, value in leaves(whole[part], (part,)):
            if path == "objective.kind" or path.startswith("objective.parent_objective"):
                continue
            yield path, _changed(config, path, value)


def _changed(config: RunConfig, path: str, value: Any) -> RunConfig:
    tried: list[Any] = [not value, *WORDS, ["a"], [8, 4]]
    if isinstance(value, int | float) and not isinstance(value, bool):
        tried = [value + value, value + 1, value / 2, 0.5]
    for other in tried:
        try:
            found = override(config, {path: other})
        except ConfigError:
            continue
        if found != config:
            return found
    raise AssertionError(f"no other value is known for {path}: add one here")


def batch_of(names: Names) -> PackedBatch:
    torch.manual_seed(1)
    sequences = {n: make_sequence(layouts_of(names)[n], [5, 9, 3]) for n in names}
    return PackedBatch(("a", "b", "c"), sequences)


def learnt(config: RunConfig) -> tuple[dict[str, torch.Tensor], float]:
    """The weights that a training begins with, and its first loss."""
    torch.manual_seed(0)
    names = config.modalities
    objective = build_objective(as_trained(config.objective), config.model, layouts_of(names))
    batch = batch_of(names)
    loss = objective.loss(batch, Noise(7, 0, batch.sample_ids)).total.item()
    return {n: p.detach() for n, p in objective.named_parameters()}, loss


@every_case
def test_what_is_not_looked_at_changes_neither_weights_nor_loss(kind: str, names: Names) -> None:
    config = config_of(kind, names)
    unread = config.objective.unread
    for path, other in others(config):
        if ignores(config, path) or is_among(path, unread.in_training):
            (weights, loss), (there, that) = learnt(config), learnt(other)
            assert loss == that, path
            assert weights.keys() == there.keys(), path
            assert all(torch.equal(weights[n], there[n]) for n in weights), path


@every_case
def test_what_is_looked_at_and_only_that_counts_in_a_training(kind: str, names: Names) -> None:
    config = config_of(kind, names)
    here, unread = training_fingerprint(config, "data"), config.objective.unread
    left_out = (*unread.in_training, *unread.told_elsewhere)
    for path, other in others(config):
        is_unread = ignores(config, path) or is_among(path, left_out)
        assert (training_fingerprint(other, "data") == here) == is_unread, path


@every_case
def test_what_inference_alone_looks_at_counts_in_an_evaluation(kind: str, names: Names) -> None:
    config = config_of(kind, names)
    of_inference = config.objective.unread.in_training
    for path, other in others(config):
        if not is_among(path, of_inference):
            continue
        assert evaluation_fingerprint(other, "one") != evaluation_fingerprint(config, "one")
        assert as_trained(other.objective) == as_trained(config.objective)
        assert asked_with(config.objective, other.objective) == other.objective
    if not of_inference:
        assert as_trained(config.objective) == config.objective


@every_case
def test_who_has_no_solver_and_is_shown_nothing_says_so(kind: str, names: Names) -> None:
    config = config_of(kind, names)
    torch.manual_seed(0)
    objective = informed(build_objective(config.objective, config.model, layouts_of(names)), names)
    assert objective.asks_for_values() != ignores(config, SHOWN_VALUES)
    batch = batch_of(names)
    query = batch if objective.asks_for_values() else batch.query()
    noise = Noise(7, 0, batch.sample_ids)
    with torch.no_grad():
        code = objective.encode(batch)
        many, few = (
            objective.decode(code, query, sampler, 2, noise).values
            for sampler in (DDIMConfig(num_steps=5), DPMSolverConfig(num_steps=3))
        )
    assert all(torch.equal(many[m], few[m]) for m in many) == ignores(config, SOLVER)
