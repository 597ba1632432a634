"""What the diffusion objectives share: the chain, the network's target, its loss, its sampling.

In: the conditions of one modality's decoder and its values. Out: a term of a loss, or draws. Which
code stands in the conditions, and how many modalities there are, is the objective's own business.

Ho et al. 2020 (DDPM), Salimans & Ho 2022 (v-prediction), Hang et al. 2023 (min-SNR weights), Ho &
Salimans 2022 (guidance).
"""

from typing import Annotated, Literal

import torch
from pydantic import Field, PositiveFloat
from torch import Tensor, nn

from daep_ray.diffusion.samplers import OneStepConfig, SamplerConfig, sample
from daep_ray.diffusion.schedule import ScheduleName, make_schedule
from daep_ray.errors import ConfigError
from daep_ray.nn.config import BottleneckConfig
from daep_ray.nn.decoder import Conditions, Decoder
from daep_ray.nn.perceiver import learnt_rows
from daep_ray.nn.ragged import Rows
from daep_ray.nn.tokenizer import is_known_error
from daep_ray.objectives.base import Objective, Term, passes
from daep_ray.settings import Settings
from daep_ray.stream.batch import PackedSequence
from daep_ray.stream.noise import Noise


class DiffusionConfig(Settings):
    """`schedule`: `linear` (the paper), or `cosine`, which spends fewer times at almost pure noise.

    `weighting` of times: `uniform` (the paper), or `min_snr` with `snr_limit` (gamma), so that the
    easy times at little noise do not drown the others.

    `average`: every point counts the same (`points`) or every object (`objects`).

    `error_weighting`: every measurement counts alike (`none`, the paper), or by how well its
    `object`, or the `point` itself, is measured (`error_weights`), with `error_floor` in z units.

    `code_drop`: the probability that a sample's code is replaced by a learnt null code in training
    (the paper: 0), which teaches the decoder to do without and makes a sampler's `guidance` an
    inference setting.
    """

    prediction: Literal["v", "epsilon", "x0"] = "v"
    num_times: Annotated[int, Field(ge=2)] = 1000
    schedule: ScheduleName = "linear"
    zero_terminal: bool = False
    weighting: Literal["uniform", "min_snr"] = "uniform"
    snr_limit: PositiveFloat = 5.0
    average: Literal["points", "objects"] = "points"
    error_weighting: Literal["none", "object", "point"] = "none"
    error_floor: PositiveFloat = 0.2
    code_drop: Annotated[float, Field(ge=0, lt=1)] = 0.0


class Denoising(Objective):
    """An objective whose decoders denoise values.

    Raises:
        ConfigError: epsilon-prediction with a zero terminal SNR.
    """

    signal: Tensor
    noise: Tensor
    weight: Tensor

    def __init__(self, config: DiffusionConfig, bottleneck: BottleneckConfig) -> None:
        super().__init__()
        if config.prediction == "epsilon" and config.zero_terminal:
            raise ConfigError(
                "objective.zero_terminal is True with objective.prediction 'epsilon': at pure "
                "noise the noise says nothing of the data, use prediction 'v' or 'x0'"
            )
        self.diffusion = config
        self.schedule = make_schedule(config.schedule, config.num_times, config.zero_terminal)
        self.register_buffer("signal", self.schedule.signal.float(), persistent=False)
        self.register_buffer("noise", self.schedule.noise.float(), persistent=False)
        self.register_buffer("weight", self._weights().float(), persistent=False)
        self.null_code: nn.Parameter | None = None
        if config.code_drop > 0:
            self.null_code = learnt_rows(bottleneck.length, bottleneck.width)

    def _weights(self) -> Tensor:
        """(T,) weight of the squared error at each time (Hang et al. 2023, table 1)."""
        if self.diffusion.weighting == "uniform":
            return torch.ones(self.diffusion.num_times)
        snr = (self.schedule.signal / self.schedule.noise) ** 2
        limited = snr.clamp(max=self.diffusion.snr_limit)
        return {"epsilon": limited / snr, "x0": limited, "v": limited / (snr + 1)}[
            self.diffusion.prediction
        ]

    def term(
        self, decoder: Decoder, conditions: Conditions, sequence: PackedSequence, noise: Noise
    ) -> Term:
        """The squared error of the prediction at one random time per sample."""
        assert sequence.value is not None
        config, sample_of = self.diffusion, conditions.rows.sample
        time = (noise.uniform("time") * config.num_times).long()
        epsilon = noise.normal("epsilon", sequence.offsets)
        a, s = self.signal[time][sample_of], self.noise[time][sample_of]
        noisy = a * sequence.value + s * epsilon
        predicted = decoder(conditions, noisy[None], self._fraction(time))[0]
        if config.prediction == "v":
            target = a * epsilon - s * sequence.value
        else:
            target = epsilon if config.prediction == "epsilon" else sequence.value
        squared = (predicted - target) ** 2
        if config.weighting != "uniform":
            squared = squared * self.weight[time][sample_of]
        if config.error_weighting == "none":
            return average_term(squared, conditions.rows, config.average)
        weights = error_weights(sequence, config.error_floor, config.error_weighting)
        return weighted_term(squared, weights, conditions.rows, config.average)

    def dropped(self, code: Tensor, noise: Noise) -> Tensor:
        """(B, M, Z) with the null code in place of a share `code_drop` of the codes."""
        if self.null_code is None:
            return code
        is_dropped = noise.uniform("code_drop") < self.diffusion.code_drop
        return torch.where(is_dropped[:, None, None], self.null_code, code)

    def _fraction(self, time: Tensor) -> Tensor:
        return time.float() / self.diffusion.num_times

    def draws(
        self,
        decoder: Decoder,
        code: Tensor,
        sequence: PackedSequence,
        sampler: SamplerConfig,
        num_draws: int,
        noise: Noise,
    ) -> Tensor:
        """(K, N) values at the sequence's places, given the code (B, M, Z).

        Raises:
            ConfigError: the sampler `one_step` with epsilon-prediction; `guidance` without a null
                code.
        """
        if sampler.guidance != 1 and self.null_code is None:
            raise ConfigError(
                f"evaluation.sampler.guidance is {sampler.guidance:g}, but this model never went "
                "without a code in training: leave it at 1, or train with objective.code_drop 0.1"
            )
        is_one_step = isinstance(sampler, OneStepConfig)
        if is_one_step and not self.has_one_step():
            raise ConfigError(
                "sampler 'one_step' needs clean values predicted at pure noise, which "
                "epsilon-prediction cannot give: use 'ddim', 'dpm_solver' or 'ddpm'"
            )
        turns = passes(1 if is_one_step else num_draws, sequence.num_tokens)
        parts = [self._draw(decoder, code, sequence, sampler, group, noise) for group in turns]
        return torch.cat(parts)

    def _draw(
        self,
        decoder: Decoder,
        code: Tensor,
        sequence: PackedSequence,
        sampler: SamplerConfig,
        turns: range,
        noise: Noise,
    ) -> Tensor:
        """(len(turns), N) draws in one pass."""
        num_draws = len(turns)
        conditions = decoder.condition(code.repeat(num_draws, 1, 1), sequence, num_draws)
        free: Conditions | None = None
        if sampler.guidance != 1:
            assert self.null_code is not None
            nothing = self.null_code.expand(num_draws * code.shape[0], -1, -1)
            free = decoder.condition(nothing, sequence, num_draws)

        def noise_of(name: str) -> Tensor:
            return torch.stack([noise.at(k).normal(name, sequence.offsets) for k in turns])

        def denoise(x: Tensor, t: int) -> Tensor:
            time = torch.full((1,), t, device=x.device)
            clean = self._clean(decoder(conditions, x, self._fraction(time)).float(), x, t)
            if free is None:
                return clean
            # clean values, v and noise are affine in each other: mixing one mixes all
            without = self._clean(decoder(free, x, self._fraction(time)).float(), x, t)
            return without + sampler.guidance * (clean - without)

        return sample(
            denoise, noise_of("x_T"), sampler, self.schedule, lambda step: noise_of(f"step{step}")
        )

    def _clean(self, predicted: Tensor, x: Tensor, t: int) -> Tensor:
        """x0 from what the network predicts (Salimans & Ho 2022, appendix D)."""
        a, s = float(self.schedule.signal[t]), float(self.schedule.noise[t])
        if self.diffusion.prediction == "v":
            return a * x - s * predicted
        return (x - s * predicted) / a if self.diffusion.prediction == "epsilon" else predicted

    def has_one_step(self) -> bool:
        return self.diffusion.prediction != "epsilon"


def error_weights(sequence: PackedSequence, floor: float, of: Literal["object", "point"]) -> Tensor:
    """(N,) in (0, 1]: 1 / (1 + (error / floor)^2), and 1 where no error is known.

    A target is the measured value: what the object did, plus noise of variance error^2. What is
    left of it at best therefore scatters with floor^2 + error^2, where `floor` is the scatter that
    the code leaves unsaid, and the estimate of least variance weighs by the inverse (Gauss-Markov;
    without the floor, the few points measured best would decide everything).

    A weight that knows nothing of the noise itself leaves a mean a mean: noise of mean 0 averages
    out, only faster. The mean of draws then estimates the noiseless values; single draws scatter as
    measurements do, those of well measured objects more than others. The weight is the same at all
    times, so that the chain is one of that distribution throughout.

    The error of a standardised value is the slope of the recipe's curve times the raw error: where
    an arcsinh or a logarithm bends within the noise, a point scattered upwards has a smaller error.
    Weights of every `point` then prefer the upward scatter (on simulated light curves, faint points
    came out half an error too bright). So the mean error of the `object` is taken, on which the
    noise of one point has little hold.
    """
    if sequence.error is None:
        return torch.ones_like(sequence.position[:, 0])
    is_known = is_known_error(sequence.error)
    error = torch.where(is_known, sequence.error, 0.0)
    if of == "object":
        sample = sequence.sample_index
        none = error.new_zeros(sequence.offsets.shape[0] - 1)
        count = none.index_add(0, sample, is_known.float()).clamp(min=1)
        error = (none.index_add(0, sample, error) / count)[sample]
    return 1 / (1 + (error / floor) ** 2)


def weighted_term(values: Tensor, weights: Tensor, rows: Rows, average: str) -> Term:
    """A term from one number per point (N,) and its weight: a weighted mean over points, or the
    mean of objects' weighted means."""
    if average == "points":
        return Term((values * weights).sum(), weights.sum())
    of_object = weights.new_zeros(rows.num_samples).index_add(0, rows.sample, weights)
    share = weights / of_object[rows.sample]
    return Term((values * share).sum(), (rows.lengths > 0).sum().float())


def average_term(values: Tensor, rows: Rows, average: str) -> Term:
    """A term from one number per point (N,): its mean over points, or over objects' means."""
    if average == "points":
        return Term(values.sum(), torch.tensor(float(rows.num_rows), device=values.device))
    weight = rows.lengths.clamp(min=1).float().reciprocal()[rows.sample]
    return Term((values * weight).sum(), (rows.lengths > 0).sum().float())
