"""Codes of a split's samples and their classes: what the probe reads.

The probe never needs a label in training, so any split may be probed. Codes of the evaluated split
alone are used where it holds enough objects (50, in at least two classes of five); a small survey
(SNID: 34 test supernovae) is probed on its other splits too, and the table's `split` says so. The
probe's own splits are grouped by object either way, and references are probed on the same samples.
"""

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from daep_ray.evaluate.probe import FEWEST_OBJECTS_OF_A_SPLIT, Coded, is_probeable
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
    labels = folder.labels()
    lengths = fitted.lengths(folder)
    usable = pc.is_valid(labels[f"label.{label}"])
    for m in modalities[:1] if len(modalities) == 1 else ():
        usable = pc.and_(usable, pc.greater(lengths[f"{m}.length"], 0))
    labels = labels.filter(usable)
    alone = labels.filter(pc.equal(labels["split"], split))
    if _is_probeable(alone, label, FEWEST_OBJECTS_OF_A_SPLIT):
        return (split,)
    here = set(pc.unique(labels["split"]).to_pylist())
    wider = tuple(s for s in WIDER[split] if s in here)
    together = labels.filter(pc.is_in(labels["split"], pa.array(wider, pa.string())))
    return wider if _is_probeable(together, label, 0) else ()


def _is_probeable(labels: pa.Table, label: str, num_objects: int) -> bool:
    objects = np.array(labels["object_id"].to_pylist(), dtype=str)
    classes = np.array(labels[f"label.{label}"].to_pylist(), dtype=str)
    return is_probeable(objects, classes, num_objects)


def coded_samples(
    encode: Encode,
    folder: ShardFolder,
    fitted: FittedRecipe,
    modalities: tuple[str, ...],
    splits: tuple[str, ...],
    label: str,
    token_budget: int,
) -> Coded:
    """Codes of the splits' labelled samples, sorted by sample id."""
    ids: list[str] = []
    objects: list[str] = []
    classes: list[str | None] = []
    codes: list[np.ndarray] = []
    for split in splits:
        for batch, table in evaluation_batches(
            folder, fitted, modalities, split, token_budget, max_samples=MOST_SAMPLES
        ):
            ids += table["sample_id"].to_pylist()
            objects += table["object_id"].to_pylist()
            classes += table[f"label.{label}"].to_pylist()
            codes.append(encode(batch))
    order = [i for i in np.argsort(np.array(ids, dtype=str)) if classes[i] is not None]
    return Coded(
        np.array(ids, dtype=str)[order],
        np.array(objects, dtype=str)[order],
        np.array([classes[i] for i in order], dtype=str),
        np.concatenate(codes)[order],
    )
