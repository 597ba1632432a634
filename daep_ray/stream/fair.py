"""A fair choice of samples: as many objects as it can hold.

In: rows with their ids, part by part. Out: one sample of each object, in the order of a stable hash
of (seed, object id), then a second of each, and so on. Which rows are taken depends neither on how
they are cut into parts nor on what else is in a survey. Memory holds a few times the rows that are
taken and one part, however many rows go by.
"""

import numpy as np
import pyarrow as pa

from daep_ray.stream.keyed import mix, stream_keys, string_keys
from daep_ray.stream.plan import Plan


class Fair:
    """The first `most` rows in the fair order, of those added so far.

    What is behind them in a part is behind them in the whole, and so may be forgotten: rows that
    come later can only move a row back.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        nothing = np.zeros(0, np.uint64)
        self._parts = [(np.zeros(0, np.int64), nothing, nothing)]
        self._num = 0

    def add(self, rows: np.ndarray, object_keys: np.ndarray, sample_keys: np.ndarray) -> None:
        """(n,) rows and their `fair_keys`."""
        self._parts.append((rows, object_keys, sample_keys))
        self._num += len(rows)
        if self._num > 2 * self.most:
            self._forget()

    def rows(self) -> np.ndarray:
        """The rows, in the fair order."""
        self._forget()
        return self._parts[0][0]

    def _forget(self) -> None:
        rows, objects, samples = (np.concatenate(c) for c in zip(*self._parts, strict=True))
        first = _in_order(objects, samples)[: self.most]
        self._parts, self._num = [(rows[first], objects[first], samples[first])], len(first)


def fair_keys(ids: pa.Table, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(n,) uint64 each: of `object_id` and of `sample_id`."""
    objects, samples = (
        mix(stream_keys(string_keys(ids.column(name)), seed, 0, "fair"))
        for name in ("object_id", "sample_id")
    )
    return objects, samples


def fair_rows(plan: Plan, max_samples: int, seed: int) -> np.ndarray:
    """At most `max_samples` global rows of the plan's split, in the fair order."""
    fair = Fair(max_samples)
    for begin, end in zip(plan.groups.start, plan.groups.stop, strict=True):
        here, _ = plan.eligible(begin, end)
        ids = plan.lengths.slice(begin, end - begin).select(["object_id", "sample_id"])
        fair.add(here, *fair_keys(ids.take(here - begin), seed))
    return fair.rows()


def _in_order(objects: np.ndarray, samples: np.ndarray) -> np.ndarray:
    """(n,) places: by the turn of a sample within its object, then by object."""
    by_object = np.lexsort((samples, objects))
    is_first = np.diff(objects[by_object], prepend=~objects[by_object[:1]]) != 0
    place = np.arange(len(by_object))
    turn = place - np.maximum.accumulate(np.where(is_first, place, 0))
    return by_object[np.lexsort((objects[by_object], turn))]
