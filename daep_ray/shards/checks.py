"""What makes a sample unfit to be written: the reasons of the quarantine, in words.

`defect_of` looks at the structure of one sample alone; `Admission` remembers what an ingest has
seen before, in about 8 bytes per sample and per object.
"""

from collections import Counter
from collections.abc import Iterable, Mapping

import numpy as np

from daep_ray.errors import DataError
from daep_ray.sample import Axis, Modality, Sample, Sequence
from daep_ray.shards.split import SPLITS, hash_of, split_of

_NUMBERS = (float, int, np.floating, np.integer, np.bool_)
_RESERVED = ("value", "error", "length", "hash")


def check_declaration(modalities: Iterable[Modality]) -> None:
    """The names become column names: unique, without dots.

    Raises:
        DataError: one sentence about the first name that is not.
    """
    modalities = tuple(modalities)
    if not modalities:
        raise DataError("the survey declares no modality: declare at least one")
    for modality in modalities:
        declared = (modality.positions, modality.categories, modality.metadata, modality.extras)
        names = [modality.name, *(entry.name for entries in declared for entry in entries)]
        for name in names:
            if not name or "." in name:
                raise DataError(
                    f"modality {modality.name!r} uses the name {name!r}: "
                    "a name must not be empty and must not hold a dot"
                )
        taken = Counter([*_RESERVED, *names[1:]])
        twice = [name for name, count in taken.items() if count > 1]
        if twice or sum(m.name == modality.name for m in modalities) > 1:
            raise DataError(
                f"modality {modality.name!r} uses the name {(twice or names)[0]!r} twice "
                f"({', '.join(_RESERVED)} are always taken): rename one of them"
            )


def defect_of(sample: Sample, modalities: Mapping[str, Modality]) -> str | None:
    """Why the sample's structure cannot be stored, or None; its numbers are checked later."""
    if not (sample.sample_id and _is_text(sample.sample_id)):
        return "no sample id, or one that is no text"
    if not (sample.object_id and _is_text(sample.object_id)):
        return "no object id, or one that is no text"
    if sample.split is not None and sample.split not in SPLITS:
        return f"split {sample.split!r} is none of {', '.join(SPLITS)}"
    for name, label in sample.labels.items():
        if label is not None and not is_number(label) and not _is_text(label):
            return f"label {name} is {label!r}, neither text nor a number"
    for name, sequence in sample.sequences.items():
        if name not in modalities:
            return f"modality {name!r} is not declared"
        defect = _sequence_defect(sequence, modalities[name])
        if defect:
            return f"{name}: {defect}"
    if not any(map(len, sample.sequences.values())):
        return "no measurements"
    return None


def _sequence_defect(sequence: Sequence, modality: Modality) -> str | None:
    if sequence.error is not None and not modality.has_error:
        return "has errors, but the modality declares none"
    return (
        _names_defect(sequence, modality)
        or _array_defect("value", sequence.value, "fiu", None)
        or _columns_defect(sequence, len(sequence.value))
        or _metadata_defect(sequence, modality)
    )


def _names_defect(sequence: Sequence, modality: Modality) -> str | None:
    for what, given, declared in (
        ("positions", sequence.positions, modality.positions),
        ("categories", sequence.categories, modality.categories),
        ("extras", sequence.extras, modality.extras),
        ("metadata", sequence.metadata, modality.metadata),
    ):
        names = {entry.name for entry in declared}
        is_optional = what in ("extras", "metadata")
        if given.keys() - names or (not is_optional and names - given.keys()):
            return (
                f"{what} are {', '.join(sorted(given)) or 'none'} "
                f"instead of {', '.join(sorted(names)) or 'none'}"
            )
    return None


def _columns_defect(sequence: Sequence, length: int) -> str | None:
    numbers = {**sequence.positions, **sequence.extras}
    if sequence.error is not None:
        numbers["error"] = sequence.error
    for name, array in numbers.items():
        if defect := _array_defect(name, array, "fiu", length):
            return defect
    for name, array in sequence.categories.items():
        if defect := _array_defect(name, array, "iu", length):
            return defect
    return None


def _array_defect(name: str, array: object, kinds: str, length: int | None) -> str | None:
    if not isinstance(array, np.ndarray) or array.dtype.kind not in kinds or array.ndim != 1:
        what = "integer codes" if kinds == "iu" else "numbers"
        return f"{name} is no one-dimensional array of {what}"
    if length is not None and len(array) != length:
        return f"{name} has {len(array)} entries, value has {length}"
    return None


def _metadata_defect(sequence: Sequence, modality: Modality) -> str | None:
    for entry in modality.metadata:
        value = sequence.metadata.get(entry.name)
        is_fit = is_number(value) if isinstance(entry, Axis) else isinstance(value, str)
        if value is not None and not is_fit:
            what = "a number" if isinstance(entry, Axis) else "a word"
            return f"metadata {entry.name} is {value!r}, which is not {what}"
    return None


def _is_text(value: object) -> bool:
    """A string that UTF-8 can hold: a name of undecodable bytes is none."""
    if not isinstance(value, str):
        return False
    return value.isascii() or not any("\ud800" <= c <= "\udfff" for c in value)


def is_number(value: object) -> bool:
    return isinstance(value, _NUMBERS)


class IdSet:
    """Which ids were seen, as 64-bit hashes: 8 bytes each, in sorted runs merged as they grow."""

    def __init__(self) -> None:
        self._runs: list[np.ndarray] = []

    def __len__(self) -> int:
        return sum(map(len, self._runs))

    def all(self) -> np.ndarray:
        """Every hash once, in no order."""
        return np.concatenate([np.empty(0, np.uint64), *self._runs])

    def contains(self, hashes: np.ndarray) -> np.ndarray:
        """(n,) bool for (n,) uint64."""
        found = np.zeros(len(hashes), bool)
        for run in self._runs:
            place = np.searchsorted(run, hashes)
            found |= run[np.minimum(place, len(run) - 1)] == hashes
        return found

    def add(self, hashes: np.ndarray) -> np.ndarray:
        """Add (n,) uint64; (n,) bool: which were new, the first of several equal ones only."""
        unique, first = np.unique(hashes, return_index=True)
        is_new = ~self.contains(unique)
        run = unique[is_new]
        # a run swallows the shorter ones before it: logarithmically many remain
        while len(run) and self._runs and len(self._runs[-1]) <= len(run):
            run = np.sort(np.concatenate([self._runs.pop(), run]))
        if len(run):
            self._runs.append(run)
        result = np.zeros(len(hashes), bool)
        result[first[is_new]] = True
        return result


class Admission:
    """What one ingest remembers of the samples before, to refuse those that contradict them."""

    def __init__(self) -> None:
        self.label_types: dict[str, str] = {}
        self.sample_ids = IdSet()
        self.objects = {split: IdSet() for split in SPLITS}

    def refuse(self, samples: list[Sample]) -> dict[int, str]:
        """The reasons by place in `samples`; whatever is not refused is remembered."""
        splits = [sample.split or split_of(sample.object_id) for sample in samples]
        self._learn_label_types(samples)
        refused: dict[int, str] = {}
        for i, sample in enumerate(samples):
            if defect := self._label_defect(sample):
                refused[i] = defect
        self._refuse_duplicates(samples, refused)
        self._refuse_other_splits(samples, splits, refused)
        return refused

    def _learn_label_types(self, samples: list[Sample]) -> None:
        """A label's type is that of most of its values in the first buffer where it is known."""
        votes: dict[str, Counter[str]] = {}
        for sample in samples:
            for name, value in sample.labels.items():
                if value is not None and name not in self.label_types:
                    votes.setdefault(name, Counter())[label_type(value)] += 1
        for name, counts in votes.items():
            self.label_types[name] = "float" if counts["float"] > counts["string"] else "string"

    def _label_defect(self, sample: Sample) -> str | None:
        for name, value in sample.labels.items():
            if value is not None and label_type(value) != self.label_types[name]:
                kind = {"float": "a number", "string": "text"}[self.label_types[name]]
                return f"label {name} is {value!r}, but {kind} in the other samples"
        return None

    def _refuse_duplicates(self, samples: list[Sample], refused: dict[int, str]) -> None:
        rest = [i for i in range(len(samples)) if i not in refused]
        hashes = np.array([hash_of(samples[i].sample_id) for i in rest], np.uint64)
        for i, is_new in zip(rest, self.sample_ids.add(hashes), strict=True):
            if not is_new:
                refused[i] = f"sample id {samples[i].sample_id!r} was there before"

    def _refuse_other_splits(
        self, samples: list[Sample], splits: list[str], refused: dict[int, str]
    ) -> None:
        """An object belongs to one split: what comes second and elsewhere is refused."""
        rest = [i for i in range(len(samples)) if i not in refused]
        hashes = np.array([hash_of(samples[i].object_id) for i in rest], np.uint64)
        known = {split: self.objects[split].contains(hashes) for split in SPLITS}
        here: dict[str, str] = {}
        for k, i in enumerate(rest):
            object_id = samples[i].object_id
            before = next((s for s in SPLITS if known[s][k]), here.setdefault(object_id, splits[i]))
            if before != splits[i]:
                refused[i] = f"object {object_id!r} is in split {before} already, not {splits[i]}"
        for split in SPLITS:
            own = [k for k, i in enumerate(rest) if i not in refused and splits[i] == split]
            self.objects[split].add(hashes[own])


def label_type(value: object) -> str:
    return "float" if is_number(value) else "string"
