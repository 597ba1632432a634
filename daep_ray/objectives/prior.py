"""Latent prior: a diffusion model of another model's codes, which draws objects from nothing.

The parent (daep, VAE or mmVAE) is trained before and frozen; its weights travel in this model's
checkpoint. In training its codes are computed step by step, a posterior's as draws (what its
decoder has learnt to read), and standardised per entry with statistics of the training split.
Codes kept from step to step would save 4 of 35 ms (light curves, smoke preset) and lose new draws,
augmentation and flat memory.
`sample` draws codes and lets the parent decode them at any cadence. With `label` the codes of a
class can be asked for (classifier-free guidance, Ho & Salimans 2022).
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Literal

import torch
from pydantic import Field, PositiveFloat, PositiveInt
from torch import Tensor

from daep_ray.diffusion.samplers import OneStepConfig, SamplerConfig, sample
from daep_ray.diffusion.schedule import ScheduleName
from daep_ray.errors import ConfigError
from daep_ray.nn.code import CodeDenoiser
from daep_ray.nn.config import ModelConfig
from daep_ray.objectives.base import Code, Draws, Loss, Objective, Term, Unread, passes
from daep_ray.objectives.daep import DaepConfig
from daep_ray.objectives.denoising import Denoising, DiffusionConfig
from daep_ray.objectives.experts import MixtureCode
from daep_ray.objectives.mmvae import MmVaeConfig, picked
from daep_ray.objectives.posterior import unit_noise
from daep_ray.objectives.vae import VaeConfig
from daep_ray.settings import Settings
from daep_ray.stream.batch import PackedBatch
from daep_ray.stream.noise import Noise

ParentConfig = Annotated[DaepConfig | VaeConfig | MmVaeConfig, Field(discriminator="kind")]


class PriorConfig(Settings):
    """`parent`: the folder of the trained model whose codes are learnt. What follows from it is
    filled in: `parent_fingerprint`, `parent_objective`; so are the run's model, modalities and
    recipe, which are the parent's. The folder is needed in training alone.

    `width`, `num_heads`, `num_layers`: of the transformer over the code's entries.
    `label`: "class" to learn the codes of each class (`classes`, filled in: those of the training
    split), with no class told in a share `label_drop` of the cases, or None.
    `num_statistics`: training samples that mean and spread of the codes are taken from, at most.
    The chain's settings are those of daep.
    """

    kind: Literal["prior"] = "prior"
    parent: str = ""
    parent_fingerprint: str = ""
    parent_objective: ParentConfig = DaepConfig()
    width: PositiveInt = 128
    num_heads: PositiveInt = 4
    num_layers: PositiveInt = 4
    label: Literal["class"] | None = None
    classes: tuple[str, ...] = ()
    label_drop: Annotated[float, Field(ge=0, le=1)] = 0.1
    num_statistics: PositiveInt = 20_000
    prediction: Literal["v", "epsilon", "x0"] = "v"
    num_times: Annotated[int, Field(ge=2)] = 1000
    schedule: ScheduleName = "linear"
    zero_terminal: bool = False
    weighting: Literal["uniform", "min_snr"] = "uniform"
    snr_limit: PositiveFloat = 5.0

    @property
    def unread(self) -> Unread:
        """Its model is its parent's, and so are its reconstructions."""
        parent = self.parent_objective.unread
        return Unread(
            ever=_of_all(parent.ever),
            alone=_of_all(parent.alone),
            # where the parent lies, and what its fingerprint and the data decide
            told_elsewhere=("objective.parent", "objective.parent_objective", "objective.classes"),
        )

    @property
    def chain(self) -> DiffusionConfig:
        """The chain's settings alone."""
        shared = DiffusionConfig.model_fields.keys() & PriorConfig.model_fields.keys()
        return DiffusionConfig(**{name: getattr(self, name) for name in shared})


def _of_all(paths: tuple[str, ...]) -> tuple[str, ...]:
    """Those that are no settings of the objective's own."""
    return tuple(path for path in paths if not path.startswith("objective."))


class Prior(Denoising):
    """A diffusion model of `parent`'s codes; `encode` and `decode` are the parent's.

    Raises:
        ConfigError: a width that the heads do not divide; epsilon-prediction with a zero terminal
            SNR.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, config: PriorConfig, model: ModelConfig, parent: Objective) -> None:
        super().__init__(config.chain, model.bottleneck)
        if config.width % config.num_heads:
            raise ConfigError(
                f"objective.width {config.width} is not a multiple of objective.num_heads "
                f"{config.num_heads}: choose a width that is"
            )
        self.config = config
        self.parent = parent.requires_grad_(False)
        self.code_shape = (model.bottleneck.length, model.bottleneck.width)
        size = (config.width, config.num_heads, config.num_layers)
        self.denoiser = CodeDenoiser(model.bottleneck, *size, len(config.classes))
        self.register_buffer("mean", torch.zeros(self.code_shape))
        self.register_buffer("scale", torch.ones(self.code_shape))

    def prepare(self, codes: Tensor) -> None:
        """Standardise with these training codes (S, M, Z): mean 0, spread 1 per entry."""
        codes = codes.double()
        self.mean.copy_(codes.mean(0))
        # an entry that is the same for all stays finite
        self.scale.copy_(codes.std(0, correction=0).clamp(min=1e-6))

    @torch.no_grad()
    def codes(self, batch: PackedBatch, noise: Noise) -> Tensor:
        """(B, M, Z) the parent's codes; one draw where it has a posterior."""
        code = self.parent.encode(batch)
        if isinstance(code, MixtureCode) and code.experts is not None:
            return code.experts.draw(noise)
        if code.scale is None:
            return code.point
        parent = self.config.parent_objective
        family = "gaussian" if isinstance(parent, DaepConfig) else parent.posterior
        return code.point + code.scale * unit_noise(family, noise, "posterior", *self.code_shape)

    def loss(self, batch: PackedBatch, noise: Noise) -> Loss:
        """The squared error of the prediction at one random time per sample."""
        clean = (self.codes(batch, noise) - self.mean) / self.scale
        time = (noise.uniform("time") * self.config.num_times).long()
        epsilon = noise.normal_per_sample("epsilon", *self.code_shape)
        a, s = self.signal[time][:, None, None], self.noise[time][:, None, None]
        label = self._label(batch, noise)
        predicted = self.denoiser(a * clean + s * epsilon, self._fraction(time), label)
        target = {"v": a * epsilon - s * clean, "epsilon": epsilon, "x0": clean}
        squared = (predicted - target[self.config.prediction]) ** 2
        if self.config.weighting != "uniform":
            squared = squared * self.weight[time][:, None, None]
        weight = torch.tensor(float(squared.numel()), device=squared.device)
        return Loss({"diffusion": Term(squared.sum(), weight)})

    def _label(self, batch: PackedBatch, noise: Noise) -> Tensor | None:
        """(B,) int64, 0 where no class is told."""
        if not self.config.classes:
            return None
        if batch.label is None:
            return torch.zeros(batch.num_samples, dtype=torch.long, device=self.mean.device)
        is_dropped = noise.uniform("label") < self.config.label_drop
        return batch.label.masked_fill(is_dropped, 0)

    def encode(self, batch: PackedBatch) -> Code:
        return self.parent.encode(batch)

    def decode(
        self,
        code: Code,
        query: PackedBatch,
        sampler: SamplerConfig,
        num_draws: int,
        noise: Noise,
    ) -> Draws:
        return self.parent.decode(code, query, sampler, num_draws, noise)

    def has_one_step(self) -> bool:
        return self.parent.has_one_step()

    def is_judged_by_loss(self) -> bool:
        return True

    def sample(
        self,
        query: PackedBatch,
        sampler: SamplerConfig,
        num_draws: int,
        noise: Noise,
        labels: Sequence[str | None] | None = None,
        guidance: float = 1.0,
    ) -> Draws:
        """`num_draws` objects that never were, at the places of every sample of the query.

        Draw k of a sample is one code for all its modalities. `labels`: a class per sample, None
        for any; `guidance` above 1 leans on it more.

        Raises:
            ConfigError: what `check_sampling` refuses.
        """
        length = max(1, query.num_samples * self.code_shape[0] + query.num_tokens)
        parts = [
            self._sample(query, sampler, turns, noise, labels, guidance)
            for turns in passes(num_draws, length)
        ]
        return Draws({m: torch.cat([part[m] for part in parts]) for m in query.sequences})

    def _sample(
        self,
        query: PackedBatch,
        sampler: SamplerConfig,
        turns: range,
        noise: Noise,
        labels: Sequence[str | None] | None,
        guidance: float,
    ) -> dict[str, Tensor]:
        """(len(turns), N) per modality: the query once per draw, all decoded in one pass."""
        num_samples = query.num_samples
        codes = self.sample_codes(num_samples, sampler, turns, noise, labels, guidance)
        which = torch.arange(num_samples, device=codes.device).repeat(len(turns))
        ids = tuple(f"{name}/{k}" for k in turns for name in query.sample_ids)
        sequences = {m: picked(s, which) for m, s in query.query().sequences.items()}
        drawn = self.parent.decode(
            Code(codes.flatten(0, 1)),
            PackedBatch(ids, sequences),
            sampler,
            1,
            replace(noise, sample_ids=ids),
        )
        return {m: values.view(len(turns), -1) for m, values in drawn.values.items()}

    def sample_codes(
        self,
        num_samples: int,
        sampler: SamplerConfig,
        turns: range,
        noise: Noise,
        labels: Sequence[str | None] | None = None,
        guidance: float = 1.0,
    ) -> Tensor:
        """(K, B, M, Z) codes, one per draw in `turns` and sample of `noise`.

        Raises:
            ConfigError: what `check_sampling` refuses.
        """
        self.check_sampling(sampler, labels, guidance)
        label = self._told(labels, num_samples)
        repeated = None if label is None else label.repeat(len(turns))

        def noise_of(name: str) -> Tensor:
            drawn = [
                noise.at(k).within("prior").normal_per_sample(name, *self.code_shape) for k in turns
            ]
            return torch.cat(drawn)

        def denoise(x: Tensor, t: int) -> Tensor:
            time = self._fraction(torch.full((1,), t, device=x.device))
            clean = self._clean(self.denoiser(x, time, repeated).float(), x, t)
            if guidance == 1 or repeated is None:
                return clean
            anyone = self._clean(self.denoiser(x, time).float(), x, t)
            return anyone + guidance * (clean - anyone)

        drawn = sample(
            denoise, noise_of("x_T"), sampler, self.schedule, lambda i: noise_of(f"step{i}")
        )
        return (drawn * self.scale + self.mean).view(len(turns), num_samples, *self.code_shape)

    def check_sampling(
        self, sampler: SamplerConfig, labels: Sequence[str | None] | None, guidance: float
    ) -> None:
        """Raise ConfigError where `sample` cannot be asked so; nothing is computed."""
        if isinstance(sampler, OneStepConfig):
            raise ConfigError(
                "sampler 'one_step' predicts a mean and draws nothing: use 'ddim', 'dpm_solver', "
                "'unipc' or 'ddpm' to draw from a prior"
            )
        for name in labels or ():
            if name is not None and name not in self.config.classes:
                known = ", ".join(self.config.classes) or "none: train it with objective.label"
                raise ConfigError(f"label {name!r} is unknown to this prior: it knows {known}")
        if not (math.isfinite(guidance) and guidance >= 0):
            raise ConfigError(f"guidance is {guidance:g}: give a number of 0 or more, 1 for none")
        if guidance != 1 and labels is None:
            raise ConfigError(
                f"guidance {guidance:g} leans on a class, and none is asked for: name a label, or "
                "leave guidance at 1"
            )
        if guidance != 1 and not self.config.label_drop:
            raise ConfigError(
                f"guidance {guidance:g} needs a prior that learns to do without a class: train "
                "with objective.label_drop 0.1, or set guidance to 1"
            )

    def _told(self, labels: Sequence[str | None] | None, num_samples: int) -> Tensor | None:
        """(B,) int64 of class names."""
        if labels is None:
            return None
        assert len(labels) == num_samples, "a label per sample"
        codes = [0 if name is None else 1 + self.config.classes.index(name) for name in labels]
        return torch.tensor(codes, device=self.mean.device)
