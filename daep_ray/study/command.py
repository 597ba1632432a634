"""The command that repeats one training of a study alone.

In: a preset's configuration and the training's. Out: `daep-ray train DATA --out ... --set ...`
with the settings that differ and no others.
"""

import json
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from daep_ray.config import PRESETS, RunConfig, preset, resolve
from daep_ray.settings import override
from daep_ray.shards.manifest import Manifest
from daep_ray.study.spec import Cell, StudySpec

# What a training's weights do not depend on.
_NOT_TRAINED = ("runtime", "evaluation", "modalities")
_DEFAULT_PRESET = "laptop"  # of `daep-ray train`


def commands(spec: StudySpec, cells: list[Cell], manifest: Manifest, data: str) -> dict[str, str]:
    """Per training fingerprint; `data` is the folder as the user gave it. References have none."""
    name = spec.preset if spec.preset in PRESETS else _DEFAULT_PRESET
    found: dict[str, str] = {}
    for cell in cells:
        if cell.is_reference or cell.training in found:
            continue
        modalities = cell.config.modalities
        start = resolve(preset(name), manifest, modalities[0])
        words = ["daep-ray", "train", data, "--out", f"runs/{cell.training}", "--preset", name]
        several = f"modalities={json.dumps(modalities)}"
        words += ["--modality", modalities[0]] if len(modalities) == 1 else ["--set", several]
        for path, value in changes(start, cell.config).items():
            words += ["--set", f"{path}={_written(value)}"]
        found[cell.training] = shlex.join(words)
    return found


def changes(start: RunConfig, goal: RunConfig) -> dict[str, Any]:
    """The fewest dotted assignments that turn one training's configuration into another's."""
    assignments: dict[str, Any] = {}
    # a variant brings its own defaults: take it first, then compare what is left
    while kinds := {p: v for p, v in _differences(start, goal).items() if p.endswith(".kind")}:
        outermost = min(kinds, key=lambda path: path.count("."))
        assignments[outermost] = kinds[outermost]
        start = override(start, {outermost: kinds[outermost]})
    return assignments | _differences(start, goal)


def _differences(start: RunConfig, goal: RunConfig) -> dict[str, Any]:
    before, after = (c.model_dump(mode="json", exclude=set(_NOT_TRAINED)) for c in (start, goal))
    old = dict(_leaves(before))
    return {path: value for path, value in _leaves(after) if old.get(path, ...) != value}


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _written(value: Any) -> str:
    """A value as `--set` reads it back: JSON, or a word as it stands."""
    if not isinstance(value, str):
        return json.dumps(value)
    try:
        json.loads(value)
    except json.JSONDecodeError:
        return value
    return json.dumps(value)
