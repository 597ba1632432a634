"""The documents are true: every command they show exists, every command there is they show."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer.main

from daep_ray.cli import FORMATS, app, run_app
from daep_ray.surveys import READERS

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
DOCUMENTS = sorted(
    p for f in (".", "cluster", "studies") for p in (ROOT / f).glob("*.md") if p.name != "LOG.md"
)
COMMANDS = typer.main.get_group(app).commands


def shell_lines(text: str) -> Iterator[str]:
    """The commands in a document's shell blocks, continued lines joined, comments cut."""
    for block in re.findall(r"```bash\n(.*?)```", text, flags=re.S):
        for line in block.replace("\\\n", " ").splitlines():
            if command := line.partition(" #")[0].strip():
                yield command


def options_of(words: list[str]) -> set[str]:
    return {w.partition("=")[0] for w in words if w.startswith("--")}


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_is_in_the_readme(name: str) -> None:
    assert f"daep-ray {name} " in README


@pytest.mark.parametrize("name", sorted(READERS))
def test_every_survey_format_is_in_the_readme(name: str) -> None:
    assert f"`{name}`" in README


def test_every_survey_format_is_in_the_help() -> None:
    assert set(re.split(r", | or |\.", FORMATS)) - {""} == set(READERS)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_shown_commands_and_options_exist(path: Path) -> None:
    for line in shell_lines(path.read_text()):
        if not line.startswith("daep-ray "):
            continue
        words = shlex.split(line)
        assert words[1] in COMMANDS, line
        known = {o for p in COMMANDS[words[1]].params for o in (*p.opts, *p.secondary_opts)}
        assert options_of(words) <= known, line


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_files_and_folders_that_documents_name_exist(path: Path) -> None:
    text = path.read_text()
    named = set(re.findall(r"`((?:daep_ray|studies|tests|cluster)/[\w./]*)`", text))
    named |= set(re.findall(r"\]\(([^)#:]+)\)", text))
    shown = {
        w for line in shell_lines(text) for w in line.split() if re.match(r"studies/\w+\.py", w)
    }
    missing = {n for n in named | shown if not ((ROOT / n).exists() or (path.parent / n).exists())}
    assert not missing


def test_make_targets_in_documents_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.M))
    shown = {t for p in DOCUMENTS for t in re.findall(r"`?make ([a-z]+)\b`?", p.read_text())}
    assert shown <= targets


def test_every_study_is_in_the_readme() -> None:
    names = {p.stem for p in (ROOT / "studies").glob("*.py")}
    missing = {n for n in names if f"`{n}`" not in README and f"studies/{n}.py" not in README}
    assert not missing


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_commands_can_be_copied(path: Path) -> None:
    """A shell reads `<this>` as a file to read from."""
    assert not [line for line in shell_lines(path.read_text()) if re.search(r"<[a-z ]+>", line)]


def test_the_first_screen_has_what_it_is_a_figure_and_two_commands() -> None:
    first = "\n".join(README.splitlines()[:20])
    assert "![" in first
    assert "git clone" in first
    assert "make study" in first


@pytest.mark.parametrize("path", sorted((ROOT / "studies").glob("*.py")), ids=lambda p: p.name)
def test_every_study_says_its_command_and_is_listed(path: Path) -> None:
    assert f"python studies/{path.name}" in path.read_text()
    assert path.name in (ROOT / "studies" / "README.md").read_text()


# what a training and an evaluation are cut to, so that the README's own commands take seconds
TINY = {
    "train": ("model.width=16", "model.num_heads=2", "optimisation.num_objects=64"),
    "evaluate": ("evaluation.max_objects=5", "evaluation.num_draws=2"),
}


@pytest.mark.slow
def test_the_readme_works_from_the_archive_to_the_notebook(
    shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "snid_templates.tar.xz").symlink_to(shared_data / "snid_templates.tar.xz")
    lines = [line for line in shell_lines(README) if line.startswith("daep-ray ")]
    assert len(lines) >= 5
    for line in lines:
        words = shlex.split(line)[1:]
        tiny = (w for setting in TINY.get(words[0], ()) for w in ("--set", setting))
        assert run_app(app, [*words, *tiny]) == 0, line
    (block,) = re.findall(r"```python\n(.*?)```", README, flags=re.S)
    names: dict[str, Any] = {}
    exec(block, names)
    assert np.shape(names["codes"]["code"].to_pylist()) == (10, 8 * 4)
    assert names["codes"]["flag"].to_pylist() == [""] * 10
    found = names["spectra"].to_pylist()[0]
    assert np.shape(found["spectrum.draws"]) == (16, len(found["spectrum.mean"]))
    assert len(names["halpha"]["spectrum.mean"][0]) == 3
