"""Which samples are asked for a label: those that have it, in a fair and bounded choice.

In: a survey, what a model reads of it, and names of labels. Out: for each label that can be told at
all, the splits that are asked and at most `MOST_SAMPLES` samples of each, with the label. They are
taken among the samples that have the label and something to tell it from, in the order of a stable
hash of the object id (`stream/fair.py`): where few of many objects have a class, all of these are
asked. Decided from the survey alone, so the same for every model, reference and number of workers.
The survey is read once, its ids and labels alone, one row group at a time.

The probe never needs a label in training, so any split may be probed. The evaluated split alone is
asked where it holds enough objects (50, in at least two classes of five); a small survey (SNID: 34
test supernovae) is probed on its other splits too, and the table's `split` says so. The probe's own
splits are grouped by object either way.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from daep_ray.evaluate import ridge
from daep_ray.evaluate.probe import FEWEST_OBJECTS_OF_A_SPLIT, is_probeable
from daep_ray.shards.read import ShardFolder, read_rows
from daep_ray.stream.fair import Fair, fair_keys
from daep_ray.stream.fitted import FittedRecipe
from daep_ray.stream.plan import Plan, all_groups

MOST_SAMPLES = 5000  # per split: bounds memory and time
# the splits that may be probed together with an evaluated one: looking at validation never
# touches the test split
WIDER = {
    "train": ("train",),
    "validation": ("train", "validation"),
    "test": ("train", "validation", "test"),
}


@dataclass(frozen=True)
class Askable:
    """The samples that are asked for one label, S of them, sorted by sample id."""

    rows: Mapping[str, np.ndarray]  # by split: global rows
    sample_ids: np.ndarray  # (S,) str
    object_ids: np.ndarray  # (S,) str
    labels: np.ndarray  # (S,) str, or float64 of a label that is a number

    @property
    def splits(self) -> tuple[str, ...]:
        return tuple(self.rows)


def askable(
    folder: ShardFolder,
    fitted: FittedRecipe,
    modalities: tuple[str, ...],
    split: str,
    labels: Iterable[str],
) -> dict[str, Askable]:
    """By label; one that is unknown, constant or nearly nobody's is left out."""
    kinds = {name: kind for name in labels if (kind := folder.manifest.labels.get(name))}
    splits = [s for s in WIDER[split] if s in folder.manifest.counts]
    chosen = labelled_rows(folder, fitted, modalities, splits, kinds, MOST_SAMPLES)
    found = {}
    for name, kind in kinds.items():
        of_split = {s: chosen[name, s] for s in splits if len(chosen[name, s])}
        if asked := _enough(folder, name, kind, split, of_split):
            found[name] = asked
    return found


def labelled_rows(
    folder: ShardFolder,
    fitted: FittedRecipe,
    modalities: tuple[str, ...],
    splits: Iterable[str],
    labels: Iterable[str],
    most: int,
) -> dict[tuple[str, str], np.ndarray]:
    """(label, split) -> sorted global rows of at most `most` samples that have the label and can be
    packed."""
    lengths = fitted.lengths(folder)
    plans = {s: Plan(lengths, fitted.check(modalities), s, 0, 1) for s in splits}
    fair = {(name, s): Fair(most) for name in labels for s in plans}
    columns = list(dict.fromkeys(f"label.{name}" for name, _ in fair))
    for start, stop, shard, group in zip(*all_groups(lengths), strict=True) if columns else ():
        told = folder.read_row_group(int(shard), int(group), columns)
        known = {c: _is_known(told.column(c)) for c in columns}
        for s, plan in plans.items():
            rows, _ = plan.eligible(start, stop)
            ids = lengths.slice(start, stop - start).select(["object_id", "sample_id"])
            keys = fair_keys(ids.take(rows - start), seed=0)
            for c in columns:
                has = known[c][rows - start]
                fair[c.removeprefix("label."), s].add(rows[has], *(k[has] for k in keys))
    return {key: np.sort(taken.rows()) for key, taken in fair.items()}


def _is_known(label: pa.ChunkedArray) -> np.ndarray:
    """(n,) bool: neither null nor, of a number, without a finite value."""
    known = label.is_valid()
    if pa.types.is_floating(label.type):
        known = pc.and_(known, pc.fill_null(pc.is_finite(label), False))
    return known.to_numpy()


def _enough(
    folder: ShardFolder, label: str, kind: str, split: str, rows: Mapping[str, np.ndarray]
) -> Askable | None:
    """Of the split alone if those are enough, else of all its wider ones; None if too few."""
    is_enough: Callable[[Askable, int], bool]
    is_enough, fewest = (_varies, ridge.FEWEST_OBJECTS) if kind == "float" else (_has_classes, 0)
    if split in rows:
        alone = _read(folder, label, {split: rows[split]})
        if is_enough(alone, FEWEST_OBJECTS_OF_A_SPLIT):
            return alone
    together = _read(folder, label, rows)
    return together if is_enough(together, fewest) else None


def _has_classes(asked: Askable, num_objects: int) -> bool:
    return is_probeable(asked.object_ids, asked.labels, num_objects)


def _varies(asked: Askable, num_objects: int) -> bool:
    """Whether enough objects have the number and it has two values."""
    num = len(np.unique(asked.object_ids))
    return num >= num_objects and len(np.unique(asked.labels)) > 1


def _read(folder: ShardFolder, label: str, rows: Mapping[str, np.ndarray]) -> Askable:
    columns = ["sample_id", "object_id", f"label.{label}"]
    whole = np.concatenate([np.zeros(0, np.int64), *rows.values()])
    table = read_rows(folder, whole, columns)
    ids, objects = (np.array(table[c].to_pylist(), dtype=str) for c in columns[:2])
    is_number = pa.types.is_floating(table.schema.field(columns[2]).type)
    labels = np.array(table[columns[2]].to_pylist(), dtype=float if is_number else str)
    order = np.argsort(ids)
    return Askable(dict(rows), ids[order], objects[order], labels[order])
