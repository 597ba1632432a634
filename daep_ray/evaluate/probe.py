"""The probe: how well a straight line through the code, or a small network, tells classes apart.

In: codes (S, F), a class and an object per sample. Out: accuracy, balanced accuracy, macro F1 and,
beside them, the accuracy and macro F1 of always saying the most frequent class (on the same
splits), as mean and standard deviation over the splits.

Every split is a new draw: 70 % of each class's objects fit, 30 % are scored, and all samples of an
object fall on one side. Codes are standardised on the fit part. The classifier is run until it has
converged. The network has one hidden layer of `HIDDEN` units (hyperbolic tangent: with rectified
ones the optimiser never comes to rest), the same penalty on its weights as the linear probe, and is
fitted and scored on the same splits. Every object weighs the same, however
many samples it has. Classes with fewer than `FEWEST_OBJECTS` objects are left out:
`probe_num_classes` says how many remain.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score
from sklearn.model_selection import StratifiedShuffleSplit
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler

FEWEST_OBJECTS = 5  # in a class
FEWEST_OBJECTS_OF_A_SPLIT = 50  # below, one split alone is too small to probe
SCORED_FRACTION = 0.3  # of the objects of every class
MOST_ITERATIONS = 10_000  # some hundred are needed; scikit-learn warns where they are not enough
HIDDEN = 64  # units of the network


@dataclass(frozen=True)
class Coded:
    """Samples with their codes, sorted by sample id."""

    sample_ids: np.ndarray  # (S,) str
    object_ids: np.ndarray  # (S,) str
    classes: np.ndarray  # (S,) str
    codes: np.ndarray  # (S, F) float


Classifier = Any  # of scikit-learn: it fits and predicts


def linear() -> Classifier:
    """Multinomial logistic regression, scikit-learn's penalty (half of the weights' squares)."""
    return LogisticRegression(max_iter=MOST_ITERATIONS)


def network() -> Classifier:
    """One hidden layer of smooth units, fitted in full batches from one fixed start."""
    return MLPClassifier(
        (HIDDEN,),
        activation="tanh",
        solver="lbfgs",
        alpha=1.0,
        max_iter=MOST_ITERATIONS,
        max_fun=2 * MOST_ITERATIONS,
        random_state=0,
    )


@dataclass(frozen=True)
class Score:
    """A metric over the splits."""

    metric: str
    value: float
    sd: float
    count: int  # how many numbers `sd` is taken over


def is_probeable(object_ids: np.ndarray, classes: np.ndarray, num_objects: int = 0) -> bool:
    """Whether there are two classes to tell apart, and `num_objects` objects in them."""
    sizes = _class_sizes(object_ids, classes)
    kept = [n for n in sizes.values() if n >= FEWEST_OBJECTS]
    return len(kept) >= 2 and sum(kept) >= num_objects


@dataclass(frozen=True)
class Told:
    """What a classifier said of the samples of one split."""

    truth: np.ndarray  # (T,) str
    said: np.ndarray  # (T,) str
    majority: str  # the class of most objects that it was fitted on
    weight: np.ndarray  # (T,) 1 for every object


def probe(
    coded: Coded, num_splits: int, classifier: Callable[[], Classifier] = linear
) -> list[Score]:
    """The probe's scores; empty if fewer than two classes have `FEWEST_OBJECTS` objects."""
    return scores(coded, told(coded, num_splits, classifier))


def told(
    coded: Coded, num_splits: int, classifier: Callable[[], Classifier] = linear
) -> list[Told]:
    """What it says on every split; empty as above."""
    coded = frequent(coded)
    if not is_probeable(coded.object_ids, coded.classes):
        return []
    weights = object_weights(coded.object_ids)
    return [
        _tell(coded, weights, fit, scored, classifier())
        for fit, scored in splits(coded, num_splits)
    ]


def scores(coded: Coded, said: list[Told]) -> list[Score]:
    """The scores of what a probe said of `coded`."""
    if not said:
        return []
    coded = frequent(coded)
    sizes = _class_sizes(coded.object_ids, coded.classes)
    return [
        *over_splits([_score(one) for one in said]),
        Score("probe_num_classes", float(len(sizes)), 0.0, 1),
        Score("probe_num_objects", float(sum(sizes.values())), 0.0, 1),
    ]


def over_splits(rows: list[dict[str, float]]) -> list[Score]:
    """Mean and standard deviation of each metric over the splits."""
    return [
        Score(metric, float(np.mean(values)), float(np.std(values, ddof=1)), len(values))
        if len(values) > 1
        else Score(metric, float(values[0]), 0.0, 1)
        for metric in rows[0]
        for values in [[row[metric] for row in rows]]
    ]


def splits(coded: Coded, num_splits: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(fit, scored) sample numbers of every split: stratified by class, disjoint by object.

    An object's class is its first sample's.
    """
    objects, first, of_sample = np.unique(coded.object_ids, return_index=True, return_inverse=True)
    shuffle = StratifiedShuffleSplit(num_splits, test_size=SCORED_FRACTION, random_state=0)
    for _, scored in shuffle.split(objects, coded.classes[first]):
        is_scored = np.zeros(len(objects), dtype=bool)
        is_scored[scored] = True
        yield np.flatnonzero(~is_scored[of_sample]), np.flatnonzero(is_scored[of_sample])


def _tell(
    coded: Coded, weights: np.ndarray, fit: np.ndarray, scored: np.ndarray, model: Classifier
) -> Told:
    """One split: fit on one part, tell the classes of the other."""
    scaler = StandardScaler().fit(coded.codes[fit], sample_weight=weights[fit])
    model.fit(scaler.transform(coded.codes[fit]), coded.classes[fit], sample_weight=weights[fit])
    said = model.predict(scaler.transform(coded.codes[scored]))
    majority = str(_heaviest(coded.classes[fit], weights[fit]))
    return Told(coded.classes[scored], said, majority, weights[scored])


def _score(told: Told) -> dict[str, float]:
    truth, said, weight = told.truth, told.said, told.weight
    majority = np.full(len(truth), told.majority)
    f1, majority_f1 = (
        f1_score(truth, told_, average="macro", sample_weight=weight, zero_division=0)
        for told_ in (said, majority)
    )
    return {
        "probe_accuracy": float(accuracy_score(truth, said, sample_weight=weight)),
        "probe_balanced_accuracy": float(
            balanced_accuracy_score(truth, said, sample_weight=weight)
        ),
        "probe_macro_f1": float(f1),
        "probe_majority_accuracy": float(accuracy_score(truth, majority, sample_weight=weight)),
        "probe_majority_macro_f1": float(majority_f1),
    }


def _heaviest(classes: np.ndarray, weights: np.ndarray) -> str:
    names, of_sample = np.unique(classes, return_inverse=True)
    return names[np.bincount(of_sample, weights).argmax()]


def object_weights(object_ids: np.ndarray) -> np.ndarray:
    """(S,) weights that add up to 1 for every object."""
    _, of_sample, counts = np.unique(object_ids, return_inverse=True, return_counts=True)
    return 1.0 / counts[of_sample]


def _class_sizes(object_ids: np.ndarray, classes: np.ndarray) -> dict[str, int]:
    """Objects per class; an object counts for its first sample's class."""
    if not len(object_ids):
        return {}
    _, first = np.unique(object_ids, return_index=True)
    names, counts = np.unique(classes[first], return_counts=True)
    return dict(zip(names.tolist(), counts.tolist(), strict=True))


def frequent(coded: Coded) -> Coded:
    """Only the objects whose class has `FEWEST_OBJECTS` objects."""
    objects, first, of_sample = np.unique(coded.object_ids, return_index=True, return_inverse=True)
    sizes = _class_sizes(coded.object_ids, coded.classes)
    is_kept = np.array([sizes[c] >= FEWEST_OBJECTS for c in coded.classes[first]], dtype=bool)
    keep = is_kept[of_sample] if len(objects) else np.zeros(0, dtype=bool)
    return Coded(
        coded.sample_ids[keep], coded.object_ids[keep], coded.classes[keep], coded.codes[keep]
    )
