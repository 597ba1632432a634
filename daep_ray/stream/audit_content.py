"""Two objects with the same measurements, and rows of which no measurement can be used.

In: the shards' rows, a row group at a time. Out: findings. Memory: 8 bytes per row and 8 per
sequence for the duplicates.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from daep_ray.sample import Modality
from daep_ray.shards.flat import Flat
from daep_ray.shards.read import ShardFolder
from daep_ray.shards.split import hash_of
from daep_ray.stream.audit_finding import MOST_FINDINGS, Finding, limited

MIN_MEASUREMENTS = 3  # two coarse measurements may be equal by chance
MOST_UNKNOWN_ERRORS = 0.1  # above it, having no errors is how the survey is


class Contents:
    """Which sequences have the same values, errors, positions and categories.

    Metadata do not count: a copy under another name has another redshift or peak.
    """

    def __init__(self, modalities: Mapping[str, Modality]) -> None:
        self._objects: list[np.ndarray] = []
        self._contents: dict[str, list[np.ndarray]] = {name: [] for name in modalities}

    def add(self, object_ids: list[str], flats: list[Flat]) -> None:
        """Take in the rows of a row group."""
        known = {object_id: hash_of(object_id) for object_id in set(object_ids)}
        self._objects.append(np.array([known[i] for i in object_ids], np.uint64))
        for flat in flats:
            hashes = replace(flat, metadata={}).hashes()
            hashes[flat.lengths < MIN_MEASUREMENTS] = 0
            self._contents[flat.modality.name].append(hashes)

    def findings(self, folder: ShardFolder) -> Iterator[Finding]:
        """A finding per set of equal sequences of several objects."""
        objects = np.concatenate([np.empty(0, np.uint64), *self._objects])
        for name, parts in self._contents.items():
            groups = _shared(np.concatenate([np.empty(0, np.int64), *parts]), objects)
            if groups:
                names = _names(folder, np.concatenate(groups[:MOST_FINDINGS]))
                told = (_sentence(name, [names[row] for row in rows.tolist()]) for rows in groups)
                yield from limited("duplicate", told, len(groups))


def _shared(contents: np.ndarray, objects: np.ndarray) -> list[np.ndarray]:
    """The rows of every content that several objects have, one row per object; 0 is no content."""
    order = np.lexsort((objects, contents))
    order = order[contents[order] != 0]
    content, owner = contents[order], objects[order]
    is_same_content = content[1:] == content[:-1]
    is_first = np.append(True, ~is_same_content | (owner[1:] != owner[:-1]))[: len(order)]
    order, content = order[is_first], content[is_first]
    starts = np.flatnonzero(np.append(True, content[1:] != content[:-1])[: len(order)])
    groups = np.split(order, starts[1:]) if len(order) else []
    return [np.sort(rows) for rows in groups if len(rows) > 1]


def _names(folder: ShardFolder, rows: np.ndarray) -> dict[int, tuple[str, str]]:
    """Object id and split of some global rows."""
    names: dict[int, tuple[str, str]] = {}
    start = 0
    for table in folder.iter_lengths():
        here = rows[(rows >= start) & (rows < start + table.num_rows)]
        for row in here.tolist():
            names[row] = (
                table["object_id"][row - start].as_py(),
                table["split"][row - start].as_py(),
            )
        start += table.num_rows
    return names


def _sentence(modality: str, owners: list[tuple[str, str]]) -> str:
    several = "across splits" if len({split for _, split in owners}) > 1 else "within a split"
    listed = " and ".join(f"{object_id!r} ({split})" for object_id, split in owners[:4])
    more = f" and {len(owners) - 4} more" if len(owners) > 4 else ""
    return f"the same {modality} belongs to several objects, {several}: {listed}{more}"


class Rejected:
    """Rows where no measurement is finite with an error that is positive or unknown.

    An error that was not positive is stored as unknown, so a sequence without any known error is
    told as well, unless more than a tenth of the survey's sequences are so.
    """

    def __init__(self, modalities: Mapping[str, Modality]) -> None:
        self._unusable: list[str] = []
        self._num_unusable = 0
        self._errorless: dict[str, list[str]] = {m: [] for m in modalities}
        self._num_errorless = dict.fromkeys(modalities, 0)
        self._num_sequences = dict.fromkeys(modalities, 0)

    def add(self, sample_ids: list[str], flats: list[Flat]) -> None:
        """Take in the rows of a row group."""
        left = np.sum([_per_sample(flat, _is_usable(flat)) for flat in flats], axis=0)
        rows = np.flatnonzero(left == 0)
        self._num_unusable += len(rows)
        self._unusable += [sample_ids[i] for i in rows[: MOST_FINDINGS - len(self._unusable)]]
        for flat in flats:
            if "error" not in flat.columns:
                continue
            name, is_there = flat.modality.name, flat.lengths > 0
            with_error = _per_sample(flat, np.isfinite(flat.columns["error"]))
            rows = np.flatnonzero(is_there & (with_error == 0))
            self._num_sequences[name] += int(is_there.sum())
            self._num_errorless[name] += len(rows)
            known = self._errorless[name]
            known += [sample_ids[i] for i in rows[: MOST_FINDINGS - len(known)]]

    def findings(self) -> Iterator[Finding]:
        """A finding per row."""
        told = (f"sample {i!r}: no measurement can be used" for i in self._unusable)
        yield from limited("rejected", told, self._num_unusable)
        for name, samples in self._errorless.items():
            if self._num_errorless[name] <= MOST_UNKNOWN_ERRORS * self._num_sequences[name]:
                told = (f"sample {i!r}: no error of its {name} is positive" for i in samples)
                yield from limited("rejected", told, self._num_errorless[name])


def _is_usable(flat: Flat) -> np.ndarray:
    """(N,) bool; an error that is NaN is unknown, which is no reason to reject."""
    usable = flat.is_finite()
    error = flat.columns.get("error")
    if error is not None:
        usable &= np.isnan(error) | ((error > 0) & np.isfinite(error))
    return usable


def _per_sample(flat: Flat, is_counted: np.ndarray) -> np.ndarray:
    """(B,) how many measurements of each sample are True."""
    before = np.concatenate([[0], np.cumsum(is_counted)])
    return np.diff(before[flat.offsets])
