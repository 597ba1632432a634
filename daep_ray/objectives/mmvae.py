"""mmVAE: a mixture-of-experts VAE, one posterior per modality, all pairs decoded.

Every present modality's expert draws K codes, and each of them decodes every present modality: so
a code from photometry alone is taught to tell the spectrum. The bound of an object, from the log
weights of the draw k of expert r (Burda et al. 2016; Shi et al. 2019, eq. 3 and appendix):

    log w_rk = (1 / beta) sum_d s_d log p(x_d | z_rk) + log p(z_rk) - log q(z_rk | X)
    outside    (1 / E) sum_r log (1 / K) sum_k w_rk      (Shi et al.)
    pooled     log (1 / (E K)) sum_r sum_k w_rk          (the published code), never below `outside`

The loss is -beta x bound, per point or per object as in `vae.py`; with one modality and K = 1 it is
that of the VAE. At beta 1 and all s_d 1 it bounds log p(X), up to the likelihood's constants;
otherwise it bounds the same of a tempered likelihood.
"""

import math
from dataclasses import replace
from typing import ClassVar, Literal

import torch
from pydantic import PositiveFloat, PositiveInt
from torch import Tensor, nn

from daep_ray.diffusion.samplers import OneStepConfig, SamplerConfig
from daep_ray.errors import ConfigError
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
    passes,
)
from daep_ray.objectives.experts import Experts, MixtureCode
from daep_ray.objectives.posterior import (
    PRIOR_SCALE,
    Family,
    log_density,
    mean_and_scale,
    negative_log_likelihood,
    unit_noise,
)
from daep_ray.settings import Settings
from daep_ray.stream.batch import Layout, PackedBatch, PackedSequence
from daep_ray.stream.noise import Noise


class MmVaeConfig(Settings):
    """`num_draws`: K per expert. `beta`, `likelihood`, `posterior`: as in the VAE.

    `point_weight` (s_d): `longest`, every present modality counts as much as the object's longest,
    s_d = largest n / n_d of this object (Shi et al. 2019 by dimensions; here by the measurements
    that there are); `equal`, every point counts 1; or a number per modality, 1 where none is given
    (the published code: 982 / 60 for photometry).
    `reduction`: an object's log likelihood is the `sum` over its points, or their `mean`, both
    with these weights.

    The published code: K 2, `pooled`, beta 1, Laplace throughout, 982 / 60 for photometry.
    """

    kind: Literal["mmvae"] = "mmvae"
    num_draws: PositiveInt = 2
    bound: Literal["outside", "pooled"] = "outside"
    beta: PositiveFloat = 0.1
    likelihood: Family = "gaussian"
    posterior: Family = "gaussian"
    point_weight: Literal["longest", "equal"] | dict[str, PositiveFloat] = "longest"
    reduction: Literal["sum", "mean"] = "sum"

    unread: ClassVar[Unread] = Unread(ever=(MIXER, SHOWN_VALUES, SOLVER))


class MmVae(Objective):
    """Mixture-of-experts VAE of one modality or more; the decoders' queries are positions only.

    Raises:
        ConfigError: no modality, or a point weight of one that is not there.
    """

    def __init__(self, config: MmVaeConfig, model: ModelConfig, layouts: dict[str, Layout]) -> None:
        super().__init__()
        if not layouts:
            raise ConfigError(
                f"objective {config.kind!r} learns one modality or more, got none: "
                "name them in modalities"
            )
        self.config = config
        self.modalities = tuple(layouts)
        self.code_shape = (model.bottleneck.length, model.bottleneck.width)
        self.fixed_weights = fixed_weights(config, self.modalities)
        width = 2 * model.bottleneck.width
        self.encoders = nn.ModuleDict({m: Encoder(model, x, width) for m, x in layouts.items()})
        self.decoders = nn.ModuleDict(
            {m: Decoder(model, x, is_noisy=False) for m, x in layouts.items()}
        )

    def decoder(self, modality: str) -> Decoder:
        found = self.decoders[modality]
        assert isinstance(found, Decoder)
        return found

    def experts(self, batch: PackedBatch) -> Experts:
        """Each modality's posterior; a batch without a modality has it in no sample."""
        lengths = self._lengths(batch)
        length, width = self.code_shape
        raw = [
            self.encoders[m](batch.sequences[m])
            if m in batch.sequences
            else torch.zeros(batch.num_samples, length, 2 * width, device=lengths.device)
            for m in self.modalities
        ]
        mean, scale = mean_and_scale(torch.stack(raw, dim=1))
        return Experts.of(self.config.posterior, mean, scale, lengths > 0)

    def _lengths(self, batch: PackedBatch) -> Tensor:
        """(B, E) measurements."""
        device = next(self.parameters()).device
        none = torch.zeros(batch.num_samples, dtype=torch.int32, device=device)
        found = batch.sequences
        return torch.stack([found[m].lengths if m in found else none for m in self.modalities], 1)

    def loss(self, batch: PackedBatch, noise: Noise) -> Loss:
        config, experts = self.config, self.experts(batch)
        point_weight, weight = self._weights(self._lengths(batch))
        sample, expert = experts.is_present.nonzero(as_tuple=True)  # (P,) pairs
        z = self._codes(experts, sample, expert, noise)
        likelihood = self._log_likelihood(z, experts, sample, batch, point_weight)
        log_weight = likelihood / config.beta + self._prior_ratio(z, experts, sample, expert)
        combine = outside if config.bound == "outside" else pooled
        bound = combine(log_weight, experts, sample, expert)
        return Loss({"bound": Term(-config.beta * bound.sum(), weight)})

    def _codes(self, experts: Experts, sample: Tensor, expert: Tensor, noise: Noise) -> Tensor:
        """(K, P, M, Z) draws of each pair's expert."""
        family, num_draws = experts.family, self.config.num_draws
        shape = (num_draws, len(self.modalities), *self.code_shape)
        unit = unit_noise(family, noise, "posterior", *shape)  # (B, K, E, M, Z)
        mean, scale = experts.mean[sample, expert], experts.scale[sample, expert]
        return mean + scale * unit[sample, :, expert].transpose(0, 1)

    def _log_likelihood(
        self,
        z: Tensor,
        experts: Experts,
        sample: Tensor,
        batch: PackedBatch,
        point_weight: Tensor,
    ) -> Tensor:
        """(K, P): what each code says of every modality that its sample has, absent ones nothing.

        One pass per modality over all the pairs and draws that decode it.
        """
        total = z.new_zeros(z.shape[:2])
        for d, m in enumerate(self.modalities):
            pairs = experts.is_present[sample, d].nonzero()[:, 0]
            asked = picked(batch.sequences[m], sample[pairs])
            assert asked.value is not None
            decoder = self.decoder(m)
            conditions = decoder.condition(z[:, pairs].flatten(0, 1), asked, len(z))
            negative = negative_log_likelihood(
                self.config.likelihood, decoder(conditions) - asked.value
            )
            pair = pairs[asked.sample_index]
            each = negative * point_weight[sample[pair], d]
            total = total.index_add(1, pair, -each.to(total.dtype))
        return total

    def _prior_ratio(self, z: Tensor, experts: Experts, sample: Tensor, expert: Tensor) -> Tensor:
        """(K, P): log p(z) - log q(z | X).

        Where no other draw stands in the same logarithm, its expectation is what counts, and the
        part of it that has a closed form, KL(q_r || p), is taken in closed form as in the VAE.
        """
        mixture = experts.log_mixture(z, sample)
        prior = log_density(experts.family, z, 0.0, PRIOR_SCALE[experts.family]).sum((2, 3))
        sampled = prior - mixture
        if self.config.num_draws > 1:
            return sampled
        own = experts.log_own(z, sample, expert)
        closed = own - mixture - experts.kl_of_own(sample, expert)
        if self.config.bound == "outside":
            return closed
        return torch.where(experts.num_present[sample] == 1, closed, sampled)

    def _weights(self, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(B, E) what a point counts in its object's log likelihood, and () the loss's weight."""
        num = lengths.float()
        if self.config.point_weight == "longest":
            of_point = num.amax(1, keepdim=True) / num.clamp(min=1)
        else:
            of_point = num.new_tensor(self.fixed_weights).expand_as(num)
        whole = (of_point * num).sum(1)
        if self.config.reduction == "sum":
            return of_point, whole.sum()
        is_told = whole > 0
        return of_point / whole.where(is_told, whole.new_ones(()))[:, None], is_told.sum().float()

    def encode(self, batch: PackedBatch) -> MixtureCode:
        """The mixture over what each sample has, a function of the sample alone."""
        return MixtureCode.of(self.experts(batch), self.modalities)

    def decode(
        self,
        code: Code,
        query: PackedBatch,
        sampler: SamplerConfig,
        num_draws: int,
        noise: Noise,
    ) -> Draws:
        """Draws are decoded means of the mixture's draws; draw k is one code for all modalities.

        `one_step` decodes the mixture's mean. A code without its experts is one expert.
        """
        is_mean = isinstance(sampler, OneStepConfig)
        turns = range(1 if is_mean else num_draws)
        z = [code.point if is_mean else self._draw(code, noise.at(k)) for k in turns]
        found = {}
        for m, sequence in query.sequences.items():
            decoder = self.decoder(m)
            parts = [
                decoder(decoder.condition(torch.cat([z[k] for k in group]), sequence, len(group)))
                for group in passes(len(z), sequence.num_tokens)
            ]
            found[m] = torch.cat(parts)
        return Draws(found)

    def _draw(self, code: Code, noise: Noise) -> Tensor:
        """(B, M, Z)."""
        if isinstance(code, MixtureCode) and code.experts is not None:
            return code.experts.draw(noise)
        if code.scale is None:
            return code.point
        unit = unit_noise(self.config.posterior, noise, "posterior", *code.point.shape[1:])
        return code.point + code.scale * unit


def fixed_weights(config: MmVaeConfig, modalities: tuple[str, ...]) -> tuple[float, ...]:
    """A point's weight per modality where it is the same for all objects.

    Raises:
        ConfigError: a weight of a modality that is not there.
    """
    given = config.point_weight if isinstance(config.point_weight, dict) else {}
    unknown = sorted(set(given) - set(modalities))
    if unknown:
        raise ConfigError(
            f"objective.point_weight names the modality {unknown[0]!r}, which is not learnt: "
            f"give weights of {', '.join(modalities)}"
        )
    return tuple(given.get(m, 1.0) for m in modalities)


def outside(log_weight: Tensor, experts: Experts, sample: Tensor, expert: Tensor) -> Tensor:
    """(B,) the mean over experts of each one's bound, from log weights (K, P); 0 without any."""
    of_pair = log_weight.logsumexp(0) - math.log(len(log_weight))
    share = of_pair / experts.num_present[sample]
    return share.new_zeros(len(experts.mean)).index_add(0, sample, share)


def pooled(log_weight: Tensor, experts: Experts, sample: Tensor, expert: Tensor) -> Tensor:
    """(B,) the logarithm of the mean over experts and draws together; 0 without any."""
    num_draws, is_told = len(log_weight), experts.num_present > 0
    block = log_weight.new_zeros(*experts.is_present.shape, num_draws)
    # a sample without any modality stays finite, so that its gradient is 0 and not NaN
    block = block.masked_fill(is_told[:, None, None], -torch.inf)
    block = block.index_put((sample, expert), log_weight.T)
    counted = (num_draws * experts.num_present).clamp(min=1).log()
    return (block.flatten(1).logsumexp(1) - counted).masked_fill(~is_told, 0.0)


def picked(sequence: PackedSequence, samples: Tensor) -> PackedSequence:
    """These samples in this order, repeated or left out: (P,) indices, none of them empty."""
    lengths = sequence.lengths.long()[samples]
    ends = lengths.cumsum(0)
    shift = sequence.offsets[:-1].long()[samples] - (ends - lengths)
    total = int(ends[-1]) if len(ends) else 0
    rows = torch.arange(total, device=ends.device)
    rows = rows + shift.repeat_interleave(lengths, output_size=total)
    return replace(
        sequence,
        value=None if sequence.value is None else sequence.value[rows],
        error=None if sequence.error is None else sequence.error[rows],
        position=sequence.position[rows],
        category=sequence.category[rows],
        offsets=torch.cat([ends.new_zeros(1), ends]).to(torch.int32),
        max_length=int(lengths.max()) if len(lengths) else 0,
        metadata=sequence.metadata[samples],
        metadata_is_known=sequence.metadata_is_known[samples],
        metadata_category=sequence.metadata_category[samples],
    )
