"""The fair choice, part by part, against all rows sorted by hand; its memory."""

import tracemalloc
from collections import defaultdict

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daep_ray.stream.fair import Fair, fair_keys


def by_hand(objects: list[int], samples: list[int], most: int) -> list[int]:
    """Every object's samples by their keys; a first one of each object, then a second, ..."""
    of_object: dict[int, list[int]] = defaultdict(list)
    for row in sorted(range(len(objects)), key=lambda i: samples[i]):
        of_object[objects[row]].append(row)
    turns = max(map(len, of_object.values()), default=0)
    queues = [of_object[key] for key in sorted(of_object)]
    return [q[turn] for turn in range(turns) for q in queues if turn < len(q)][:most]


@given(st.lists(st.integers(0, 12), max_size=60), st.integers(1, 20), st.integers(0, 10**6))
def test_in_parts_the_choice_is_that_of_all_rows(objects: list[int], most: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    samples = rng.permutation(len(objects)).tolist()
    fair = Fair(most)
    for part in np.array_split(np.arange(len(objects)), int(rng.integers(1, 9))):
        fair.add(
            part,
            np.array([objects[i] for i in part], np.uint64),
            np.array([samples[i] for i in part], np.uint64),
        )
    assert fair.rows().tolist() == by_hand(objects, samples, most)


def peak_of(num_parts: int) -> int:
    """Bytes at a time, of parts of 2,000 rows."""
    fair = Fair(500)
    tracemalloc.start()
    for part in range(num_parts):
        rows = np.arange(2000) + 2000 * part
        names = pa.array([f"o{row // 3:07d}" for row in rows.tolist()])
        ids = pa.table(
            {"object_id": names, "sample_id": pa.array([f"{row:07d}" for row in rows.tolist()])}
        )
        fair.add(rows, *fair_keys(ids, seed=0))
    assert len(fair.rows()) == 500
    found = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return found


def test_memory_does_not_grow_with_the_rows_that_go_by() -> None:
    peak_of(2)  # what is made once and kept
    assert peak_of(50) == pytest.approx(peak_of(5), rel=0.1)
