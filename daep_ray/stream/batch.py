"""PackedBatch: ragged sequences end to end, no padding, no masks.

Shape letters, everywhere the same:
    B samples in a batch          N measurements in a batch (all samples end to end)
    M code length                 Z code width          L latents           D model width
    H heads                       Q queries             K draws
    P continuous positions        C categories
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import torch
from torch import Tensor


@dataclass(frozen=True)
class Layout:
    """What a model must know of one modality's packed form, and nothing more.

    `position_scale[p]` is not here: it is a model setting. Sizes include `unknown`.
    """

    modality: str
    num_positions: int  # P
    category_sizes: tuple[int, ...] = ()  # C vocabularies
    num_metadata: int = 0  # continuous metadata
    metadata_sizes: tuple[int, ...] = ()  # vocabularies of categorical metadata
    metadata_names: tuple[str, ...] = ()  # of the continuous ones; empty: not known
    metadata_scales: tuple[float, ...] = ()  # 1 in standardised metadata, in the declared unit

    def to_json(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in fields(self)}

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> Self:
        tupled: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in raw.items()}
        return cls(**tupled)


@dataclass(frozen=True)
class PackedSequence:
    """One modality of a batch. All values are what a model sees: after the recipe, standardised.

    An absent modality of a sample has length 0 (two equal offsets). Missing metadata holds 0 and
    `is_known` False.
    """

    value: Tensor | None  # (N,) float32; None in a query
    error: Tensor | None  # (N,) float32 in the units of `value`; None where there is none
    position: Tensor  # (N, P) float32
    category: Tensor  # (N, C) int64
    offsets: Tensor  # (B+1,) int32
    max_length: int
    metadata: Tensor  # (B, number of continuous metadata) float32
    metadata_is_known: Tensor  # (B, number of continuous metadata) bool
    metadata_category: Tensor  # (B, number of categorical metadata) int64, 0 = unknown

    @property
    def num_tokens(self) -> int:
        return self.position.shape[0]

    @property
    def lengths(self) -> Tensor:
        """(B,) int32 measurements per sample."""
        return self.offsets[1:] - self.offsets[:-1]

    @property
    def sample_index(self) -> Tensor:
        """(N,) int64: which sample of the batch a measurement belongs to."""
        rows = torch.arange(len(self.offsets) - 1, device=self.offsets.device)
        return torch.repeat_interleave(rows, self.lengths.long(), output_size=self.num_tokens)

    def emptied(self) -> "PackedSequence":
        """The same samples without this modality."""
        parts = {
            f.name: x[:0]
            for f in fields(self)
            if f.name in ("value", "error", "position", "category")
            and (x := getattr(self, f.name)) is not None
        }
        return replace(self, **parts, offsets=torch.zeros_like(self.offsets), max_length=0)

    def to(self, device: torch.device | str) -> "PackedSequence":
        moved = {
            f.name: getattr(self, f.name).to(device, non_blocking=True)
            for f in fields(self)
            if isinstance(getattr(self, f.name), Tensor)
        }
        return replace(self, **moved)


@dataclass(frozen=True)
class PackedBatch:
    """A batch of samples: `sequences[modality]`, every one with the same B samples in order.

    Several samples may be of one object (a light curve paired with each of its spectra).
    """

    sample_ids: tuple[str, ...]
    sequences: Mapping[str, PackedSequence]
    object_ids: tuple[str, ...] = ()  # empty: not known
    label: Tensor | None = None  # (B,) int64 classes from 1 on, 0 not known; in training alone

    @property
    def objects(self) -> tuple[str, ...]:
        """Whose samples they are; without object ids each sample is its own object."""
        return self.object_ids or self.sample_ids

    @property
    def num_samples(self) -> int:
        return len(self.sample_ids)

    @property
    def num_tokens(self) -> int:
        return sum(s.num_tokens for s in self.sequences.values())

    def is_present(self, modality: str) -> Tensor:
        """(B,) bool: which samples have this modality."""
        return self.sequences[modality].lengths > 0

    def query(self) -> "PackedBatch":
        """The batch without values and errors: positions, categories and metadata only."""
        bare = {m: replace(s, value=None, error=None) for m, s in self.sequences.items()}
        return replace(self, sequences=bare)

    def only(self, modality: str) -> "PackedBatch":
        """The same samples as if they had nothing but this modality."""
        kept = {m: s if m == modality else s.emptied() for m, s in self.sequences.items()}
        return replace(self, sequences=kept)

    def to(self, device: torch.device | str) -> "PackedBatch":
        label = None if self.label is None else self.label.to(device)
        moved = {m: s.to(device) for m, s in self.sequences.items()}
        return replace(self, sequences=moved, label=label)
