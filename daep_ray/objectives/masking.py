"""Which measurements are hidden or shown: a share of every sample, by that sample's noise alone.

In: a packed sequence and its noise. Out: a choice of its points (N,) bool, the sequence of the
chosen points, or a query that holds the values of a few. A training hides and an evaluation shows
by the same rule.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from daep_ray.nn.ragged import Rows
from daep_ray.stream.batch import PackedBatch, PackedSequence
from daep_ray.stream.noise import Noise

Counting = Literal["fixed", "bernoulli"]


def choose(
    sequence: PackedSequence, share: float, noise: Noise, name: str, counting: Counting = "fixed"
) -> Tensor:
    """(N,) bool: about `share` of every sample's points, at random, the same whatever the packing.

    Of a sample's n points `fixed` takes the nearest whole number to share x n (He et al. 2022),
    `bernoulli` each with probability `share` (the published code). Of two points or more at least
    one is taken and one is left; a single point is left.
    """
    uniform = noise.uniform_per_point(name, sequence.offsets)
    lengths, sample = sequence.lengths.long(), sequence.sample_index
    if counting == "fixed":
        wanted = (share * lengths.double()).round().long()
    else:
        wanted = torch.zeros_like(lengths).index_add(0, sample, (uniform < share).long())
    wanted = wanted.clamp(min=1).minimum(lengths - 1)
    return _rank(uniform, sequence) < wanted[sample]


def _rank(uniform: Tensor, sequence: PackedSequence) -> Tensor:
    """(N,) int64: how many points of the same sample come before a point in order of `uniform`."""
    sample = sequence.sample_index
    order = uniform.argsort(stable=True)
    order = order[sample[order].argsort(stable=True)]
    place = torch.arange(len(order), device=order.device)
    return torch.empty_like(order).index_copy(0, order, place) - sequence.offsets[sample]


def take(sequence: PackedSequence, chosen: Tensor) -> PackedSequence:
    """The chosen points of every sample; metadata stay, a sample may be left with no point."""
    rows, s = rows_of_chosen(sequence, chosen), sequence
    return replace(
        sequence,
        value=None if s.value is None else s.value[chosen],
        error=None if s.error is None else s.error[chosen],
        position=s.position[chosen],
        category=s.category[chosen],
        offsets=rows.offsets,
        max_length=rows.max_length,
    )


def rows_of_chosen(sequence: PackedSequence, chosen: Tensor) -> Rows:
    """How the chosen points belong to the samples."""
    before = torch.cat([chosen.new_zeros(1, dtype=torch.int32), chosen.cumsum(0).int()])
    offsets = before[sequence.offsets.long()]
    longest = int((offsets[1:] - offsets[:-1]).max()) if len(offsets) > 1 else 0
    return Rows(offsets, int(offsets[-1]), longest)


def shown_query(batch: PackedBatch, share: float, noise: Noise) -> PackedBatch:
    """The batch's query with the values of a share of the measurements and NaN in place of the
    others: what is not shown is not there."""
    query = batch.query()
    if share == 0:
        return query
    sequences = {}
    for m, bare in query.sequences.items():
        value = batch.sequences[m].value
        assert value is not None
        shown = choose(bare, share, noise.within(m), "shown")
        sequences[m] = replace(bare, value=value.masked_fill(~shown, torch.nan))
    return replace(query, sequences=sequences)


def is_shown(query: PackedBatch) -> Mapping[str, Tensor]:
    """(N,) bool per modality: the measurements whose values a query holds."""
    return {
        m: torch.zeros(s.num_tokens, dtype=torch.bool, device=s.position.device)
        if s.value is None
        else ~s.value.isnan()
        for m, s in query.sequences.items()
    }
