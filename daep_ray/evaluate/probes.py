"""All that is asked of codes: their class, by straight lines and by a network, numbers, clusters.

In: how a model encodes a batch, and the data. Out: rows of the table `metrics`, without modality.
Samples are encoded once for all questions that are asked of the same splits.
"""

from collections.abc import Iterator
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
from daep_ray.evaluate.probe import Score, network, probe
from daep_ray.evaluate.published_probe import published_probe
from daep_ray.evaluate.ridge import ridge_probe
from daep_ray.shards.read import ShardFolder
from daep_ray.stream.fitted import FittedRecipe

LINEAR = "probe"
NETWORK = "network_probe"
CLUSTERS = "clusters"


def probes(
    encode: Encode,
    folder: ShardFolder,
    fitted: FittedRecipe,
    modalities: tuple[str, ...],
    settings: EvaluationConfig,
    label: str,
    token_budget: int,
) -> Iterator[dict[str, Any]]:
    """The class `label`, then every label that is a number; none that the survey cannot tell."""
    where, known = (folder, fitted, modalities), dict[tuple[str, ...], Encoded]()

    def encoded(splits: tuple[str, ...]) -> Encoded:
        if splits not in known:
            known[splits] = encoded_samples(encode, *where, splits, token_budget)
        return known[splits]

    splits = probed_splits(*where, settings.split, label)
    if splits:
        yield from _of_classes(encoded(splits), splits, settings, label)
    for name, kind in sorted(folder.manifest.labels.items()):
        splits = measured_splits(*where, settings.split, name) if kind == "float" else ()
        if splits:
            coded, numbers = encoded(splits).measured(name)
            scores = ridge_probe(coded, numbers, settings.num_probe_splits)
            yield from _rows(f"{LINEAR}_{name}", splits, scores)


def _of_classes(
    encoded: Encoded, splits: tuple[str, ...], settings: EvaluationConfig, label: str
) -> Iterator[dict[str, Any]]:
    coded, num_splits = encoded.labelled(label), settings.num_probe_splits
    is_published = settings.probe == "published"
    scores = published_probe(coded) if is_published else probe(coded, num_splits)
    yield from _rows(LINEAR, splits, scores)
    if settings.probe == "network":
        yield from _rows(NETWORK, splits, probe(coded, num_splits, network))
    yield from _rows(CLUSTERS, splits, clusters(coded))


def _rows(estimate: str, splits: tuple[str, ...], scores: list[Score]) -> Iterator[dict[str, Any]]:
    for score in scores:
        yield {
            "split": "+".join(splits),
            "estimate": estimate,
            "metric": score.metric,
            "value": score.value,
            "sd": score.sd,
            "count": score.count,
        }
