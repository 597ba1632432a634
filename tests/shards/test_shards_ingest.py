"""`ingest`: a registered format to a folder, and what `strict` means."""

from pathlib import Path

import pytest

from daep_ray.errors import ConfigError, DataError, StorageError
from daep_ray.sample import Quarantined
from daep_ray.shards import ingest as module
from daep_ray.shards.ingest import ingest
from daep_ray.shards.validate import validate


@pytest.fixture
def one_lost(monkeypatch, make, make_survey):
    """A format of six samples of which the last is lost; the calls it got."""
    calls = []

    def open_survey(format, source, options):
        calls.append((format, source, options))
        return make_survey([*make.some_samples(5), Quarantined("x", "", "no header")])

    monkeypatch.setattr(module, "open_survey", open_survey)
    return calls


def test_progress_and_counts(tmp_path, one_lost):
    seen = []
    counts = ingest(
        "fake",
        Path("raw"),
        tmp_path / "d",
        {"a": 1},
        on_progress=lambda counts: seen.append(counts.written),
    )
    assert (counts.read, counts.written, counts.quarantined) == (6, 5, 1)
    assert one_lost == [("fake", Path("raw"), {"a": 1})]
    assert seen == [5]


def test_strict_keeps_the_good_rows_and_fails(tmp_path, one_lost):
    with pytest.raises(DataError, match=r"1 of 6 samples are quarantined.*quarantine\.parquet"):
        ingest("fake", None, tmp_path / "data", strict=True)
    assert validate(tmp_path / "data") == []


def test_a_taken_place_is_told_before_the_source_is_opened(tmp_path, one_lost):
    ingest("fake", None, tmp_path / "data")
    with pytest.raises(DataError, match="--overwrite"):
        ingest("fake", None, tmp_path / "data")
    assert len(one_lost) == 1
    with pytest.raises(StorageError):
        ingest("fake", None, Path("/proc/data"))


def test_an_unknown_format_is_named(tmp_path):
    with pytest.raises(ConfigError, match="unknown survey format 'fits'"):
        ingest("fits", tmp_path, tmp_path / "data")
    assert list(tmp_path.iterdir()) == []
