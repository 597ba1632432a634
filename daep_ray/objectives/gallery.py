"""A gallery of training sequences: what a search finds instead of a decoder's answer.

In: unit vectors of training sequences of one modality with their measurements; then queries, a
vector and places. Out: the values of the nearest neighbours, interpolated to those places. All in
standardised units. The gallery is part of the model's state, so a checkpoint holds it.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from daep_ray.stream.batch import Layout, PackedSequence

_PARTS = ("vectors", "metadata", "offsets", "value", "position", "category")


class Gallery(nn.Module):
    """The sequences of one modality that may be found, G of them; empty until `fill`.

    `match`: metadata that a neighbour shares with the query, and how far apart they may be, in the
    declared unit; names that the modality does not have mean nothing.
    """

    vectors: Tensor  # (G, F) of length 1
    metadata: Tensor  # (G, number of continuous metadata), NaN where not known
    offsets: Tensor  # (G+1,) int64
    value: Tensor  # (N,)
    position: Tensor  # (N, P)
    category: Tensor  # (N,) int64, all categories in one number

    def __init__(self, layout: Layout, num_features: int, match: Mapping[str, float]) -> None:
        super().__init__()
        named = zip(layout.metadata_names, layout.metadata_scales, strict=True)
        self.reach = {
            place: match[name] / scale for place, (name, scale) in enumerate(named) if name in match
        }
        self.register_buffer("vectors", torch.zeros(0, num_features))
        self.register_buffer("metadata", torch.zeros(0, layout.num_metadata))
        self.register_buffer("offsets", torch.zeros(1, dtype=torch.int64))
        self.register_buffer("value", torch.zeros(0))
        self.register_buffer("position", torch.zeros(0, layout.num_positions))
        self.register_buffer("category", torch.zeros(0, dtype=torch.int64))

    def __len__(self) -> int:
        return len(self.vectors)

    def clear(self) -> None:
        for name in _PARTS:
            self.register_buffer(name, getattr(self, name)[: 1 if name == "offsets" else 0])

    def add(self, vectors: Tensor, sequence: PackedSequence, most_points: int) -> None:
        """More entries: the present samples of (B, F), as long as `most_points` are not exceeded.

        An entry that no longer fits is left out, whatever follows.
        """
        assert sequence.value is not None
        lengths = sequence.lengths.long()
        is_kept = (lengths > 0) & (lengths.cumsum(0) + len(self.value) <= most_points)
        rows = is_kept[sequence.sample_index]
        known = sequence.metadata_is_known[is_kept]
        metadata = sequence.metadata[is_kept].masked_fill(~known, torch.nan)
        more = {
            "vectors": vectors[is_kept],
            "metadata": metadata,
            "offsets": self.offsets[-1] + lengths[is_kept].cumsum(0),
            "value": sequence.value[rows],
            "position": sequence.position[rows],
            "category": one_number(sequence.category[rows]),
        }
        for name, part in more.items():
            self.register_buffer(name, torch.cat([getattr(self, name), part.detach()]))

    def neighbours(self, vectors: Tensor, sequence: PackedSequence, num: int) -> Tensor:
        """(B, num) entries, nearest first; again from the first where there are fewer.

        Those within reach of the query's metadata come first, by their cosine with `vectors`
        (B, F); then the others, the least far apart first. A metadatum that the query does not
        know matches all; one that an entry does not know matches none.
        """
        apart = self._apart(sequence)
        key = torch.where(apart <= 1, 1 - vectors @ self.vectors.T, 3 + apart)
        order = key.argsort(dim=1, stable=True)[:, :num]
        return order[:, torch.arange(num, device=order.device) % len(self)]

    def _apart(self, sequence: PackedSequence) -> Tensor:
        """(B, G) the largest distance in metadata, in units of the reach."""
        apart = self.vectors.new_zeros(len(sequence.metadata), len(self))
        for place, reach in self.reach.items():
            here = torch.where(sequence.metadata_is_known[:, place], sequence.metadata[:, place], 0)
            far = (here[:, None] - self.metadata[None, :, place]).abs() / reach
            far = torch.where(far.isnan(), torch.inf, far)
            is_asked = sequence.metadata_is_known[:, place] & (sequence.lengths > 0)
            apart = torch.maximum(apart, torch.where(is_asked[:, None], far, 0.0))
        return apart

    def told(self, vectors: Tensor, sequence: PackedSequence, num: int) -> Tensor:
        """(num, N) values of the `num` nearest neighbours at the sequence's places.

        An empty gallery says the training mean, 0.
        """
        found = np.zeros((num, sequence.num_tokens))
        if len(self) and sequence.num_tokens:
            asked = _arrays(sequence.position, one_number(sequence.category))
            known = _arrays(self.position, self.category, self.value)
            bounds, edges = sequence.offsets.tolist(), self.offsets.tolist()
            for b, entries in enumerate(self.neighbours(vectors, sequence, num).tolist()):
                here = slice(bounds[b], bounds[b + 1])
                for k, g in enumerate(entries):
                    entry = slice(edges[g], edges[g + 1])
                    found[k, here] = interpolated(
                        *(x[here] for x in asked), *(x[entry] for x in known)
                    )
        return torch.from_numpy(found).to(sequence.position)

    def _load_from_state_dict(self, state: Mapping[str, Tensor], prefix: str, *rest: Any) -> None:
        """As torch does, of a gallery of any size."""
        for name in _PARTS:
            if prefix + name in state:
                here = getattr(self, name)
                self.register_buffer(name, here.new_empty(state[prefix + name].shape))
        super()._load_from_state_dict(state, prefix, *rest)


def one_number(category: Tensor) -> Tensor:
    """(N, C) categories -> (N,) int64, equal where all of them are."""
    number = category.new_zeros(len(category))
    for column in category.unbind(1):
        number = number * 2**15 + column
    return number


def interpolated(
    position: np.ndarray,
    category: np.ndarray,
    known: np.ndarray,
    known_category: np.ndarray,
    value: np.ndarray,
) -> np.ndarray:
    """(n,) values at places (n, P) from a neighbour's (k,), each from those of its own category.

    From all of them where the neighbour has none of a category. One position: a line between the
    two next to it, constant beyond the ends; several: the nearest measurement.
    """
    out = np.empty(len(position))
    for number in np.unique(category):
        asked, usable = category == number, known_category == number
        if not usable.any():
            usable = np.ones_like(usable)
        at, x, y = position[asked], known[usable], value[usable]
        if position.shape[1] == 1:
            order = np.argsort(x[:, 0], kind="stable")
            out[asked] = np.interp(at[:, 0], x[order, 0], y[order])
        else:
            out[asked] = y[((at[:, None] - x[None]) ** 2).sum(2).argmin(1)]
    return out


def _arrays(*tensors: Tensor) -> list[np.ndarray]:
    return [x.cpu().numpy() for x in tensors]
