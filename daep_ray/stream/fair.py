"""A fair sample of a split: as many objects as it can hold.

In: the plan of a split. Out: global rows: one sample of each object, in the order of a stable hash
of (seed, object id), then a second of each, and so on.
"""

import numpy as np

from daep_ray.stream.keyed import mix, stream_keys, string_keys
from daep_ray.stream.plan import Plan


def fair_rows(plan: Plan, max_samples: int, seed: int) -> np.ndarray:
    """At most `max_samples` global rows: every object's first sample, then the second ones."""
    rows: list[np.ndarray] = []
    object_keys: list[np.ndarray] = []
    sample_keys: list[np.ndarray] = []
    for begin, end in zip(plan.groups.start, plan.groups.stop, strict=True):
        here, _ = plan.eligible(begin, end)
        ids = plan.lengths.slice(begin, end - begin).select(["object_id", "sample_id"])
        ids = ids.take(here - begin)
        rows.append(here)
        for keys, name in ((object_keys, "object_id"), (sample_keys, "sample_id")):
            keys.append(mix(stream_keys(string_keys(ids.column(name)), seed, 0, "fair")))
    of_object = np.concatenate(object_keys)
    by_object = np.lexsort((np.concatenate(sample_keys), of_object))
    is_first = np.diff(of_object[by_object], prepend=~of_object[by_object[:1]]) != 0
    place = np.arange(len(by_object))
    turn = place - np.maximum.accumulate(np.where(is_first, place, 0))
    order = by_object[np.lexsort((of_object[by_object], turn))]
    return np.concatenate(rows)[order[:max_samples]]
