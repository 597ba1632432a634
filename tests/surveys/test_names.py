"""Names: one id per supernova, one class per type, one name per file."""

import importlib.util
import re
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daep_ray.surveys.names import SampleNames, canon, object_id, supernova_class


@pytest.mark.parametrize(
    "name",
    ["sn00cn_bsnip", "sn2000cn", "SN2000cn", "2000cn", "SN 2000cn", "sn2000cn.lnw", "Sn00cn"],
)
def test_spellings_of_one_supernova_agree(name: str) -> None:
    assert canon(name) == "sn2000cn"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("sn93J", "sn1993J"),
        ("SN 1993j", "sn1993J"),
        ("sn49a", "sn2049A"),
        ("sn2004dk (2).lnw", "sn2004dk"),
        ("SN 2020adow", "sn2020adow"),
        ("2020adow", "sn2020adow"),
        ("snPTF10bzf", "ptf10bzf"),
        ("03D1au", "03d1au"),
        ("10028", "10028"),
    ],
)
def test_canon(name: str, expected: str) -> None:
    assert canon(name) == expected


@given(st.text(alphabet="snSN_ 0129aBcXyz", max_size=12))
def test_canon_is_idempotent_on_designations(name: str) -> None:
    once = canon(name)
    if re.fullmatch(r"sn(18|19|20)\d\d[A-Za-z]+", once):
        assert canon(once) == once


def test_canon_agrees_with_the_archives_own_count(shared_data: Path) -> None:
    spec = importlib.util.spec_from_file_location("counts", shared_data / "counts.py")
    assert spec is not None
    assert spec.loader is not None
    counts = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(counts)
    with tarfile.open(shared_data / "snid_templates.tar.xz") as archive:
        names = [Path(n).name for n in archive.getnames() if n.endswith(".lnw")]
    assert len(names) > 400
    assert [canon(n) for n in names] == [counts.canon(n) for n in names]


def test_bare_numbers_carry_their_survey() -> None:
    assert object_id("10", "PS1MD") == "ps1md-10"
    assert object_id("10", "SDSS") == "sdss-10"
    assert object_id("1999aa", "SDSS") == "sn1999aa"
    assert object_id("10") == "10"


@pytest.mark.parametrize(
    ("subtype", "expected"),
    [
        ("Ia-norm", "Ia"), ("Ia-csm", "Ia"), ("SNIa", "Ia"), ("SN Ia-91bg", "Ia"),
        ("Ib-pec", "Ib"), ("IIb", "Ib"), ("Ibn", "Ib"), ("Ic-broad", "Ic"), ("Ic-BL", "Ic"),
        ("IIP", "II"), ("IIL", "II"), ("IIn", "II"), ("II", "II"), ("Ib/c", "Ibc"), ("Ibc", "Ibc"),
        ("AGN", "NotSN"), ("-", None), ("", None), ("SLSN", None),
    ],
)  # fmt: skip
def test_classes(subtype: str, expected: str | None) -> None:
    assert supernova_class(subtype) == expected


def test_every_file_of_a_pass_gets_its_own_name() -> None:
    names = SampleNames()
    files = ["a/x.lnw", "b/x.lnw", "b/x.dat", "y (2).lnw"]
    assert [names.name(f) for f in files] == ["x", "b/x", "b/x.dat", "y (2)"]
