"""Do codes fall into groups by themselves, and are the groups the classes?

In: codes and classes, one sample per object (its first), at most `MOST_OBJECTS` by a stable hash
(ids may be in the order of classes), codes standardised. Out: the adjusted Rand index between the
classes and as many k-means clusters (1: the same groups, 0: chance), the silhouette of those
clusters and the silhouette of the classes (1: far apart, 0: overlapping, negative: nearer to
another group).
"""

import numpy as np
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score, silhouette_score
from sklearn.preprocessing import StandardScaler

from daep_ray.evaluate.probe import Coded, Score, frequent, is_probeable
from daep_ray.shards.split import hash_of

MOST_OBJECTS = 2000  # distances between all pairs are needed
NUM_STARTS = 10


def clusters(coded: Coded) -> list[Score]:
    """The scores; empty if fewer than two classes have enough objects."""
    coded = frequent(coded)
    if not is_probeable(coded.object_ids, coded.classes):
        return []
    first = _fair(coded.object_ids)
    classes, codes = coded.classes[first], StandardScaler().fit_transform(coded.codes[first])
    num_classes = len(np.unique(classes))
    if num_classes < 2:
        return []
    found = KMeans(num_classes, n_init=NUM_STARTS, random_state=0).fit_predict(codes)
    scores = {
        "kmeans_adjusted_rand": adjusted_rand_score(classes, found),
        "kmeans_silhouette": _silhouette(codes, found),
        "class_silhouette": _silhouette(codes, classes),
    }
    return [Score(metric, float(value), 0.0, 1) for metric, value in scores.items()]


def _fair(object_ids: np.ndarray) -> np.ndarray:
    """The first sample of each object, sorted by object; of many objects, some of them."""
    objects, first = np.unique(object_ids, return_index=True)
    if len(objects) <= MOST_OBJECTS:
        return first
    keys = np.array([hash_of(f"clusters/{name}") for name in objects.tolist()], np.uint64)
    return first[np.sort(np.argsort(keys, kind="stable")[:MOST_OBJECTS])]


def _silhouette(codes: np.ndarray, groups: np.ndarray) -> float:
    """0 where there is one group only: codes that are all the same."""
    num_groups = len(np.unique(groups))
    return float(silhouette_score(codes, groups)) if 1 < num_groups < len(codes) else 0.0
