"""How long a study will take: a few training steps of the smallest and largest cell, scaled.

In: the trials that are missing and the shards. Out: seconds per trial on this machine. References
take no time worth naming. Nothing is left behind, and Ray is not started.
"""

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from daep_ray.config import RunConfig
from daep_ray.evaluate.run import evaluate
from daep_ray.settings import override
from daep_ray.shards.read import ShardFolder
from daep_ray.study.trial import Trial
from daep_ray.train.checkpoint import load_model
from daep_ray.train.ray_worker import fit

_NUM_STEPS = 12
_MOST_TOKENS = 4096  # per step of the calibration, whatever the study's
_NUM_EVALUATED = 8


@dataclass(frozen=True)
class Rate:
    """What one model costs."""

    num_floats: int
    seconds_per_object: float  # trained
    seconds_per_evaluated: float  # object of the test split, all draws


@dataclass(frozen=True)
class Estimate:
    """Seconds of a trial."""

    training: float
    evaluation: float

    @property
    def seconds(self) -> float:
        return self.training + self.evaluation


def estimate(trials: Sequence[Trial], shards: ShardFolder) -> dict[str, Estimate]:
    """Per training fingerprint; references are left out."""
    trained = [t for t in trials if not t.cells[0].is_reference]
    found: dict[str, Estimate] = {}
    for model in dict.fromkeys(t.cells[0].model for t in trained):
        own = sorted((t for t in trained if t.cells[0].model == model), key=_size)
        ends = [_calibrate(t, shards) for t in {_size(t): t for t in (own[0], own[-1])}.values()]
        found |= {t.training: _scaled(t, ends) for t in own}
    return found


def _size(trial: Trial) -> int:
    return trial.cells[0].num_floats or 0


def _calibrate(trial: Trial, shards: ShardFolder) -> Rate:
    """Train for a few steps and evaluate a few objects."""
    config = trial.config
    assert config.recipe is not None
    num_tokens = min(_MOST_TOKENS, config.optimisation.token_budget)
    per_object = _mean_length(shards, config)
    short = {
        "optimisation.num_objects": max(1, int(_NUM_STEPS * num_tokens / per_object)),
        "optimisation.token_budget": num_tokens,
        "evaluation.max_objects": _NUM_EVALUATED,
        "evaluation.probe_label": None,
        "runtime.validation_objects": 0,
        "runtime.num_workers": 0,
    }
    config = override(config, short)
    with tempfile.TemporaryDirectory(prefix="daep-") as scratch:
        result = fit(config, shards.path, Path(scratch) / "training")
        model = load_model(Path(scratch) / "training")
    started = time.perf_counter()
    evaluate(model, shards, config.evaluation)
    seconds = time.perf_counter() - started
    return Rate(_size(trial), result.seconds / result.num_objects, seconds / _NUM_EVALUATED)


def _mean_length(shards: ShardFolder, config: RunConfig) -> float:
    lengths = shards.lengths()
    total = sum(lengths[f"{m}.length"].to_numpy().sum() for m in config.modalities)
    return max(1.0, float(total) / max(1, lengths.num_rows))


def _scaled(trial: Trial, ends: Sequence[Rate]) -> Estimate:
    """Between the calibrated ends by the number of floats."""
    low, high = ends[0], ends[-1]
    width = high.num_floats - low.num_floats
    share = (_size(trial) - low.num_floats) / width if width else 0.0
    training = low.seconds_per_object + share * (high.seconds_per_object - low.seconds_per_object)
    per_evaluated = low.seconds_per_evaluated + share * (
        high.seconds_per_evaluated - low.seconds_per_evaluated
    )
    return Estimate(
        training=training * trial.config.optimisation.num_objects,
        evaluation=sum(per_evaluated * c.config.evaluation.max_objects for c in trial.cells),
    )
