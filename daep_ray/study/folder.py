"""A study's folder OUT: which design it belongs to, who works on it, how its tables came about.

spec.json   the design and the data: the same resumes, another is refused
run.json    versions, machine, command, seconds: what no number in a table depends on
.lock       the process that runs the study now
"""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

from daep_ray.config import SCIENCE_VERSION
from daep_ray.errors import ConfigError, storage_error
from daep_ray.shards.manifest import Manifest
from daep_ray.study.lock import Holder, held
from daep_ray.study.session import num_cores
from daep_ray.study.spec import StudySpec

_PACKAGES = ("daep-ray", "numpy", "optuna", "pyarrow", "pydantic", "ray", "scipy", "torch")
_PROSE = {"title", "question", "expectation"}  # may be reworded without being another study


def claim(out: Path, spec: StudySpec, manifest: Manifest) -> None:
    """Write OUT/spec.json, or check that the one there is of the same study and data.

    Raises:
        ConfigError: OUT holds another study. StorageError: OUT cannot be written.
    """
    described = {**spec.to_json(), "data": describe(manifest, spec.base.modalities)}
    described["science_version"] = SCIENCE_VERSION
    content = json.loads(json.dumps(described))
    path = out / "spec.json"
    try:
        there = json.loads(path.read_text()) if path.exists() else None
    except ValueError:
        there = {}
    except OSError as error:
        raise storage_error(error, path) from error
    if there is not None:
        keys = (content.keys() | there.keys()) - _PROSE
        differing = sorted(key for key in keys if content.get(key) != there.get(key))
        if differing:
            raise ConfigError(
                f"{str(out)!r} holds another study (other {', '.join(differing)}): choose another "
                "--out, or run with the settings it was begun with"
            )
    if there != content:
        write_json(path, content)


def describe(manifest: Manifest, modalities: tuple[str, ...]) -> dict[str, Any]:
    """The data as a report names it; no path."""
    return {
        "manifest": manifest.hash,
        "source": manifest.source,
        "counts": {split: asdict(counts) for split, counts in manifest.counts.items()},
        "modality": ", ".join(modalities),
        "modalities": [m.to_json() for m in manifest.modalities if m.name in modalities],
    }


def lock(out: Path) -> AbstractContextManager[None]:
    """Held while a study runs on OUT.

    Raises:
        ConfigError: another living process runs it.
    """

    def refuse(holder: Holder) -> None:
        raise ConfigError(
            f"a study is running on {str(out)!r} (process {holder.pid} on {holder.host}): wait for "
            "it, or choose another --out"
        )

    return held(out / ".lock", on_wait=refuse)


def note_run(out: Path, more: Mapping[str, Any]) -> None:
    """Write OUT/run.json; seconds of earlier, interrupted runs are added up.

    Raises:
        StorageError: OUT cannot be written.
    """
    path = out / "run.json"
    try:
        before = json.loads(path.read_text())
    except (OSError, ValueError):
        before = {}
    content = {**circumstances(), **more}
    for name, value in before.items():
        if name.startswith("seconds") and name in content:
            content[name] = round(content[name] + value, 3)
    write_json(path, content)


def circumstances() -> dict[str, Any]:
    """Versions, code and machine."""
    return {
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "platform": platform.platform(),
        "host": platform.node(),
        "num_cpus": num_cores(),
        **_code(),
    }


def write_json(path: Path, content: Any) -> None:
    """Replace a JSON file in one step.

    Raises:
        StorageError: it cannot be written.
    """
    staged = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        staged.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")
        staged.replace(path)
    except OSError as error:
        raise storage_error(error, path) from error


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _code() -> dict[str, Any]:
    """Commit of the package's own repository, if it runs from one."""
    here = Path(sys.modules["daep_ray"].__file__ or "").parent
    git = ["git", "-C", str(here)]
    try:
        done = subprocess.run(
            [*git, "log", "-1", "--format=%H", "--", "."],
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
        changed = subprocess.run(
            [*git, "status", "--porcelain", "--untracked-files=no", "--", "."],
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return {"commit": None, "is_modified": None}
    return {"commit": done.stdout.strip() or None, "is_modified": bool(changed.stdout.strip())}
