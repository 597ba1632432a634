"""Does one modality find its other half? recall@k between modalities of the same objects.

In: unit vectors of each sample's modalities (`Objective.aligned`). Out: rows of the table
`metrics`, estimate `from_<modality>`. Each of the measured samples that have both (5,000 at most)
ranks a gallery by cosine that holds one sequence per object, that of its first sample by id: an
object with many samples would fill the first places, all the more where they share one light curve.
recall@k is the share of the samples whose own object is among the first k, an object's samples
averaged first. Chance, k / objects, is beside it.
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

    sample_ids: list[str] = field(default_factory=list)
    object_ids: list[str] = field(default_factory=list)
    vectors: dict[str, list[np.ndarray]] = field(default_factory=dict)
    is_present: dict[str, list[np.ndarray]] = field(default_factory=dict)

    def add(
        self,
        sample_ids: Iterable[str],
        object_ids: Iterable[str],
        vectors: Mapping[str, np.ndarray],
        is_present: Mapping[str, np.ndarray],
    ) -> None:
        """A batch: (B, F) of length 1 and (B,) bool per modality."""
        self.sample_ids += sample_ids
        self.object_ids += object_ids
        for m, rows in vectors.items():
            self.vectors.setdefault(m, []).append(rows)
            self.is_present.setdefault(m, []).append(is_present[m])

    def metric_rows(self, split: str) -> Iterator[dict[str, Any]]:
        """Rows for every ordered pair of modalities that at least two objects have both of."""
        order = np.argsort(np.array(self.sample_ids, dtype=str), kind="stable")
        owners = np.array(self.object_ids, dtype=str)[order]
        whole = {m: np.concatenate(parts)[order] for m, parts in self.vectors.items()}
        present = {m: np.concatenate(parts)[order] for m, parts in self.is_present.items()}
        for target in whole:
            for source in whole:
                both = np.flatnonzero(present[target] & present[source])
                objects, first, of = np.unique(owners[both], return_index=True, return_inverse=True)
                if target == source or len(objects) < 2:
                    continue
                found = recall(whole[source][both], whole[target][both[first]], of)
                for metric, value in found.items():
                    yield {
                        "modality": target,
                        "split": split,
                        "estimate": f"from_{source}",
                        "metric": metric,
                        "value": value,
                        "sd": None,
                        "count": len(objects),
                    }


def recall(asking: np.ndarray, gallery: np.ndarray, owner: np.ndarray) -> dict[str, float]:
    """recall@k of (n, F) unit vectors that ask a gallery (O, F), and what a guess would get.

    `owner` (n,) is each one's own place in the gallery; every place has one at least. Of those that
    are equally near any may come first: a hit is the probability of one.
    """
    nearer, level = np.zeros(len(asking)), np.zeros(len(asking))
    for start in range(0, len(asking), _BLOCK):
        part = slice(start, start + _BLOCK)
        cosine = asking[part] @ gallery.T
        own = np.take_along_axis(cosine, owner[part, None], axis=1)
        nearer[part] = (~(cosine <= own)).sum(1)  # what is no number finds nothing
        level[part] = np.maximum((cosine == own).sum(1), 1)
    found, samples = {}, np.bincount(owner)
    for k in RANKS:
        hits = np.clip((k - nearer) / level, 0, 1)
        found[f"recall_at_{k}"] = float((np.bincount(owner, hits) / samples).mean())
        found[f"recall_at_{k}_chance"] = min(k, len(gallery)) / len(gallery)
    return found
