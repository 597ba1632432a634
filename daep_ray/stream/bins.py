"""The plan executed: an endless stream of packed bins for one rank, and batches for evaluation.

`bins_in_memory` keeps a small survey's raw Arrow columns and packs anew each epoch; `bins_plain`
reads window by window and is the plain twin of `ray_stream.py`. Same arguments, same bins. `start`
resumes exactly where a checkpoint says.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import pyarrow as pa

from daep_ray.shards.read import ShardFolder, read_rows
from daep_ray.stream.batch import PackedBatch
from daep_ray.stream.fair import fair_rows
from daep_ray.stream.fitted import FittedRecipe
from daep_ray.stream.pack import pack
from daep_ray.stream.plan import Plan, Step, bins, cut_by_tokens


@dataclass(frozen=True)
class Position:
    """The next step that a stream yields."""

    epoch: int = 0
    step: int = 0


@dataclass(frozen=True)
class Bin:
    """One rank's part of one step."""

    epoch: int
    step: int
    batch: PackedBatch
    num_step_samples: int  # over all ranks
    num_step_tokens: int  # over all ranks
    is_last: bool  # the last step of its epoch


def bins_in_memory(
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
) -> Iterator[Bin]:
    """Endless over epochs; the split's raw columns are read once and stay in memory.

    Raises:
        DataError: an unknown modality, a split without a sample, a damaged shard.
    """
    plan, names = make_plan(folder, fitted, modalities, split, seed, token_budget)
    table, rows = _whole_split(folder, plan, fitted.columns(names))
    for step in planned_steps(plan, start or Position()):
        mine = table.take(np.searchsorted(rows, bins(step, world)[rank]))
        yield packed_bin(fitted, names, seed, step, mine)


def bins_plain(
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
) -> Iterator[Bin]:
    """Endless over epochs; one window of row groups in memory at a time.

    Raises:
        DataError: an unknown modality, a split without a sample, a damaged shard.
    """
    plan, names = make_plan(folder, fitted, modalities, split, seed, token_budget)
    columns = fitted.columns(names)
    position = start or Position()
    epoch, first = position.epoch, position.step
    while True:
        for window in plan.windows(epoch, first):
            mine = [bins(step, world)[rank] for step in window.steps]
            for step, table in zip(window.steps, read_in_parts(folder, mine, columns), strict=True):
                yield packed_bin(fitted, names, seed, step, table)
        epoch, first = epoch + 1, 0


def make_plan(
    folder: ShardFolder,
    fitted: FittedRecipe,
    modalities: Iterable[str],
    split: str,
    seed: int,
    token_budget: int,
) -> tuple[Plan, tuple[str, ...]]:
    """The plan after the recipe's selection, and the checked modalities."""
    names = fitted.check(modalities)
    return Plan(fitted.lengths(folder), names, split, seed, token_budget), names


def planned_steps(plan: Plan, start: Position) -> Iterator[Step]:
    """The steps of all epochs, endlessly, from `start` on."""
    epoch, first = start.epoch, start.step
    while True:
        yield from plan.steps(epoch, first)
        epoch, first = epoch + 1, 0


def packed_bin(
    fitted: FittedRecipe, modalities: tuple[str, ...], seed: int, step: Step, table: pa.Table
) -> Bin:
    """One rank's rows of a step, packed."""
    batch = pack(fitted, table, modalities, seed=seed, epoch=step.epoch)
    return Bin(step.epoch, step.index, batch, len(step.rows), step.num_tokens, step.is_last)


def read_in_parts(
    folder: ShardFolder, parts: list[np.ndarray], columns: list[str] | None
) -> Iterator[pa.Table]:
    """The global rows of all `parts` read at once and handed out part by part.

    Afterwards nothing is left of them, so that the next window does not come on top.
    """
    table, at = read_rows(folder, np.concatenate(parts), columns), 0
    for part in parts:
        yield table.slice(at, len(part))
        at += len(part)
    del table
    pa.default_memory_pool().release_unused()


def _whole_split(
    folder: ShardFolder, plan: Plan, columns: list[str]
) -> tuple[pa.Table, np.ndarray]:
    """All rows that the plan takes, in file order, and their global numbers."""
    directory = plan.groups
    bounds = zip(directory.start, directory.stop, strict=True)
    rows = np.concatenate([plan.eligible(begin, end)[0] for begin, end in bounds])
    return read_rows(folder, rows, columns).combine_chunks(), rows


def evaluation_batches(
    folder: ShardFolder,
    fitted: FittedRecipe,
    modalities: Iterable[str],
    split: str,
    token_budget: int,
    max_samples: int | None = None,
    seed: int = 0,
) -> Iterator[tuple[PackedBatch, pa.Table]]:
    """Packed batches without augmentation, each beside its raw rows (every column).

    Deterministic, block by block in file order; see `Blocks.of`.
    """
    blocks = Blocks.of(folder, fitted, modalities, split, token_budget, max_samples, seed)
    for number in range(len(blocks)):
        yield from blocks.batches(number)


@dataclass(frozen=True)
class Blocks:
    """A split cut into blocks of row groups, and each block into batches: a pure function."""

    folder: ShardFolder
    fitted: FittedRecipe
    plan: Plan
    groups: tuple[np.ndarray, ...]  # of each block: places in `Plan.groups`
    num_samples: int  # of the split
    chosen: np.ndarray | None  # sorted global rows; None: all

    @classmethod
    def of(
        cls,
        folder: ShardFolder,
        fitted: FittedRecipe,
        modalities: Iterable[str],
        split: str,
        token_budget: int,
        max_samples: int | None = None,
        seed: int = 0,
    ) -> Self:
        """`max_samples` takes one sample of each object, in the order of a stable hash of
        (seed, object id), then a second of each, and so on: a fair sample with as many objects as
        it can hold.

        Raises:
            DataError: an unknown modality, a split without a sample, a damaged shard.
        """
        plan, _ = make_plan(folder, fitted, modalities, split, 0, token_budget)
        bounds = zip(plan.groups.start, plan.groups.stop, strict=True)
        num_samples = sum(len(plan.eligible(*bound)[0]) for bound in bounds)
        # half a training window: every column is read, and nothing needs to be mixed
        block_of = np.cumsum(plan.groups.num_points) // (plan.window_points // 2)
        groups = np.split(np.arange(len(block_of)), np.flatnonzero(np.diff(block_of)) + 1)
        whole = cls(folder, fitted, plan, tuple(groups), num_samples, None)
        if max_samples is None or max_samples >= num_samples:
            return whole
        return whole.only(fair_rows(plan, max_samples, seed))

    def only(self, rows: np.ndarray) -> Self:
        """The same of these global rows alone; blocks without one are left out."""
        chosen, bounds = np.sort(rows), self.plan.groups
        ends = [(bounds.start[block[0]], bounds.stop[block[-1]]) for block in self.groups]
        is_used = np.diff(np.searchsorted(chosen, np.array(ends)), axis=1)[:, 0] > 0
        used = tuple(block for block, used in zip(self.groups, is_used, strict=True) if used)
        return replace(self, groups=used, chosen=chosen)

    def __len__(self) -> int:
        return len(self.groups)

    def num_batches(self, number: int) -> int:
        """Of one block."""
        return len(self._batches(number))

    def batches(
        self, number: int, part: slice = slice(None)
    ) -> Iterator[tuple[PackedBatch, pa.Table]]:
        """Of one block, or of a part of its batches: samples of similar length together."""
        for table in read_in_parts(self.folder, self._batches(number)[part], None):
            yield pack(self.fitted, table, self.plan.modalities), table

    def _batches(self, number: int) -> list[np.ndarray]:
        """Global rows of each batch."""
        ends = [(self.plan.groups.start[g], self.plan.groups.stop[g]) for g in self.groups[number]]
        found = [self.plan.eligible(*bounds) for bounds in ends]
        rows = np.concatenate([rows for rows, _ in found])
        tokens = np.concatenate([tokens for _, tokens in found])
        if self.chosen is not None:
            is_chosen = np.isin(rows, self.chosen)
            rows, tokens = rows[is_chosen], tokens[is_chosen]
        order = np.argsort(tokens, kind="stable")
        rows, tokens = rows[order], tokens[order]
        return [rows[cut] for cut in cut_by_tokens(tokens, self.plan.token_budget)]
