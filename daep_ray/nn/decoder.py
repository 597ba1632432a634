"""(code, query, noisy values, time) -> one number per query; one decoder for all objectives.

The context is the conditioning tokens (code, metadata, diffusion time) and, for diffusion, the
noisy tokens. Noise cannot pass through a few latents, so in diffusion the queries *are* the noisy
tokens; without values (VAE) they are positions only.

What does not change over the steps and draws of a sampling run is computed once, by `condition`.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from daep_ray.nn.attention import FeedForward, SelfAttention, linear
from daep_ray.nn.config import ModelConfig, SingleStageDecoderConfig, TwoStageDecoderConfig
from daep_ray.nn.embed import TimeEmbedding
from daep_ray.nn.perceiver import LatentBlock, ReadBlock, learnt_rows, spread
from daep_ray.nn.ragged import Joined, Rows
from daep_ray.nn.tokenizer import Tokenizer, rows_of
from daep_ray.stream.batch import Layout, PackedSequence


@dataclass(frozen=True)
class Conditions:
    """What a decoder knows before values and time: for K draws of B samples, K * B sequences."""

    place: Tensor  # (N, D) the queries' tokens without values, the same for every draw
    tokens: Tensor  # (K * B, C, D) code and metadata tokens
    rows: Rows  # of the K * N queries
    num_draws: int  # K
    num_front: int  # conditioning tokens per sequence, diffusion time included

    @cached_property
    def joined(self) -> Joined:
        """Conditioning tokens before the queries, interleaved once."""
        return self.rows.after(self.num_front)

    @cached_property
    def front_rows(self) -> Rows:
        return Rows.dense(self.rows.num_samples, self.num_front, self.place.device)


class TimedNorm(nn.LayerNorm):
    """A layer norm whose gain and offset follow from the diffusion time (Peebles & Xie 2023).

    They begin near 1 and 0, as a plain norm's.
    """

    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.modulation = linear(width, 2 * width, gain=0.1)

    def modulated(self, x: Tensor, time: Tensor, rows: Rows) -> Tensor:
        """(N, D) and an embedded time for each of the S samples of `rows`, or one for all."""
        gain, offset = self.modulation(F.silu(time)).chunk(2, dim=1)
        if time.shape[0] > 1:
            gain, offset = gain[rows.sample], offset[rows.sample]
        return torch.addcmul(offset, self(x), 1 + gain)


def norms(width: int, number: int, is_timed: bool) -> nn.ModuleList:
    return nn.ModuleList((TimedNorm if is_timed else nn.LayerNorm)(width) for _ in range(number))


def timed(norm: nn.Module, x: Tensor, time: Tensor | None, rows: Rows) -> Tensor:
    """x after a norm of `norms`, with the time where it comes that way."""
    if not isinstance(norm, TimedNorm):
        return norm(x)
    assert time is not None
    return norm.modulated(x, time, rows)


class TwoStage(nn.Module):
    """Latents read the context and are read by the queries, layer after layer.

    `is_timed`: a diffusion time comes with the points, beside the front tokens (adaLN).
    """

    def __init__(
        self, model: ModelConfig, config: TwoStageDecoderConfig, is_noisy: bool, is_timed: bool
    ) -> None:
        super().__init__()
        width = model.width
        block = (width, model.num_heads, model.feedforward_width)
        num_blocks = 1 if config.is_shared else config.num_layers
        self.config = config
        self.sees_queries = is_noisy and config.reads_noisy
        self.latents = learnt_rows(config.num_latents, width)
        self.latent_blocks = nn.ModuleList(LatentBlock(*block) for _ in range(num_blocks))
        self.read_blocks = nn.ModuleList(ReadBlock(*block) for _ in range(num_blocks))
        self.query_norms = norms(width, num_blocks, is_timed)
        self.latent_norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(num_blocks))
        self.front_norm = None if self.sees_queries else nn.LayerNorm(width)

    def forward(
        self, front: Tensor, x: Tensor, conditions: Conditions, time: Tensor | None = None
    ) -> Tensor:
        """(K * B, C, D), (K * N, D), (K * B or 1, D) -> (K * N, D)."""
        rows, context_rows = conditions.rows, conditions.front_rows
        context = front.flatten(0, 1) if self.front_norm is None else None
        if self.front_norm is not None:
            context = self.front_norm(front.flatten(0, 1))
        else:
            x = conditions.joined.join(front, x)
            rows = context_rows = conditions.joined.rows
        latents = spread(self.latents, rows.num_samples)
        latent_rows = Rows.dense(rows.num_samples, self.latents.shape[1], x.device)
        last = self.config.num_layers - 1
        for layer in range(self.config.num_layers):
            i = layer % len(self.latent_blocks)
            is_read = self.config.is_chained or layer == last
            normalised = timed(self.query_norms[i], x, time, rows)
            seen = normalised if self.sees_queries else context
            latents = self.latent_blocks[i](latents, seen, latent_rows, context_rows)
            if is_read:
                latent_context = self.latent_norms[i](latents)
                x = self.read_blocks[i](x, normalised, latent_context, rows, latent_rows)
        if not self.config.is_chained:
            x = x + self._nothing_of_unread_layers()
        return conditions.joined.take_back(x) if self.sees_queries else x

    def _nothing_of_unread_layers(self) -> Tensor | float:
        """Zero, as a function of weights that have no part in the answer: their gradient is zero
        instead of missing, which gradient reduction between workers waits for."""
        parts = (self.read_blocks, self.latent_norms, self.query_norms)
        unread = [p for part in parts for layer in part[:-1] for p in layer.parameters()]
        return sum((0 * p.sum() for p in unread), start=0.0)


class SingleStage(nn.Module):
    """Queries and conditioning tokens attend to each other: quadratic in the number of points."""

    def __init__(
        self, model: ModelConfig, config: SingleStageDecoderConfig, is_timed: bool
    ) -> None:
        super().__init__()
        width, heads = model.width, model.num_heads
        num_blocks = 1 if config.is_shared else config.num_layers
        self.num_layers = config.num_layers
        self.norms = norms(width, 2 * num_blocks, is_timed)
        self.mix = nn.ModuleList(SelfAttention(width, heads) for _ in range(num_blocks))
        self.think = nn.ModuleList(
            FeedForward(width, model.feedforward_width) for _ in range(num_blocks)
        )

    def forward(
        self, front: Tensor, x: Tensor, conditions: Conditions, time: Tensor | None = None
    ) -> Tensor:
        """(K * B, C, D), (K * N, D), (K * B or 1, D) -> (K * N, D)."""
        x, rows = conditions.joined.join(front, x), conditions.joined.rows
        for layer in range(self.num_layers):
            i = layer % len(self.mix)
            x = x + self.mix[i](timed(self.norms[2 * i], x, time, rows), rows)
            x = x + self.think[i](timed(self.norms[2 * i + 1], x, time, rows))
        return conditions.joined.take_back(x)


class Decoder(nn.Module):
    """Predicts one number per query of one modality.

    `is_noisy`: the decoder reads (noisy) values; otherwise positions only. `has_time`: and a
    diffusion time with them.
    """

    def __init__(
        self, model: ModelConfig, layout: Layout, is_noisy: bool, has_time: bool = True
    ) -> None:
        super().__init__()
        width, bottleneck, config = model.width, model.bottleneck, model.decoder
        self.tokenizer = Tokenizer(model.tokenizer, width, layout, has_value=is_noisy)
        self.code = linear(bottleneck.width, width)
        self.code_place = learnt_rows(bottleneck.length, width)
        self.time = TimeEmbedding(width) if is_noisy and has_time else None
        is_timed = self.time is not None and config.time == "adaln"
        self.has_time_token = self.time is not None and not is_timed
        self.stage = (
            TwoStage(model, config, is_noisy, is_timed)
            if isinstance(config, TwoStageDecoderConfig)
            else SingleStage(model, config, is_timed)
        )
        self.output_norm = nn.LayerNorm(width)
        self.output = linear(width, 1, gain=0.1)

    def condition(self, code: Tensor, query: PackedSequence, num_draws: int = 1) -> Conditions:
        """Code (K * B, M, Z), the draws one after the other, and a query of B samples."""
        tokens = self.code(code) + self.code_place
        metadata = self.tokenizer.metadata(query)
        if metadata is not None:
            tokens = torch.cat([tokens, metadata.repeat(num_draws, 1, 1)], dim=1)
        return Conditions(
            place=self.tokenizer.place(query),
            tokens=tokens,
            rows=rows_of(query).repeat(num_draws),
            num_draws=num_draws,
            num_front=tokens.shape[1] + self.has_time_token,
        )

    def forward(
        self, conditions: Conditions, value: Tensor | None = None, time: Tensor | None = None
    ) -> Tensor:
        """Noisy values (K, N) and times (K * B,) or (1,) in [0, 1] -> (K, N)."""
        front, embedded = conditions.tokens, None
        if self.time is not None:
            assert value is not None
            assert time is not None
            embedded = self.time(time)
            if self.has_time_token:
                token = embedded[:, None].expand(front.shape[0], -1, -1)
                front = torch.cat([front, token], dim=1)
            x = self.tokenizer.tokens(conditions.place, value)
        else:
            x = conditions.place.repeat(conditions.num_draws, 1)
        x = self.stage(front, x, conditions, embedded)
        return self.output(self.output_norm(x)).view(conditions.num_draws, -1)


class MaskedDecoder(Decoder):
    """Values where they are visible, a learnt mask token at its place where they are hidden.

    All of them are rows of the same sequence, as the noisy tokens of diffusion are: the latents
    read them, and points see each other. `reads_values` False: positions only, nothing is visible.
    """

    def __init__(self, model: ModelConfig, layout: Layout, reads_values: bool = True) -> None:
        super().__init__(model, layout, is_noisy=reads_values, has_time=False)
        self.mask = learnt_rows(1, model.width) if reads_values else None

    def fill(self, conditions: Conditions, value: Tensor, hidden: Tensor, asked: Tensor) -> Tensor:
        """(N,) values, not read where `hidden` (N,) bool -> one number per point in `asked`."""
        x = conditions.place
        if self.mask is not None:
            # a hidden value may be anything, even NaN
            tokens = self.tokenizer.tokens(x, value.masked_fill(hidden, 0.0)[None])
            x = tokens + hidden[:, None] * self.mask[0]
        x = self.stage(conditions.tokens, x, conditions)
        return self.output(self.output_norm(x[asked]))[:, 0]
