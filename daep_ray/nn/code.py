"""Noisy codes -> a prediction of the same shape: a small transformer over a code's M entries.

Diffusion time and label set gain and offset of every layer norm (Peebles & Xie 2023), so they reach
each entry directly and cost no tokens.
"""

import torch
from torch import Tensor, nn

from daep_ray.nn.attention import FeedForward, SelfAttention, linear
from daep_ray.nn.config import BottleneckConfig
from daep_ray.nn.decoder import TimedNorm
from daep_ray.nn.embed import TimeEmbedding
from daep_ray.nn.perceiver import learnt_rows
from daep_ray.nn.ragged import Rows

FEEDFORWARD_RATIO = 4


class CodeDenoiser(nn.Module):
    """`num_labels` classes a code may be conditioned on, 0 for none; label 0 says nothing."""

    def __init__(
        self,
        bottleneck: BottleneckConfig,
        width: int,
        num_heads: int,
        num_layers: int,
        num_labels: int,
    ) -> None:
        super().__init__()
        self.code = linear(bottleneck.width, width)
        self.place = learnt_rows(bottleneck.length, width)
        self.time = TimeEmbedding(width)
        self.label = nn.Embedding(num_labels + 1, width) if num_labels else None
        self.norms = nn.ModuleList(TimedNorm(width) for _ in range(2 * num_layers))
        self.mix = nn.ModuleList(SelfAttention(width, num_heads) for _ in range(num_layers))
        self.think = nn.ModuleList(
            FeedForward(width, FEEDFORWARD_RATIO * width) for _ in range(num_layers)
        )
        self.output_norm = nn.LayerNorm(width)
        self.output = linear(width, bottleneck.width, gain=0.1)

    def forward(self, code: Tensor, time: Tensor, label: Tensor | None = None) -> Tensor:
        """(S, M, Z), times (S,) or (1,) in [0, 1], labels (S,) int64 -> (S, M, Z)."""
        num_samples, length, _ = code.shape
        condition = self.time(time)
        if self.label is not None:
            if label is None:
                label = torch.zeros(num_samples, dtype=torch.long, device=code.device)
            condition = condition + self.label(label)
        rows = Rows.dense(num_samples, length, code.device)
        x = (self.code(code) + self.place).flatten(0, 1)
        for i, (mix, think) in enumerate(zip(self.mix, self.think, strict=True)):
            x = x + mix(self._normalised(2 * i, x, condition, rows), rows)
            x = x + think(self._normalised(2 * i + 1, x, condition, rows))
        return self.output(self.output_norm(x)).view_as(code)

    def _normalised(self, i: int, x: Tensor, condition: Tensor, rows: Rows) -> Tensor:
        norm = self.norms[i]
        assert isinstance(norm, TimedNorm)
        return norm.modulated(x, condition, rows)
