"""What is in a shard folder, in numbers for a table: `daep-ray inspect` prints them."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from daep_ray.sample import Axis, Modality
from daep_ray.shards.flat import Flat
from daep_ray.shards.manifest import QUARANTINE
from daep_ray.shards.read import ShardFolder
from daep_ray.shards.schema import columns_of

_MOST_REASONS = 1000  # told apart; the rest counts as "other reasons"


def summarise(folder: ShardFolder) -> dict[str, Any]:
    """Counts, lengths and ranges as plain JSON, in one pass over the shards.

    `modalities[m]` has `num_samples`, `num_measurements`, `length` (low, median, high), `ranges`
    (of value and positions: unit, low, high), `categories` (measurements by word) and `metadata`
    (known, and low and high or samples by word).
    """
    manifest = folder.manifest
    summaries = {name: _Summary(m) for name, m in folder.modalities.items()}
    columns = [column for m in manifest.modalities for column in columns_of(m)]
    for shard, row_group in folder.row_groups():
        table = folder.read_row_group(shard, row_group, columns)
        for summary in summaries.values():
            summary.add(Flat.from_table(table, summary.modality))
    return {
        "hash": manifest.hash,
        "source": dict(manifest.source),
        "num_read": manifest.num_read,
        "num_written": manifest.num_written,
        "num_quarantined": manifest.num_quarantined,
        "num_ignored": manifest.num_ignored,
        "num_dropped": manifest.num_dropped,
        "num_objects": sum(c.num_objects for c in manifest.counts.values()),
        "num_shards": len(manifest.shards),
        "bytes_on_disk": sum(s.bytes for s in manifest.shards),
        "bytes_in_memory": folder.num_bytes,
        "labels": dict(manifest.labels),
        "splits": {
            split: {
                "num_samples": counts.num_samples,
                "num_objects": counts.num_objects,
                "classes": dict(counts.classes or {}),
            }
            for split, counts in manifest.counts.items()
        },
        "modalities": {name: summary.result() for name, summary in summaries.items()},
        "quarantine": quarantine_reasons(folder),
    }


def quarantine_reasons(folder: ShardFolder) -> dict[str, int]:
    """How many samples were lost for each reason, the commonest first."""
    reasons: Counter[str] = Counter()
    for row in folder.rows_of(QUARANTINE):
        is_known = row["reason"] in reasons or len(reasons) < _MOST_REASONS
        reasons[row["reason"] if is_known else "other reasons"] += 1
    return dict(reasons.most_common())


@dataclass
class _Range:
    """Lowest and highest of what was seen."""

    unit: str
    low: float = np.inf
    high: float = -np.inf
    num_known: int = 0

    def add(self, values: np.ndarray) -> None:
        known = values[np.isfinite(values)]
        if len(known):
            self.low = min(self.low, float(known.min()))
            self.high = max(self.high, float(known.max()))
            self.num_known += len(known)

    def result(self) -> dict[str, Any]:
        is_empty = self.num_known == 0
        return {
            "unit": self.unit,
            "low": None if is_empty else self.low,
            "high": None if is_empty else self.high,
            "num_known": self.num_known,
        }


@dataclass
class _Words:
    """How often each word of a vocabulary was seen."""

    vocabulary: tuple[str, ...]
    counts: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.counts = np.zeros(len(self.vocabulary), np.int64)

    def add(self, codes: np.ndarray) -> None:
        self.counts += np.bincount(codes[codes >= 0], minlength=len(self.counts))

    def result(self) -> dict[str, int]:
        counted = zip(self.vocabulary, self.counts.tolist(), strict=True)
        return {word: count for word, count in counted if count}


class _Summary:
    """One modality's numbers as they gather."""

    def __init__(self, modality: Modality) -> None:
        self.modality = modality
        self.lengths: Counter[int] = Counter()
        axes = (modality.value, *modality.positions)
        self.ranges = {axis.name: _Range(axis.unit) for axis in axes}
        self.categories = {c.name: _Words(c.vocabulary) for c in modality.categories}
        self.metadata: dict[str, _Range | _Words] = {
            m.name: _Range(m.unit) if isinstance(m, Axis) else _Words(m.vocabulary)
            for m in modality.metadata
        }

    def add(self, flat: Flat) -> None:
        lengths, counts = np.unique(flat.lengths, return_counts=True)
        self.lengths.update(dict(zip(lengths.tolist(), counts.tolist(), strict=True)))
        self.ranges[self.modality.value.name].add(flat.columns["value"])
        for axis in self.modality.positions:
            self.ranges[axis.name].add(flat.columns[axis.name])
        for name, words in self.categories.items():
            words.add(flat.columns[name])
        for name, known in self.metadata.items():
            known.add(flat.metadata[name])

    def result(self) -> dict[str, Any]:
        present = {length: n for length, n in self.lengths.items() if length}
        return {
            "num_samples": sum(present.values()),
            "num_measurements": sum(length * n for length, n in present.items()),
            "length": _spread(present),
            "ranges": {name: r.result() for name, r in self.ranges.items()},
            "categories": {name: words.result() for name, words in self.categories.items()},
            "metadata": {name: known.result() for name, known in self.metadata.items()},
        }


def _spread(lengths: dict[int, int]) -> dict[str, int]:
    """Shortest, median (the lower of two) and longest length."""
    if not lengths:
        return {"low": 0, "median": 0, "high": 0}
    ordered = sorted(lengths)
    below = np.cumsum([lengths[n] for n in ordered])
    median = ordered[int(np.searchsorted(below, (below[-1] + 1) // 2))]
    return {"low": ordered[0], "median": median, "high": ordered[-1]}
