"""A map of the codes: a plane in which neighbours are neighbours (t-SNE), for the eye alone.

In: how a model encodes a batch, and the data. Out: rows of the table `codes`: one point per object
(its first sample by id) of the training split and of the evaluated one, placed together, so that
the two can be compared. Distances between groups, their sizes and the axes mean nothing.

L. van der Maaten and G. Hinton (2008), Visualizing data using t-SNE; scikit-learn's Barnes-Hut
version from the first two principal components, with a fixed seed and one thread: its sums would
depend on the number of threads.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits

from daep_ray.evaluate.codes import Encode
from daep_ray.shards.read import ShardFolder
from daep_ray.stream.bins import evaluation_batches
from daep_ray.stream.fitted import FittedRecipe

MOST_OBJECTS = 500  # of each split, by stable hash
FEWEST_OBJECTS = 10  # together
PERPLEXITY = 30.0  # scikit-learn's; less where there are few objects
NUM_ITERATIONS = 500
_DIGITS = 3  # of standardised codes: the last digits of an addition must not move the map


def map_rows(
    encode: Encode,
    folder: ShardFolder,
    fitted: FittedRecipe,
    modalities: tuple[str, ...],
    split: str,
    label: str | None,
    most: int,
    token_budget: int,
) -> Iterator[dict[str, Any]]:
    """Rows of `codes`, sorted by split and object; none where codes are all the same.

    `most` bounds the objects of each split further.
    """
    points: dict[tuple[str, str], tuple[str, str | None, np.ndarray]] = {}
    for name in [s for s in dict.fromkeys(("train", split)) if s in folder.manifest.counts]:
        for batch, rows in evaluation_batches(
            folder, fitted, modalities, name, token_budget, max_samples=min(most, MOST_OBJECTS)
        ):
            ids = (rows[c].to_pylist() for c in ("object_id", "sample_id"))
            for object_id, *point in zip(*ids, _classes(rows, label), encode(batch), strict=True):
                known = points.get((name, object_id))
                if np.isfinite(point[2]).all() and (known is None or point[0] < known[0]):
                    points[name, object_id] = (point[0], point[1], point[2])
    order = sorted(points)
    places = plane(np.array([points[key][2] for key in order]))
    for (name, object_id), (x, y) in zip(order, places.tolist(), strict=bool(len(places))):
        row = {"split": name, "object_id": object_id, "class": points[name, object_id][1]}
        yield {"modality": "+".join(modalities), **row, "x": x, "y": y}


def plane(codes: np.ndarray) -> np.ndarray:
    """(S, 2) places of (S, F) codes, within -1..1; no rows where there is nothing to place."""
    varies = codes.std(axis=0) > 0 if len(codes) else np.zeros(0, bool)
    if len(codes) < FEWEST_OBJECTS or not varies.any():
        return np.zeros((0, 2))
    kept = codes[:, varies]
    scaled = np.round((kept - kept.mean(axis=0)) / kept.std(axis=0), _DIGITS)
    if scaled.shape[1] == 1:  # two components are needed to start from
        scaled = np.hstack([scaled, np.zeros_like(scaled)])
    perplexity = min(PERPLEXITY, (len(codes) - 1) / 3)
    with threadpool_limits(1):
        places = TSNE(
            perplexity=perplexity, init="pca", random_state=0, max_iter=NUM_ITERATIONS
        ).fit_transform(scaled)
    places = np.asarray(places, dtype=np.float64)
    middle = (places.max(axis=0) + places.min(axis=0)) / 2
    size = np.abs(places - middle).max() or 1.0
    return np.asarray(np.round((places - middle) / size, 4))


def _classes(rows: Any, label: str | None) -> list[str | None]:
    column = f"label.{label}"
    if column not in rows.column_names:
        return [None] * rows.num_rows
    return [None if w is None else str(w) for w in rows[column].to_pylist()]
