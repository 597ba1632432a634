"""A mixture of experts over one code: a posterior per modality, equal weights where it is there.

q(z | X) = (1 / E) sum over the sample's E present modalities m of q_m(z | x_m) (Shi et al. 2019).
An absent modality's expert is the prior and has no weight; a sample that has nothing is the prior.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from daep_ray.objectives.base import Code
from daep_ray.objectives.posterior import PRIOR_SCALE, Family, kl_to_prior, log_density, unit_noise
from daep_ray.stream.noise import Noise


@dataclass(frozen=True)
class Experts:
    """The posteriors of B samples, E modalities each."""

    family: Family
    mean: Tensor  # (B, E, M, Z)
    scale: Tensor  # (B, E, M, Z) standard deviations
    is_present: Tensor  # (B, E) bool

    @classmethod
    def of(cls, family: Family, mean: Tensor, scale: Tensor, is_present: Tensor) -> "Experts":
        """Absent experts become the prior, whatever they say."""
        here = is_present[:, :, None, None]
        return cls(
            family,
            mean.masked_fill(~here, 0.0),
            scale.masked_fill(~here, PRIOR_SCALE[family]),
            is_present,
        )

    @cached_property
    def num_present(self) -> Tensor:
        """(B,) int64."""
        return self.is_present.sum(1)

    @cached_property
    def _weight(self) -> Tensor:
        """(B, E, 1, 1) of the mixture; of a sample that has nothing all (they are the prior)."""
        counted = self.is_present | (self.num_present == 0)[:, None]
        return (counted / counted.sum(1, keepdim=True)).to(self.mean.dtype)[:, :, None, None]

    @cached_property
    def point(self) -> Tensor:
        """(B, M, Z) the mixture's mean."""
        return (self._weight * self.mean).sum(1)

    @cached_property
    def spread(self) -> Tensor:
        """(B, M, Z) the mixture's standard deviation: within the experts and between them."""
        between = (self.mean - self.point[:, None]) ** 2
        return (self._weight * (self.scale**2 + between)).sum(1).sqrt()

    def log_mixture(self, z: Tensor, sample: Tensor) -> Tensor:
        """log q(z | X), (K, P): z (K, P, M, Z), entry p a code of sample `sample[p]`.

        Every such sample has one modality at least.
        """
        each = log_density(self.family, z[:, :, None], self.mean[sample], self.scale[sample])
        told = each.sum((3, 4)).masked_fill(~self.is_present[sample], -torch.inf)  # (K, P, E)
        return told.logsumexp(2) - self.num_present[sample].log()

    def log_own(self, z: Tensor, sample: Tensor, expert: Tensor) -> Tensor:
        """log q_m(z | x_m), (K, P): each code under the expert that drew it."""
        mean, scale = self.mean[sample, expert], self.scale[sample, expert]
        return log_density(self.family, z, mean, scale).sum((2, 3))

    def kl_of_own(self, sample: Tensor, expert: Tensor) -> Tensor:
        """(P,) KL(q_m || prior)."""
        mean, scale = self.mean[sample, expert], self.scale[sample, expert]
        return kl_to_prior(self.family, mean, scale).sum((1, 2))

    def draw(self, noise: Noise) -> Tensor:
        """(B, M, Z) a draw of the mixture: a present expert at random, then a draw of its own."""
        rank = (noise.uniform("expert") * self.num_present).long()
        chosen = (self.is_present.cumsum(1) > rank[:, None]).int().argmax(1)
        every = torch.arange(len(chosen), device=chosen.device)
        unit = unit_noise(self.family, noise, "posterior", *self.mean.shape[2:])
        return self.mean[every, chosen] + self.scale[every, chosen] * unit


@dataclass(frozen=True)
class MixtureCode(Code):
    """A code that knows its experts.

    `point` is the mixture's mean and `scale` its standard deviation. `by_modality` are the experts'
    means: what the code is where a sample has that modality alone, and 0 where it lacks it.
    """

    experts: Experts | None = None

    @classmethod
    def of(cls, experts: Experts, modalities: Sequence[str]) -> "MixtureCode":
        """`modalities` in the experts' order."""
        alone: Mapping[str, Tensor] = {m: experts.mean[:, e] for e, m in enumerate(modalities)}
        return cls(experts.point, experts.spread, alone, experts)
