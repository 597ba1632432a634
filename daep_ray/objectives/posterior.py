"""The distributions of the variational objectives: posterior and prior of a code, likelihood.

Two families, both symmetric and with a scale: `gaussian` (the paper: L2) and `laplace` (the
published code: L1). A posterior is given by its mean and its standard deviation; the prior is
N(0, 1), or Laplace(0, 1), whose standard deviation is sqrt(2). Densities are in nats, elementwise.
"""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from daep_ray.stream.noise import Noise

Family = Literal["gaussian", "laplace"]

PRIOR_SCALE: dict[Family, float] = {"gaussian": 1.0, "laplace": math.sqrt(2)}


def mean_and_scale(raw: Tensor) -> tuple[Tensor, Tensor]:
    """What an encoder says (..., 2 Z) -> mean and standard deviation (..., Z)."""
    mean, spread = raw.chunk(2, dim=-1)
    return mean, F.softplus(spread) + 1e-4


def log_density(family: Family, z: Tensor, mean: Tensor | float, scale: Tensor | float) -> Tensor:
    """log q(z) of a member with this mean and standard deviation."""
    scale = torch.as_tensor(scale, dtype=z.dtype, device=z.device)
    if family == "gaussian":
        return -0.5 * ((z - mean) / scale) ** 2 - scale.log() - 0.5 * math.log(2 * math.pi)
    half_width = scale / math.sqrt(2)
    return -(z - mean).abs() / half_width - (2 * half_width).log()


def kl_to_prior(family: Family, mean: Tensor, scale: Tensor) -> Tensor:
    """KL(q || prior) in closed form, posterior and prior of the same family."""
    if family == "gaussian":
        return 0.5 * (mean**2 + scale**2 - 1) - scale.log()
    half_width = scale / math.sqrt(2)
    far = mean.abs()
    return far + half_width * (-far / half_width).exp() - half_width.log() - 1


def unit_noise(family: Family, noise: Noise, name: str, *shape: int) -> Tensor:
    """(B, *shape) of mean 0 and variance 1: a draw is mean + standard deviation x this.

    Laplace noise has the sign and the rank of the normal one: the two families are compared on
    the same noise.
    """
    normal = noise.normal_per_sample(name, *shape)
    if family == "gaussian":
        return normal
    # of a standard normal, P(|N| > |n|) = erfc(|n| / sqrt 2) is uniform
    return -normal.sign() * torch.special.erfc(normal.abs() / math.sqrt(2)).log() / math.sqrt(2)


def negative_log_likelihood(family: Family, residual: Tensor) -> Tensor:
    """-log p(x | z) of every point for unit variance (Gaussian) or unit scale (Laplace).

    Without the constant: half the squared residual, or its absolute value.
    """
    return 0.5 * residual**2 if family == "gaussian" else residual.abs()
