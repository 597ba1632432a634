"""The plan executed by Ray Data: one continuous stream of windows over all epochs per rank.

Driver: `rank_datasets` makes one dataset per rank, its items small descriptors (epoch, window) in
planned order. Tasks read a window's row groups and return the rank's raw rows in the order of its
bins. Train worker: `bins_from_dataset` cuts the rows into bins, checks every bin against the plan,
and packs. The plan is a pure function, so nothing but the descriptors travels from the driver.

Ray Data needs one whole free CPU per dataset whatever its tasks ask for (`CPUS_PER_DATASET`): a
driver must leave them free beside its workers, or the stream waits for ever.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import ray.data

from daep_ray.errors import DataError
from daep_ray.shards.read import ShardFolder, read_rows
from daep_ray.stream.bins import Bin, Position, make_plan, packed_bin
from daep_ray.stream.fitted import FittedRecipe
from daep_ray.stream.plan import Plan, Step, bins

CPUS_PER_DATASET = 1.0
_TASK_CPUS = 0.25
_MAX_BLOCKS = 1000  # a block is one task; more descriptors than this share tasks


def dataset_name(rank: int) -> str:
    """The key of a rank's dataset in `datasets={...}` of a trainer."""
    return f"train{rank}"


def rank_datasets(
    folder_path: Path | str,
    fitted_json: dict[str, Any],
    modalities: Iterable[str],
    *,
    split: str,
    seed: int,
    token_budget: int,
    world: int,
    start: Position | None = None,
    num_epochs: int,
) -> dict[str, "ray.data.Dataset"]:
    """One dataset per rank over `num_epochs` epochs from `start` on, by `dataset_name`.

    Read each with `iter_batches(batch_format="pyarrow", batch_size=None)`; with a trainer, pass
    `DataConfig(datasets_to_split=[])`.
    """
    datasets = {}
    for rank in range(world):
        source = _Source(
            str(folder_path),
            json.dumps(fitted_json),
            tuple(modalities),
            split,
            seed,
            token_budget,
            rank,
            world,
        )
        items = _descriptors(_open(source)[2], start or Position(), num_epochs)
        dataset = ray.data.from_items(items, override_num_blocks=min(len(items), _MAX_BLOCKS))
        dataset.context.execution_options.preserve_order = True
        datasets[dataset_name(rank)] = dataset.map_batches(
            partial(_read_windows, source=source),
            batch_size=1,
            batch_format="pyarrow",
            zero_copy_batch=True,
            num_cpus=_TASK_CPUS,
        )
    return datasets


def bins_from_dataset(
    tables: Iterable[pa.Table],
    folder: ShardFolder,
    fitted: FittedRecipe,
    modalities: Iterable[str],
    *,
    split: str,
    seed: int,
    token_budget: int,
    rank: int = 0,
    world: int = 1,
    start: Position | None = None,
    num_epochs: int,
) -> Iterator[Bin]:
    """The rank's bins, packed; `tables` is what its dataset yields.

    Raises:
        DataError: a bin does not hold the planned samples, or the stream ends too early.
    """
    plan, names = make_plan(folder, fitted, modalities, split, seed, token_budget)
    position = start or Position()
    rows = _Rows(tables)
    for epoch in range(position.epoch, position.epoch + num_epochs):
        first = position.step if epoch == position.epoch else 0
        for step in plan.steps(epoch, first):
            planned = plan.lengths.column("sample_id").take(bins(step, world)[rank])
            table = rows.take(len(planned))
            _check(table, planned, step)
            yield packed_bin(fitted, names, seed, step, table)


@dataclass(frozen=True)
class _Source:
    """All that a task needs to read a rank's rows; hashable, so that a process opens it once."""

    folder_path: str
    fitted_json: str
    modalities: tuple[str, ...]
    split: str
    seed: int
    token_budget: int
    rank: int
    world: int


@lru_cache(maxsize=4)
def _open(source: _Source) -> tuple[ShardFolder, list[str], Plan]:
    folder = ShardFolder.open(Path(source.folder_path))
    fitted = FittedRecipe.from_json(json.loads(source.fitted_json))
    plan, names = make_plan(
        folder, fitted, source.modalities, source.split, source.seed, source.token_budget
    )
    return folder, fitted.columns(names), plan


def _descriptors(plan: Plan, start: Position, num_epochs: int) -> list[dict[str, int]]:
    """Every window to read, in order; `skip` counts the first window's steps that are done."""
    items = []
    for epoch in range(start.epoch, start.epoch + num_epochs):
        first_window, skip = 0, 0
        if epoch == start.epoch and start.step > 0:
            first_window, skip = _place(plan, start)
        for window in range(first_window, len(plan.window_groups(epoch))):
            items.append({"epoch": epoch, "window": window, "skip": skip})
            skip = 0
    return items


def _place(plan: Plan, start: Position) -> tuple[int, int]:
    """The window that holds the step, and how many steps of it come before."""
    windows = plan.windows(start.epoch)
    for window in windows:
        if window.steps[-1].index >= start.step:
            return window.index, start.step - window.steps[0].index
    # past the epoch's end: nothing of it is left
    return len(plan.window_groups(start.epoch)), 0


def _read_windows(descriptors: pa.Table, source: _Source) -> pa.Table:
    """In a task: the rank's raw rows of one window, in the order of its bins."""
    folder, columns, plan = _open(source)
    (item,) = descriptors.to_pylist()
    window = plan.window(item["epoch"], item["window"]).after(item["skip"])
    mine = [bins(step, source.world)[source.rank] for step in window.steps]
    return read_rows(folder, np.concatenate(mine), columns)


class _Rows:
    """A stream of tables, taken from by the row."""

    def __init__(self, tables: Iterable[pa.Table]) -> None:
        self._tables = iter(tables)
        self._rest: pa.Table | None = None

    def take(self, num: int) -> pa.Table:
        """The next `num` rows; fewer where the stream ends."""
        parts = [] if self._rest is None else [self._rest]
        have = sum(len(part) for part in parts)
        while have < num or not parts:
            following = next(self._tables, None)
            if following is None:
                break
            parts.append(following)
            have += len(following)
        table = pa.concat_tables(parts) if parts else pa.table({"sample_id": pa.array([], "str")})
        self._rest = table.slice(num)
        return table.slice(0, num)


def _check(table: pa.Table, planned: pa.ChunkedArray, step: Step) -> None:
    arrived = table.column("sample_id")
    if arrived.combine_chunks().equals(planned.combine_chunks()):
        return
    raise DataError(
        f"step {step.index} of epoch {step.epoch} should bring {len(planned)} planned samples, but "
        f"brought {len(arrived)} that are not the same: the data folder has changed since the "
        "training began, start it anew"
    )
