"""Packed sequences of made-up numbers for the tests of the networks."""

from collections.abc import Callable

import pytest
import torch

from daep_ray.stream.batch import Layout, PackedSequence


@pytest.fixture
def make_sequence() -> Callable[[list[int], Layout], PackedSequence]:
    def make(lengths: list[int], layout: Layout) -> PackedSequence:
        offsets = torch.tensor([0, *lengths]).cumsum(0).int()
        total, num = int(offsets[-1]), len(lengths)
        return PackedSequence(
            value=torch.randn(total),
            error=None,
            position=torch.randn(total, layout.num_positions),
            category=torch.zeros(total, len(layout.category_sizes), dtype=torch.long),
            offsets=offsets,
            max_length=max(lengths, default=0),
            metadata=torch.randn(num, layout.num_metadata),
            metadata_is_known=torch.ones(num, layout.num_metadata, dtype=torch.bool),
            metadata_category=torch.ones(num, len(layout.metadata_sizes), dtype=torch.long),
        )

    return make
