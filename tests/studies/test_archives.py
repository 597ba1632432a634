"""The table of archives in studies/README.md is what reading them gives."""

import importlib.util
import json
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from daep_ray.errors import ConfigError

ROOT = Path(__file__).parents[2]
QUICK = ["lamost", "desi", "sdss-rrlyrae", "ogle", "ogle-fits", "macho", "spcc", "ps1-md"]
QUICK += ["snana-fits", "alerce", "alerce-sne", "elasticc", "physionet2012"]
SLOW = ["snid", "salt3", "csp", "bsnip", "ztf-bts", "plasticc", "surface"]


@pytest.fixture(scope="module")
def archives() -> ModuleType:
    spec = importlib.util.spec_from_file_location("archives", ROOT / "studies/archives.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["archives"] = module
    spec.loader.exec_module(module)
    return module


def _written() -> dict[str, str]:
    """The table's rows by archive, without the seconds."""
    text = (ROOT / "studies/README.md").read_text()
    rows = re.findall(r"^(\| ([a-z0-9-]+) \| [\d,]+ \|.*\|) [\d.]+ \|$", text, re.MULTILINE)
    return {name: row for row, name in rows}


def test_every_archive_has_a_row(archives: ModuleType) -> None:
    assert set(_written()) == {a.name for a in archives.ARCHIVES} == {*QUICK, *SLOW}


@pytest.mark.parametrize("name", [*QUICK, *(pytest.param(n, marks=pytest.mark.slow) for n in SLOW)])
def test_the_table_is_what_reading_gives(
    name: str, archives: ModuleType, shared_data: Path, tmp_path: Path
) -> None:
    archive = next(a for a in archives.ARCHIVES if a.name == name)
    counted = archives.read(archive, shared_data, tmp_path)
    assert counted.row.rpartition("|")[0].rpartition("|")[0] + "|" == _written()[name]


def test_the_command_prints_the_table_for_people_and_for_machines(
    archives: ModuleType, shared_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archives.command(shared_data, "ps1-md,ogle")
    *lines, machines = capsys.readouterr().out.splitlines()
    found = json.loads(machines)
    assert [counted["archive"] for counted in found] == ["ogle", "ps1-md"]
    for line, name in zip(lines[2:], ("ogle", "ps1-md"), strict=True):
        assert line.rpartition("|")[0].rpartition("|")[0] + "|" == _written()[name]
    with pytest.raises(ConfigError, match="known are"):
        archives.command(shared_data, "orion")
