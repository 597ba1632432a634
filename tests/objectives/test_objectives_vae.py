"""VAE: its loss against the ELBO, its draws against the posterior."""

from collections.abc import Callable

import pytest
import torch
from torch.distributions import Laplace, Normal, kl_divergence

from daep_ray.diffusion.samplers import DDIMConfig, OneStepConfig
from daep_ray.nn.config import ModelConfig
from daep_ray.objectives.base import Code
from daep_ray.objectives.vae import Vae, VaeConfig
from daep_ray.stream.batch import Layout, PackedBatch
from daep_ray.stream.noise import Noise

LAYOUTS = {"m": Layout("m", 2, category_sizes=(3,), num_metadata=2, metadata_sizes=(3,))}
Make = Callable[[list[int]], PackedBatch]


def vae(**settings: object) -> Vae:
    torch.manual_seed(0)
    return Vae(VaeConfig(**settings), ModelConfig(width=16, num_heads=2), LAYOUTS)


@pytest.mark.parametrize("likelihood", ["gaussian", "laplace"])
@pytest.mark.parametrize("posterior", ["gaussian", "laplace"])
@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_the_loss_is_the_elbo_of_each_object(
    likelihood: str, posterior: str, reduction: str, make_batch: Make
) -> None:
    objective = vae(likelihood=likelihood, posterior=posterior, reduction=reduction, beta=0.3)
    batch = make_batch([5, 3])
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
        if posterior == "gaussian":
            kl = kl_divergence(Normal(code.point, code.scale), Normal(0.0, 1.0)).sum((1, 2))
        else:
            own = Laplace(code.point, code.scale / 2**0.5)
            kl = kl_divergence(own, Laplace(0.0, 1.0)).sum((1, 2))
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


def test_the_defaults_are_the_papers_and_the_published_codes_are_options() -> None:
    """Gaussian with L2 and beta 0.1, summed over points; Laplace throughout in the code, where the
    likelihood is divided by beta instead: the same optimum, a loss 1 / beta times as large."""
    plain = VaeConfig()
    assert (plain.likelihood, plain.posterior) == ("gaussian", "gaussian")
    assert (plain.beta, plain.reduction) == (0.1, "sum")
    published = VaeConfig.parse({"kind": "vae", "likelihood": "laplace", "posterior": "laplace"})
    assert published.beta == plain.beta


@torch.no_grad()
def test_laplace_draws_have_the_posteriors_mean_and_standard_deviation(make_batch: Make) -> None:
    """Over 20,000 draws of the code, within 5 standard errors; kurtosis tells the families apart
    (0 and 3 in excess)."""
    for posterior, excess in (("gaussian", 0.0), ("laplace", 3.0)):
        objective, batch = vae(posterior=posterior), make_batch([5])
        code = objective.encode(batch)
        assert code.scale is not None
        many = Code(code.point.expand(20_000, -1, -1), code.scale.expand(20_000, -1, -1))
        noise = Noise(0, 0, tuple(f"s{i}" for i in range(20_000)))
        z = (objective._draw(many, noise) - code.point) / code.scale
        assert (z.mean(0).abs() < 5 / 20_000**0.5).all()
        assert float(z.var()) == pytest.approx(1, abs=0.02)
        assert float((z**4).mean()) - 3 == pytest.approx(excess, abs=0.3)
