"""Codes of a split's samples and their classes: what the probe reads.

The probe never needs a label in training, so any split may be probed. Codes of the evaluated split
alone are used where it holds enough objects (50, in at least two classes of five); a small survey
(SNID: 34 test supernovae) is probed on its other splits too, and the table's `split` says so. The
probe's own splits are grouped by object either way, and references are probed on the same samples.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from daep_ray.errors import ConfigError
from daep_ray.evaluate.probe import FEWEST_OBJECTS_OF_A_SPLIT, Coded, is_probeable
from daep_ray.evaluate.ridge import FEWEST_OBJECTS
from daep_ray.shards.read import ShardFolder
from daep_ray.stream.batch import PackedBatch
from daep_ray.stream.bins import evaluation_batches
from daep_ray.stream.fitted import FittedRecipe

Encode = Callable[[PackedBatch], np.ndarray]  # (B, F)

MOST_SAMPLES = 5000  # per split, by stable hash: bounds memory and time
# the splits that may be probed together with an evaluated one: looking at validation never
# touches the test split
WIDER = {
    "train": ("train",),
    "validation": ("train", "validation"),
    "test": ("train", "validation", "test"),
}


def probed_splits(
    folder: ShardFolder,
    fitted: FittedRecipe,
    modalities: tuple[str, ...],
    split: str,
    label: str,
) -> tuple[str, ...]:
    """The splits whose codes are probed; none if the survey has no such classes.

    Decided from the survey alone, so the same for every model.
    """
    if folder.manifest.labels.get(label) != "string":
        return ()
    labels = _usable(folder, fitted, modalities, label)
    alone = labels.filter(pc.equal(labels["split"], split))
    if _is_probeable(alone, label, FEWEST_OBJECTS_OF_A_SPLIT):
        return (split,)
    here = set(pc.unique(labels["split"]).to_pylist())
    wider = tuple(s for s in WIDER[split] if s in here)
    together = labels.filter(pc.is_in(labels["split"], pa.array(wider, pa.string())))
    return wider if _is_probeable(together, label, 0) else ()


def _usable(
    folder: ShardFolder, fitted: FittedRecipe, modalities: tuple[str, ...], label: str
) -> pa.Table:
    """Ids and labels of the samples that have the label, and a modality to tell it from."""
    labels = folder.labels()
    lengths = fitted.lengths(folder)
    usable = pc.is_valid(labels[f"label.{label}"])
    for m in modalities[:1] if len(modalities) == 1 else ():
        usable = pc.and_(usable, pc.greater(lengths[f"{m}.length"], 0))
    return labels.filter(usable)


def measured_splits(
    folder: ShardFolder,
    fitted: FittedRecipe,
    modalities: tuple[str, ...],
    split: str,
    label: str,
) -> tuple[str, ...]:
    """The same for a label that is a number; none if it is none, is constant or nearly nobody's."""
    if folder.manifest.labels.get(label) != "float":
        return ()
    labels = _usable(folder, fitted, modalities, label)
    labels = labels.filter(pc.is_finite(labels[f"label.{label}"]))
    alone = labels.filter(pc.equal(labels["split"], split))
    if _varies(alone, label, FEWEST_OBJECTS_OF_A_SPLIT):
        return (split,)
    here = set(pc.unique(labels["split"]).to_pylist())
    wider = tuple(s for s in WIDER[split] if s in here)
    together = labels.filter(pc.is_in(labels["split"], pa.array(wider, pa.string())))
    return wider if _varies(together, label, FEWEST_OBJECTS) else ()


def _varies(labels: pa.Table, label: str, num_objects: int) -> bool:
    """Whether enough objects have it and it has two values."""
    num = pc.count_distinct(labels["object_id"]).as_py()
    return num >= num_objects and pc.count_distinct(labels[f"label.{label}"]).as_py() > 1


def _is_probeable(labels: pa.Table, label: str, num_objects: int) -> bool:
    objects = np.array(labels["object_id"].to_pylist(), dtype=str)
    classes = np.array(labels[f"label.{label}"].to_pylist(), dtype=str)
    return is_probeable(objects, classes, num_objects)


@dataclass(frozen=True)
class Encoded:
    """All samples of some splits with their codes, whatever labels they have."""

    sample_ids: np.ndarray  # (S,) str
    object_ids: np.ndarray  # (S,) str
    codes: np.ndarray  # (S, F)
    labels: pa.Table  # `label.*`, S rows

    def labelled(self, label: str) -> Coded:
        """The samples with a class, sorted by sample id."""
        classes = self.labels[f"label.{label}"].to_pylist()
        order = [i for i in np.argsort(self.sample_ids) if classes[i] is not None]
        return Coded(
            self.sample_ids[order],
            self.object_ids[order],
            np.array([classes[i] for i in order], dtype=str),
            self.codes[order],
        )

    def measured(self, label: str) -> tuple[Coded, np.ndarray]:
        """The samples with a finite number (S,), sorted by sample id; all of one class."""
        column = self.labels[f"label.{label}"].cast(pa.float64())
        numbers = pc.fill_null(column, np.nan).to_numpy()
        order = [i for i in np.argsort(self.sample_ids) if np.isfinite(numbers[i])]
        classes = np.full(len(order), "", dtype=str)
        coded = Coded(self.sample_ids[order], self.object_ids[order], classes, self.codes[order])
        return coded, numbers[order]


def encoded_samples(
    encode: Encode,
    folder: ShardFolder,
    fitted: FittedRecipe,
    modalities: tuple[str, ...],
    splits: tuple[str, ...],
    token_budget: int,
) -> Encoded:
    """Codes of the splits' samples.

    Raises:
        ConfigError: a sample's code is not finite.
    """
    ids: list[str] = []
    objects: list[str] = []
    codes: list[np.ndarray] = []
    labels: list[pa.Table] = []
    names = [f"label.{name}" for name in folder.manifest.labels]
    for split in splits:
        for batch, table in evaluation_batches(
            folder, fitted, modalities, split, token_budget, max_samples=MOST_SAMPLES
        ):
            ids += table["sample_id"].to_pylist()
            objects += table["object_id"].to_pylist()
            labels.append(table.select(names))
            codes.append(encode(batch))
            if not (is_good := np.isfinite(codes[-1]).all(1)).all():
                lost = table["sample_id"][int(np.argmin(is_good))].as_py()
                raise ConfigError(
                    f"the code of sample {lost!r} is not finite: train with a smaller rate, or "
                    "leave out samples that lie far outside the others"
                )
    return Encoded(
        np.array(ids, dtype=str),
        np.array(objects, dtype=str),
        np.concatenate(codes),
        pa.concat_tables(labels, promote_options="default"),
    )
