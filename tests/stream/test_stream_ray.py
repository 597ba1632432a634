"""Ray Data executes the plan bin for bin like its plain twin."""

import json
from itertools import islice

import numpy as np
import pyarrow as pa
import pytest
import torch

from daep_ray.errors import DataError
from daep_ray.shards.read import read_rows
from daep_ray.stream.bins import Position, bins_plain, make_plan
from daep_ray.stream.plan import bins
from daep_ray.stream.ray_stream import (
    _descriptors,
    _read_windows,
    _Source,
    bins_from_dataset,
    dataset_name,
    rank_datasets,
)

SETTINGS = {"split": "train", "seed": 5, "token_budget": 800}
EPOCHS = 2


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.usefixtures("ray_session")
@pytest.mark.parametrize("world", [1, 2])
@pytest.mark.parametrize("start", [Position(0, 0), Position(1, 9)])
def test_ray_equals_its_plain_twin(folder, fitted, world, start):
    modalities = ("photometry", "spectrum")
    datasets = rank_datasets(
        folder.path,
        fitted.to_json(),
        modalities,
        **SETTINGS,
        world=world,
        start=start,
        num_epochs=EPOCHS,
    )
    assert set(datasets) == {dataset_name(rank) for rank in range(world)}
    for rank in range(world):
        tables = datasets[dataset_name(rank)].iter_batches(batch_format="pyarrow", batch_size=None)
        found = bins_from_dataset(
            tables,
            folder,
            fitted,
            modalities,
            **SETTINGS,
            rank=rank,
            world=world,
            start=start,
            num_epochs=EPOCHS,
        )
        twin = bins_plain(
            folder, fitted, modalities, **SETTINGS, rank=rank, world=world, start=start
        )
        num = 0
        for one in found:
            expected = next(twin)
            assert (one.epoch, one.step, one.is_last) == (
                expected.epoch,
                expected.step,
                expected.is_last,
            )
            assert one.batch.sample_ids == expected.batch.sample_ids
            for name in modalities:
                value, other = one.batch.sequences[name].value, expected.batch.sequences[name].value
                assert value is not None
                assert other is not None
                assert torch.equal(value, other)
            num += 1
        following = next(twin)
        assert (following.epoch, following.step) == (start.epoch + EPOCHS, 0)
        assert num > 10


@pytest.fixture
def planned(folder, fitted, small_windows):
    """What a rank's dataset would bring, made without Ray: one table per window."""
    plan, names = make_plan(folder, fitted, ["photometry"], *SETTINGS.values())
    return [
        read_rows(folder, np.concatenate([bins(s, 1)[0] for s in w.steps]), fitted.columns(names))
        for w in plan.windows(0)
    ]


@pytest.mark.usefixtures("small_windows")
@pytest.mark.parametrize("world", [1, 3])
@pytest.mark.parametrize("start", [Position(0, 0), Position(0, 5), Position(1, 30)])
def test_descriptors_bring_every_window_of_every_epoch(folder, fitted, world, start):
    """What the tasks do, without Ray, over several windows per epoch."""
    names = ("photometry",)
    plan, _ = make_plan(folder, fitted, names, *SETTINGS.values())
    text = json.dumps(fitted.to_json())
    for rank in range(world):
        source = _Source(str(folder.path), text, names, *SETTINGS.values(), rank, world)
        items = _descriptors(plan, start, EPOCHS)
        tables = (_read_windows(pa.Table.from_pylist([item]), source) for item in items)
        at = {**SETTINGS, "rank": rank, "world": world, "start": start}
        found = bins_from_dataset(tables, folder, fitted, names, **at, num_epochs=EPOCHS)
        twin = bins_plain(folder, fitted, names, **at)
        for one in found:
            assert one.batch.sample_ids == next(twin).batch.sample_ids
        assert next(twin).epoch == start.epoch + EPOCHS
    assert len(items) >= 2 * EPOCHS - 1


def stream_of(tables, folder, fitted):
    return bins_from_dataset(iter(tables), folder, fitted, ["photometry"], **SETTINGS, num_epochs=1)


def test_tables_are_cut_into_bins_wherever_they_end(folder, fitted, planned):
    expected = list(stream_of(planned, folder, fitted))
    pieces = [t.slice(i, 7) for t in planned for i in range(0, len(t), 7)]
    for one, other in zip(stream_of(pieces, folder, fitted), expected, strict=True):
        assert one.batch.sample_ids == other.batch.sample_ids


def test_rows_that_were_not_planned_are_refused(folder, fitted, planned):
    swapped = [planned[1], planned[0], *planned[2:]]
    with pytest.raises(DataError, match="step 0 of epoch 0 should bring"):
        next(stream_of(swapped, folder, fitted))


def test_a_stream_that_ends_too_early_is_refused(folder, fitted, planned):
    stream = stream_of([planned[0]], folder, fitted)
    with pytest.raises(DataError, match=r"should bring .* but brought 0"):
        list(islice(stream, 1000))
