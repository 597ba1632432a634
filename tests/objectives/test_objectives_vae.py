"""VAE: its KL against torch, its loss against the ELBO, its draws against the posterior."""

from collections.abc import Callable

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from daep_ray.diffusion.samplers import DDIMConfig, OneStepConfig
from daep_ray.nn.config import ModelConfig
from daep_ray.objectives.base import Code
from daep_ray.objectives.posterior import kl_to_prior
from daep_ray.objectives.vae import Vae, VaeConfig
from daep_ray.stream.batch import Layout, PackedBatch
from daep_ray.stream.noise import Noise

LAYOUTS = {"m": Layout("m", 2, category_sizes=(3,), num_metadata=2, metadata_sizes=(3,))}
Make = Callable[[list[int]], PackedBatch]


def vae(**settings: object) -> Vae:
    torch.manual_seed(0)
    return Vae(VaeConfig(**settings), ModelConfig(width=16, num_heads=2), LAYOUTS)


def test_kl_is_torchs() -> None:
    mean, scale = torch.randn(3, 2, 4), torch.rand(3, 2, 4) + 0.1
    expected = kl_divergence(Normal(mean, scale), Normal(0.0, 1.0))
    torch.testing.assert_close(kl_to_prior("gaussian", mean, scale), expected)


@pytest.mark.parametrize("likelihood", ["gaussian", "laplace"])
@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_the_loss_is_the_elbo_of_each_object(
    likelihood: str, reduction: str, make_batch: Make
) -> None:
    objective, batch = vae(likelihood=likelihood, reduction=reduction, beta=0.3), make_batch([5, 3])
    sequence, noise = batch.sequences["m"], Noise(1, 2, batch.sample_ids)
    assert sequence.value is not None
    loss = objective(batch, noise)
    with torch.no_grad():
        code = objective.encode(batch)
        draw = objective.decode(code, batch.query(), DDIMConfig(), 3, noise).values["m"]
        # training noise at turn 2 is the posterior draw of turn 2
        residual = draw[2] - sequence.value
        negative = 0.5 * residual**2 if likelihood == "gaussian" else residual.abs()
        assert code.scale is not None
        kl = kl_to_prior("gaussian", code.point, code.scale).sum((1, 2))
        reduce = torch.sum if reduction == "sum" else torch.mean
        objects = torch.stack([reduce(part) for part in negative.split([5, 3])]) + 0.3 * kl
    count = 8 if reduction == "sum" else 2  # per point, or per object
    torch.testing.assert_close(loss.total, objects.sum() / count)


def test_one_step_decodes_the_posterior_mean(make_batch: Make) -> None:
    objective, batch = vae(), make_batch([5, 3])
    noise = Noise(0, 0, batch.sample_ids)
    with torch.no_grad():
        code = objective.encode(batch)
        assert code.scale is not None
        mean = objective.decode(code, batch.query(), OneStepConfig(), 8, noise).values["m"]
        certain = Code(code.point, torch.zeros_like(code.scale))
        plain = objective.decode(certain, batch.query(), DDIMConfig(), 2, noise).values["m"]
        bare = objective.decode(Code(code.point), batch.query(), DDIMConfig(), 2, noise).values["m"]
    assert mean.shape == (1, 8)
    torch.testing.assert_close(plain, mean.expand(2, -1))
    torch.testing.assert_close(bare, mean.expand(2, -1))


def test_the_decoder_never_sees_values() -> None:
    assert vae().decoder.tokenizer.value is None
    assert vae().decoder.time is None
