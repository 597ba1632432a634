"""Which sample is in which step and which bin: a pure function of the lengths.

In: the table of lengths, a seed, a token budget. Out: steps, each a list of global row numbers
(order in the table), and their cut into bins of ranks. The steps do not depend on the number of
ranks, and each eligible sample is in exactly one step of an epoch.

Hierarchical, so that 10^8 objects plan in flat memory: row groups are shuffled and joined to
windows of at least `WINDOW_POINTS` raw measurements and `GROUPS_PER_WINDOW` row groups; within a
window samples are shuffled, then sorted by slightly blurred length in chunks of about
`STEPS_PER_CHUNK` steps (samples of similar length meet, so padding would waste little), cut into
steps by tokens, and the window's steps are shuffled.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from daep_ray.errors import DataError
from daep_ray.stream.keyed import mix, permutation, string_keys, uniform, words

WINDOW_POINTS = 2**19  # raw measurements read together, at least: about 10 MB
GROUPS_PER_WINDOW = 3  # row groups read together, at least: neighbours in a file are alike
STEPS_PER_CHUNK = 48  # a window holds as many steps at least
LENGTH_BLUR = 0.05  # else a small survey would be cut into the same steps in every epoch


@dataclass(frozen=True)
class Step:
    """One update: its samples over all ranks, ordered by length."""

    epoch: int
    index: int  # within the epoch
    rows: np.ndarray = field(repr=False)  # (B,) int64 global row numbers
    tokens: np.ndarray = field(repr=False)  # (B,) int64 measurements of each sample
    is_last: bool = False  # of its epoch

    @property
    def num_tokens(self) -> int:
        return int(self.tokens.sum())


@dataclass(frozen=True)
class Window:
    """Row groups that are read together and the steps made of them."""

    epoch: int
    index: int
    groups: np.ndarray  # places in `Plan.groups`
    steps: list[Step]

    def after(self, start: int) -> "Window":
        """Without the steps before number `start`."""
        return replace(self, steps=[step for step in self.steps if step.index >= start])


@dataclass(frozen=True)
class RowGroups:
    """Where the eligible samples are, one entry per row group that has any."""

    start: np.ndarray  # (G,) first global row
    stop: np.ndarray  # (G,) row after the last
    shard: np.ndarray  # (G,)
    row_group: np.ndarray  # (G,)
    num_points: np.ndarray  # (G,) raw measurements of eligible samples


@dataclass(frozen=True)
class Plan:
    """The plan of one split of one survey, for every epoch."""

    lengths: pa.Table
    modalities: tuple[str, ...]
    split: str
    seed: int
    token_budget: int

    @cached_property
    def groups(self) -> RowGroups:
        """The directory of row groups, from one pass over the table.

        Raises:
            DataError: no sample of the split has any of the modalities.
        """
        found = all_groups(self.lengths)
        points = np.array(
            [self._num_points(*bounds) for bounds in zip(found[0], found[1], strict=True)]
        )
        if not points.any():
            raise DataError(
                f"the split {self.split!r} has no measurement of {', '.join(self.modalities)} left "
                "after selection: loosen the recipe's selection or ingest more objects"
            )
        used = points > 0
        return RowGroups(*(column[used] for column in (*found, points)))

    def _num_points(self, start: int, stop: int) -> int:
        part = self.lengths.slice(start, stop - start)
        is_eligible = _is_eligible(part, self.modalities, self.split)
        return int(sum(_raw_lengths(part, m)[is_eligible].sum() for m in self.modalities))

    def eligible(self, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """Global rows in [start, stop) that the plan takes, and their tokens."""
        part = self.lengths.slice(start, stop - start)
        rows = np.flatnonzero(_is_eligible(part, self.modalities, self.split))
        tokens = sum(_numbers(part, f"{m}.length") for m in self.modalities)
        return rows + start, np.asarray(tokens)[rows]

    @property
    def steps_per_chunk(self) -> int:
        """Two lengths are alike less often than one."""
        return STEPS_PER_CHUNK * len(self.modalities) ** 2

    @property
    def window_points(self) -> int:
        """About how many raw measurements a window has: enough steps to sort, and to mix files."""
        return max(WINDOW_POINTS, self.steps_per_chunk * self.token_budget)

    def window_groups(self, epoch: int) -> list[np.ndarray]:
        """The epoch's shuffled row groups, cut into windows."""
        order = permutation(len(self.groups.start), self.seed, epoch, 0)
        ends = np.cumsum(self.groups.num_points[order])
        most = len(order) // GROUPS_PER_WINDOW
        num_windows = max(1, min(most, round(int(ends[-1]) / self.window_points)))
        middle = ends - self.groups.num_points[order] / 2
        window = (middle * num_windows / ends[-1]).astype(np.int64)
        return np.split(order, np.flatnonzero(np.diff(window)) + 1)

    def window(self, epoch: int, index: int, first: int = 0) -> Window:
        """Window number `index` of an epoch; its steps are numbered from `first` on."""
        all_groups = self.window_groups(epoch)
        cuts = self._cut_window(epoch, index, all_groups[index])
        steps = [Step(epoch, first + i, *cut) for i, cut in enumerate(cuts)]
        if index == len(all_groups) - 1:
            steps[-1] = replace(steps[-1], is_last=True)
        return Window(epoch, index, all_groups[index], steps)

    def windows(self, epoch: int, start: int = 0) -> Iterator[Window]:
        """The epoch's windows, lazily, without the steps before `start`."""
        first = 0
        for index in range(len(self.window_groups(epoch))):
            window = self.window(epoch, index, first)
            first += len(window.steps)
            if first > start:
                yield window.after(start)

    def steps(self, epoch: int, start: int = 0) -> Iterator[Step]:
        """The epoch's steps, lazily, from number `start` on."""
        for window in self.windows(epoch, start):
            yield from window.steps

    def num_steps(self, epoch: int) -> int:
        """How many steps the epoch has; epochs differ by a few when there are several windows."""
        return sum(len(window.steps) for window in self.windows(epoch))

    def _cut_window(
        self, epoch: int, index: int, groups: np.ndarray
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        found = [self.eligible(self.groups.start[g], self.groups.stop[g]) for g in groups]
        rows = np.concatenate([rows for rows, _ in found])
        tokens = np.concatenate([tokens for _, tokens in found])
        shuffled = permutation(len(rows), self.seed, epoch, 1, index)
        rows, tokens = rows[shuffled], tokens[shuffled]
        steps = []
        luck = uniform(words(len(rows), self.seed, epoch, 2, index)) - 0.5
        part = self.lengths.select([f"{m}.length" for m in self.modalities]).take(rows)
        lengths = np.stack([_numbers(part, name) for name in part.column_names], axis=1)
        blurred = lengths * (1.0 + LENGTH_BLUR * luck)[:, None]
        for chunk in _chunks(tokens, self.token_budget * self.steps_per_chunk):
            by_length = chunk[_by_length(blurred[chunk], self.steps_per_chunk)]
            steps += [by_length[cut] for cut in cut_by_tokens(tokens[by_length], self.token_budget)]
        order = permutation(len(steps), self.seed, epoch, 3, index)
        return [(rows[steps[i]], tokens[steps[i]]) for i in order]


def steps(
    lengths: pa.Table,
    modalities: tuple[str, ...],
    split: str,
    seed: int,
    epoch: int,
    token_budget: int,
    start: int = 0,
) -> Iterator[Step]:
    """One epoch's steps from number `start` on; see `Plan` for a plan that is kept."""
    plan = Plan(lengths, tuple(modalities), split, seed, token_budget)
    yield from plan.steps(epoch, start)


def bins(step: Step, world: int) -> list[np.ndarray]:
    """The step's rows cut into `world` contiguous bins of about equal tokens.

    No bin is empty unless the step has fewer samples than ranks; their union is the step.
    """
    num = len(step.rows)
    ends = np.cumsum(step.tokens)
    wanted = ends[-1] * np.arange(1, world) / world
    cuts = np.searchsorted(ends - step.tokens / 2, wanted)
    if num < world:
        return np.split(step.rows, np.minimum(np.arange(1, world), num))
    # one sample at least for each rank: before it, itself, and after it
    rank = np.arange(1, world)
    cuts = np.maximum.accumulate(np.maximum(cuts, 1) - rank) + rank
    cuts = np.minimum(cuts, num - world + rank)
    return np.split(step.rows, cuts)


def cut_by_tokens(tokens: np.ndarray, budget: int) -> list[slice]:
    """Contiguous stretches of at most `budget` tokens (or one sample), about equally full.

    Equal stretches leave no small remainder, whose gradient would be noisier than the others'.
    """
    ends = np.cumsum(tokens)
    total = int(ends[-1]) if len(ends) else 0
    cuts, start, taken = [], 0, 0
    while start < len(tokens):
        left = max(1, -(-(total - taken) // budget))
        fair = taken + (total - taken) / left
        stop = int(np.searchsorted(ends, fair + tokens[start] / 2, side="right"))
        within = int(np.searchsorted(ends, taken + budget, side="right"))
        stop = max(start + 1, min(stop, within))
        cuts.append(slice(start, stop))
        start, taken = stop, int(ends[stop - 1])
    return cuts


def _chunks(tokens: np.ndarray, size: float) -> list[np.ndarray]:
    """Places cut into stretches of about `size` tokens each."""
    ends = np.cumsum(tokens)
    num = max(1, round(float(ends[-1]) / size))
    chunk = ((ends - tokens / 2) * num / ends[-1]).astype(np.int64)
    return np.split(np.arange(len(tokens)), np.flatnonzero(np.diff(chunk)) + 1)


def _by_length(lengths: np.ndarray, num_steps: int) -> np.ndarray:
    """An order of samples with `lengths` (n, modalities) that brings similar ones together.

    With several modalities: strips by the one with most tokens, ordered within by the others, each
    strip the other way round than the one before, so that a step across their border is even too.
    """
    largest = int(lengths.sum(axis=0).argmax())
    order = np.argsort(lengths[:, largest], kind="stable")
    others = np.delete(lengths, largest, axis=1)
    if others.shape[1] == 0:
        return order
    tokens = lengths.sum(axis=1)[order]
    num_strips = max(1, round(num_steps ** (1 / lengths.shape[1])))
    strips = []
    for number, place in enumerate(_chunks(tokens, tokens.sum() / num_strips)):
        strip = order[place]
        inner = strip[_by_length(others[strip], -(-num_steps // num_strips))]
        strips.append(inner[::-1] if number % 2 else inner)
    return np.concatenate(strips)


def all_groups(lengths: pa.Table) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(start, stop, shard, row_group) of every row group, in file order, batch by batch."""
    starts, keys, row = [], [], 0
    before: tuple[int, int] | None = None
    for batch in lengths.select(["shard", "row_group"]).to_batches():
        shard = batch.column(0).to_numpy(zero_copy_only=False)
        group = batch.column(1).to_numpy(zero_copy_only=False)
        changes = np.flatnonzero((np.diff(shard) != 0) | (np.diff(group) != 0)) + 1
        for place in (0, *changes.tolist()) if len(shard) else ():
            key = (int(shard[place]), int(group[place]))
            if key != before:
                starts.append(row + place)
                keys.append(key)
            before = key
        row += len(shard)
    stops = [*starts[1:], row]
    pairs = np.array(keys, dtype=np.int64).reshape(-1, 2)
    return np.array(starts), np.array(stops), pairs[:, 0], pairs[:, 1]


def _is_eligible(part: pa.Table, modalities: tuple[str, ...], split: str) -> np.ndarray:
    """(n,) bool: of the split, with a measurement; alone, a shared sequence is taken once."""
    is_present = np.zeros(len(part), dtype=bool)
    for modality in modalities:
        is_present |= _numbers(part, f"{modality}.length") > 0
    if len(modalities) == 1:
        is_present &= part.column(f"{modalities[0]}.is_first").to_numpy()
    return is_present & pc.equal(part.column("split"), split).to_numpy()


def _numbers(part: pa.Table, column: str) -> np.ndarray:
    return part.column(column).to_numpy().astype(np.int64)


def _raw_lengths(part: pa.Table, modality: str) -> np.ndarray:
    return _numbers(part, f"{modality}.raw_length")


def first_of_shared(lengths: pa.Table, modality: str) -> np.ndarray:
    """(n,) bool: False for a sequence that an earlier sample of the same object has too."""
    content = _numbers(lengths, f"{modality}.hash").astype(np.uint64)
    keys = mix(string_keys(lengths.column("object_id")) + mix(content))
    is_first = np.zeros(len(lengths), dtype=bool)
    is_first[np.unique(keys, return_index=True)[1]] = True
    return is_first
