"""All that is asked of codes: their class, by straight lines and by a network, numbers, clusters.

In: how a model encodes a batch, and the data. Out: rows of the tables `metrics` and `confusion`,
without modality. Samples are encoded once for all questions that are asked of the same splits.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from daep_ray.config import EvaluationConfig
from daep_ray.evaluate.clusters import clusters
from daep_ray.evaluate.codes import (
    Encode,
    Encoded,
    encoded_samples,
    measured_splits,
    probed_splits,
)
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
    where, known = (folder, fitted, modalities), dict[tuple[str, ...], Encoded]()

    def encoded(splits: tuple[str, ...]) -> Encoded:
        if splits not in known:
            known[splits] = encoded_samples(encode, *where, splits, token_budget)
        return known[splits]

    asked = Asked()
    splits = probed_splits(*where, settings.split, label)
    if splits:
        _ask_classes(asked, encoded(splits).labelled(label), splits, settings)
    for name, kind in sorted(folder.manifest.labels.items()):
        splits = measured_splits(*where, settings.split, name) if kind == "float" else ()
        if splits:
            coded, numbers = encoded(splits).measured(name)
            found = ridge_probe(coded, numbers, settings.num_probe_splits)
            asked.metrics += _rows(f"{LINEAR}_{name}", splits, found)
    return asked


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
