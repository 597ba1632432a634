"""beta-VAE with the same encoder and decoder (Kingma & Welling 2013; Higgins et al. 2017).

Per object it maximises E_q[log p(x | z)] - beta KL(q(z | x) || N(0, 1)) with the log likelihood
summed over the object's points (`reduction` "sum"). With a mean over points instead, a likelihood
of order 1 stands against a KL of tens of nats, and beta 0.1 collapses the posterior.
"""

from typing import ClassVar, Literal

import torch
from pydantic import NonNegativeFloat
from torch import Tensor

from daep_ray.diffusion.samplers import OneStepConfig, SamplerConfig
from daep_ray.nn.config import ModelConfig
from daep_ray.nn.decoder import Decoder
from daep_ray.nn.perceiver import Encoder
from daep_ray.objectives.base import (
    MIXER,
    SHOWN_VALUES,
    SOLVER,
    Code,
    Draws,
    Loss,
    Objective,
    Term,
    Unread,
    only_layout,
    passes,
)
from daep_ray.objectives.posterior import (
    Family,
    kl_to_prior,
    mean_and_scale,
    negative_log_likelihood,
    unit_noise,
)
from daep_ray.settings import Settings
from daep_ray.stream.batch import Layout, PackedBatch
from daep_ray.stream.noise import Noise


class VaeConfig(Settings):
    """`likelihood`: unit-variance Gaussian (the paper's L2) or unit-scale Laplace (the code's L1).

    `posterior`: the family of posterior and prior, Gaussian or (the published code) Laplace.
    `reduction`: an object's log likelihood is the `sum` or the `mean` over its points.
    """

    kind: Literal["vae"] = "vae"
    beta: NonNegativeFloat = 0.1
    likelihood: Family = "gaussian"
    posterior: Family = "gaussian"
    reduction: Literal["sum", "mean"] = "sum"

    unread: ClassVar[Unread] = Unread(ever=(MIXER, SHOWN_VALUES, SOLVER))


class Vae(Objective):
    """Unimodal beta-VAE; the decoder's queries are positions only.

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
        return Code(*mean_and_scale(self.encoder(batch.sequences[self.modality])))

    def loss(self, batch: PackedBatch, noise: Noise) -> Loss:
        sequence = batch.sequences[self.modality]
        assert sequence.value is not None
        code = self.encode(batch)
        assert code.scale is not None
        conditions = self.decoder.condition(self._draw(code, noise), sequence)
        residual = self.decoder(conditions)[0] - sequence.value
        negative = negative_log_likelihood(self.config.likelihood, residual)
        kl = kl_to_prior(self.config.posterior, code.point, code.scale).sum()
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
        is_mean = isinstance(sampler, OneStepConfig)
        parts = []
        for turns in passes(1 if is_mean else num_draws, sequence.num_tokens):
            z = [code.point if is_mean else self._draw(code, noise.at(k)) for k in turns]
            parts.append(self.decoder(self.decoder.condition(torch.cat(z), sequence, len(turns))))
        return Draws({self.modality: torch.cat(parts)})

    def _draw(self, code: Code, noise: Noise) -> Tensor:
        """(B, M, Z) from the posterior."""
        if code.scale is None:
            return code.point
        unit = unit_noise(self.config.posterior, noise, "posterior", *code.point.shape[1:])
        return code.point + code.scale * unit
