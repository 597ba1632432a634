"""Measurements -> tokens: one vector per measurement and one per metadata entry.

A token is the joint projection of its parts (value, position features, categories). A projection
of a concatenation is a sum of projections, so the part that does not depend on the value (`place`)
is computed once and reused over the steps and draws of a sampling run.
"""

import torch
from torch import Tensor, nn

from daep_ray.errors import ConfigError
from daep_ray.nn.attention import linear
from daep_ray.nn.config import TokenizerConfig
from daep_ray.nn.embed import NumberEmbedding, Sinusoids
from daep_ray.nn.ragged import Rows
from daep_ray.stream.batch import Layout, PackedSequence


class MetadataTokens(nn.Module):
    """One token per metadata entry of a sequence: (B, number of entries, D).

    A missing entry has its own learnt token. An absent sequence has no metadata, whatever its
    fields hold.
    """

    def __init__(self, width: int, layout: Layout) -> None:
        super().__init__()
        self.continuous = nn.ModuleList(
            NumberEmbedding(width, highest=10.0, lowest=0.5, num_frequencies=16)
            for _ in range(layout.num_metadata)
        )
        self.missing = nn.ParameterList(
            torch.randn(1, 1, width) * width**-0.5 for _ in range(layout.num_metadata)
        )
        self.categorical = nn.ModuleList(
            nn.Embedding(size, width) for size in layout.metadata_sizes
        )
        self.num_tokens = layout.num_metadata + len(layout.metadata_sizes)

    def forward(self, sequence: PackedSequence) -> Tensor | None:
        """None where the modality declares no metadata."""
        if self.num_tokens == 0:
            return None
        is_present = sequence.lengths > 0
        is_known = sequence.metadata_is_known & is_present[:, None]
        tokens = []
        for i, (embed, missing) in enumerate(zip(self.continuous, self.missing, strict=True)):
            # a missing number is never read: it may hold anything, even NaN
            number = torch.where(is_known[:, i], sequence.metadata[:, i], 0.0)
            tokens.append(torch.where(is_known[:, i, None], embed(number), missing[0]))
        for i, embedding in enumerate(self.categorical):
            tokens.append(embedding(sequence.metadata_category[:, i] * is_present))
        return torch.stack(tokens, dim=1)


class ErrorChannel(nn.Module):
    """What a token says of its measurement error: whether it is known, and its logarithm.

    Errors are those of the standardised values. Unknown is an error that is missing, not finite or
    not positive; nothing of it is read.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.known = nn.Parameter(torch.randn(1, 1, width) * width**-0.5)
        self.slope = nn.Parameter(torch.randn(1, 1, width) * width**-0.5)

    def forward(self, error: Tensor | None, place: Tensor) -> Tensor:
        """(N,) errors or None, tokens (N, D) -> (N, D) to add to them."""
        if error is None:
            error = place.new_zeros(place.shape[0])
        is_known = is_known_error(error)
        # 1e-4 of the values' spread: nothing is measured better than that
        log = torch.where(is_known, error, 1.0).clamp(min=1e-4, max=1e4).log()
        return is_known[:, None] * (self.known[0] + log[:, None] * self.slope[0])


def is_known_error(error: Tensor) -> Tensor:
    """(N,) bool."""
    return torch.isfinite(error) & (error > 0)


class Tokenizer(nn.Module):
    """The tokens of one modality.

    `has_value`: a token says its value; `reads_error`: and how well that is known.

    Raises:
        ConfigError: as many position scales as positions are needed, or one for all.
    """

    def __init__(
        self,
        config: TokenizerConfig,
        width: int,
        layout: Layout,
        has_value: bool = True,
        reads_error: bool = False,
    ) -> None:
        super().__init__()
        scales = config.scales(layout.num_positions)
        if len(scales) != layout.num_positions:
            raise ConfigError(
                f"model.tokenizer.position_scale has {len(scales)} entries, but {layout.modality} "
                f"has {layout.num_positions} positions: give one number, or one per position"
            )
        self.sinusoids = Sinusoids(scales, config.lowest_scale, config.num_frequencies)
        self.position = (
            nn.Sequential(
                linear(self.sinusoids.num_features, width), nn.SiLU(), linear(width, width, 3.0)
            )
            if config.has_mlp
            else linear(self.sinusoids.num_features, width)
        )
        self.categories = nn.ModuleList(nn.Embedding(size, width) for size in layout.category_sizes)
        self.value = nn.Parameter(torch.randn(1, 1, width)) if has_value else None
        self.metadata = MetadataTokens(width, layout)
        self.error = ErrorChannel(width) if reads_error else None

    def place(self, sequence: PackedSequence) -> Tensor:
        """(N, D): what a token says apart from its value."""
        out = self.position(self.sinusoids(sequence.position))
        for i, embedding in enumerate(self.categories):
            out = out + embedding(sequence.category[:, i])
        return out

    def tokens(self, place: Tensor, value: Tensor) -> Tensor:
        """(N, D), (K, N) -> (K * N, D): K sets of values at the same places."""
        assert self.value is not None
        return torch.addcmul(place, value[:, :, None], self.value).flatten(0, 1)

    def forward(self, sequence: PackedSequence) -> tuple[Tensor, Rows]:
        """All tokens of a sequence, metadata first, and whose they are."""
        assert sequence.value is not None
        rows = rows_of(sequence)
        place = self.place(sequence)
        if self.error is not None:
            place = place + self.error(sequence.error, place)
        tokens = self.tokens(place, sequence.value[None])
        metadata = self.metadata(sequence)
        if metadata is None:
            return tokens, rows
        joined = rows.after(metadata.shape[1])
        return joined.join(metadata, tokens), joined.rows


def rows_of(sequence: PackedSequence) -> Rows:
    return Rows(sequence.offsets, sequence.num_tokens, sequence.max_length)
