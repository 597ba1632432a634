"""Axes that concern some models only: a masked autoencoder has a mask ratio, a VAE no solver steps.

In: a base configuration, a model's changes, a point of the design, the paths that are declared
conditional. Out: the part of the point that this model looks at. Points that differ in nothing else
are one cell, so a VAE beside ten solvers is evaluated once.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from daep_ray.config import RunConfig, ignores
from daep_ray.errors import ConfigError
from daep_ray.settings import override


def applied(
    base: RunConfig,
    changes: Mapping[str, Any],
    point: Mapping[str, Any],
    conditional: Collection[str],
) -> dict[str, Any]:
    """`point` without the conditional settings that the model does not have, or never looks at.

    A setting left out keeps the base's value. Whether a setting exists may hang on another one
    (`one_step` has no `num_steps`), so every `kind` is decided first.
    """
    kept = {path: value for path, value in point.items() if path not in conditional}
    asked = [path for path in point if path in conditional]
    for path in sorted(asked, key=lambda p: not p.endswith("kind")):
        config = override(base, {**changes, **kept})
        if _has(config, path) and not ignores(config, path):
            kept[path] = point[path]
    return {path: value for path, value in point.items() if path in kept}


def _has(config: RunConfig, path: str) -> bool:
    node: Any = config.model_dump(mode="json")
    for part in path.split("."):
        if not isinstance(node, dict) or part not in node:
            return False
        node = node[part]
    return True


def refuse_unused(
    base: RunConfig,
    models: Mapping[str, Mapping[str, Any]],
    conditional: Iterable[str],
    used: Collection[str],
) -> None:
    """A conditional path that reached no cell is a typo, or an axis of other models than these.

    Raises:
        ConfigError: in one sentence, with the nearest name where the path does not exist.
    """
    for path in conditional:
        if path in used:
            continue
        reasons = [reason for m in models.values() if (reason := _unknown(base, m, path))]
        near = [reason for reason in reasons if "did you mean" in reason]
        if len(reasons) == len(models):
            raise ConfigError([*near, *reasons][0])
        raise ConfigError(
            f"axis {path!r} changes nothing for {', '.join(models)}: remove it, or add a model "
            "that looks at it"
        )


def _unknown(base: RunConfig, changes: Mapping[str, Any], path: str) -> str:
    """Why the path does not exist for a model; empty if it does."""
    config = override(base, dict(changes))
    if _has(config, path):
        return ""
    try:
        override(config, {path: None})
    except ConfigError as error:
        return str(error)
    return ""
