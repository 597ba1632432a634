"""Contrastive learning over modalities, and search in place of a decoder (Shen & Gagliano 2025).

An encoder per modality; the codes of one sample's modalities are pulled together and those of
different objects apart (`infonce.py`). There is no decoder: a reconstruction is what the nearest
training sequences of that modality have measured, at the same phase (`gallery.py`), draw k is
that of the k-th nearest. So draws are an empirical distribution of the top k; `one_step` is the
nearest one (the published figures do not say which; one neighbour is assumed).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from pydantic import Field, PositiveFloat, PositiveInt
from torch import Tensor, nn

from daep_ray.diffusion.samplers import OneStepConfig, SamplerConfig
from daep_ray.errors import ConfigError
from daep_ray.nn.config import ModelConfig
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
)
from daep_ray.objectives.gallery import Gallery
from daep_ray.objectives.infonce import Alignment, InfoNceConfig
from daep_ray.stream.batch import Layout, PackedBatch
from daep_ray.stream.noise import Noise


class ContrastiveConfig(InfoNceConfig):
    """`match`: metadata that a neighbour must share with the query, to within so much in its own
    unit (days of phase). If none does, the least distant is taken.

    The gallery holds at most `gallery_samples` training samples, as many objects as possible, and
    at most `gallery_points` measurements of each modality: that bounds the checkpoint and memory.
    """

    kind: Literal["contrastive"] = "contrastive"
    match: dict[str, PositiveFloat] = Field(default_factory=lambda: {"phase": 2.0})
    gallery_samples: PositiveInt = 4096
    gallery_points: PositiveInt = 2**20

    unread: ClassVar[Unread] = Unread(
        ever=("model.decoder", MIXER, SHOWN_VALUES, SOLVER), in_training=("objective.match",)
    )


@dataclass(frozen=True)
class SearchCode(Code):
    """A code with the direction in which it is searched for."""

    direction: Tensor | None = None  # (B, F) of length 1


class Contrastive(Objective):
    """Encoders of several modalities, their alignment, and the gallery that answers.

    Raises:
        ConfigError: fewer than two modalities.
    """

    def __init__(
        self, config: ContrastiveConfig, model: ModelConfig, layouts: dict[str, Layout]
    ) -> None:
        super().__init__()
        if len(layouts) < 2:
            raise ConfigError(
                f"objective {config.kind!r} compares two modalities or more, got {len(layouts)}: "
                "name them in modalities"
            )
        self.config = config
        self.modalities = tuple(layouts)
        self.code_shape = (model.bottleneck.length, model.bottleneck.width)
        width = model.bottleneck.width
        self.encoders = nn.ModuleDict({m: Encoder(model, x, width) for m, x in layouts.items()})
        self.alignment = Alignment(config, model.bottleneck, self.modalities)
        num_features = self.alignment.num_features
        self.galleries = nn.ModuleDict(
            {m: Gallery(x, num_features, config.match) for m, x in layouts.items()}
        )

    def gallery(self, modality: str) -> Gallery:
        found = self.galleries[modality]
        assert isinstance(found, Gallery)
        return found

    def codes(self, batch: PackedBatch) -> dict[str, Tensor]:
        """(B, M, Z) of every modality; what an absent one holds means nothing."""
        none = next(self.parameters()).new_zeros(batch.num_samples, *self.code_shape)
        found = batch.sequences
        return {m: self.encoders[m](found[m]) if m in found else none for m in self.modalities}

    def is_present(self, batch: PackedBatch) -> Tensor:
        """(B, modalities) bool."""
        device = next(self.parameters()).device
        none = torch.zeros(batch.num_samples, dtype=torch.bool, device=device)
        found = batch.sequences
        return torch.stack(
            [batch.is_present(m) if m in found else none for m in self.modalities], 1
        )

    def loss(self, batch: PackedBatch, noise: Noise) -> Loss:
        return Loss(self.alignment.terms(self.codes(batch), self.is_present(batch), batch.objects))

    def encode(self, batch: PackedBatch) -> SearchCode:
        """Each modality's code, 0 where it is absent, and their mean over those present."""
        is_present = self.is_present(batch)
        here = dict(zip(self.modalities, is_present.unbind(1), strict=True))
        codes = {
            m: code.masked_fill(~here[m][:, None, None], 0.0)
            for m, code in self.codes(batch).items()
        }
        number = is_present.sum(1).clamp(min=1)[:, None, None]
        point = torch.stack(list(codes.values())).sum(0) / number
        return SearchCode(
            point, by_modality=codes, direction=self.alignment.together(codes, is_present)
        )

    def aligned(self, batch: PackedBatch) -> Mapping[str, Tensor]:
        return {m: self.alignment.unit(m, code) for m, code in self.codes(batch).items()}

    def asks_for_samples(self) -> int:
        return self.config.gallery_samples

    def remember(self, batches: Iterable[PackedBatch]) -> None:
        """The gallery of each modality, in the batches' order until it is full."""
        for m in self.modalities:
            self.gallery(m).clear()
        for batch in batches:
            for m, vectors in self.aligned(batch).items():
                sequence = batch.sequences[m]
                self.gallery(m).add(vectors, sequence, self.config.gallery_points)

    def decode(
        self,
        code: Code,
        query: PackedBatch,
        sampler: SamplerConfig,
        num_draws: int,
        noise: Noise,
    ) -> Draws:
        """Draw k is the k-th nearest neighbour's; `one_step` is the nearest's.

        Draws beyond the size of the gallery begin again. A code without a direction is taken for
        that of every modality alike.
        """
        num = 1 if isinstance(sampler, OneStepConfig) else num_draws
        direction = self._direction(code)
        return Draws(
            {m: self.gallery(m).told(direction, s, num) for m, s in query.sequences.items()}
        )

    def _direction(self, code: Code) -> Tensor:
        """(B, F) of length 1."""
        if isinstance(code, SearchCode) and code.direction is not None:
            return code.direction
        codes = dict.fromkeys(self.modalities, code.point)
        every = torch.ones(
            len(code.point), len(self.modalities), dtype=torch.bool, device=code.point.device
        )
        return self.alignment.together(codes, every)
