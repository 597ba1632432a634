"""Late mixing: the tokens of several modalities -> one code, whichever of them there are.

In: per modality (B, T, D) tokens, and which modalities of which sample may be read. Out: (B, M, Z).
Tokens that may not be read are taken out of the context, so that nothing of them can pass.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from daep_ray.nn.attention import SelfAttention, linear
from daep_ray.nn.config import BottleneckConfig, ModelConfig
from daep_ray.nn.perceiver import Encoder, LatentBlock, learnt_rows, spread
from daep_ray.nn.ragged import Rows
from daep_ray.stream.batch import Layout


def modality_encoder(model: ModelConfig, layout: Layout) -> Encoder:
    """An encoder of one modality to `mixer.num_tokens` rows of the model's width."""
    tokens = BottleneckConfig(length=model.mixer.num_tokens, width=model.width)
    return Encoder(model.model_copy(update={"bottleneck": tokens}), layout, model.width)


class Mixer(nn.Module):
    """Learnt queries read the tokens of all modalities, each marked with its modality."""

    def __init__(self, model: ModelConfig, modalities: Sequence[str]) -> None:
        super().__init__()
        config, width = model.mixer, model.width
        self.num_tokens = config.num_tokens
        block = (width, model.num_heads, model.feedforward_width)
        num_layers = config.num_layers
        self.marks = nn.ParameterDict({m: learnt_rows(1, width) for m in modalities})
        self.queries = learnt_rows(model.bottleneck.length, width)
        self.blocks = nn.ModuleList(LatentBlock(*block) for _ in range(num_layers))
        self.context_norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(num_layers))
        self.mix_norms: nn.ModuleList | None = None
        if config.context_mixes:
            self.mix_norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(num_layers))
            self.mix = nn.ModuleList(
                SelfAttention(width, model.num_heads) for _ in range(num_layers)
            )
        self.output_norm = nn.LayerNorm(width)
        self.output = linear(width, model.bottleneck.width)

    def no_tokens(self, num_samples: int) -> Tensor:
        """(B, T, D) in the place of a modality that no sample has."""
        return self.queries.new_zeros(num_samples, self.num_tokens, self.queries.shape[2])

    def forward(self, tokens: Mapping[str, Tensor], is_read: Tensor) -> Tensor:
        """Tokens (B, T, D) and `is_read` (B, number of modalities), the same order -> (B, M, Z).

        A sample of which nothing is read gets a code that says nothing.
        """
        marked = [x + self.marks[m] for m, x in tokens.items()]
        context, context_rows = _take(torch.stack(marked, dim=1), is_read)
        num_samples = is_read.shape[0]
        rows = Rows.dense(num_samples, self.queries.shape[1], context.device)
        x = spread(self.queries, num_samples)
        for i, block in enumerate(self.blocks):
            if self.mix_norms is not None:
                context = context + self.mix[i](self.mix_norms[i](context), context_rows)
            x = block(x, self.context_norms[i](context), rows, context_rows)
        out = self.output(self.output_norm(x))
        return out.view(num_samples, rows.max_length, out.shape[1])


def _take(tokens: Tensor, is_read: Tensor) -> tuple[Tensor, Rows]:
    """(B, modalities, T, D) -> the rows that may be read, (N, D), and whose they are."""
    length = tokens.shape[2]
    lengths = is_read.sum(1) * length
    offsets = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)]).to(torch.int32)
    longest = int(lengths.max()) if len(lengths) else 0
    place = is_read.repeat_interleave(length, dim=1).flatten().nonzero()[:, 0]
    rows = Rows(offsets, len(place), longest)
    return tokens.flatten(0, 2).index_select(0, place), rows
