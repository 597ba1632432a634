"""All that is asked of codes: their class, by straight lines and by a network, numbers, clusters.

In: how a model encodes a batch, and the data. Out: rows of the tables `metrics` and `confusion`,
without modality. A sample is encoded once, whatever it is asked for.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from daep_ray.config import EvaluationConfig
from daep_ray.evaluate.askable import Askable, askable
from daep_ray.evaluate.clusters import clusters
from daep_ray.evaluate.codes import Encode, encoded_samples
from daep_ray.evaluate.confusion import confusion
from daep_ray.evaluate.probe import Coded, Score, network, probe, scores, told
from daep_ray.evaluate.published_probe import published_probe
from daep_ray.evaluate.ridge import ridge_probe
from daep_ray.shards.read import ShardFolder
from daep_ray.stream.fitted import FittedRecipe

LINEAR = "probe"
NETWORK = "network_probe"
CLUSTERS = "clusters"


@dataclass
class Asked:
    """The answers, as rows of tables."""

    metrics: list[dict[str, Any]] = field(default_factory=list)
    confusion: list[dict[str, Any]] = field(default_factory=list)


def probes(
    encode: Encode,
    folder: ShardFolder,
    fitted: FittedRecipe,
    modalities: tuple[str, ...],
    settings: EvaluationConfig,
    label: str,
    token_budget: int,
) -> Asked:
    """The class `label`, then every label that is a number; none that the survey cannot tell."""
    where = (folder, fitted, modalities)
    numbers = sorted(name for name, kind in folder.manifest.labels.items() if kind == "float")
    words = [label] if folder.manifest.labels.get(label) == "string" else []
    asks = askable(*where, settings.split, [*words, *numbers])
    asked = Asked()
    if not asks:
        return asked
    encoded = encoded_samples(encode, *where, _rows_of_any(asks.values()), token_budget)
    for name, ask in asks.items():
        if name in words:
            _ask_classes(asked, encoded.of_classes(ask), ask.splits, settings)
        else:
            found = ridge_probe(*encoded.of_numbers(ask), settings.num_probe_splits)
            asked.metrics += _rows(f"{LINEAR}_{name}", ask.splits, found)
    return asked


def _rows_of_any(asks: Iterable[Askable]) -> dict[str, np.ndarray]:
    """By split: the global rows that are asked for any label, each once."""
    found: dict[str, np.ndarray] = {}
    for ask in asks:
        for split, rows in ask.rows.items():
            found[split] = np.union1d(found.get(split, rows), rows)
    return found


def _ask_classes(
    asked: Asked, coded: Coded, splits: tuple[str, ...], settings: EvaluationConfig
) -> None:
    num_splits = settings.num_probe_splits
    if settings.probe == "published":  # it keeps no predictions
        asked.metrics += _rows(LINEAR, splits, published_probe(coded))
    else:
        said = told(coded, num_splits)
        asked.metrics += _rows(LINEAR, splits, scores(coded, said))
        of = {"split": "+".join(splits), "estimate": LINEAR}
        asked.confusion += [{**of, **row} for row in confusion(said)]
    if settings.probe == "network":
        asked.metrics += _rows(NETWORK, splits, probe(coded, num_splits, network))
    asked.metrics += _rows(CLUSTERS, splits, clusters(coded))


def _rows(estimate: str, splits: tuple[str, ...], found: list[Score]) -> Iterator[dict[str, Any]]:
    for score in found:
        yield {
            "split": "+".join(splits),
            "estimate": estimate,
            "metric": score.metric,
            "value": score.value,
            "sd": score.sd,
            "count": score.count,
        }
