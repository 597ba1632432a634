"""The walls: imports go down only, Ray and torch stay where they belong, files stay small.

Reads the source with `ast`, imports inside functions included, so that a lazy import is no way
around a wall.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "daep_ray"

LAYERS = (
    {"errors", "sample", "settings", "stopping"},
    {"surveys"},
    {"shards"},
    {"stream"},
    {"nn", "diffusion"},
    {"objectives", "published"},
    {"config"},
    {"train"},
    {"evaluate"},
    {"study"},
    {"report", "pretrained"},
    {
        *("cli", "cli_data", "cli_evaluate", "cli_recipes", "cli_study", "cli_tables"),
        *("cli_use", "cli_workers", "study_cli", "study_options", "__main__"),
    },
)
LEVEL = {unit: level for level, units in enumerate(LAYERS) for unit in units}
TOP = len(LAYERS) - 1

RAY_FILES = {
    "shards/ingest.py",
    "stream/ray_stream.py",
    "train/ray_worker.py",
    "evaluate/jobs.py",
    "study/cluster.py",
    "study/halving.py",
    "study/suggest.py",
    "study/trainable.py",
    "study/tuner.py",
    "cli.py",
    "cli_workers.py",
    "study_cli.py",
}
TORCH_IN_STREAM = {"stream/batch.py", "stream/pack.py", "stream/noise.py"}
RAYLESS = ("daep_ray.config", "daep_ray.evaluate", "daep_ray.study.spec", "daep_ray.train.loop")
TORCHLESS = ("daep_ray.cli", "daep_ray.report", "daep_ray.shards.read", "daep_ray.surveys")

MODULES = sorted(PACKAGE.rglob("*.py"))
SOURCES = sorted(p for f in ("daep_ray", "studies", "tests") for p in (ROOT / f).rglob("*.py"))


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imports(path: Path) -> Iterator[tuple[str, ...]]:
    """Every imported name as its dotted parts, wherever in the file it is imported."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (tuple(alias.name.split(".")) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: relative import, write the full name"
            assert node.module is not None
            module = tuple(node.module.split("."))
            yield from ((*module, alias.name) for alias in node.names)


def unit_of(path: Path) -> str:
    """The part of the package that a file belongs to: a folder or a module at the top."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def is_wrong(unit: str, imported: str) -> bool:
    """Whether `imported` is above `unit`, or beside it (allowed only in the outermost layers)."""
    if LEVEL[imported] == LEVEL[unit]:
        return imported != unit and 0 < LEVEL[unit] < TOP
    return LEVEL[imported] > LEVEL[unit]


def test_every_part_of_the_package_has_a_layer() -> None:
    units = {unit_of(path) for path in MODULES} - {"__init__"}
    assert units <= set(LEVEL), f"give a layer to {sorted(units - set(LEVEL))}"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_go_down_only(path: Path) -> None:
    unit = unit_of(path)
    ours = {parts[1] for parts in imports(path) if parts[0] == "daep_ray" and len(parts) > 1}
    if unit == "__init__":
        assert not ours, "the package's own __init__ imports nothing of it"
        return
    wrong = {other for other in ours & set(LEVEL) if is_wrong(unit, other)}
    assert not wrong, f"{name_of(path)} (layer {LEVEL[unit]}) imports {sorted(wrong)}"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_ray_and_torch_stay_where_they_belong(path: Path) -> None:
    roots, name, unit = {parts[0] for parts in imports(path)}, name_of(path), unit_of(path)
    assert "ray" not in roots or name in RAY_FILES, f"{name} imports ray"
    if "torch" in roots:
        assert unit != "report", f"{name} imports torch"
        assert LEVEL.get(unit, 0) >= LEVEL["stream"], f"{name} imports torch"
        assert unit != "stream" or name in TORCH_IN_STREAM, f"{name} imports torch"


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_files_are_small_and_say_what_they_are(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= 400, f"{relative(path)} is longer than 400 lines"
    assert path.name != "utils.py", "name a file after what it does"
    assert not text.strip() or ast.get_docstring(ast.parse(text)), "a module says what it is for"


def loaded_by(module: str) -> set[str]:
    """Which of ray and torch a fresh interpreter has after importing the module."""
    code = f"import sys, {module}; print(*({{'ray', 'torch'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("module", RAYLESS)
def test_ray_is_not_loaded_by(module: str) -> None:
    assert "ray" not in loaded_by(module)


@pytest.mark.parametrize("module", TORCHLESS)
def test_neither_ray_nor_torch_is_loaded_by(module: str) -> None:
    assert not loaded_by(module)
