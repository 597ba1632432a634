"""The plan executed: in memory and from disk alike, on any number of ranks, from any position."""

from collections import Counter
from collections.abc import Callable, Iterator
from itertools import islice

import numpy as np
import pyarrow.compute as pc
import pytest
import torch

from daep_ray.errors import DataError
from daep_ray.stream.batch import PackedBatch
from daep_ray.stream.bins import (
    Bin,
    Position,
    bins_in_memory,
    bins_plain,
    evaluation_batches,
    make_plan,
)
from daep_ray.stream.fitted import FittedRecipe
from daep_ray.stream.pack import pack

SETTINGS = {"split": "train", "seed": 5, "token_budget": 800}
Stream = Callable[..., Iterator[Bin]]
STREAMS: list[Stream] = [bins_in_memory, bins_plain]


def equal(one: PackedBatch, other: PackedBatch) -> bool:
    return one.sample_ids == other.sample_ids and all(
        torch.equal(s.value, other.sequences[m].value)
        and torch.equal(s.position, other.sequences[m].position)
        for m, s in one.sequences.items()
        if s.value is not None
    )


def epoch_of(stream: Iterator[Bin]) -> list[Bin]:
    """The bins up to the next end of an epoch."""
    found = []
    for one in stream:
        found.append(one)
        if one.is_last:
            return found
    raise AssertionError("the stream ended")


@pytest.mark.parametrize("world", [1, 2, 3, 4])
@pytest.mark.parametrize("modalities", [("photometry",), ("photometry", "spectrum")])
@pytest.mark.usefixtures("small_windows")
def test_each_epoch_has_each_sample_once_and_the_same_steps(
    folder, fitted, samples, world, modalities
):
    plan, _ = make_plan(folder, fitted, modalities, *SETTINGS.values())
    ids = np.array(plan.lengths.column("sample_id").to_pylist())
    ranks = [
        bins_plain(folder, fitted, modalities, **SETTINGS, rank=rank, world=world)
        for rank in range(world)
    ]
    for epoch in range(2):
        steps = list(zip(*[epoch_of(rank) for rank in ranks], strict=True))
        for step, parts in zip(plan.steps(epoch), steps, strict=True):
            together = [i for part in parts for i in part.batch.sample_ids]
            assert together == ids[step.rows].tolist()
            assert {(p.epoch, p.step, p.is_last) for p in parts} == {
                (epoch, step.index, step.is_last)
            }
            assert {p.num_step_samples for p in parts} == {len(together)}
            assert {p.num_step_tokens for p in parts} == {sum(p.batch.num_tokens for p in parts)}
        seen = Counter(i for parts in steps for p in parts for i in p.batch.sample_ids)
        assert set(seen.values()) == {1}
        assert set(seen) == expected_ids(folder, samples, modalities)


def expected_ids(folder, samples, modalities) -> set[str]:
    """From the raw samples: the training split; alone, a shared sequence's first sample."""
    split = dict(
        zip(*(folder.lengths().column(c).to_pylist() for c in ("sample_id", "split")), strict=True)
    )
    found, objects = set(), set()
    for sample in samples:
        if split[sample.sample_id] != "train" or not set(modalities) & set(sample.sequences):
            continue
        if modalities == ("photometry",):
            if sample.object_id in objects:
                continue
            objects.add(sample.object_id)
        found.add(sample.sample_id)
    return found


@pytest.mark.usefixtures("small_windows")
def test_in_memory_and_from_disk_are_the_same(folder, fitted):
    for rank in range(2):
        streams = [s(folder, fitted, ["spectrum"], **SETTINGS, rank=rank, world=2) for s in STREAMS]
        for one, other in islice(zip(*streams, strict=True), 150):
            assert (one.epoch, one.step, one.is_last) == (other.epoch, other.step, other.is_last)
            assert equal(one.batch, other.batch)
        assert one.epoch >= 1


@pytest.mark.parametrize("stream", STREAMS)
@pytest.mark.usefixtures("small_windows")
def test_resuming_anywhere_equals_never_stopping(folder, fitted, stream):
    def from_(start: Position | None) -> Iterator[Bin]:
        return stream(folder, fitted, ["photometry"], **SETTINGS, rank=1, world=2, start=start)

    whole = list(islice(from_(None), 40))
    assert whole[-1].epoch > 1
    for k in (1, 7, 13, 14, 39):
        rest = from_(Position(whole[k].epoch, whole[k].step))
        for expected in whole[k : k + 12]:
            found = next(rest)
            assert (found.epoch, found.step) == (expected.epoch, expected.step)
            assert equal(found.batch, expected.batch)


def test_a_position_at_an_epochs_end_is_the_next_epochs_begin(folder, fitted):
    plan, _ = make_plan(folder, fitted, ["photometry"], *SETTINGS.values())
    for stream in STREAMS:
        start = Position(0, plan.num_steps(0))
        first = next(stream(folder, fitted, ["photometry"], **SETTINGS, start=start))
        assert (first.epoch, first.step) == (1, 0)


def test_a_rank_is_empty_only_when_samples_run_out(folder, fitted):
    """With a budget of one sample per step, the second of two ranks has nothing, in order."""
    settings = {**SETTINGS, "token_budget": 1}
    for stream in STREAMS:
        bins = list(islice(stream(folder, fitted, ["spectrum"], **settings, rank=1, world=2), 3))
        assert [b.batch.num_samples for b in bins] == [0, 0, 0]
        assert [b.num_step_samples for b in bins] == [1, 1, 1]


def test_wrong_names_are_one_clear_sentence(folder, fitted):
    for stream in STREAMS:
        with pytest.raises(DataError, match="no modality 'images'"):
            next(stream(folder, fitted, ["images"], **SETTINGS))
        with pytest.raises(DataError, match="split 'tests' has no measurement"):
            next(stream(folder, fitted, ["spectrum"], **{**SETTINGS, "split": "tests"}))


@pytest.mark.parametrize("max_samples", [None, 25])
@pytest.mark.usefixtures("small_windows")
def test_evaluation_batches_are_the_split_beside_its_rows(
    folder, fitted: FittedRecipe, max_samples
):
    def once() -> list:
        return list(
            evaluation_batches(folder, fitted, ["spectrum"], "test", 800, max_samples=max_samples)
        )

    found = once()
    for batch, table in found:
        assert batch.sample_ids == tuple(table.column("sample_id").to_pylist())
        assert table.schema.names == folder.schema.names
        assert equal(batch, pack(fitted, table, ["spectrum"]))
    ids = [i for batch, _ in found for i in batch.sample_ids]
    lengths = fitted.lengths(folder)
    wanted = pc.and_(
        pc.equal(lengths.column("split"), "test"), pc.greater(lengths.column("spectrum.length"), 0)
    )
    all_ids = lengths.filter(wanted).column("sample_id").to_pylist()
    if max_samples is None:
        assert sorted(ids) == sorted(all_ids)
    else:
        assert len(ids) == len(set(ids)) == max_samples
        assert set(ids) < set(all_ids)
    for (one, _), (other, _) in zip(found, once(), strict=True):
        assert equal(one, other)


def test_a_subset_spreads_over_objects_and_grows(folder, fitted):
    """A fair sample: as many objects as it holds, and a larger one contains a smaller one."""

    def ids(max_samples: int, seed: int = 0) -> set[str]:
        batches = evaluation_batches(
            folder, fitted, ["spectrum"], "test", 800, max_samples=max_samples, seed=seed
        )
        return {i for batch, _ in batches for i in batch.sample_ids}

    few, more = ids(8), ids(16)
    assert len({i.split("/")[0] for i in few}) == 8
    assert few < more
    assert few != ids(8, seed=1)
