"""Long tables: counts of the real archives, a direct loop as reference, streaming."""

import csv
import io
import json
import math
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from daep_ray.sample import Ignored, Quarantined, Record, Sample
from daep_ray.surveys import open_survey, source, table_files, table_groups

ROOT = Path(__file__).resolve().parents[2]
Write = Callable[[dict[str, str | bytes]], Path]
LONG = {
    "survey": "mine",
    "files": ["*.csv", "*.parquet"],
    "layout": "csv",
    "object": "id",
    "value": {"column": "flux", "unit": "relative"},
    "error": {"column": "error"},
    "time": {"column": "mjd"},
    "category": {"column": "band", "words": {"g": "g", "r": "r"}},
}


def read(folder: Path, mapping: str | dict[str, Any]) -> list[Record]:
    if isinstance(mapping, dict):
        path = folder.parent / "mine.yaml"
        path.write_text(yaml.safe_dump(mapping))
        mapping = str(path)
    return list(open_survey("table", folder, {"mapping": mapping}).records())


def samples(records: list[Record]) -> dict[str, Sample]:
    return {r.sample_id: r for r in records if isinstance(r, Sample)}


class Counted:
    """What one archive gives under a mapping, in the words of counts.json."""

    def __init__(self, archive: Path, mapping: str) -> None:
        survey = open_survey("table", archive, {"mapping": mapping})
        (modality,) = survey.modalities
        self.ignored: list[str] = []
        self.samples: list[Sample] = []
        self.words: Counter[str] = Counter()
        for record in survey.records():
            assert not isinstance(record, Quarantined), record
            if isinstance(record, Ignored):
                self.ignored.append(record.file)
            else:
                self.samples.append(record)
        self.sequences = [s.sequences[modality.name] for s in self.samples]
        for category in modality.categories:
            for sequence in self.sequences:
                codes = sequence.categories[category.name]
                self.words.update(category.vocabulary[code] for code in codes)
        self.num_points = sum(map(len, self.sequences))

    def labels(self, name: str) -> dict[object, int]:
        return dict(Counter(s.labels[name] for s in self.samples))

    def num_known(self, metadata: str) -> int:
        return sum(s.metadata[metadata] is not None for s in self.sequences)

    def num_negative(self) -> int:
        return sum(int((s.value < 0).sum()) for s in self.sequences)


@pytest.fixture
def counted(shared_data: Path) -> Callable[[str, str], Counted]:
    return lambda archive, mapping: Counted(shared_data / archive, mapping)


@pytest.fixture
def expected(shared_data: Path) -> dict[str, Any]:
    counts: dict[str, Any] = json.loads((shared_data / "counts.json").read_text())
    return counts


ZTF, SDSS = "ztf_bts_snia.tar.gz", "sdss_s82_rrlyrae.tar.gz"
PLASTICC, BROKER = "plasticc_train_subset.tar.xz", "broker_light_curves.tar.gz"
OGLE, PHYSIONET = "ogle_macho_variables.tar.gz", "physionet2012_subset.tar.gz"


def test_ztf_bts(counted: Callable[..., Counted], expected: dict[str, Any]) -> None:
    found, counts = counted(ZTF, "ztf-bts"), expected[ZTF]
    bands = counts["bands"]
    assert len(found.samples) == counts["objects"]
    assert found.num_points == counts["points"]
    assert found.words == {"r": bands["R"], "g": bands["g"], "i": bands["i"]}
    assert found.labels("class") == {"Ia": counts["objects"]}
    lengths = [len(s) for s in found.sequences]
    assert (min(lengths), max(lengths)) == (counts["min_len"], counts["max_len"])
    assert found.num_known("redshift") >= counts["objects"] - 2  # two are blank
    assert found.num_known("peak") == counts["objects"]
    one = next(s for s in found.samples if s.sample_id == "ZTF20aadvunl")
    assert one.object_id.startswith("sn20")
    # 25 of 2313 rows have no light curve: they are no samples
    assert counts["metadata"]["bts.csv"]["rows"] == len(found.samples) + 25
    # the peak, put on the light curve's time, lies within it or close by, as it must for a
    # survey that sees supernovae rise: half of them rose before their tenth day
    offset = np.array([s.metadata["peak"] - s.positions["time"][0] for s in found.sequences])
    assert 0 < np.median(offset) < 30


def test_sdss_rr_lyrae(counted: Callable[..., Counted], expected: dict[str, Any]) -> None:
    found, counts = counted(SDSS, "sdss-rrlyrae"), expected[SDSS]
    types = counts["metadata"]["periods.csv"]["Type"]
    assert len(found.samples) == counts["objects"]
    assert found.num_points == counts["points"] - counts["implausible_mag"]  # the sentinels
    assert found.labels("subtype") == types
    assert found.labels("class") == {"RRab": types["ab"], "RRc": types["c"]}
    assert all(0.2 < float(s.labels["period"] or 0) < 1 for s in found.samples)
    assert max(float(s.value.max()) for s in found.sequences) < 30
    assert all(s.object_id == f"sdss-s82-{s.sample_id}" for s in found.samples)


def test_plasticc(counted: Callable[..., Counted], expected: dict[str, Any]) -> None:
    found, counts = counted(PLASTICC, "plasticc"), expected[PLASTICC]
    assert len(found.samples) == counts["objects"]
    assert found.num_points == counts["points"]
    assert found.words == {
        "ugrizy"[int(code)]: number for code, number in counts["passbands"].items()
    }
    assert found.num_negative() == counts["negative_flux"]
    assert found.num_known("redshift") == counts["objects"] - counts["hostgal_specz_zero"]
    target = counts["target"]
    by_class = found.labels("class")
    assert by_class["Ia"] == target["90"] + target["67"] + target["52"]
    assert by_class["microlens"] == target["6"]
    assert len(found.labels("subtype")) == len(target)
    assert set(found.sequences[0].metadata) == {"redshift"}
    assert set(found.samples[0].labels) == {"class", "subtype"}  # nothing of the truth


def test_alerce_variables(counted: Callable[..., Counted], expected: dict[str, Any]) -> None:
    found, counts = counted(BROKER, "alerce"), expected[BROKER]["alerce_variables"]
    assert len(found.samples) == counts["objects"]
    assert found.num_points == counts["detections"] - counts["magpsf_corr_nan"]
    assert max(float(np.max(s.error)) for s in found.sequences if s.error is not None) < 1
    assert any("non_detections" in file for file in found.ignored)


def test_alerce_supernovae(counted: Callable[..., Counted], expected: dict[str, Any]) -> None:
    found, counts = counted(BROKER, "alerce-sne"), expected[BROKER]["alerce_30_sne"]
    assert len(found.samples) == counts["objects"]
    assert found.num_points == counts["detections"]
    assert found.num_negative() == 1  # the one row whose isdiffpos is -1


def test_elasticc(counted: Callable[..., Counted], expected: dict[str, Any]) -> None:
    found = counted(BROKER, "elasticc")
    large, small = expected[BROKER]["elasticc_400"], expected[BROKER]["elasticc_10"]
    assert len(found.samples) == large["objects"] + small["objects"]
    assert found.num_points == large["points"] + small["points"] - large["error_ge_1e7"]
    assert min(map(len, found.sequences)) == 1
    assert found.num_known("redshift") == small["metadata_rows"]


def test_ogle_and_macho(counted: Callable[..., Counted], expected: dict[str, Any]) -> None:
    counts = expected[OGLE]
    found = counted(OGLE, "ogle")
    text = {name: c for name, c in counts.items() if name.startswith("ogle2_text")}
    assert len(found.samples) == sum(c["objects"] for c in text.values())
    assert found.num_points == sum(c["points"] for c in text.values())
    assert found.labels("subtype") == {n.split("/")[1]: c["objects"] for n, c in text.items()}
    stars = counted(OGLE, "ogle-fits")
    assert len(stars.samples) == counts["fits/be_stars"]["objects"]
    assert stars.num_points == counts["fits/be_stars"]["points"]
    quasars = counted(OGLE, "macho")
    assert len(quasars.samples) == counts["fits/qso"]["objects"]
    assert quasars.words == {"V": counts["fits/qso"]["points"], "R": 12491}


def test_physionet(counted: Callable[..., Counted], expected: dict[str, Any]) -> None:
    found, counts = counted(PHYSIONET, "physionet2012"), expected[PHYSIONET]
    assert len(found.samples) == counts["patients"]
    assert found.num_points == counts["dynamic_rows"] - counts["dynamic_minus1"]
    assert found.labels("class") == {
        "died": counts["deaths"],
        "survived": counts["patients"] - counts["deaths"],
    }
    # every missing dynamic value is a weight at 00:00
    weight = counts["parameter_counts"].pop("Weight")
    assert found.words.pop("Weight") == weight - counts["dynamic_minus1"]
    assert found.words == counts["parameter_counts"]
    assert max(float(s.positions["time"][-1]) for s in found.sequences) == counts["max_minute"] / 60
    num_missing = sum(s.labels[n] is None for s in found.samples for n in ("age", "height"))
    assert num_missing <= counts["static_minus1"]


# ---------------------------------------------------------------- against a direct loop

entries = st.one_of(
    st.floats(-1e6, 1e6, width=32).map(str), st.sampled_from(["", "nan", "inf", " 1.5 ", "+2"])
)
long_rows = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "7", "c d"]), entries, entries, entries, st.sampled_from("gr")
    ),
    min_size=1,
    max_size=60,
)


def loop(rows: list[tuple[str, ...]]) -> dict[str, list[tuple[float, ...]]]:
    """The light curves of a long table, row by row."""
    found = defaultdict(list)
    for name, *texts, band in rows:
        time, value, error = (float(t) if t.strip() else math.nan for t in texts)
        if all(map(math.isfinite, (time, value, error))) and error > 0:
            found[name].append((time, value, error, " gr".index(band)))
    return {name: sorted(points, key=lambda p: p[0]) for name, points in found.items()}


@settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(rows=long_rows, batch=st.integers(1, 40), is_parquet=st.booleans())
def test_a_long_table_equals_a_loop_over_its_rows(
    write: Write,
    monkeypatch: pytest.MonkeyPatch,
    rows: list[tuple[str, ...]],
    batch: int,
    is_parquet: bool,
) -> None:
    """Grouped or not, whatever the batches, as CSV or Parquet."""
    monkeypatch.setattr(table_files, "_BATCH_ROWS", batch)
    monkeypatch.setattr(table_files, "_BATCH_BYTES", 1024)
    names = ["id", "mjd", "flux", "error", "band"]
    buffer = io.StringIO()
    csv.writer(buffer).writerows([names, *rows])
    content: str | bytes = buffer.getvalue()
    if is_parquet:
        sink = io.BytesIO()
        by_name = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
        pq.write_table(pa.table(by_name), sink)
        content = sink.getvalue()
    kind = "parquet" if is_parquet else "csv"
    for other in ("csv", "parquet"):
        (write({}) / f"t.{other}").unlink(missing_ok=True)
    records = read(write({f"t.{kind}": content}), LONG | {"layout": kind})
    truth = loop(rows)
    assert set(samples(records)) == set(truth)
    lost = [r for r in records if isinstance(r, Quarantined)]
    assert {r.unit for r in lost} == {row[0] for row in rows} - set(truth)
    for name, sample in samples(records).items():
        found = sample.sequences["photometry"]
        assert found.error is not None
        columns = [found.positions["time"], found.value, found.error, found.categories["band"]]
        assert np.column_stack(columns).tolist() == [list(point) for point in truth[name]]


def long_text(num_objects: int, num_rows: int) -> str:
    rows = [f"{k},{59000 + i},{i}.5,0.1,g" for k in range(num_objects) for i in range(num_rows)]
    return "\n".join(["id,mjd,flux,error,band", *rows]) + "\n"


def test_a_file_too_large_to_be_read_whole_is_streamed(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write({"t.csv": long_text(50, 40)})
    whole = samples(read(folder, LONG))
    monkeypatch.setattr(source, "STREAMED_BYTES", 1000)
    monkeypatch.setattr(table_files, "_BATCH_BYTES", 2000)
    read_of: list[int] = []
    original = table_groups.read_batches

    def counted_batches(*args: Any) -> Any:
        for table in original(*args):
            read_of.append(table.num_rows)
            yield table

    monkeypatch.setattr(table_groups, "read_batches", counted_batches)
    streamed = samples(read(folder, LONG))
    assert list(streamed) == list(whole)
    assert len(streamed) == 50
    assert max(read_of) < 150  # of 2,000 rows
    for name, sample in streamed.items():
        assert len(sample.sequences["photometry"]) == 40
        assert np.array_equal(
            sample.sequences["photometry"].value, whole[name].sequences["photometry"].value
        )


def test_rows_that_do_not_stand_together_are_sorted_up_to_a_bound(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    head, *rows = long_text(3, 4).splitlines()
    folder = write({"t.csv": "\n".join([head, *sorted(rows, key=lambda r: r.split(",")[1])])})
    found = samples(read(folder, LONG))
    assert {name: len(s.sequences["photometry"]) for name, s in found.items()} == dict.fromkeys(
        "012", 4
    )
    monkeypatch.setattr(table_groups, "MAX_SORTED_ROWS", 10)
    (lost,) = read(folder, LONG)
    assert isinstance(lost, Quarantined)
    assert "sort the table by 'id'" in lost.reason


PEAK_MEMORY = """
import sys
from pathlib import Path
from daep_ray.surveys import open_survey
survey = open_survey("table", Path(sys.argv[1]), {"mapping": sys.argv[2]})
num_samples = sum(1 for _ in survey.records())
# not ru_maxrss, which begins at the peak of the process that started this one
status = Path("/proc/self/status").read_text()
print(num_samples, int(status.partition("VmHWM:")[2].split()[0]))
"""


@pytest.mark.slow
def test_memory_is_flat_in_the_number_of_objects(tmp_path: Path) -> None:
    """Ten times the objects, at most 1.1 times the peak memory; both files are streamed."""
    mapping = tmp_path / "mine.yaml"
    mapping.write_text(yaml.safe_dump(LONG))
    row = "\n".join(f"{{}},{59000 + i / 7:.6f},{i * 1.1:.9f},0.123456789,g" for i in range(100))
    peaks = []
    for num_objects in (10_000, 100_000):
        with (tmp_path / "t.csv").open("w") as file:
            file.write("id,mjd,flux,error,band\n")
            file.writelines(row.replace("{}", str(k)) + "\n" for k in range(num_objects))
        assert (tmp_path / "t.csv").stat().st_size > source.STREAMED_BYTES
        command = [sys.executable, "-c", PEAK_MEMORY, str(tmp_path / "t.csv"), str(mapping)]
        run = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
        num_samples, peak = map(int, run.stdout.split())
        assert num_samples == num_objects
        peaks.append(peak)
    assert peaks[1] <= 1.1 * peaks[0], peaks
