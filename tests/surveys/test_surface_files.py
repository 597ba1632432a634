"""The files and settings of the simulated supernovae: what is wrong is one sentence."""

from collections.abc import Callable
from pathlib import Path

import pytest

from daep_ray.errors import ConfigError, DataError, UserError
from daep_ray.sample import Ignored, Quarantined
from daep_ray.surveys import open_survey

Write = Callable[[dict[str, str | bytes]], Path]


@pytest.fixture
def source(write: Write, surface_files: dict[str, str | bytes]) -> Path:
    return write(surface_files)


def test_other_files_are_listed(write: Write, surface_files: dict[str, str | bytes]) -> None:
    others: dict[str, str | bytes] = {"LICENSE": "", "v.dat": "1", "x.dat.gz": b"no"}
    records = list(
        open_survey("surface", write(surface_files | others), {"num_objects": 1}).records()
    )
    assert {r.file for r in records if isinstance(r, Ignored)} == {"LICENSE", "v.dat"}
    assert [r.file for r in records if isinstance(r, Quarantined)] == ["x.dat.gz"]


def edited(content: str | bytes, old: str, new: str) -> str:
    assert isinstance(content, str)
    assert old in content
    return content.replace(old, new, 1)


TEMPLATE, LAW, FILTER = (
    "model/salt3_template_1.dat", "model/salt3_color_correction.dat", "filters/total_r.dat"
)  # fmt: skip
BROKEN: list[tuple[str, Callable[[str], str | None], str]] = [
    (TEMPLATE, lambda t: None, r"no file 'salt3_template_1.dat'.*needed are"),
    (LAW, lambda t: None, r"no file 'salt3_color_correction.dat'"),
    (FILTER, lambda t: None, r"no file 'total_r.dat'"),
    (TEMPLATE, lambda t: edited(t, "-20.0 2100.00", "-20.0 21xx.00"), r"no table of numbers.*21xx"),
    (TEMPLATE, lambda t: edited(t, "-20.0 2100.00", "-20.0 2120.00"), r"evenly spaced wavelengths"),
    (TEMPLATE, lambda t: t[t.index("\n") + 1 :], r"no whole grid: 2714 rows"),
    (TEMPLATE, lambda t: edited(t, "-20.0 2000.00 ", "-20.0 2000.00 nan #"), r"not finite"),
    (TEMPLATE, lambda t: t[: t.index("50.0 2000.00")], r"different grids"),
    (TEMPLATE, lambda t: "# phase\n", r"is empty: it needs rows of 3 numbers"),
    (TEMPLATE, lambda t: edited(t, "-20.0 2000.00 ", "-20.0 2000.00 7 "), r"no table of numbers"),
    (LAW, lambda t: "", r"is no colour law"),
    (LAW, lambda t: edited(t, "-0.5", "half"), r"is no colour law"),
    (LAW, lambda t: edited(t, "2\n", "9\n"), r"is no colour law"),
    (LAW, lambda t: edited(t, "version 1", "version 0"), r"version 1.*needed"),
    (LAW, lambda t: edited(t, "8000", "nan"), r"finite"),
    (FILTER, lambda t: "540 0.1\n540 0.2\n", r"must be positive and rise"),
    (FILTER, lambda t: "540 0\n600 0\n", r"lets nothing through"),
    (FILTER, lambda t: "540 -1\n600 2\n", r"lets nothing through"),
    (FILTER, lambda t: "540 0.1 7\n600 0.2 7\n", r"needs rows of 2 numbers"),
    (FILTER, lambda t: "1540 0.1\n1600 0.2\n", r"'r' \(153.. to 160.. A\) is not within"),
    (FILTER, lambda t: "54 0.1\n60 0.2\n", r"'r' .*set filter_unit"),
    (FILTER, lambda t: "1050 1\n1150 1\n", r"'r' .*not within the surface"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "change", "message"), BROKEN, ids=range(len(BROKEN)))
def test_a_bad_file_is_one_sentence(
    write: Write,
    surface_files: dict[str, str | bytes],
    name: str,
    change: Callable[[str], str | None],
    message: str,
) -> None:
    changed = change(str(surface_files[name]))
    files = {n: c for n, c in surface_files.items() if n != name}
    if changed is not None:
        files[name] = changed
    with pytest.raises(DataError, match=message) as error:
        open_survey("surface", write(files), {})
    assert "\n" not in str(error.value)


def test_two_models_in_one_source_are_refused(
    write: Write, surface_files: dict[str, str | bytes]
) -> None:
    with pytest.raises(DataError, match=r"'total_r.dat' is twice"):
        open_survey("surface", write(surface_files | {"b/total_r.dat": "1 1"}), {})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_objects": 0}, "num_objects"),
        ({"model": "salt2"}, r"no file 'salt2_template_0.dat'"),
        ({"bands": ["q"]}, r"five_sigma_depth has no entry for the band 'q'"),
        ({"bands": ["g", "g"]}, "differ"),
        ({"filter_files": "r.dat"}, r"needs '\{band\}'"),
        ({"place": {"kind": "redshift", "low": 0.5, "high": 0.1}}, "low must be below high"),
        ({"spectra": {"phases": [60]}}, r"phase 60 d .*-20 to 50 d"),
        ({"spectra": {"low": 9000}}, r"spectra.low must be below"),
        ({"cadence": {"first_day": 0, "last_day": 5}}, "as many nights"),
        ({"cadence": {"last_day": 90}}, r"phase 90 d"),
    ],
)
def test_wrong_options_are_one_sentence(
    source: Path, options: dict[str, object], message: str
) -> None:
    with pytest.raises(UserError, match=message) as error:
        open_survey("surface", source, options)
    assert "\n" not in str(error.value)
    assert isinstance(error.value, ConfigError | DataError)


def test_options_may_be_dotted_paths(source: Path) -> None:
    dotted = {"num_objects": 3, "place.kind": "redshift", "place.high": 0.1, "cadence.last_day": 30}
    survey = open_survey("surface", source, dotted)
    assert survey.source["options"]["place"] == {"kind": "redshift", "low": 0.01, "high": 0.1}
    assert survey.source["options"]["cadence"]["last_day"] == 30
    with pytest.raises(ConfigError, match=r"'place.hgh'.*did you mean 'place.high'"):
        open_survey("surface", source, {"place.kind": "redshift", "place.hgh": 0.1})
