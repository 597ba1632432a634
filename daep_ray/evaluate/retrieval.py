"""Does one modality find its other half? recall@k between modalities of the same samples.

In: unit vectors of each sample's modalities (`Objective.aligned`). Out: rows of the table
`metrics`, estimate `from_<modality>`: among the measured samples that have both (5,000 at most),
each ranks the others' sequences by cosine, and recall@k is the share whose own is among the first
k. Sequences of the same object count as its own. Chance is beside it.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

RANKS = (1, 10)
MOST_SAMPLES = 5000  # that are searched, by stable hash: bounds memory and time
_BLOCK = 1024  # queries at once


@dataclass
class Aligned:
    """Vectors of the samples that have a modality, growing batch by batch."""

    object_ids: list[str] = field(default_factory=list)
    vectors: dict[str, list[np.ndarray]] = field(default_factory=dict)
    is_present: dict[str, list[np.ndarray]] = field(default_factory=dict)

    def add(
        self,
        object_ids: Iterable[str],
        vectors: Mapping[str, np.ndarray],
        is_present: Mapping[str, np.ndarray],
    ) -> None:
        """A batch: (B, F) of length 1 and (B,) bool per modality."""
        self.object_ids += object_ids
        for m, rows in vectors.items():
            self.vectors.setdefault(m, []).append(rows)
            self.is_present.setdefault(m, []).append(is_present[m])

    def metric_rows(self, split: str) -> Iterator[dict[str, Any]]:
        """Rows for every ordered pair of modalities that at least two objects have both of."""
        objects = np.unique(np.array(self.object_ids, dtype=str), return_inverse=True)[1]
        whole = {m: np.concatenate(parts) for m, parts in self.vectors.items()}
        present = {m: np.concatenate(parts) for m, parts in self.is_present.items()}
        for target in whole:
            for source in whole:
                both = np.flatnonzero(present[target] & present[source])
                if target == source or len(np.unique(objects[both])) < 2:
                    continue
                found = recall(whole[source][both], whole[target][both], objects[both])
                for metric, value in found.items():
                    yield {
                        "modality": target,
                        "split": split,
                        "estimate": f"from_{source}",
                        "metric": metric,
                        "value": value,
                        "sd": None,
                        "count": len(both),
                    }


def recall(asking: np.ndarray, asked: np.ndarray, objects: np.ndarray) -> dict[str, float]:
    """recall@k of (n, F) unit vectors that ask the (n, F) others, and what a guess would get.

    `objects` (n,) say whose each is. A tie counts half of those that it ties with.
    """
    ranks, guesses = [], []
    for start in range(0, len(asking), _BLOCK):
        part = slice(start, start + _BLOCK)
        cosine = asking[part] @ asked.T
        own = objects[part, None] == objects[None, :]
        best = np.where(own, cosine, -np.inf).max(1, keepdims=True)
        strangers = np.where(own, -np.inf, cosine)
        ranks.append((strangers > best).sum(1) + 0.5 * (strangers == best).sum(1))
        guesses.append(own.sum(1))
    rank, num_own, num = np.concatenate(ranks), np.concatenate(guesses), len(asking)
    found = {}
    for k in RANKS:
        found[f"recall_at_{k}"] = float((rank < k).mean())
        found[f"recall_at_{k}_chance"] = float(_chance(num_own, num, min(k, num)).mean())
    return found


def _chance(num_own: np.ndarray, num: int, k: int) -> np.ndarray:
    """(n,) the probability that k of `num` at random hold at least one of `num_own`."""
    missed = np.ones(len(num_own))
    for i in range(k):
        missed *= np.clip((num - num_own - i) / (num - i), 0, 1)
    return 1 - missed
