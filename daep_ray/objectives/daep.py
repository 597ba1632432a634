"""daep: a diffusion model of the values, conditioned on a code that the encoder learns with it.

Ho et al. 2020 (DDPM), Salimans & Ho 2022 (v-prediction), Hang et al. 2023 (min-SNR weights).
"""

from typing import Literal

import torch
from pydantic import PositiveFloat, PositiveInt
from torch import Tensor

from daep_ray.diffusion.samplers import OneStepConfig, SamplerConfig, sample
from daep_ray.diffusion.schedule import ScheduleName, make_schedule
from daep_ray.errors import ConfigError
from daep_ray.nn.config import ModelConfig
from daep_ray.nn.decoder import Decoder
from daep_ray.nn.perceiver import Encoder
from daep_ray.nn.ragged import Rows
from daep_ray.objectives.base import Code, Draws, Loss, Objective, Term, only_layout, passes
from daep_ray.settings import Settings
from daep_ray.stream.batch import Layout, PackedBatch
from daep_ray.stream.noise import Noise


class DaepConfig(Settings):
    """`average`: every point counts the same (`points`) or every object (`objects`).

    `weighting`: `uniform`, or `min_snr` with `snr_limit` (gamma).
    """

    kind: Literal["daep"] = "daep"
    prediction: Literal["v", "epsilon", "x0"] = "v"
    num_times: PositiveInt = 1000
    schedule: ScheduleName = "linear"
    zero_terminal: bool = False
    weighting: Literal["uniform", "min_snr"] = "uniform"
    snr_limit: PositiveFloat = 5.0
    average: Literal["points", "objects"] = "points"


class Daep(Objective):
    """Unimodal diffusion autoencoder.

    Raises:
        ConfigError: several modalities; epsilon-prediction with a zero terminal SNR.
    """

    signal: Tensor
    noise: Tensor
    weight: Tensor

    def __init__(self, config: DaepConfig, model: ModelConfig, layouts: dict[str, Layout]) -> None:
        super().__init__()
        layout = only_layout(layouts, config.kind)
        if config.prediction == "epsilon" and config.zero_terminal:
            raise ConfigError(
                "objective.zero_terminal is True with objective.prediction 'epsilon': at pure "
                "noise the noise says nothing of the data, use prediction 'v' or 'x0'"
            )
        self.config = config
        self.modality = layout.modality
        self.encoder = Encoder(model, layout, model.bottleneck.width)
        self.decoder = Decoder(model, layout, is_noisy=True)
        self.schedule = make_schedule(config.schedule, config.num_times, config.zero_terminal)
        self.register_buffer("signal", self.schedule.signal.float(), persistent=False)
        self.register_buffer("noise", self.schedule.noise.float(), persistent=False)
        self.register_buffer("weight", self._weights().float(), persistent=False)

    def _weights(self) -> Tensor:
        """(T,) weight of the squared error at each time (Hang et al. 2023, table 1)."""
        if self.config.weighting == "uniform":
            return torch.ones(self.config.num_times)
        snr = (self.schedule.signal / self.schedule.noise) ** 2
        limited = snr.clamp(max=self.config.snr_limit)
        return {"epsilon": limited / snr, "x0": limited, "v": limited / (snr + 1)}[
            self.config.prediction
        ]

    def loss(self, batch: PackedBatch, noise: Noise) -> Loss:
        sequence = batch.sequences[self.modality]
        assert sequence.value is not None
        conditions = self.decoder.condition(self.encoder(sequence), sequence)
        sample_of = conditions.rows.sample
        time = (noise.uniform("time") * self.config.num_times).long()
        epsilon = noise.normal("epsilon", sequence.offsets)
        a, s = self.signal[time][sample_of], self.noise[time][sample_of]
        noisy = a * sequence.value + s * epsilon
        predicted = self.decoder(conditions, noisy[None], self._fraction(time))[0]
        if self.config.prediction == "v":
            target = a * epsilon - s * sequence.value
        else:
            target = epsilon if self.config.prediction == "epsilon" else sequence.value
        squared = (predicted - target) ** 2
        if self.config.weighting != "uniform":
            squared = squared * self.weight[time][sample_of]
        return Loss({"diffusion": average_term(squared, conditions.rows, self.config.average)})

    def _fraction(self, time: Tensor) -> Tensor:
        return time.float() / self.config.num_times

    def encode(self, batch: PackedBatch) -> Code:
        return Code(self.encoder(batch.sequences[self.modality]))

    def decode(
        self,
        code: Code,
        query: PackedBatch,
        sampler: SamplerConfig,
        num_draws: int,
        noise: Noise,
    ) -> Draws:
        is_one_step = isinstance(sampler, OneStepConfig)
        if is_one_step and not self.has_one_step():
            raise ConfigError(
                "sampler 'one_step' needs clean values predicted at pure noise, which "
                "epsilon-prediction cannot give: use 'ddim', 'dpm_solver' or 'ddpm'"
            )
        num_draws = 1 if is_one_step else num_draws
        turns = passes(num_draws, query.sequences[self.modality].num_tokens)
        parts = [self._draw(code, query, sampler, group, noise) for group in turns]
        return Draws({self.modality: torch.cat(parts)})

    def _draw(
        self,
        code: Code,
        query: PackedBatch,
        sampler: SamplerConfig,
        turns: range,
        noise: Noise,
    ) -> Tensor:
        """(len(turns), N) draws in one pass."""
        sequence = query.sequences[self.modality]
        repeated = code.point.repeat(len(turns), 1, 1)
        conditions = self.decoder.condition(repeated, sequence, len(turns))

        def noise_of(name: str) -> Tensor:
            return torch.stack([noise.at(k).normal(name, sequence.offsets) for k in turns])

        def denoise(x: Tensor, t: int) -> Tensor:
            time = torch.full((1,), t, device=x.device)
            predicted = self.decoder(conditions, x, self._fraction(time)).float()
            return self._clean(predicted, x, t)

        return sample(
            denoise, noise_of("x_T"), sampler, self.schedule, lambda step: noise_of(f"step{step}")
        )

    def _clean(self, predicted: Tensor, x: Tensor, t: int) -> Tensor:
        """x0 from what the network predicts (Salimans & Ho 2022, appendix D)."""
        a, s = float(self.schedule.signal[t]), float(self.schedule.noise[t])
        if self.config.prediction == "v":
            return a * x - s * predicted
        return (x - s * predicted) / a if self.config.prediction == "epsilon" else predicted

    def has_one_step(self) -> bool:
        return self.config.prediction != "epsilon"


def average_term(values: Tensor, rows: Rows, average: str) -> Term:
    """A term from one number per point (N,): its mean over points, or over objects' means."""
    if average == "points":
        return Term(values.sum(), torch.tensor(float(rows.num_rows), device=values.device))
    weight = rows.lengths.clamp(min=1).float().reciprocal()[rows.sample]
    return Term((values * weight).sum(), (rows.lengths > 0).sum().float())
