"""Families of posterior, prior and likelihood against torch and scipy."""

import math

import pytest
import torch
from scipy import stats
from torch.distributions import Distribution, Laplace, Normal, kl_divergence

from daep_ray.objectives.posterior import (
    PRIOR_SCALE,
    Family,
    kl_to_prior,
    log_density,
    negative_log_likelihood,
    unit_noise,
)
from daep_ray.stream.noise import Noise

FAMILIES: list[Family] = ["gaussian", "laplace"]
every_family = pytest.mark.parametrize("family", FAMILIES)


def reference(family: Family, mean: torch.Tensor, scale: torch.Tensor) -> Distribution:
    """With this standard deviation."""
    return Normal(mean, scale) if family == "gaussian" else Laplace(mean, scale / math.sqrt(2))


def prior(family: Family) -> Distribution:
    zero, one = torch.zeros(()).double(), torch.ones(()).double()
    return Normal(zero, one) if family == "gaussian" else Laplace(zero, one)


@every_family
def test_densities_and_kl_are_torchs(family: Family) -> None:
    mean, scale = torch.randn(3, 2, 4).double(), torch.rand(3, 2, 4).double() + 0.1
    z = torch.randn(3, 2, 4).double()
    member = reference(family, mean, scale)
    torch.testing.assert_close(log_density(family, z, mean, scale), member.log_prob(z))
    found = log_density(family, z, 0.0, PRIOR_SCALE[family])
    torch.testing.assert_close(found, prior(family).log_prob(z))
    expected = kl_divergence(member, prior(family))
    torch.testing.assert_close(kl_to_prior(family, mean, scale), expected)


@every_family
def test_unit_noise_has_its_family_and_variance_1(family: Family) -> None:
    noise = Noise(0, 0, tuple(f"s{i}" for i in range(200)))
    drawn = unit_noise(family, noise, "posterior", 10, 20).double()
    assert drawn.shape == (200, 10, 20)
    law = {"gaussian": stats.norm(), "laplace": stats.laplace(scale=2**-0.5)}[family]
    assert stats.kstest(drawn.flatten().numpy(), law.cdf).pvalue > 0.01
    assert float(drawn.std()) == pytest.approx(1, abs=0.03)


def test_likelihoods_are_half_the_square_and_the_absolute_value() -> None:
    residual = torch.tensor([-2.0, 0.0, 3.0])
    assert negative_log_likelihood("gaussian", residual).tolist() == [2.0, 0.0, 4.5]
    assert negative_log_likelihood("laplace", residual).tolist() == [2.0, 0.0, 3.0]
    for family in FAMILIES:
        unit = Normal(0.0, 1.0) if family == "gaussian" else Laplace(0.0, 1.0)
        density = -unit.log_prob(residual) + unit.log_prob(torch.zeros(()))
        torch.testing.assert_close(negative_log_likelihood(family, residual), density)
