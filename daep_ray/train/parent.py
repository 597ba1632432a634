"""What a model built on another takes over: the parent's weights, its codes' statistics, classes.

In: a prepared training. Out: what the loop calls before the first step, and at every step.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from daep_ray.objectives.base import Objective
from daep_ray.objectives.prior import Prior, PriorConfig
from daep_ray.stream.noise import Noise
from daep_ray.train.prepare import Prepared, training_samples


def beginning(prepared: Prepared, device: str) -> Callable[[Objective], None] | None:
    """Gives a new model its parent's weights and the statistics of the parent's codes; None for a
    model without a parent."""
    parent, config = prepared.parent, prepared.config.objective
    if parent is None or not isinstance(config, PriorConfig):
        return None
    weights, most = parent.objective.state_dict(), config.num_statistics

    @torch.no_grad()
    def begin(objective: Objective) -> None:
        assert isinstance(objective, Prior)
        objective.parent.load_state_dict(weights)
        codes = []
        for batch in training_samples(prepared, device)(most):
            noise = Noise(prepared.config.seed, 0, batch.sample_ids, device)
            codes.append(objective.codes(batch, noise))
        objective.prepare(torch.cat(codes))

    return begin


def class_codes(prepared: Prepared) -> Callable[[tuple[str, ...]], Tensor] | None:
    """(B,) int64 classes of training samples by their ids, 0 where unknown; None without labels."""
    config = prepared.config.objective
    if not isinstance(config, PriorConfig) or config.label is None:
        return None
    code_of = {name: 1 + i for i, name in enumerate(config.classes)}
    labels = prepared.shards.labels()
    ids, names = labels["sample_id"].to_pylist(), labels[f"label.{config.label}"].to_pylist()
    known = {i: code_of[n] for i, n in zip(ids, names, strict=True) if n in code_of}
    return lambda sample_ids: torch.tensor([known.get(i, 0) for i in sample_ids])
