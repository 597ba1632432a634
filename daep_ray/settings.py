"""The base of every setting: frozen pydantic models, dotted overrides, canonical hashes.

Settings that choose code sit beside that code; the run's tree is put together in `config.py`.
"""

import difflib
import hashlib
import json
from typing import Any, Self, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from daep_ray.errors import ConfigError


class Settings(BaseModel):
    """Frozen, rejects unknown keys; `parse` names the nearest valid key in one sentence."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False
    )

    @classmethod
    def parse(cls, raw: dict[str, Any]) -> Self:
        """Build from plain JSON.

        Raises:
            ConfigError: one sentence about the first thing that is wrong.
        """
        try:
            return cls.model_validate(raw)
        except ValidationError as error:
            raise ConfigError(explain(cls, error)) from None


T = TypeVar("T", bound=Settings)


def explain(settings: type[Settings], error: ValidationError) -> str:
    """One sentence about the first validation error, with the nearest valid name for a typo."""
    first = error.errors()[0]
    # pydantic puts a union's tag into the path; it is no key that a user writes
    path = [str(part) for part in first["loc"]]
    if first["type"] == "extra_forbidden":
        siblings = _keys_at(settings, path[:-1])
        near = difflib.get_close_matches(path[-1], siblings, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        return (
            f"unknown setting {'.'.join(path)!r}: {hint}valid here: {', '.join(sorted(siblings))}"
        )
    value = first.get("input")
    shown = f" (got {value!r})" if not isinstance(value, dict) else ""
    message = first["msg"].removeprefix("Value error, ")
    where = f"setting {'.'.join(path)!r}: " if path else ""
    return f"{where}{message}{shown}"


def _keys_at(settings: type[Settings], path: list[str]) -> list[str]:
    """Valid keys below a path, following nested settings and the variants of unions."""
    here: list[Any] = [settings]
    for part in path:
        following: list[Any] = []
        for cls in here:
            if part in cls.model_fields:
                following += _settings_in(cls.model_fields[part].annotation)
            elif "kind" in cls.model_fields and part in str(cls.model_fields["kind"].annotation):
                following.append(cls)
        here = following or here
    return sorted({key for cls in here for key in cls.model_fields})


def _settings_in(annotation: Any) -> list[Any]:
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        return [annotation]
    return [s for part in getattr(annotation, "__args__", ()) for s in _settings_in(part)]


def override(settings: T, assignments: dict[str, Any]) -> T:
    """A copy with dotted paths replaced: `{"model.bottleneck.length": 8}`.

    Changing a union's `kind` drops the settings of the variant before it.

    Raises:
        ConfigError: an unknown path (the nearest valid one is named) or a value out of range.
    """
    raw = settings.model_dump(mode="json")
    # `kind` first: the other assignments belong to the new variant
    for path, value in sorted(assignments.items(), key=lambda kv: not kv[0].endswith("kind")):
        *parents, leaf = path.split(".")
        node: Any = raw
        for depth, part in enumerate(parents):
            if not isinstance(node, dict) or not isinstance(node.get(part), dict):
                raise ConfigError(_unknown(settings, path, parents[:depth], part, node))
            node = node[part]
        if not isinstance(node, dict) or leaf not in node:
            raise ConfigError(_unknown(settings, path, parents, leaf, node))
        if leaf == "kind" and node["kind"] != value:
            node.clear()
        node[leaf] = value
        if leaf == "kind":
            # fill the new variant's defaults so that later paths into it exist
            raw = type(settings).parse(raw).model_dump(mode="json")
    return type(settings).parse(raw)


def _unknown(settings: Settings, path: str, parents: list[str], part: str, node: Any) -> str:
    keys = sorted(node) if isinstance(node, dict) else []
    if not keys:
        return f"unknown setting {path!r}: {'.'.join(parents)!r} has no settings below it"
    near = difflib.get_close_matches(part, keys, n=1)
    hint = f"did you mean {'.'.join([*parents, near[0]])!r}? " if near else ""
    where = ".".join(parents) or "the top level"
    return f"unknown setting {path!r}: {hint}valid in {where}: {', '.join(keys)}"


def parse_assignment(text: str) -> tuple[str, Any]:
    """`model.bottleneck.length=8` -> (path, value); the value is JSON, else a plain string.

    Raises:
        ConfigError: no `=` in the text.
    """
    path, equals, value = text.partition("=")
    if not equals or not path.strip():
        raise ConfigError(f"--set needs PATH=VALUE, got {text!r}: write --set model.width=64")
    try:
        return path.strip(), json.loads(value)
    except json.JSONDecodeError:
        return path.strip(), value.strip()


def canonical_hash(content: Any, length: int = 16) -> str:
    """Stable hash of JSON content, independent of key order: the identity of everything here."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:length]
