"""Rows: how the rows of a flat (N, D) tensor belong to samples; padding happens here or nowhere.

Every tensor of the model is flat: linear layers run on (N, D) without padding. A `Rows` beside it
says where each sample begins. A dense (B, L, D) tensor is the special case of equal lengths, for
which padding is a view. What is derived from the offsets is computed once per batch and kept.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor


class _Scatter(torch.autograd.Function):
    """(N, W) -> (num_places, W): row i goes to `place[i]`, all other rows are 0."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, place: Tensor, num_places: int) -> Tensor:
        ctx.save_for_backward(place)
        return x.new_zeros(num_places, x.shape[1]).index_copy_(0, place, x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (place,) = ctx.saved_tensors
        return grads[0].index_select(0, place), None, None


class _Gather(torch.autograd.Function):
    """(num_places, W) -> (N, W): row i comes from `place[i]`; the places are all different.

    Ordinary indexing would add gradients up one by one, for which there is no need here.
    """

    @staticmethod
    def forward(ctx: Any, block: Tensor, place: Tensor) -> Tensor:
        ctx.save_for_backward(place)
        ctx.num_places = block.shape[0]
        return block.index_select(0, place)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (place,) = ctx.saved_tensors
        grad = grads[0]
        return grad.new_zeros(ctx.num_places, grad.shape[1]).index_copy_(0, place, grad), None


@dataclass(frozen=True)
class Rows:
    """Sample b owns the rows offsets[b] .. offsets[b + 1] of a flat tensor with `num_rows` rows."""

    offsets: Tensor  # (B+1,) int32
    num_rows: int
    max_length: int

    @classmethod
    def dense(cls, num_samples: int, length: int, device: torch.device | str = "cpu") -> "Rows":
        """The rows of a (B, L, D) tensor flattened to (B * L, D)."""
        offsets = torch.arange(num_samples + 1, dtype=torch.int32, device=device) * length
        return cls(offsets, num_samples * length, length)

    @property
    def num_samples(self) -> int:
        return self.offsets.shape[0] - 1

    @property
    def is_even(self) -> bool:
        """True if every sample has `max_length` rows: then padding is a view."""
        return self.num_rows == self.num_samples * self.max_length

    @cached_property
    def lengths(self) -> Tensor:
        """(B,) int64."""
        return (self.offsets[1:] - self.offsets[:-1]).long()

    @cached_property
    def sample(self) -> Tensor:
        """(N,) int64: the sample that owns a row."""
        samples = torch.arange(self.num_samples, device=self.offsets.device)
        return torch.repeat_interleave(samples, self.lengths, output_size=self.num_rows)

    @cached_property
    def place(self) -> Tensor:
        """(N,) int64: a row's place in the padded (B * max_length) block."""
        gaps = torch.arange(self.num_samples, device=self.offsets.device) * self.max_length
        shift = (gaps - self.offsets[:-1]).index_select(0, self.sample)
        return torch.arange(self.num_rows, device=self.offsets.device) + shift

    @cached_property
    def key_bias(self) -> Tensor | None:
        """(B, 1, 1, max_length) float32: 0 at rows that exist, -inf at padding; None if even.

        A sample without any row keeps its first (zero) place, so that attending to nothing gives
        zeros instead of 0/0.
        """
        if self.is_even:
            return None
        places = torch.arange(self.max_length, device=self.offsets.device)
        is_padding = places >= self.lengths.clamp(min=1)[:, None]
        bias = torch.zeros(is_padding.shape, device=self.offsets.device)
        return bias.masked_fill_(is_padding, -torch.inf)[:, None, None, :]

    def pad(self, x: Tensor) -> Tensor:
        """(N, W) -> (B, max_length, W), zeros at padding; a view if the lengths are equal."""
        if not self.is_even:
            x = _Scatter.apply(x, self.place, self.num_samples * self.max_length)
        return x.view(self.num_samples, self.max_length, x.shape[1])

    def unpad(self, block: Tensor) -> Tensor:
        """(B, max_length, W) -> (N, W)."""
        flat = block.reshape(self.num_samples * self.max_length, block.shape[2])
        return flat if self.is_even else _Gather.apply(flat, self.place)

    def repeat(self, times: int) -> "Rows":
        """The same samples `times` over, one copy after the other: (times * N) rows."""
        if times == 1:
            return self
        starts = torch.arange(times, device=self.offsets.device)[:, None] * self.num_rows
        copies = (starts + self.offsets[:-1]).flatten()
        end = copies.new_full((1,), times * self.num_rows)
        offsets = torch.cat([copies, end]).to(torch.int32)
        return Rows(offsets, times * self.num_rows, self.max_length)

    def after(self, num_front: int) -> "Joined":
        """Every sample's rows with `num_front` more rows before them."""
        steps = torch.arange(self.num_samples + 1, dtype=torch.int32, device=self.offsets.device)
        joined = Rows(
            self.offsets + steps * num_front,
            self.num_rows + self.num_samples * num_front,
            self.max_length + num_front,
        )
        return Joined(self, num_front, joined)


@dataclass(frozen=True)
class Joined:
    """Sequences (`back`) that have a fixed number of rows put before each: `rows` is the whole."""

    back: Rows
    num_front: int
    rows: Rows

    @cached_property
    def back_place(self) -> Tensor:
        """(N,) int64: where the rows of `back` are in the whole."""
        shift = (self.back.sample + 1) * self.num_front
        return torch.arange(self.back.num_rows, device=shift.device) + shift

    @cached_property
    def front_place(self) -> Tensor:
        """(B * num_front,) int64: where the front rows are in the whole."""
        steps = torch.arange(self.num_front, device=self.rows.offsets.device)
        return (self.rows.offsets[:-1, None] + steps).flatten()

    @cached_property
    def _order(self) -> Tensor:
        return torch.cat([self.front_place, self.back_place])

    def join(self, front: Tensor, back: Tensor) -> Tensor:
        """(B, num_front, D), (N, D) -> (N + B * num_front, D)."""
        if self.back.is_even:
            return torch.cat([front, self.back.pad(back)], dim=1).flatten(0, 1)
        both = torch.cat([front.flatten(0, 1), back])
        return _Scatter.apply(both, self._order, self.rows.num_rows)

    def take_back(self, whole: Tensor) -> Tensor:
        """(N + B * num_front, D) -> (N, D): the rows of `back`."""
        if self.back.is_even:
            return self.rows.pad(whole)[:, self.num_front :].flatten(0, 1)
        return _Gather.apply(whole, self.back_place)
