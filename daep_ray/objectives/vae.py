"""beta-VAE with the same encoder and decoder (Kingma & Welling 2013; Higgins et al. 2017).

Per object it maximises E_q[log p(x | z)] - beta KL(q(z | x) || N(0, 1)) with the log likelihood
summed over the object's points (`reduction` "sum"). With a mean over points instead, a likelihood
of order 1 stands against a KL of tens of nats, and beta 0.1 collapses the posterior.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import NonNegativeFloat
from torch import Tensor

from daep_ray.diffusion.samplers import OneStepConfig, SamplerConfig
from daep_ray.nn.config import ModelConfig
from daep_ray.nn.decoder import Decoder
from daep_ray.nn.perceiver import Encoder
from daep_ray.objectives.base import Code, Draws, Loss, Objective, Term, only_layout, passes
from daep_ray.settings import Settings
from daep_ray.stream.batch import Layout, PackedBatch
from daep_ray.stream.noise import Noise


class VaeConfig(Settings):
    """`likelihood`: unit-variance Gaussian (the paper's L2) or unit-scale Laplace (the code's L1).

    `reduction`: an object's log likelihood is the `sum` or the `mean` over its points.
    """

    kind: Literal["vae"] = "vae"
    beta: NonNegativeFloat = 0.1
    likelihood: Literal["gaussian", "laplace"] = "gaussian"
    reduction: Literal["sum", "mean"] = "sum"


class Vae(Objective):
    """Unimodal beta-VAE with a Gaussian posterior; the decoder's queries are positions only.

    Raises:
        ConfigError: several modalities.
    """

    def __init__(self, config: VaeConfig, model: ModelConfig, layouts: dict[str, Layout]) -> None:
        super().__init__()
        layout = only_layout(layouts, config.kind)
        self.config = config
        self.modality = layout.modality
        self.encoder = Encoder(model, layout, 2 * model.bottleneck.width)
        self.decoder = Decoder(model, layout, is_noisy=False)

    def encode(self, batch: PackedBatch) -> Code:
        mean, raw = self.encoder(batch.sequences[self.modality]).chunk(2, dim=2)
        return Code(mean, F.softplus(raw) + 1e-4)

    def loss(self, batch: PackedBatch, noise: Noise) -> Loss:
        sequence = batch.sequences[self.modality]
        assert sequence.value is not None
        code = self.encode(batch)
        assert code.scale is not None
        z = code.point + code.scale * noise.normal_per_sample("posterior", *code.point.shape[1:])
        conditions = self.decoder.condition(z, sequence)
        residual = self.decoder(conditions)[0] - sequence.value
        negative = 0.5 * residual**2 if self.config.likelihood == "gaussian" else residual.abs()
        kl = gaussian_kl(code.point, code.scale).sum()
        if self.config.reduction == "sum":
            # both sums over objects, both per point: the same optimum as the ELBO per object, and
            # a loss whose size does not grow with the sequence
            weight = torch.tensor(float(sequence.num_tokens), device=kl.device)
            return self._loss(Term(negative.sum(), weight), kl, weight)
        rows = conditions.rows
        per_object = (negative / rows.lengths.float()[rows.sample]).sum()
        weight = torch.tensor(float(batch.num_samples), device=kl.device)
        return self._loss(Term(per_object, weight), kl, weight)

    def _loss(self, reconstruction: Term, kl: Tensor, weight: Tensor) -> Loss:
        return Loss({"reconstruction": reconstruction, "kl": Term(kl, weight, self.config.beta)})

    def decode(
        self,
        code: Code,
        query: PackedBatch,
        sampler: SamplerConfig,
        num_draws: int,
        noise: Noise,
    ) -> Draws:
        """Draws are decoded means of posterior draws; `one_step` decodes the posterior's mean.

        A code without a scale has one reconstruction: all its draws are the same.
        """
        sequence = query.sequences[self.modality]
        is_mean = isinstance(sampler, OneStepConfig) or code.scale is None
        num_draws = 1 if isinstance(sampler, OneStepConfig) else num_draws
        parts = []
        for turns in passes(num_draws, sequence.num_tokens):
            z = torch.cat([self._posterior(code, noise.at(k), is_mean) for k in turns])
            parts.append(self.decoder(self.decoder.condition(z, sequence, len(turns))))
        return Draws({self.modality: torch.cat(parts)})

    @staticmethod
    def _posterior(code: Code, noise: Noise, is_mean: bool) -> Tensor:
        if is_mean or code.scale is None:
            return code.point
        return code.point + code.scale * noise.normal_per_sample("posterior", *code.point.shape[1:])


def gaussian_kl(mean: Tensor, scale: Tensor) -> Tensor:
    """KL(N(mean, scale^2) || N(0, 1)) of every element, nats."""
    return 0.5 * (mean**2 + scale**2 - 1) - scale.log()
