"""What the diffusion objectives share: the chain, the network's target, its loss, its sampling.

In: the conditions of one modality's decoder and its values. Out: a term of a loss, or draws. Which
code stands in the conditions, and how many modalities there are, is the objective's own business.

Ho et al. 2020 (DDPM), Salimans & Ho 2022 (v-prediction), Hang et al. 2023 (min-SNR weights).
"""

from typing import Literal

import torch
from pydantic import PositiveFloat, PositiveInt
from torch import Tensor

from daep_ray.diffusion.samplers import OneStepConfig, SamplerConfig, sample
from daep_ray.diffusion.schedule import ScheduleName, make_schedule
from daep_ray.errors import ConfigError
from daep_ray.nn.decoder import Conditions, Decoder
from daep_ray.nn.ragged import Rows
from daep_ray.objectives.base import Objective, Term, passes
from daep_ray.settings import Settings
from daep_ray.stream.batch import PackedSequence
from daep_ray.stream.noise import Noise


class DiffusionConfig(Settings):
    """`average`: every point counts the same (`points`) or every object (`objects`).

    `weighting`: `uniform`, or `min_snr` with `snr_limit` (gamma).
    """

    prediction: Literal["v", "epsilon", "x0"] = "v"
    num_times: PositiveInt = 1000
    schedule: ScheduleName = "linear"
    zero_terminal: bool = False
    weighting: Literal["uniform", "min_snr"] = "uniform"
    snr_limit: PositiveFloat = 5.0
    average: Literal["points", "objects"] = "points"


class Denoising(Objective):
    """An objective whose decoders denoise values.

    Raises:
        ConfigError: epsilon-prediction with a zero terminal SNR.
    """

    signal: Tensor
    noise: Tensor
    weight: Tensor

    def __init__(self, config: DiffusionConfig) -> None:
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
        return average_term(squared, conditions.rows, config.average)

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
            ConfigError: the sampler `one_step` with epsilon-prediction.
        """
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
        repeated = code.repeat(len(turns), 1, 1)
        conditions = decoder.condition(repeated, sequence, len(turns))

        def noise_of(name: str) -> Tensor:
            return torch.stack([noise.at(k).normal(name, sequence.offsets) for k in turns])

        def denoise(x: Tensor, t: int) -> Tensor:
            time = torch.full((1,), t, device=x.device)
            predicted = decoder(conditions, x, self._fraction(time)).float()
            return self._clean(predicted, x, t)

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


def average_term(values: Tensor, rows: Rows, average: str) -> Term:
    """A term from one number per point (N,): its mean over points, or over objects' means."""
    if average == "points":
        return Term(values.sum(), torch.tensor(float(rows.num_rows), device=values.device))
    weight = rows.lengths.clamp(min=1).float().reciprocal()[rows.sample]
    return Term((values * weight).sum(), (rows.lengths > 0).sum().float())
