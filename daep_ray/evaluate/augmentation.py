"""What generated objects of a rare class are worth to a classifier.

In: real training objects, of which one class is made rare, and objects of that class drawn by
priors that have seen no others of it. Out: how well a classifier tells held-out objects apart, once
for each way to train it (an arm), all with the same budget and the same start:

few               the rare class as rare as it is
repeated          its few objects repeated up to the number before: what weight alone is worth
generated, NAME   the few objects, and objects of the prior NAME up to that number
all               the objects that were taken away: what there was to be gained

Arms of one seed differ in nothing else, so differences are taken within a seed.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from sklearn.metrics import balanced_accuracy_score, precision_score, recall_score

from daep_ray.errors import ConfigError, DataError
from daep_ray.evaluate.classifier import ClassifierConfig, train_classifier
from daep_ray.evaluate.generation import Generator
from daep_ray.evaluate.labelled import Labelled, joined
from daep_ray.sample import Record, Sample
from daep_ray.shards.read import ShardFolder
from daep_ray.shards.schema import samples_from_table
from daep_ray.shards.split import hash_of
from daep_ray.stream.batch import Layout
from daep_ray.surveys.survey import Survey

FEW, REPEATED, GENERATED, ALL = "few", "repeated", "generated, {}", "all"
SCORES = ("balanced_accuracy", "rare_recall", "rare_precision")


def rarest(objects: Labelled) -> str:
    """The class with the fewest objects."""
    names, counts = np.unique(objects.classes, return_counts=True)
    return str(names[counts.argmin()])


def kept_objects(
    shards: ShardFolder, rare: str, num_kept: int, seed: int, label: str = "class"
) -> set[str]:
    """Object ids of the rare class that stay in the training split, by a stable hash.

    Raises:
        ConfigError: the training split has no more of them than are to be kept.
    """
    rows = shards.labels()
    columns = (rows[name].to_pylist() for name in ("object_id", "split", f"label.{label}"))
    ours = {o for o, s, c in zip(*columns, strict=True) if s == "train" and c == rare}
    if len(ours) <= num_kept:
        raise ConfigError(
            f"{num_kept} training objects of the class {rare!r} are to be kept, and there are "
            f"{len(ours)}: keep fewer, or choose another class"
        )
    return set(sorted(ours, key=lambda name: hash_of(f"{seed}/{name}"))[:num_kept])


def thinned(shards: ShardFolder, rare: str, kept: set[str], label: str = "class") -> Survey:
    """The survey without the training objects of the rare class that are not kept.

    Validation and test are what they were.
    """

    def records() -> Iterator[Record]:
        for place in shards.row_groups():
            table = shards.read_row_group(*place)
            for sample in samples_from_table(table, shards.manifest.modalities):
                if not _is_left_out(sample, rare, kept, label):
                    yield sample

    source = {**shards.manifest.source, "thinned": {"class": rare, "objects": len(kept)}}
    return Survey(str(source.get("format", "")), shards.manifest.modalities, records, source)


def _is_left_out(sample: Sample, rare: str, kept: set[str], label: str) -> bool:
    is_rare = sample.split == "train" and sample.labels.get(label) == rare
    return is_rare and sample.object_id not in kept


@dataclass(frozen=True)
class Scored:
    """One arm of one seed, on the held-out objects."""

    arm: str
    scores: dict[str, float]  # of SCORES
    encoder: str  # the classifier's fingerprint
    num_rare: int  # training objects of the rare class, repeated and generated ones counted


def arms(
    few: Labelled, left_out: Labelled, generators: Mapping[str, Generator]
) -> Iterator[tuple[str, Labelled]]:
    """The training objects of every arm.

    Generated objects stand at the places of the few real ones, taken in turn.
    """
    ours = few.take(few.classes == left_out.classes[0])
    again = ours.take(np.resize(np.arange(len(ours)), len(left_out)))
    again = again.named([f"{name}/{i}" for i, name in enumerate(again.sample_ids)])
    yield FEW, few
    yield REPEATED, joined([few, again])
    for name, generator in generators.items():
        drawn = generator.objects(again, again.classes.tolist())
        yield GENERATED.format(name), joined([few, drawn])
    yield ALL, joined([few, left_out])


def gains(
    few: Labelled,
    left_out: Labelled,
    held_out: Labelled,
    generators: Mapping[str, Generator],
    layout: Layout,
    config: ClassifierConfig,
) -> Iterator[Scored]:
    """Every arm trained and scored; `left_out` are the rare objects that were taken away.

    Raises:
        DataError: no object of the rare class is left, or none is held out.
    """
    rare = str(left_out.classes[0])
    assert (left_out.classes == rare).all()
    for objects, where in ((few, "training"), (held_out, "held-out")):
        if rare not in objects.classes:
            raise DataError(
                f"no {where} object with {few.modality} has the class {rare!r}: choose another, or "
                "keep more"
            )
    for arm, objects in arms(few, left_out, generators):
        classifier = train_classifier(objects, layout, config)
        said = classifier.predict(held_out)
        yield Scored(
            arm,
            scores(held_out.classes, said, rare),
            classifier.fingerprint,
            int((objects.classes == rare).sum()),
        )


def scores(truth: np.ndarray, said: np.ndarray, rare: str) -> dict[str, float]:
    """Balanced accuracy over all classes, recall and precision of the rare one."""
    ours: dict[str, object] = {"labels": [rare], "average": "macro", "zero_division": 0}
    return {
        "balanced_accuracy": float(balanced_accuracy_score(truth, said)),
        "rare_recall": float(recall_score(truth, said, **ours)),
        "rare_precision": float(precision_score(truth, said, **ours)),
    }
