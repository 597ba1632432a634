"""Checkpoint folders: weights as safetensors, state readable with `weights_only=True`, JSON.

    weights.safetensors   the objective's parameters and buffers
    ema.safetensors       their running average: what a user gets
    optimizer.pt rng.pt   what an exact resume needs besides
    config.json           the whole configuration
    modalities.json       declaration, recipe, statistics: all that inference needs
    progress.json         epoch, step, objects seen, and the counters of the learning curve

A folder is written under a temporary name and renamed, so a half-written one is never loaded.
Nothing is pickled code.
"""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from daep_ray.config import RunConfig
from daep_ray.errors import CheckpointError, ConfigError, StorageError
from daep_ray.objectives import ObjectiveConfig, asked_with, build_objective
from daep_ray.objectives.base import Objective
from daep_ray.stream.fitted import FittedRecipe
from daep_ray.stream.pack import layouts

FILES = (
    "weights.safetensors",
    "ema.safetensors",
    "optimizer.pt",
    "rng.pt",
    "config.json",
    "modalities.json",
    "progress.json",
)
# what a user of the model needs; the others are for a resume
FILES_OF_INFERENCE = ("ema.safetensors", "config.json", "modalities.json", "progress.json")


@dataclass(frozen=True)
class Trained:
    """A trained model: averaged weights, evaluation mode, on the CPU."""

    objective: Objective
    config: RunConfig
    fitted: FittedRecipe
    progress: dict[str, Any]


@dataclass(frozen=True)
class State:
    """Everything that a resume needs."""

    weights: Mapping[str, Tensor]
    ema: Mapping[str, Tensor]
    optimizer: dict[str, Any]
    rng: dict[str, Tensor]
    progress: dict[str, Any]


def save(folder: Path, state: State, config: RunConfig, fitted: FittedRecipe) -> None:
    """Write the checkpoint `folder`, replacing an earlier one.

    Raises:
        StorageError: the folder cannot be written, or the disk is full.
    """
    staged = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    old = folder.with_name(f".{folder.name}.{os.getpid()}.old")
    try:
        shutil.rmtree(staged, ignore_errors=True)
        staged.mkdir(parents=True)
        save_file(_plain(state.weights), staged / "weights.safetensors")
        save_file(_plain(state.ema), staged / "ema.safetensors")
        torch.save(state.optimizer, staged / "optimizer.pt")
        torch.save(state.rng, staged / "rng.pt")
        _write_json(staged / "config.json", config.model_dump(mode="json"))
        _write_json(staged / "modalities.json", fitted.to_json())
        _write_json(staged / "progress.json", state.progress)
        # a folder cannot be swapped in one step: `latest` finds `.old` if we die in between
        shutil.rmtree(old, ignore_errors=True)
        if folder.exists():
            folder.rename(old)
        staged.rename(folder)
        shutil.rmtree(old, ignore_errors=True)
    except (OSError, RuntimeError, SafetensorError) as error:
        # a full disk is an OSError to Python, but not to safetensors and torch.save
        raise StorageError(
            f"cannot write the checkpoint {folder}: {getattr(error, 'strerror', None) or error}; "
            "free space or choose another --out"
        ) from error


def latest(folder: Path) -> Path | None:
    """The checkpoint folder that can be loaded: `folder`, or the one before it if a writer died.

    Also clears what dead writers left.
    """
    parent = folder.parent
    if not parent.is_dir():
        return None
    leftovers = sorted(parent.glob(f".{folder.name}.*.old"))
    if not folder.exists() and leftovers:
        leftovers.pop().rename(folder)
    for stale in [*leftovers, *parent.glob(f".{folder.name}.*.partial")]:
        shutil.rmtree(stale, ignore_errors=True)
    return folder if folder.exists() else None


def load_state(folder: Path) -> State:
    """The state to resume from.

    Raises:
        CheckpointError: a file is missing or broken.
    """
    check(folder)
    try:
        return State(
            weights=load_file(folder / "weights.safetensors"),
            ema=load_file(folder / "ema.safetensors"),
            optimizer=torch.load(folder / "optimizer.pt", weights_only=True),
            rng=torch.load(folder / "rng.pt", weights_only=True),
            progress=json.loads((folder / "progress.json").read_text()),
        )
    except (OSError, ValueError, RuntimeError, EOFError, SafetensorError) as error:
        raise CheckpointError(_broken(folder, error)) from error


def load_model(folder: Path, files: tuple[str, ...] = FILES) -> Trained:
    """The trained model in a checkpoint folder, or in the training folder that holds one.

    `files` must be there: a whole checkpoint, or `FILES_OF_INFERENCE` of one that was downloaded.

    Raises:
        CheckpointError: a file is missing, broken, or of other weights than the configuration's.
    """
    folder = Path(folder)
    if (folder / "checkpoint").is_dir():
        folder = folder / "checkpoint"
    check(folder, files)
    try:
        config = RunConfig.parse(json.loads((folder / "config.json").read_text()))
        fitted = FittedRecipe.from_json(json.loads((folder / "modalities.json").read_text()))
        weights = load_file(folder / "ema.safetensors")
        progress = json.loads((folder / "progress.json").read_text())
        objective = build_objective(
            config.objective, config.model, layouts(fitted, config.modalities)
        )
        objective.load_state_dict(weights)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError, ConfigError) as error:
        raise CheckpointError(_broken(folder, error)) from error
    return Trained(objective.eval().requires_grad_(False), config, fitted, progress)


def with_inference(trained: Trained, objective: ObjectiveConfig) -> Trained:
    """The same weights under another's settings of inference (`Unread.in_training`)."""
    asked = asked_with(trained.config.objective, objective)
    if asked == trained.config.objective:
        return trained
    config = trained.config.model_copy(update={"objective": asked})
    built = build_objective(asked, config.model, layouts(trained.fitted, config.modalities))
    built.load_state_dict(trained.objective.state_dict())
    return replace(trained, objective=built.eval().requires_grad_(False), config=config)


def check(folder: Path, files: tuple[str, ...] = FILES) -> None:
    """Raise CheckpointError unless every file of a checkpoint is there."""
    if not folder.is_dir():
        raise CheckpointError(
            f"no trained model at {folder}: give the folder that `daep-ray train` wrote (--out)"
        )
    missing = [name for name in files if not (folder / name).is_file()]
    if missing:
        raise CheckpointError(
            f"checkpoint {folder} lacks {', '.join(missing)}: copy the whole folder again "
            "or train anew"
        )


def _broken(folder: Path, error: Exception) -> str:
    lines = (str(error) or type(error).__name__).splitlines()
    # torch's first line says that weights do not fit, the second one which
    why = " ".join(line.strip() for line in lines[:2])
    return f"checkpoint {folder} cannot be read ({why:.300}): copy it again or train anew"


def _plain(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: t.detach().cpu().contiguous() for name, t in tensors.items()}


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=1, sort_keys=True, allow_nan=False))
