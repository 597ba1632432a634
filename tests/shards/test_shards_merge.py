"""Merging: agreeing surveys become one and nothing is lost; those that disagree are refused."""

import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from daep_ray.cli import app, run_app
from daep_ray.errors import DataError, StorageError
from daep_ray.sample import Axis, Category, Ignored, Modality, Quarantined, Record, Sample
from daep_ray.shards.ingest import ingest
from daep_ray.shards.inspect import quarantine_reasons
from daep_ray.shards.manifest import QUARANTINE
from daep_ray.shards.merge import merge
from daep_ray.shards.read import ShardFolder
from daep_ray.shards.schema import samples_from_table
from daep_ray.shards.split import SPLITS, split_of
from daep_ray.shards.validate import validate
from daep_ray.shards.write import write_shards

LIGHT_CURVE = Modality(
    "photometry",
    Axis("flux", "uJy"),
    (Axis("time", "day", is_time=True, frame="observer"),),
    categories=(Category("band", ("unknown", "g", "r")),),
    metadata=(Axis("redshift", ""), Category("site", ("unknown", "north"))),
)
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path, make_survey: Any) -> Write:
    """Write an ingest of one modality; its folder."""

    def write_survey(name: str, records: list[Record], modality: Modality = LIGHT_CURVE) -> Path:
        out = tmp_path / name
        shutil.rmtree(out, ignore_errors=True)
        source = {"format": "fake", "name": name}
        write_shards(make_survey(records, (modality,), source=source), out, row_group_bytes=2000)
        return out

    return write_survey


@pytest.fixture
def curve(make: Any) -> Callable[..., Sample]:
    """A sample with a light curve, without the extras of the shared fixture."""

    def make_sample(
        name: str, object_id: str | None = None, seed: int = 0, length: int = 6, **parts: Any
    ) -> Sample:
        changes = {k: parts.pop(k) for k in ("categories", "metadata", "error") if k in parts}
        sequence = make.light_curve(length, seed, extras={}, **changes)
        return Sample(name, object_id or f"object-{name}", {"photometry": sequence}, **parts)

    return make_sample


def samples_of(path: Path) -> list[Sample]:
    folder = ShardFolder.open(path)
    tables = (folder.read_row_group(*group) for group in folder.row_groups())
    return [s for t in tables for s in samples_from_table(t, folder.manifest.modalities)]


def words(path: Path) -> dict[str, list[str]]:
    """The band of every measurement, by sample id."""
    band = ShardFolder.open(path).modalities["photometry"].categories[0].vocabulary
    return {
        s.sample_id: [band[k] for k in s.sequences["photometry"].categories["band"]]
        for s in samples_of(path)
        if "photometry" in s.sequences
    }


def test_nothing_is_lost_and_the_folder_is_sound(
    tmp_path: Path, write: Write, curve: Callable[..., Sample]
) -> None:
    lost = Quarantined("bad.dat", "", "broken")
    a = write("a", [lost, *(curve(f"a{i}", seed=i) for i in range(40))])
    b = write("b", [*(curve(f"b{i}", seed=50 + i) for i in range(30)), Ignored("LICENSE")])
    counts = merge([a, b], tmp_path / "ab")
    assert (counts.read, counts.written, counts.quarantined, counts.ignored) == (71, 70, 1, 1)
    assert validate(tmp_path / "ab") == []
    found, before = samples_of(tmp_path / "ab"), samples_of(a) + samples_of(b)
    assert [s.sample_id for s in found] == [s.sample_id for s in before]
    for one, other in zip(found, before, strict=True):
        assert (one.object_id, one.split, one.labels) == (
            other.object_id,
            other.split,
            other.labels,
        )
        mine, theirs = one.sequences["photometry"], other.sequences["photometry"]
        np.testing.assert_array_equal(mine.value, theirs.value)
        np.testing.assert_array_equal(mine.error, theirs.error)
        np.testing.assert_array_equal(mine.positions["time"], theirs.positions["time"])
    manifest = ShardFolder.open(tmp_path / "ab").manifest
    assert manifest.is_split_by_hash
    assert manifest.source["format"] == "fake"
    assert [s["name"] for s in manifest.source["surveys"]] == ["a", "b"]
    assert manifest.source["surveys"][0]["hash"] == ShardFolder.open(a).manifest.hash
    quarantine = pq.read_table(tmp_path / "ab" / QUARANTINE).to_pylist()
    assert quarantine == [{"file": "a/bad.dat", "unit": "", "reason": "broken"}]


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    vocabularies=st.lists(
        st.lists(st.sampled_from("ugrizyJHK"), unique=True), min_size=2, max_size=4
    ),
    seed=st.integers(0, 99),
)
def test_codes_keep_their_words(
    tmp_path: Path,
    write: Write,
    curve: Callable[..., Sample],
    vocabularies: list[list[str]],
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    paths: list[Path] = []
    expected: dict[str, list[str]] = {}
    for k, own in enumerate(vocabularies):
        band = Category("band", ("unknown", *own))
        codes = [rng.integers(0, len(own) + 1, 6).astype(np.int16) for _ in range(3)]
        records = [
            curve(f"{k}-{i}", seed=i + 10 * k, categories={"band": c}) for i, c in enumerate(codes)
        ]
        paths.append(write(f"s{k}", records, replace(LIGHT_CURVE, categories=(band,))))
        expected |= words(paths[-1])
    merge(paths, tmp_path / "all", overwrite=True)
    assert words(tmp_path / "all") == expected
    united = ShardFolder.open(tmp_path / "all").modalities["photometry"].categories[0].vocabulary
    assert united == ("unknown", *dict.fromkeys(w for own in vocabularies for w in own))


def test_metadata_and_labels_are_united(
    tmp_path: Path, write: Write, curve: Callable[..., Sample]
) -> None:
    other = replace(
        LIGHT_CURVE,
        metadata=(Category("site", ("unknown", "south", "north")), Axis("peak", "day", True)),
    )
    a = write(
        "a", [curve("a", metadata={"redshift": 0.5, "site": "north"}, labels={"class": "Ia"})]
    )
    known = {"site": "south", "peak": 3.0}
    b = write("b", [curve("b", seed=1, metadata=known, labels={"mass": 1.5})], other)
    merge([a, b], tmp_path / "ab")
    one, two = samples_of(tmp_path / "ab")
    assert one.labels == {"class": "Ia", "mass": None}
    assert two.labels == {"class": None, "mass": 1.5}
    assert one.sequences["photometry"].metadata == {"redshift": 0.5, "site": "north", "peak": None}
    assert two.sequences["photometry"].metadata == {"redshift": None, "site": "south", "peak": 3.0}
    assert validate(tmp_path / "ab") == []


def test_a_modality_of_one_survey_is_absent_in_the_other(
    tmp_path: Path, write: Write, curve: Callable[..., Sample], make: Any
) -> None:
    spectrum = Modality("spectrum", Axis("flux", ""), (Axis("wavelength", "nm"),), has_error=False)
    a = write("a", [curve("a")])
    sequence = replace(make.spectrum(5, 1), metadata={}, error=None)
    b = write("b", [Sample("b", "b", {"spectrum": sequence})], spectrum)
    merge([a, b], tmp_path / "ab")
    assert [list(s.sequences) for s in samples_of(tmp_path / "ab")] == [
        ["photometry"],
        ["spectrum"],
    ]
    assert validate(tmp_path / "ab") == []


def test_one_supernova_in_two_surveys_lies_in_one_split(
    tmp_path: Path, write: Write, curve: Callable[..., Sample]
) -> None:
    objects = [f"sn{1990 + i}ab" for i in range(30)]
    a = write("a", [curve(f"a{i}", o, seed=i) for i, o in enumerate(objects)])
    b = write("b", [curve(f"b{i}", o, seed=99 + i) for i, o in enumerate(reversed(objects))])
    assert merge([a, b], tmp_path / "ab").written == 60
    splits: dict[str, set[str | None]] = {}
    for sample in samples_of(tmp_path / "ab"):
        splits.setdefault(sample.object_id, set()).add(sample.split)
    assert splits == {o: {split_of(o)} for o in objects}
    assert {s for found in splits.values() for s in found} > {"train", "test"} - {None}
    assert set(SPLITS) >= {s for found in splits.values() for s in found}


def test_a_surveys_own_splits_stay_and_a_contradiction_is_quarantined(
    tmp_path: Path, write: Write, curve: Callable[..., Sample]
) -> None:
    elsewhere = next(s for s in SPLITS if s != split_of("shared"))
    a = write("a", [curve("a", "shared")])
    b = write("b", [curve("b", "shared", 1, split=elsewhere), curve("c", "own", 2, split="test")])
    counts = merge([a, b], tmp_path / "ab")
    assert (counts.written, counts.quarantined) == (2, 1)
    assert not ShardFolder.open(tmp_path / "ab").manifest.is_split_by_hash
    assert {s.object_id: s.split for s in samples_of(tmp_path / "ab")}["own"] == "test"
    (row,) = pq.read_table(tmp_path / "ab" / QUARANTINE).to_pylist()
    assert "'shared'" in row["reason"]


def test_equal_ids_get_their_folders_name(
    tmp_path: Path, write: Write, curve: Callable[..., Sample]
) -> None:
    a = write("a", [curve("1", "x"), curve("2", "y", 1)])
    b = write("b", [curve("1", "z", 2), curve("3", "w", 3)])
    merge([a, b], tmp_path / "ab")
    assert [s.sample_id for s in samples_of(tmp_path / "ab")] == ["1", "2", "b/1", "3"]
    assert validate(tmp_path / "ab") == []


def test_one_sample_given_twice_is_written_once(
    tmp_path: Path, write: Write, curve: Callable[..., Sample]
) -> None:
    a = write("a", [curve(str(i), seed=i) for i in range(5)])
    b = write("b", [curve(str(i), seed=i) for i in range(3, 8)])
    counts = merge([a, b], tmp_path / "ab")
    assert (counts.read, counts.written, counts.quarantined) == (10, 8, 2)
    reasons = Counter(pq.read_table(tmp_path / "ab" / QUARANTINE)["reason"].to_pylist())
    assert list(reasons.values()) == [2]


CLASHES: dict[str, dict[str, Any]] = {
    "uJy": {"value": Axis("flux", "mJy")},
    "flux in relative": {"value": Axis("flux", "relative")},
    "observer frame": {"positions": (Axis("time", "day", True, "rest"),)},
    "in second": {"positions": (Axis("time", "second", True, "observer"),)},
    "phase": {"positions": (Axis("time", "day", True, "observer"), Axis("phase", "day"))},
    "no errors": {"has_error": False},
    "truth": {"extras": (Axis("truth", "uJy"),)},
    "filter": {"categories": (Category("filter", ("unknown", "g", "r")),)},
    "metadata redshift": {"metadata": (Axis("redshift", "km/s"),)},
    "site in words": {"metadata": (Axis("site", "m"),)},
}


@pytest.mark.parametrize("word", CLASHES)
def test_surveys_that_disagree_are_refused(
    tmp_path: Path, write: Write, curve: Callable[..., Sample], word: str
) -> None:
    other = replace(LIGHT_CURVE, **CLASHES[word])
    sample = curve("b", seed=1)
    sequence = sample.sequences["photometry"]
    codes = sequence.categories["band"]
    sequence = replace(
        sequence,
        error=sequence.error if other.has_error else None,
        positions={a.name: sequence.positions["time"] for a in other.positions},
        categories={c.name: codes for c in other.categories},
    )
    a = write("first", [curve("a")])
    b = write("second", [replace(sample, sequences={"photometry": sequence})], other)
    for paths in ([a, b], [b, a]):
        with pytest.raises(DataError, match=word) as error:
            merge(paths, tmp_path / "out")
        assert "'first'" in str(error.value)
        assert "'second'" in str(error.value)
        assert "\n" not in str(error.value)
        assert not (tmp_path / "out").exists()


def test_labels_of_other_types_are_refused(
    tmp_path: Path, write: Write, curve: Callable[..., Sample]
) -> None:
    a = write("a", [curve("a", labels={"class": "Ia"})])
    b = write("b", [curve("b", seed=1, labels={"class": 3.0})])
    with pytest.raises(DataError, match=r"label 'class': string in 'a', float in 'b'"):
        merge([a, b], tmp_path / "ab")


def test_wrong_use_is_one_sentence(
    tmp_path: Path,
    write: Write,
    curve: Callable[..., Sample],
    capsys: pytest.CaptureFixture[str],
) -> None:
    a, b = write("a", [curve("a")]), write("b", [curve("b", seed=1)])
    shutil.copytree(a, tmp_path / "elsewhere" / "a")
    with pytest.raises(DataError, match="two folders"):
        merge([a], tmp_path / "out")
    with pytest.raises(DataError, match="'a' and 'a-2' hold the same data"):
        merge([a, tmp_path / "elsewhere" / "a"], tmp_path / "out")
    with pytest.raises(DataError, match="one of the folders"):
        merge([a, b], b, overwrite=True)
    with pytest.raises(DataError, match=r"no manifest\.json"):
        merge([a, tmp_path], tmp_path / "out")
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="is a file"):
        merge([a, b], tmp_path / "file")
    assert run_app(app, ["merge", str(a), str(b), "--out", str(tmp_path / "ab")]) == 0
    assert "read 2 = written 2 + quarantined 0 from 2 folders" in capsys.readouterr().out
    assert run_app(app, ["merge", str(a), str(b), "--out", str(tmp_path / "ab")]) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert (
        run_app(app, ["merge", str(a), str(b), "--overwrite", "--out", str(tmp_path / "ab")]) == 0
    )


@pytest.mark.parametrize("name", ["quarantine.parquet", "ignored.parquet"])
@pytest.mark.parametrize("is_there", [True, False])
def test_a_lost_quarantine_is_one_sentence(
    tmp_path: Path, write: Write, curve: Callable[..., Sample], name: str, is_there: bool
) -> None:
    a, b = write("a", [curve("a")]), write("b", [curve("b", seed=1)])
    (b / name).write_bytes(b"PAR1") if is_there else (b / name).unlink()
    with pytest.raises(DataError, match=rf"b/{name}' is not there or damaged: ") as error:
        merge([a, b], tmp_path / "out")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()
    if name.startswith("quarantine"):
        with pytest.raises(DataError, match="is not there or damaged"):
            quarantine_reasons(ShardFolder.open(b))


@pytest.mark.slow
def test_text_and_fits_of_snana_become_one(shared_data: Path, tmp_path: Path) -> None:
    ingest("snana_fits", shared_data / "snana_fits.tar.gz", tmp_path / "fits")
    ingest("snana", shared_data / "spcc_subset.tar.xz", tmp_path / "spcc")
    ingest("snid", shared_data / "snid_templates.tar.xz", tmp_path / "snid")
    counts = merge([tmp_path / n for n in ("fits", "spcc", "snid")], tmp_path / "all")
    assert counts.written == sum(
        ShardFolder.open(tmp_path / n).manifest.num_written for n in ("fits", "spcc", "snid")
    )
    assert validate(tmp_path / "all") == []
    assert words(tmp_path / "fits").items() <= words(tmp_path / "all").items()
    assert words(tmp_path / "spcc").items() <= words(tmp_path / "all").items()


@pytest.mark.slow
def test_supernovae_of_two_real_surveys_lie_in_one_split(shared_data: Path, tmp_path: Path) -> None:
    ingest("snana", shared_data / "salt3_training.tar.xz", tmp_path / "salt3")
    ingest("snana_fits", shared_data / "snana_fits.tar.gz", tmp_path / "lowz")
    merge([tmp_path / "salt3", tmp_path / "lowz"], tmp_path / "both")
    ids = [
        set(ShardFolder.open(tmp_path / name).lengths()["object_id"].to_pylist())
        for name in ("salt3", "lowz")
    ]
    table = ShardFolder.open(tmp_path / "both").lengths()
    pairs = set(zip(table["object_id"].to_pylist(), table["split"].to_pylist(), strict=True))
    assert len(ids[0] & ids[1]) == 92  # CfA and CSP supernovae that both have
    assert len(pairs) == len(ids[0] | ids[1])
