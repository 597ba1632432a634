"""Batches of made-up sequences, and small models of every objective."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from daep_ray.nn.config import (
    BottleneckConfig,
    ModelConfig,
    OneStageEncoderConfig,
    SingleStageDecoderConfig,
    TokenizerConfig,
    TwoStageDecoderConfig,
    TwoStageEncoderConfig,
)
from daep_ray.objectives import OBJECTIVES, Objective, build_objective
from daep_ray.stream.batch import Layout, PackedBatch, PackedSequence

LAYOUT = Layout("m", 2, category_sizes=(3,), num_metadata=2, metadata_sizes=(3,))

TWO = {
    "encoder": TwoStageEncoderConfig(num_layers=2, num_latents=4),
    "decoder": TwoStageDecoderConfig(num_layers=2, num_latents=4),
}
ONE = {
    "encoder": OneStageEncoderConfig(num_layers=2),
    "decoder": SingleStageDecoderConfig(num_layers=2),
}
STAGES = {"two_stage": TWO, "single_stage": ONE}


def model_of(stages: str) -> ModelConfig:
    return ModelConfig(
        width=16,
        num_heads=2,
        bottleneck=BottleneckConfig(length=2, width=3),
        tokenizer=TokenizerConfig(num_frequencies=8),
        **STAGES[stages],
    )


@pytest.fixture
def make_batch() -> Callable[[list[int]], PackedBatch]:
    """A batch with two positions, a category and metadata of which a third is missing."""

    def make(lengths: list[int]) -> PackedBatch:
        offsets = torch.tensor([0, *lengths]).cumsum(0).int()
        total, num = int(offsets[-1]), len(lengths)
        sequence = PackedSequence(
            value=torch.randn(total),
            error=torch.rand(total),
            position=torch.randn(total, 2),
            category=torch.randint(0, 3, (total, 1)),
            offsets=offsets,
            max_length=max(lengths, default=0),
            metadata=torch.randn(num, 2),
            metadata_is_known=torch.arange(2 * num).reshape(num, 2) % 3 > 0,
            metadata_category=torch.arange(num).reshape(num, 1) % 3,
        )
        return PackedBatch(tuple(f"sample{i}" for i in range(num)), {"m": sequence})

    return make


@pytest.fixture
def pick() -> Callable[[PackedBatch, list[int]], PackedBatch]:
    """Some samples of a batch, in this order."""

    def choose(batch: PackedBatch, samples: list[int]) -> PackedBatch:
        s = batch.sequences["m"]
        spans = [torch.arange(int(s.offsets[b]), int(s.offsets[b + 1])) for b in samples]
        rows = torch.cat([*spans, torch.zeros(0, dtype=torch.long)])
        lengths = [len(span) for span in spans]
        points = {n: getattr(s, n) for n in ("value", "error", "position", "category")}
        chosen: dict[str, Any] = {n: x if x is None else x[rows] for n, x in points.items()}
        for n in ("metadata", "metadata_is_known", "metadata_category"):
            chosen[n] = getattr(s, n)[samples]
        chosen["offsets"] = torch.tensor([0, *lengths]).cumsum(0).int()
        chosen["max_length"] = max(lengths, default=0)
        ids = tuple(batch.sample_ids[b] for b in samples)
        return PackedBatch(ids, {"m": PackedSequence(**chosen)})

    return choose


@pytest.fixture
def changed() -> Callable[..., PackedBatch]:
    def change(batch: PackedBatch, **parts: Tensor | None) -> PackedBatch:
        return replace(batch, sequences={"m": replace(batch.sequences["m"], **parts)})  # type: ignore[arg-type]

    return change


@pytest.fixture(params=[(kind, stages) for kind in OBJECTIVES for stages in STAGES], ids="-".join)
def objective(request: pytest.FixtureRequest) -> Objective:
    """Every registered objective, default settings, on both kinds of encoder and decoder."""
    kind, stages = request.param
    torch.manual_seed(0)
    return build_objective(OBJECTIVES[kind](), model_of(stages), {"m": LAYOUT})
