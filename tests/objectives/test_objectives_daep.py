"""daep: points see each other, conversions between predictions, weights, what is refused."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from daep_ray.diffusion.samplers import OneStepConfig
from daep_ray.errors import ConfigError
from daep_ray.nn.config import (
    DecoderConfig,
    ModelConfig,
    SingleStageDecoderConfig,
    TwoStageDecoderConfig,
)
from daep_ray.nn.ragged import Rows
from daep_ray.objectives.daep import Daep, DaepConfig
from daep_ray.objectives.denoising import average_term
from daep_ray.stream.batch import Layout, PackedBatch
from daep_ray.stream.noise import Noise

LAYOUTS = {"m": Layout("m", 2, category_sizes=(3,), num_metadata=2, metadata_sizes=(3,))}


def daep(decoder: DecoderConfig | None = None, **settings: object) -> Daep:
    torch.manual_seed(0)
    decoder = decoder or TwoStageDecoderConfig(num_layers=2, num_latents=4)
    model = ModelConfig(width=16, num_heads=2, decoder=decoder)
    return Daep(DaepConfig(**settings), model, LAYOUTS)


@pytest.mark.parametrize(
    ("decoder", "is_dense"),
    [
        (TwoStageDecoderConfig(num_layers=2, num_latents=4), True),
        (SingleStageDecoderConfig(num_layers=2), True),
        (TwoStageDecoderConfig(num_layers=2, num_latents=4, reads_noisy=False), False),
    ],
    ids=["two_stage", "single_stage", "published wiring"],
)
def test_2_the_prediction_at_one_point_depends_on_the_others(
    decoder: DecoderConfig, is_dense: bool, make_batch: Callable[[list[int]], PackedBatch]
) -> None:
    """The Jacobian is full within a sample (or diagonal, as published), zero across samples."""
    objective = daep(decoder)
    with torch.no_grad():
        objective.decoder.output.weight.mul_(10)
    batch = make_batch([5, 3])
    conditions = objective.decoder.condition(
        objective.encode(batch).point.detach(), batch.sequences["m"]
    )

    def predict(noisy: Tensor) -> Tensor:
        return objective.decoder(conditions, noisy[None], torch.tensor([0.4, 0.7]))[0]

    jacobian = torch.autograd.functional.jacobian(predict, torch.randn(8))
    inside = torch.block_diag(torch.ones(5, 5), torch.ones(3, 3)).bool()
    expected = inside if is_dense else torch.eye(8).bool()
    assert torch.equal(jacobian != 0, expected)


@pytest.mark.parametrize("prediction", ["v", "epsilon", "x0"])
def test_the_training_target_turns_back_into_the_clean_values(prediction: str) -> None:
    objective = daep(prediction=prediction)
    clean, epsilon = torch.randn(2, 7).double(), torch.randn(2, 7).double()
    for t in (0, 1, 500, 998, 999):
        a, s = objective.schedule.signal[t], objective.schedule.noise[t]
        targets = {"v": a * epsilon - s * clean, "epsilon": epsilon, "x0": clean}
        found = objective._clean(targets[prediction], a * clean + s * epsilon, t)
        torch.testing.assert_close(found, clean, rtol=0, atol=1e-9)


@pytest.mark.parametrize("prediction", ["v", "epsilon", "x0"])
def test_zero_prediction_costs_the_targets_power(
    prediction: str, make_batch: Callable[[list[int]], PackedBatch]
) -> None:
    """An oracle at zero: a network that says nothing has the loss of its target."""
    objective = daep(prediction=prediction)
    with torch.no_grad():
        objective.decoder.output.weight.zero_()
    batch = make_batch([9, 4])
    sequence = batch.sequences["m"]
    assert sequence.value is not None
    noise = Noise(3, 1, batch.sample_ids)
    epsilon = noise.normal("epsilon", sequence.offsets)
    time = (noise.uniform("time") * 1000).long()[sequence.sample_index]
    a, s = objective.schedule.signal[time].float(), objective.schedule.noise[time].float()
    target = {"v": a * epsilon - s * sequence.value, "epsilon": epsilon, "x0": sequence.value}
    term = objective(batch, noise).terms["diffusion"]
    torch.testing.assert_close(term.sum, (target[prediction] ** 2).sum())
    assert float(term.weight) == 13


def test_min_snr_is_one_weight_for_all_predictions() -> None:
    """The same weight on x0, however it is predicted (Hang et al. 2023): min(SNR, gamma)."""
    of_x0 = daep(prediction="x0", weighting="min_snr").weight
    snr = (daep().schedule.signal / daep().schedule.noise).square().float()
    torch.testing.assert_close(of_x0, snr.clamp(max=5.0))
    # |x0 error|^2 = |epsilon error|^2 / SNR = |v error|^2 / (SNR + 1)
    of_epsilon = daep(prediction="epsilon", weighting="min_snr").weight
    of_v = daep(prediction="v", weighting="min_snr").weight
    torch.testing.assert_close(of_epsilon * snr, of_x0)
    torch.testing.assert_close(of_v * (snr + 1), of_x0)


def test_an_object_counts_by_its_points_or_once() -> None:
    rows = Rows(torch.tensor([0, 3, 3, 4], dtype=torch.int32), 4, 3)
    values = torch.tensor([1.0, 2.0, 3.0, 10.0])
    points, objects = (average_term(values, rows, how) for how in ("points", "objects"))
    assert (float(points.sum), float(points.weight)) == (16, 4)
    assert (float(objects.sum), float(objects.weight)) == (12, 2)


def test_one_step_needs_a_clean_prediction(
    make_batch: Callable[[list[int]], PackedBatch],
) -> None:
    objective, batch = daep(prediction="epsilon"), make_batch([3])
    assert not objective.has_one_step()
    code = objective.encode(batch)
    with pytest.raises(ConfigError, match="one_step"):
        objective.decode(code, batch.query(), OneStepConfig(), 1, Noise(0, 0, batch.sample_ids))
    with pytest.raises(ConfigError, match="zero_terminal"):
        daep(prediction="epsilon", zero_terminal=True)
