"""Perceiver blocks (cross, self, feed-forward; pre-norm) and the encoder built of them."""

import torch
from torch import Tensor, nn

from daep_ray.nn.attention import CrossAttention, FeedForward, SelfAttention, linear
from daep_ray.nn.config import ModelConfig, TwoStageEncoderConfig
from daep_ray.nn.ragged import Rows
from daep_ray.nn.tokenizer import Tokenizer
from daep_ray.stream.batch import Layout, PackedSequence


class LatentBlock(nn.Module):
    """Latents read a context, then each other, then think."""

    def __init__(self, width: int, num_heads: int, hidden: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
        self.read = CrossAttention(width, num_heads)
        self.mix = SelfAttention(width, num_heads)
        self.think = FeedForward(width, hidden)

    def forward(self, latents: Tensor, context: Tensor, rows: Rows, context_rows: Rows) -> Tensor:
        """(B * L, D), normalised context (Nk, D) -> (B * L, D)."""
        latents = latents + self.read(self.norms[0](latents), context, rows, context_rows)
        latents = latents + self.mix(self.norms[1](latents), rows)
        return latents + self.think(self.norms[2](latents))


class ReadBlock(nn.Module):
    """Rows read a context, then think; they do not see each other."""

    def __init__(self, width: int, num_heads: int, hidden: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.read = CrossAttention(width, num_heads)
        self.think = FeedForward(width, hidden)

    def forward(
        self, x: Tensor, normalised: Tensor, context: Tensor, rows: Rows, context_rows: Rows
    ) -> Tensor:
        """`normalised` is x after a norm that the caller may share with another reader of x."""
        x = x + self.read(normalised, context, rows, context_rows)
        return x + self.think(self.norm(x))


def learnt_rows(length: int, width: int) -> nn.Parameter:
    """(1, L, D) start values of latents and queries; not a matrix to an optimiser of matrices."""
    return nn.Parameter(torch.randn(1, length, width))


def spread(learnt: Tensor, num_samples: int) -> Tensor:
    """(1, L, D) -> (B * L, D): the same start for every sample."""
    return learnt.expand(num_samples, -1, -1).reshape(-1, learnt.shape[2])


class Encoder(nn.Module):
    """One modality's measurements -> (B, M, num_outputs), a function of each sample alone."""

    def __init__(self, model: ModelConfig, layout: Layout, num_outputs: int) -> None:
        super().__init__()
        config, width = model.encoder, model.width
        block = (width, model.num_heads, model.feedforward_width)
        self.tokenizer = Tokenizer(
            model.tokenizer, width, layout, reads_error=model.tokenizer.reads_error
        )
        self.token_norm = nn.LayerNorm(width)
        self.queries = learnt_rows(model.bottleneck.length, width)
        num_blocks = 1 if config.is_shared else config.num_layers
        self.num_layers = config.num_layers
        self.blocks = nn.ModuleList(LatentBlock(*block) for _ in range(num_blocks))
        self.latents: nn.Parameter | None = None
        if isinstance(config, TwoStageEncoderConfig):
            self.latents = learnt_rows(config.num_latents, width)
            self.query_norm = nn.LayerNorm(width)
            self.latent_norm = nn.LayerNorm(width)
            self.gather = ReadBlock(*block)
        self.output_norm = nn.LayerNorm(width)
        self.output = linear(width, num_outputs)

    def forward(self, sequence: PackedSequence) -> Tensor:
        tokens, token_rows = self.tokenizer(sequence)
        # the tokens stay what they are: one norm serves all layers
        tokens = self.token_norm(tokens)
        start = self.queries if self.latents is None else self.latents
        num_samples = token_rows.num_samples
        rows = Rows.dense(num_samples, start.shape[1], tokens.device)
        x = spread(start, num_samples)
        for i in range(self.num_layers):
            x = self.blocks[i % len(self.blocks)](x, tokens, rows, token_rows)
        if self.latents is not None:
            x, rows = self._gather(x, rows)
        out = self.output(self.output_norm(x))
        return out.view(num_samples, rows.max_length, out.shape[1])

    def _gather(self, latents: Tensor, latent_rows: Rows) -> tuple[Tensor, Rows]:
        """The code's queries read the latents."""
        queries = spread(self.queries, latent_rows.num_samples)
        rows = Rows.dense(latent_rows.num_samples, self.queries.shape[1], latents.device)
        context = self.latent_norm(latents)
        return self.gather(queries, self.query_norm(queries), context, rows, latent_rows), rows
