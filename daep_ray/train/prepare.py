"""From settings and a data folder to a training that is ready to start; no Ray."""

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow.compute as pc

from daep_ray.config import RunConfig, resolve, training_fingerprint
from daep_ray.errors import ConfigError, DataError, StorageError
from daep_ray.objectives import num_parameters
from daep_ray.objectives.base import SOLVER
from daep_ray.objectives.daep import DaepConfig
from daep_ray.objectives.prior import PriorConfig
from daep_ray.shards.read import ShardFolder
from daep_ray.stream.batch import PackedBatch
from daep_ray.stream.bins import Bin, Position, bins_in_memory, bins_plain, evaluation_batches
from daep_ray.stream.fitted import FittedRecipe, unfitted
from daep_ray.stream.pack import layouts
from daep_ray.stream.statistics import fit_recipe
from daep_ray.train.card import MARK, data_summary
from daep_ray.train.checkpoint import Trained, load_model


@dataclass(frozen=True)
class Prepared:
    """A training ready to start: settings resolved against the survey's shards."""

    config: RunConfig
    shards: ShardFolder
    fitted: FittedRecipe
    fingerprint: str
    parent: Trained | None = None  # of a model built on another


def prepare(config: RunConfig, data: Path) -> Prepared:
    """Open the shards, fill in what depends on them, fit the recipe's statistics.

    Raises:
        DataError: no shards there. ConfigError: a setting that does not fit them.
    """
    shards = ShardFolder.open(data)
    config = resolve(config, shards.manifest)
    assert config.recipe is not None
    refuse_impossible(config, shards)
    fingerprint = training_fingerprint(config, shards.manifest.hash)
    parent = None
    if isinstance(config.objective, PriorConfig):
        parent = _parent(config, Path(config.objective.parent), shards)
    # a prior's codes are codes of what its parent's own statistics standardise
    fitted = parent.fitted if parent else fit_recipe(shards, config.recipe)
    return Prepared(config, shards, fitted, fingerprint, parent)


def refuse_impossible(config: RunConfig, shards: ShardFolder) -> None:
    """Settings that no model can be built of or measured with, and data that it would lack.

    Told before anything is fitted, and before a folder is claimed.

    Raises:
        DataError: the recipe or a split does not fit. ConfigError: the settings do not.
    """
    assert config.recipe is not None
    if len(set(config.modalities)) < len(config.modalities):
        raise ConfigError(f"modalities are {', '.join(config.modalities)}: name each of them once")
    _check_sampler(config)
    draft = unfitted(config.recipe, shards.modalities.values())
    num_parameters(config.objective, config.model, layouts(draft, config.modalities))
    for split in dict.fromkeys(("train", config.evaluation.split)):
        _require_samples(config, shards, split)


def _require_samples(config: RunConfig, shards: ShardFolder, split: str) -> None:
    """Each modality must be there in training, one of them at least where it is measured."""
    columns = ["split", *(f"{m}.length" for m in config.modalities)]
    absent = set(config.modalities)
    for table in shards.iter_lengths():
        here = table.select(columns).filter(pc.equal(table["split"], split))
        absent -= {m for m in absent if pc.any(pc.greater(here[f"{m}.length"], 0)).as_py()}
        if not absent:
            return
    if split == "train" or len(absent) == len(config.modalities):
        names = " or ".join(repr(m) for m in config.modalities if m in absent)
        raise DataError(
            f"no sample of the split {split!r} of this survey has {names}: choose another with "
            "--modality, or ingest more objects"
        )


def _check_sampler(config: RunConfig) -> None:
    """What the evaluation would refuse after the training is refused before it."""
    objective, sampler = config.objective, config.evaluation.sampler
    decoded = objective.parent_objective if isinstance(objective, PriorConfig) else objective
    if sampler.guidance != 1 and SOLVER in decoded.unread.ever:
        raise ConfigError(
            f"evaluation.sampler.guidance is {sampler.guidance:g}, but the prior's parent is a "
            f"{decoded.kind}, which draws without a solver: leave it at 1"
        )
    if not isinstance(decoded, DaepConfig):
        return
    if sampler.kind == "one_step" and decoded.prediction == "epsilon":
        raise ConfigError(
            "evaluation.sampler.kind is 'one_step', which needs clean values predicted at pure "
            "noise, and objective.prediction 'epsilon' gives none: choose 'ddim' or 'dpm_solver'"
        )
    if sampler.guidance != 1 and not decoded.code_drop:
        raise ConfigError(
            f"evaluation.sampler.guidance is {sampler.guidance:g}, but the prior's parent never "
            "went without a code in training: leave it at 1, or choose a parent trained with "
            "objective.code_drop"
        )


def _parent(config: RunConfig, folder: Path, shards: ShardFolder) -> Trained:
    """The trained model that another is built on, if it reads data such as these."""
    parent = load_model(folder)
    for name in config.modalities:
        if shards.modalities.get(name) != parent.fitted.modalities[name]:
            raise ConfigError(
                f"objective.parent {str(folder)!r} reads {name!r} declared otherwise than in "
                f"{str(shards.path)!r}: give the data that it was trained on"
            )
    return parent


def claim(folder: Path, prepared: Prepared) -> None:
    """Mark a folder as that of this training; refuse one that holds another.

    Raises:
        ConfigError: another training is there. StorageError: the folder cannot be written.
    """
    mark = folder / MARK
    content = {
        "fingerprint": prepared.fingerprint,
        "manifest": prepared.shards.manifest.hash,
        "config": prepared.config.model_dump(mode="json"),
        "data": data_summary(prepared.shards.manifest),
    }
    try:
        if mark.exists():
            there = json.loads(mark.read_text())["fingerprint"]
            if there != prepared.fingerprint:
                raise ConfigError(
                    f"{folder} holds another training ({there}, this one is "
                    f"{prepared.fingerprint}): choose another --out"
                )
            return
        folder.mkdir(parents=True, exist_ok=True)
        staged = folder / f".training.{os.getpid()}.partial"
        staged.write_text(json.dumps(content, indent=1, sort_keys=True))
        staged.replace(mark)
    except OSError as error:
        raise StorageError(
            f"cannot write to {folder}: {error.strerror or error}; choose another --out"
        ) from error


def is_streamed(config: RunConfig, shards: ShardFolder) -> bool:
    """Whether the shards are read window by window, or every worker holds the survey in memory."""
    if config.runtime.stream == "auto":
        return shards.num_bytes > config.runtime.memory_bytes
    return config.runtime.stream == "ray"


def local_stream(prepared: Prepared, rank: int, world: int) -> Callable[[Position], Iterator[Bin]]:
    """The rank's bins read by its own process: the same bins whether from memory or window by
    window, and the same as Ray Data's."""
    config = prepared.config
    read = bins_plain if is_streamed(config, prepared.shards) else bins_in_memory

    def bins(start: Position) -> Iterator[Bin]:
        return read(
            prepared.shards,
            prepared.fitted,
            config.modalities,
            split="train",
            seed=config.seed,
            token_budget=config.optimisation.token_budget,
            rank=rank,
            world=world,
            start=start,
        )

    return bins


def training_samples(prepared: Prepared, device: str) -> Callable[[int], Iterator[PackedBatch]]:
    """At most so many training samples, as many objects as possible, without augmentation."""
    config = prepared.config

    def samples(most: int) -> Iterator[PackedBatch]:
        batches = evaluation_batches(
            prepared.shards,
            prepared.fitted,
            config.modalities,
            "train",
            token_budget=config.optimisation.token_budget,
            max_samples=most,
        )
        return (batch.to(device) for batch, _ in batches)

    return samples


def validation_batches(prepared: Prepared, device: str) -> list[PackedBatch]:
    config = prepared.config
    if config.runtime.validation_objects == 0:
        return []
    batches = evaluation_batches(
        prepared.shards,
        prepared.fitted,
        config.modalities,
        "validation",
        token_budget=config.optimisation.token_budget,
        max_samples=config.runtime.validation_objects,
    )
    return [batch.to(device) for batch, _ in batches]
