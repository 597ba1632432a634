"""Batches of made-up sequences, and small models of every objective."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from daep_ray.errors import ConfigError
from daep_ray.nn.config import (
    BottleneckConfig,
    MixerConfig,
    ModelConfig,
    OneStageEncoderConfig,
    SingleStageDecoderConfig,
    TokenizerConfig,
    TwoStageDecoderConfig,
    TwoStageEncoderConfig,
)
from daep_ray.objectives import OBJECTIVES, Objective, build_objective
from daep_ray.stream.batch import Layout, PackedBatch, PackedSequence

LAYOUTS = {
    "m": Layout("m", 2, (3,), 2, (3,), ("phase", "other"), (3.0, 1.0)),
    "n": Layout("n", 1, num_metadata=1, metadata_names=("phase",), metadata_scales=(3.0,)),
}
Names = tuple[str, ...]

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
        mixer=MixerConfig(num_layers=2, num_tokens=3),
        **STAGES[stages],
    )


def accepted(kind: str) -> list[Names]:
    """What an objective can be built on: one modality, two, or either."""
    found: list[Names] = []
    for names in (("m",), ("m", "n")):
        try:
            build_objective(OBJECTIVES[kind](), model_of("two_stage"), layouts_of(names))
        except ConfigError:
            continue
        found.append(names)
    return found


def layouts_of(names: Names) -> dict[str, Layout]:
    return {name: LAYOUTS[name] for name in names}


CASES = [(kind, stages, n) for kind in OBJECTIVES for stages in STAGES for n in accepted(kind)]


def other_lengths(lengths: list[int]) -> list[int]:
    """Of the second modality, given the first's: every third sample lacks it."""
    if not any(lengths):
        return lengths
    return [0 if i % 3 == 2 else 3 + 2 * i for i in range(len(lengths))]


def make_sequence(layout: Layout, lengths: list[int]) -> PackedSequence:
    """Random measurements; a third of the metadata is missing."""
    offsets = torch.tensor([0, *lengths]).cumsum(0).int()
    total, num = int(offsets[-1]), len(lengths)
    known = torch.arange(layout.num_metadata * num).reshape(num, layout.num_metadata) % 3 > 0
    return PackedSequence(
        value=torch.randn(total),
        error=torch.rand(total),
        position=torch.randn(total, layout.num_positions),
        category=torch.randint(0, 3, (total, len(layout.category_sizes))),
        offsets=offsets,
        max_length=max(lengths, default=0),
        metadata=torch.randn(num, layout.num_metadata),
        metadata_is_known=known,
        metadata_category=torch.arange(num).reshape(num, 1)[:, : len(layout.metadata_sizes)] % 3,
    )


def pick_sequence(s: PackedSequence, samples: list[int]) -> PackedSequence:
    spans = [torch.arange(int(s.offsets[b]), int(s.offsets[b + 1])) for b in samples]
    rows = torch.cat([*spans, torch.zeros(0, dtype=torch.long)])
    lengths = [len(span) for span in spans]
    points = {n: getattr(s, n) for n in ("value", "error", "position", "category")}
    chosen: dict[str, Any] = {n: x if x is None else x[rows] for n, x in points.items()}
    for n in ("metadata", "metadata_is_known", "metadata_category"):
        chosen[n] = getattr(s, n)[samples]
    chosen["offsets"] = torch.tensor([0, *lengths]).cumsum(0).int()
    chosen["max_length"] = max(lengths, default=0)
    return PackedSequence(**chosen)


@pytest.fixture
def make_batch(request: pytest.FixtureRequest) -> Callable[..., PackedBatch]:
    """A batch of the objective's modalities, of "m" alone where there is no `objective`."""
    names = request.getfixturevalue("case")[2] if "case" in request.fixturenames else ("m",)

    def make(lengths: list[int], others: list[int] | None = None) -> PackedBatch:
        of = {"m": lengths, "n": other_lengths(lengths) if others is None else others}
        sequences = {name: make_sequence(LAYOUTS[name], of[name]) for name in names}
        return PackedBatch(tuple(f"sample{i}" for i in range(len(lengths))), sequences)

    return make


@pytest.fixture
def pick() -> Callable[[PackedBatch, list[int]], PackedBatch]:
    """Some samples of a batch, in this order."""

    def choose(batch: PackedBatch, samples: list[int]) -> PackedBatch:
        ids = tuple(batch.sample_ids[b] for b in samples)
        return PackedBatch(ids, {m: pick_sequence(s, samples) for m, s in batch.sequences.items()})

    return choose


@pytest.fixture
def changed() -> Callable[..., PackedBatch]:
    """The batch with parts of one modality replaced."""

    def change(batch: PackedBatch, modality: str = "m", **parts: Tensor | None) -> PackedBatch:
        other = replace(batch.sequences[modality], **parts)  # type: ignore[arg-type]
        return replace(batch, sequences={**batch.sequences, modality: other})

    return change


@pytest.fixture(params=CASES, ids=lambda case: "-".join([*case[:2], *case[2]]))
def case(request: pytest.FixtureRequest) -> tuple[str, str, Names]:
    """(kind, stages, modalities)."""
    return request.param


@pytest.fixture
def objective(case: tuple[str, str, Names]) -> Objective:
    """Every registered objective, default settings, on both kinds of encoder and decoder, and on
    one and several modalities as far as it takes them."""
    kind, stages, names = case
    torch.manual_seed(0)
    return informed(build_objective(OBJECTIVES[kind](), model_of(stages), layouts_of(names)), names)


def informed(objective: Objective, names: Names) -> Objective:
    """With a hundred training samples to search in, if it asks for some."""
    if objective.asks_for_samples():
        sequences = {name: make_sequence(LAYOUTS[name], [6] * 100) for name in names}
        ids = tuple(f"training{i}" for i in range(100))
        with torch.no_grad():
            objective.remember([PackedBatch(ids, sequences)])
    return objective
