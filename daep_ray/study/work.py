"""How much work a training and an evaluation are: samples, tokens, floating point operations.

In: the shards and a resolved configuration. Out: numbers that are the same on every machine. They
are counted for typical samples of the split, `NUM_TYPICAL` evenly among them by length, and scaled:
a budget that ends within an epoch has the mean's tokens, not its own samples'.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from daep_ray.config import RunConfig
from daep_ray.evaluate.askable import MOST_SAMPLES
from daep_ray.evaluate.conformal import CALIBRATED_ON
from daep_ray.objectives import cost
from daep_ray.settings import canonical_hash
from daep_ray.shards.read import ShardFolder
from daep_ray.stream.batch import Layout
from daep_ray.stream.bins import make_plan
from daep_ray.stream.fitted import FittedRecipe
from daep_ray.stream.pack import layouts
from daep_ray.stream.plan import Plan
from daep_ray.stream.statistics import fit_recipe

NUM_TYPICAL = 256
_BLOCK = 2**20  # rows looked at together, whatever the survey's size
_OF_CODES = ("probe", "network_probe", "clusters")  # estimates that samples are encoded for


@dataclass(frozen=True)
class Amount:
    """Of one training or evaluation."""

    num_objects: int  # samples: seen in training, or measured
    num_tokens: int  # their measurements, in every modality
    flop: float


@dataclass(frozen=True)
class Typical:
    """Samples that stand for a split."""

    num_samples: int  # of the split
    lengths: Mapping[str, tuple[int, ...]]  # by modality, side by side, 0: absent; shortest first

    @property
    def tokens(self) -> float:
        """Of one sample."""
        return sum(map(sum, self.lengths.values())) / cost.num_samples(self.lengths)

    def batches(self, token_budget: int) -> list[dict[str, list[int]]]:
        """Neighbours in length, cut as steps are: by tokens, each of one sample at least."""
        totals = np.sum([list(ns) for ns in self.lengths.values()], axis=0)
        ends = np.cumsum(totals)
        batch = ((ends - totals) // max(1, token_budget)).tolist()
        cuts = [i for i in range(len(batch)) if i == 0 or batch[i] != batch[i - 1]]
        pairs = zip(cuts, [*cuts[1:], len(batch)], strict=True)
        return [{m: list(ns[a:b]) for m, ns in self.lengths.items()} for a, b in pairs]


@dataclass
class Work:
    """Counts for one survey; what many cells share is looked up once."""

    shards: ShardFolder
    _typical: dict[str, Typical] = field(default_factory=dict)
    _fitted: dict[str, FittedRecipe] = field(default_factory=dict)

    def training(self, config: RunConfig, num_objects: int) -> Amount:
        """Training until so many samples were seen."""
        typical = self.typical(config, "train")
        shape = (config.objective, config.model, self._layouts(config))
        steps = typical.batches(config.optimisation.token_budget)
        flop = sum(cost.training_flops(*shape, step).total for step in steps)
        return _scaled(typical, num_objects, flop)

    def evaluation(self, config: RunConfig, metrics: pa.Table | None = None) -> Amount:
        """Measuring the split and what is set aside for conformal intervals, and encoding the
        samples that `metrics` say codes were asked of."""
        settings = config.evaluation
        typical = self.typical(config, settings.split)
        shape = (config.objective, config.model, self._layouts(config))
        drawn = (settings.sampler, settings.num_draws, settings.visible_share)
        flop = cost.measuring_flops(*shape, typical.lengths, *drawn).total
        found = _scaled(typical, min(settings.max_objects, typical.num_samples), flop)
        flop = found.flop
        if num_aside := self._num_set_aside(config):
            aside = self.typical(config, CALIBRATED_ON)
            each = cost.measuring_flops(*shape, aside.lengths, *drawn).total
            flop += _scaled(aside, num_aside, each).flop
        encoding = sum(self._encoding(config, splits) for splits in _encoded(metrics))
        return Amount(found.num_objects, found.num_tokens, flop + encoding)

    def measured(self, config: RunConfig) -> Amount:
        """What a reference is measured on; its own arithmetic is not counted."""
        typical = self.typical(config, config.evaluation.split)
        return _scaled(typical, min(config.evaluation.max_objects, typical.num_samples), 0.0)

    def typical(self, config: RunConfig, split: str) -> Typical:
        """Of the samples that the recipe leaves and the plan takes."""
        key = canonical_hash([self._key(config), split])
        if key not in self._typical:
            fitted = self.fitted(config)
            plan, _ = make_plan(self.shards, fitted, config.modalities, split, 0, 1)
            assert plan.groups, "an empty split is told here, in a sentence"
            self._typical[key] = _typical_of(plan)
        return self._typical[key]

    def fitted(self, config: RunConfig) -> FittedRecipe:
        """The configuration's recipe with its statistics."""
        assert config.recipe is not None
        key = self._key(config)
        if key not in self._fitted:
            self._fitted[key] = fit_recipe(self.shards, config.recipe)
        return self._fitted[key]

    def _num_set_aside(self, config: RunConfig) -> int:
        """Samples that conformal intervals are calibrated on."""
        settings = config.evaluation
        counts = self.shards.manifest.counts.get(CALIBRATED_ON)
        if settings.split != "test" or counts is None:
            return 0
        return min(settings.max_objects, settings.num_conformal_objects, counts.num_samples)

    def _encoding(self, config: RunConfig, splits: Sequence[str]) -> float:
        total = 0.0
        for split in splits:
            typical = self.typical(config, split)
            shape = (config.objective, config.model, self._layouts(config), typical.lengths)
            num = min(MOST_SAMPLES, typical.num_samples)
            total += _scaled(typical, num, cost.encoding_flops(*shape).total).flop
        return total

    def _layouts(self, config: RunConfig) -> dict[str, Layout]:
        return layouts(self.fitted(config), config.modalities)

    def _key(self, config: RunConfig) -> str:
        assert config.recipe is not None
        return canonical_hash([config.recipe.model_dump(mode="json"), list(config.modalities)])


def _scaled(typical: Typical, num_objects: int, flop: float) -> Amount:
    """From the typical samples to `num_objects` of them."""
    times = num_objects / cost.num_samples(typical.lengths)
    return Amount(num_objects, round(typical.tokens * num_objects), times * flop)


def _encoded(metrics: pa.Table | None) -> list[list[str]]:
    """The joined splits that codes were asked of, each once."""
    if metrics is None or not metrics.num_rows:
        return []
    pairs = zip(metrics["estimate"].to_pylist(), metrics["split"].to_pylist(), strict=True)
    found = {split for estimate, split in pairs if str(estimate).startswith(_OF_CODES)}
    return [split.split("+") for split in sorted(found)]


def _typical_of(plan: Plan) -> Typical:
    found, num_samples = [np.zeros((0, len(plan.modalities)), np.int64)], 0
    names = [f"{m}.length" for m in plan.modalities]
    for start in range(0, plan.lengths.num_rows, _BLOCK):
        rows, _ = plan.eligible(start, min(start + _BLOCK, plan.lengths.num_rows))
        num_samples += len(rows)
        part = plan.lengths.select(names).take(rows)
        found.append(_evenly(np.stack([part[name].to_numpy() for name in names], axis=1)))
    chosen = _evenly(np.concatenate(found))
    lengths = {m: tuple(chosen[:, i].tolist()) for i, m in enumerate(plan.modalities)}
    return Typical(num_samples, lengths)


def _evenly(lengths: np.ndarray) -> np.ndarray:
    """At most `NUM_TYPICAL` of the rows (S, modalities), evenly among them by their tokens."""
    ordered = lengths[np.argsort(lengths.sum(axis=1), kind="stable")]
    if len(ordered) <= NUM_TYPICAL:
        return ordered
    return ordered[((np.arange(NUM_TYPICAL) + 0.5) * len(ordered) / NUM_TYPICAL).astype(int)]
