"""Mappings of long tables: the shipped ones, a user's own, and what is wrong with them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from daep_ray.errors import ConfigError, DataError
from daep_ray.sample import Record
from daep_ray.surveys import open_survey
from daep_ray.surveys.table_mapping import Mapping, load_mapping, shipped

Write = Callable[[dict[str, str | bytes]], Path]
HEAD = "id,mjd,flux,error,band\n"
GOOD = "a,59000,1.5,0.1,g\na,59001,2.5,0.1,r\n"
LONG: dict[str, Any] = {
    "survey": "mine",
    "files": ["t*.csv"],
    "layout": "csv",
    "object": "id",
    "value": {"column": "flux", "unit": "relative", "missing": [-999], "high": 1e6},
    "error": {"column": "error"},
    "time": {"column": "mjd"},
    "category": {"column": "band", "words": {"g": "g", "r": "r", "x": None}},
}


def read(folder: Path, mapping: str | dict[str, Any]) -> list[Record]:
    if isinstance(mapping, dict):
        path = folder.parent / "mine.yaml"
        path.write_text(yaml.safe_dump(mapping))
        mapping = str(path)
    return list(open_survey("table", folder, {"mapping": mapping}).records())


def test_every_shipped_mapping_declares_a_modality() -> None:
    assert {"ztf-bts", "sdss-rrlyrae", "plasticc", "alerce", "elasticc", "ogle", "macho"} < set(
        shipped()
    )
    for name in shipped():
        mapping = load_mapping(name)
        modality = mapping.declaration()
        assert mapping.about
        assert modality.value.unit
        assert modality.positions[0].is_time
        assert not any("true" in column for column in mapping.row_columns())


def test_a_mapping_that_is_not_there(write: Write, tmp_path: Path) -> None:
    folder = write({"t.csv": HEAD + GOOD})
    with pytest.raises(ConfigError, match=r"unknown mapping 'ztf_bts': did you mean 'ztf-bts'\?"):
        read(folder, "ztf_bts")
    with pytest.raises(ConfigError, match=r"needs a mapping .*--set mapping=NAME .* plasticc"):
        read(folder, "")
    with pytest.raises(ConfigError, match="cannot be read as YAML: No such file"):
        read(folder, str(tmp_path / "none.yaml"))
    with pytest.raises(DataError, match=r"named as the mapping 'plasticc' says \(\*lightcurves"):
        read(folder, "plasticc")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"tiem": {"column": "mjd"}}, r"unknown setting 'tiem': did you mean 'time'\?"),
        ({"value": {"colum": "flux", "column": "x", "unit": ""}}, r"did you mean 'column'\?"),
        ({"labels": {"class": {"word": {}, "column": "x"}}}, r"did you mean 'words'\?"),
        ({"layout": "excel"}, "'layout': .*'csv'"),
        ({"value": {"column": "flux"}}, r"'value\.unit': Field required"),
        ({"category": {"column": "band"}}, "either `column` with `words`, or `constant`"),
        ({"error": None, "value": LONG["value"] | {"to_flux": {"zero_point": 1}}}, "needs an `err"),
        ({"static": {"labels": {}}, "category": None}, "`static` needs a `category`"),
        ({"error": {"column": "error", "high": "much"}}, r"'error\.high': .*number"),
    ],
)
def test_a_wrong_key_is_one_sentence(write: Write, change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=f"mapping '.*mine.yaml': .*{sentence}") as error:
        read(write({"t.csv": HEAD + GOOD}), LONG | change)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["a: [", "- 1\n", "", "\xff\xfe: \x07"])
def test_a_mapping_that_is_no_yaml(write: Write, tmp_path: Path, text: str) -> None:
    folder = write({"t.csv": HEAD + GOOD})
    (tmp_path / "mine.yaml").write_bytes(text.encode("latin1"))
    with pytest.raises(ConfigError) as error:
        read(folder, str(tmp_path / "mine.yaml"))
    assert "\n" not in str(error.value)


def test_the_manifest_holds_the_mapping_and_no_path(write: Write) -> None:
    folder = write({"t.csv": HEAD + GOOD})
    path = folder.parent / "mine.yaml"
    path.write_text(yaml.safe_dump(LONG))
    survey = open_survey("table", folder, {"mapping": str(path)})
    assert survey.source["options"] == {"mapping": "mine.yaml"}
    assert str(folder.parent) not in str(survey.source)
    assert Mapping.parse(survey.source["mapping"]) == Mapping.parse(LONG)
