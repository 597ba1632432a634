"""maep: a masked autoencoder with Perceivers (He et al. 2022; the paper's section 3).

In training most of an object's measurements are hidden. The encoder reads the visible ones alone;
the decoder reads its code and the whole sequence, with a learnt mask token (at its place) instead
of each hidden value, and is asked for the hidden values only. To reconstruct, the code is that of
all measurements, and the query shows the decoder the values of a few (10 % in the paper): the only
objective whose query may hold values. Those come back as they were given.

Where the published code differs: `loss_on` "all" and `counting` "bernoulli" here,
`reads_noisy` False at the decoder (visible values then reach no other point), and a quarter shown
at evaluation, errors taken over shown points too (the estimate `shown_copied`). Its mask vector is
added to the token of the value 0, which is the same thing here: that token is its place. Its loss
counts padding as zeros well told; there is no padding here.
"""

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from daep_ray.diffusion.samplers import OneStepConfig, SamplerConfig
from daep_ray.nn.config import ModelConfig
from daep_ray.nn.decoder import MaskedDecoder
from daep_ray.nn.perceiver import Encoder
from daep_ray.objectives.base import (
    MIXER,
    SHOWN_VALUES,
    SOLVER,
    Code,
    Draws,
    Loss,
    Objective,
    Unread,
    only_layout,
)
from daep_ray.objectives.denoising import average_term
from daep_ray.objectives.masking import Counting, choose, rows_of_chosen, take
from daep_ray.settings import Settings
from daep_ray.stream.batch import Layout, PackedBatch, PackedSequence
from daep_ray.stream.noise import Noise


class MaepConfig(Settings):
    """`mask_ratio`: the share of each sample's measurements that is hidden (the paper: 0.75, 0.30).

    `counting`: that share of every sample, or of them on average (`bernoulli`, published).
    `loss_on`: hidden points (the paper), or `all`, so that the decoder copies too (published).
    `context`: what the decoder sees beside the code, `visible` values or `nothing`: then it is
    asked as daep is, and equal codes mean equal information.
    `average`: every point counts the same (`points`) or every object (`objects`).
    """

    kind: Literal["maep"] = "maep"
    mask_ratio: Annotated[float, Field(gt=0, lt=1)] = 0.75
    counting: Counting = "fixed"
    loss_on: Literal["hidden", "all"] = "hidden"
    context: Literal["visible", "nothing"] = "visible"
    average: Literal["points", "objects"] = "points"

    @property
    def unread(self) -> Unread:
        """A decoder that sees the code alone is shown nothing at evaluation either."""
        return Unread(ever=(MIXER, SOLVER, *([SHOWN_VALUES] if self.context == "nothing" else [])))


class Maep(Objective):
    """Unimodal masked autoencoder.

    A sample of one measurement shows it to the encoder and has no part in the loss on hidden
    points; at evaluation it is not shown to the decoder, and counts.

    Raises:
        ConfigError: several modalities.
    """

    def __init__(self, config: MaepConfig, model: ModelConfig, layouts: dict[str, Layout]) -> None:
        super().__init__()
        layout = only_layout(layouts, config.kind)
        self.config = config
        self.modality = layout.modality
        self.encoder = Encoder(model, layout, model.bottleneck.width)
        self.decoder = MaskedDecoder(model, layout, self.asks_for_values())

    def asks_for_values(self) -> bool:
        return self.config.context == "visible"

    def loss(self, batch: PackedBatch, noise: Noise) -> Loss:
        sequence, config = batch.sequences[self.modality], self.config
        assert sequence.value is not None
        hidden = choose(sequence, config.mask_ratio, noise, "mask", config.counting)
        code = self.encoder(take(sequence, ~hidden))
        asked = hidden if config.loss_on == "hidden" else torch.ones_like(hidden)
        predicted = self._fill(code, sequence, sequence.value, hidden, asked)
        squared = (predicted - sequence.value[asked]) ** 2
        rows = rows_of_chosen(sequence, asked)
        return Loss({"reconstruction": average_term(squared, rows, config.average)})

    def _fill(
        self, code: Tensor, sequence: PackedSequence, value: Tensor, hidden: Tensor, asked: Tensor
    ) -> Tensor:
        """(number of asked points,) given the code (B, M, Z) and the values that are not hidden."""
        return self.decoder.fill(self.decoder.condition(code, sequence), value, hidden, asked)

    def encode(self, batch: PackedBatch) -> Code:
        """The code of all measurements, none hidden."""
        return Code(self.encoder(batch.sequences[self.modality]))

    def decode(
        self,
        code: Code,
        query: PackedBatch,
        sampler: SamplerConfig,
        num_draws: int,
        noise: Noise,
    ) -> Draws:
        """One reconstruction, `num_draws` times the same; a shown value comes back as it is.

        A query's `value` holds the shown values and NaN elsewhere, or is None: nothing shown.
        """
        sequence = query.sequences[self.modality]
        value = sequence.value
        if value is None or not self.asks_for_values():
            value = torch.full_like(sequence.position[:, 0], torch.nan)
        hidden = value.isnan()
        predicted = self._fill(code.point, sequence, value, hidden, hidden)
        filled = value.masked_scatter(hidden, predicted.to(value.dtype))
        num_draws = 1 if isinstance(sampler, OneStepConfig) else num_draws
        return Draws({self.modality: filled.expand(num_draws, -1)})
