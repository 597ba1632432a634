"""daep's switches: errors as weights, guidance by a null code, schedules and weights of times."""

from collections.abc import Callable
from dataclasses import replace

import hypothesis
import hypothesis.strategies as st
import pytest
import torch

from daep_ray.diffusion.samplers import (
    DDIMConfig,
    DDPMConfig,
    DPMSolverConfig,
    OneStepConfig,
    SamplerConfig,
)
from daep_ray.errors import ConfigError
from daep_ray.nn.config import ModelConfig
from daep_ray.nn.ragged import Rows
from daep_ray.objectives.base import Code
from daep_ray.objectives.daep import Daep, DaepConfig
from daep_ray.objectives.denoising import average_term, error_weights, weighted_term
from daep_ray.stream.batch import Layout, PackedBatch
from daep_ray.stream.noise import Noise

LAYOUTS = {"m": Layout("m", 2, category_sizes=(3,), num_metadata=2, metadata_sizes=(3,))}
Make = Callable[..., PackedBatch]
SAMPLERS: list[SamplerConfig] = [
    DDPMConfig(),
    DDIMConfig(num_steps=4),
    DPMSolverConfig(num_steps=4),
    OneStepConfig(),
]


def daep(**settings: object) -> Daep:
    torch.manual_seed(0)
    model = ModelConfig(width=16, num_heads=2)
    return Daep(DaepConfig(**{"num_times": 12, **settings}), model, LAYOUTS)


def noise_of(batch: PackedBatch, turn: int = 0) -> Noise:
    return Noise(7, turn, batch.sample_ids)


@torch.no_grad()
def drawn(objective: Daep, batch: PackedBatch, code: Code, sampler: SamplerConfig) -> torch.Tensor:
    return objective.decode(code, batch.query(), sampler, 2, noise_of(batch)).values["m"]


def test_weights_of_errors_are_inverse_variances_with_a_floor(make_batch: Make) -> None:
    """Against 1 / (floor^2 + error^2), in units of a measurement without error."""
    sequence = make_batch([4, 2]).sequences["m"]
    error = torch.tensor([0.0, 0.2, 0.4, torch.nan, torch.inf, -1.0])
    found = error_weights(replace(sequence, error=error), 0.2, "point")
    torch.testing.assert_close(found, torch.tensor([1.0, 0.5, 0.2, 1.0, 1.0, 1.0]))
    assert torch.equal(error_weights(replace(sequence, error=None), 0.2, "object"), torch.ones(6))


def test_an_objects_weight_is_that_of_its_mean_known_error(make_batch: Make) -> None:
    sequence = make_batch([3, 0, 2, 1]).sequences["m"]
    error = torch.tensor([0.1, torch.nan, 0.3, 0.4, 0.8, 0.0])
    found = error_weights(replace(sequence, error=error), 0.2, "object")
    torch.testing.assert_close(found, torch.tensor([0.5, 0.5, 0.5, 0.1, 0.1, 1.0]))


@hypothesis.given(
    st.lists(st.floats(0.01, 1.0), min_size=4, max_size=4),
    st.lists(st.floats(0.0, 9.0), min_size=4, max_size=4),
)
def test_a_weighted_term_is_an_average(weights: list[float], values: list[float]) -> None:
    """A direct loop; equal weights are no weights."""
    rows = Rows(torch.tensor([0, 3, 3, 4], dtype=torch.int32), 4, 3)
    w, v = torch.tensor(weights), torch.tensor(values)
    points, objects = (weighted_term(v, w, rows, how) for how in ("points", "objects"))
    torch.testing.assert_close(points.sum / points.weight, (w * v).sum() / w.sum())
    first = (w[:3] * v[:3]).sum() / w[:3].sum()
    torch.testing.assert_close(objects.sum / objects.weight, (first + v[3]) / 2)
    for how in ("points", "objects"):
        same = weighted_term(v, torch.ones(4), rows, how)
        torch.testing.assert_close(same.mean, average_term(v, rows, how).mean)


def test_the_loss_is_the_plain_one_with_weights(make_batch: Make) -> None:
    """Equal errors change nothing but the weight; all but one point hopeless, it alone counts."""
    plain, weighted, batch = daep(), daep(error_weighting="point"), make_batch([5, 4])

    def mean(objective: Daep, error: torch.Tensor) -> float:
        sequence = replace(batch.sequences["m"], error=error)
        with torch.no_grad():
            term = objective(replace(batch, sequences={"m": sequence}), noise_of(batch)).terms
        return float(term["diffusion"].sum / term["diffusion"].weight)

    same = torch.full((9,), 0.2)
    assert mean(weighted, same) == pytest.approx(mean(plain, same), rel=1e-5)
    alone = [
        mean(weighted, torch.full((9,), 1e6).index_fill(0, torch.tensor([i]), 1e-3))
        for i in range(9)
    ]
    assert sum(alone) / 9 == pytest.approx(mean(plain, same), rel=1e-4)


@pytest.mark.parametrize("sampler", SAMPLERS, ids=lambda s: s.kind)
def test_guidance_mixes_with_the_null_code(sampler: SamplerConfig, make_batch: Make) -> None:
    """1 is plain to the bit, 0 is what the null code says, and nothing else is needed."""
    objective, batch = daep(code_drop=0.1), make_batch([5, 3])
    assert objective.null_code is not None
    with torch.no_grad():
        code = objective.encode(batch)
    null = Code(objective.null_code.expand(2, -1, -1))
    plain = drawn(objective, batch, code, sampler)
    without = objective.null_code
    objective.null_code = None
    assert torch.equal(drawn(objective, batch, code, sampler), plain)
    objective.null_code = without

    def guided(weight: float) -> torch.Tensor:
        return drawn(objective, batch, code, sampler.model_copy(update={"guidance": weight}))

    torch.testing.assert_close(guided(0.0), drawn(objective, batch, null, sampler))
    torch.testing.assert_close(guided(1 + 1e-6), plain, rtol=1e-3, atol=1e-4)
    assert (guided(3.0) - plain).abs().max() > 1e-4


@torch.no_grad()
def test_one_guided_step_is_the_formula(make_batch: Make) -> None:
    """Ho & Salimans 2022, eq. 6, on clean values: without + w (with - without)."""
    objective, batch = daep(code_drop=0.1), make_batch([5, 3])
    assert objective.null_code is not None
    code, null = objective.encode(batch), Code(objective.null_code.expand(2, -1, -1))
    ends = [drawn(objective, batch, c, OneStepConfig()) for c in (code, null)]
    found = drawn(objective, batch, code, OneStepConfig(guidance=2.5))
    torch.testing.assert_close(found, ends[1] + 2.5 * (ends[0] - ends[1]))


def test_guidance_without_a_null_code_is_refused(make_batch: Make) -> None:
    objective, batch = daep(), make_batch([3])
    with pytest.raises(ConfigError, match=r"guidance is 2, .*code_drop"):
        drawn(objective, batch, objective.encode(batch), DDIMConfig(guidance=2.0))


@torch.no_grad()
def test_a_share_of_codes_is_dropped_whoever_stands_beside(make_batch: Make) -> None:
    objective, batch = daep(code_drop=0.3), make_batch([1] * 400)
    assert objective.null_code is not None
    codes = torch.ones(400, 4, 4)
    is_dropped = (objective.dropped(codes, noise_of(batch)) != 1).flatten(1).all(1)
    assert 80 < int(is_dropped.sum()) < 160  # four standard deviations
    half = replace(batch, sample_ids=batch.sample_ids[::2])
    again = (objective.dropped(codes[::2], noise_of(half)) != 1).flatten(1).all(1)
    assert torch.equal(again, is_dropped[::2])
    assert torch.equal(daep().dropped(codes, noise_of(batch)), codes)


@pytest.mark.parametrize("settings", [{"schedule": "cosine"}, {"weighting": "min_snr"}])
def test_a_switch_of_the_chain_changes_the_loss_and_no_weight(
    settings: dict[str, str], make_batch: Make
) -> None:
    """The defaults are the paper's: linear betas, uniform weights; the network is the same."""
    assert (DaepConfig().schedule, DaepConfig().weighting) == ("linear", "uniform")
    plain, other, batch = daep(), daep(**settings), make_batch([5, 3])
    assert all(
        torch.equal(p, q)
        for p, q in zip(plain.state_dict().values(), other.state_dict().values(), strict=True)
    )
    losses = [float(o(batch, noise_of(batch)).total.detach()) for o in (plain, other)]
    assert losses[0] != losses[1]
    assert torch.equal(plain.encode(batch).point, other.encode(batch).point)


def test_errors_change_nothing_where_no_switch_asks_for_them(make_batch: Make) -> None:
    objective, batch = daep(), make_batch([5, 3])
    bare = replace(batch, sequences={"m": replace(batch.sequences["m"], error=None)})
    found = [objective(b, noise_of(batch)).total for b in (batch, bare)]
    assert torch.equal(*found)
