"""Long tables with a fault each: one sentence, the bad object quarantined, the good ones kept."""

import gzip
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from astropy.io import fits
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from daep_ray.errors import DataError
from daep_ray.sample import Ignored, Quarantined, Record, Sample
from daep_ray.surveys import open_survey, source, table_files

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
WITH_OBJECTS = LONG | {
    "objects": {"files": "objects.csv", "key": "id"},
    "labels": {"class": {"column": "type", "is_supernova_type": True}},
    "metadata": {"redshift": {"column": "z", "low": 0}},
}


def read(folder: Path, mapping: str | dict[str, Any]) -> list[Record]:
    if isinstance(mapping, dict):
        path = folder.parent / "mine.yaml"
        path.write_text(yaml.safe_dump(mapping))
        mapping = str(path)
    return list(open_survey("table", folder, {"mapping": mapping}).records())


def split(records: list[Record]) -> tuple[list[str], list[Quarantined]]:
    """The ids of what was read, and what was lost: in one line each, with a reason."""
    lost = [r for r in records if isinstance(r, Quarantined)]
    assert all(r.reason and "\n" not in r.reason for r in lost)
    return [r.sample_id for r in records if isinstance(r, Sample)], lost


@pytest.mark.parametrize(
    ("rows", "unit", "reason"),
    [
        ("b,59000,faint,0.1,g\nb,59001,1,0.1,g\n", "b", "flux 'faint' is not a number"),
        ("b,noon,1,0.1,g\n", "b", "mjd 'noon' is not a number"),
        ("b,59000,1,0.1,y\nb,59001,1,0.1,g\n", "b", "band 'y' is no band of the mapping (g, r, x)"),
        ("b,59000,1,0.1\nb,59001,1,0.1,g\n", "b", "a row has 4 entries instead of 5"),
        ("b,59000,1,0.1,g,7\n", "b", "a row has 6 entries instead of 5"),
        ("b,59000,nan,0.1,g\nb,59001,1,inf,g\nb,,1,1,g\n", "b", "no valid measurement"),
        ("b,59000,1,0,g\nb,59001,1,-9,r\n", "b", "no valid measurement"),
        ("b,59000,-999,1,g\nb,59001,1e7,1,r\nb,1,1,1,x\n", "b", "no valid measurement"),
        ("b,59000,1_000,0.1,g\n", "b", "flux '1_000' is not a number"),
        (",59000,1,0.1,g\n", "", "rows without an object id"),
        ("A,59000,1,0.1,g\n", "A", "the object 'a' stands in this file already"),
    ],
)
def test_a_bad_object_leaves_the_others(write: Write, rows: str, unit: str, reason: str) -> None:
    after = "c,59000,1.5,0.1,g\n"
    good, lost = split(read(write({"t.csv": HEAD + GOOD + rows + after}), LONG))
    assert good == ["a", "c"]
    assert [(r.file, r.unit) for r in lost] == [("t.csv", unit)]
    assert reason in lost[0].reason


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("t1.csv", "id,mjd,flux,err,band\n" + GOOD, "has no column 'error': is it 'err'?"),
        ("t1.csv", "id,mjd,flux,error,error\n" + GOOD, "has the column 'error' twice"),
        ("t1.csv", "", "is empty"),
        ("t1.csv", "\n\n", "is empty"),
        ("t1.csv", HEAD, "no rows"),
        ("t1.csv", b"\0\0" + HEAD.encode(), "binary"),
        ("t1.csv", HEAD.replace("mjd", "m\xe9t").encode("latin1"), "has no column 'mjd'"),
        ("t1.csv.gz", gzip.compress(HEAD.encode(), mtime=0)[:20], "no whole gzip file"),
    ],
)
def test_a_bad_file_leaves_the_others(
    write: Write, name: str, content: str | bytes, reason: str
) -> None:
    good, lost = split(read(write({"t0.csv": HEAD + GOOD, name: content}), LONG))
    assert good == ["a"]
    assert [r.file for r in lost] == [name]
    assert reason in lost[0].reason


@pytest.mark.parametrize("is_streamed", [False, True])
def test_text_that_is_no_utf_8_costs_its_object_only(
    write: Write, monkeypatch: pytest.MonkeyPatch, is_streamed: bool
) -> None:
    if is_streamed:
        monkeypatch.setattr(source, "STREAMED_BYTES", 1)
        monkeypatch.setattr(table_files, "_BATCH_BYTES", 41)  # blocks end within a letter
    rows = b"b\xe9,59000,1,0.1,g\nc,59000,\xff,0.1,g\nd,59000,1,0.1,g\ne,\xff\n"
    rows += "\u00e9toile\u2605,59000,1,0.1,g\n".encode() * 3
    good, lost = split(read(write({"t.csv": (HEAD + GOOD).encode() + rows}), LONG))
    assert good == ["a", "d", "\u00e9toile\u2605"]
    reasons = ["no UTF-8 text", "flux '\ufffd' is not a number", "a row has 2 entries instead of 5"]
    assert all(part in r.reason for part, r in zip(reasons, lost, strict=True))


SHARED_FOLDER = [HealthCheck.function_scoped_fixture]  # every example writes the same file anew


@settings(deadline=None, max_examples=150, suppress_health_check=SHARED_FOLDER)
@given(data=st.data(), layout=st.sampled_from(["csv", "whitespace", "parquet"]))
def test_damaged_bytes_never_stop_the_ingest(
    write: Write, data: st.DataObject, layout: str
) -> None:
    numbers = {name: [1.0, 2.0] for name in ("mjd", "flux", "error")}
    columns = {"id": ["a", "b"], **numbers, "band": ["g", "r"]}
    text = (HEAD + GOOD).replace(",", "," if layout == "csv" else " ").encode()
    content = bytearray(parquet(columns) if layout == "parquet" else text)
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(content)))
        content[start : start + data.draw(st.integers(0, 9))] = data.draw(st.binary(max_size=4))
    folder = write({"t0.csv": bytes(content)})
    records = read(folder, LONG | {"layout": layout, "files": "t0.csv"})
    assert records
    split(records)


def test_two_spellings_of_one_supernova_in_two_files(write: Write) -> None:
    rows = "mjd,flux,error,band\n59000,1,0.1,g\n"
    mapping = {k: v for k, v in LONG.items() if k != "object"} | {"files": "*.csv"}
    records = read(write({"SN 1999aa.csv": rows, "b/sn99aa.csv": rows, "x.csv": rows}), mapping)
    good, lost = split(records)
    assert good == ["SN 1999aa", "x"]
    assert [r.file for r in lost] == ["b/sn99aa.csv"]
    assert "'sn1999aa' stands in 'SN 1999aa.csv' already" in lost[0].reason


def test_a_gzip_bomb_is_refused(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "MAX_FILE_BYTES", 10_000)
    bomb = gzip.compress(HEAD.encode() + b"0" * 10**6)
    good, lost = split(read(write({"t0.csv": HEAD + GOOD, "t1.csv.gz": bomb}), LONG))
    assert good == ["a"]
    assert "above the" in lost[0].reason


def test_rows_that_are_no_measurement_are_left_out(write: Write) -> None:
    """Another order, a sentinel, a word that the mapping leaves out; the rest in order of time."""
    rows = "a,59003,3,0.1,g\na,59001,1,0.1,r\na,59002,-999,0.1,g\na,59002.5,2,0.1,x\n"
    (found,) = read(write({"t.csv": HEAD + rows}), LONG)
    assert isinstance(found, Sample)
    curve = found.sequences["photometry"]
    assert curve.value.tolist() == [1, 3]
    assert curve.positions["time"].tolist() == [59001, 59003]
    assert curve.categories["band"].tolist() == [2, 1]
    assert found.labels == {"class": None, "subtype": None}


# ---------------------------------------------------------------- the object table


def test_faults_of_the_object_table(write: Write) -> None:
    rows = "".join(f"{name},59000,1,0.1,g\n" for name in "abcde")
    table = "id,type,z\na,SN Ia-91T,0.1\nb,TDE,-9\nb,SN II,1\nc,SN II,far\nd,SN II\nf,SN II,1\n"
    records = read(write({"t.csv": HEAD + rows, "objects.csv": table}), WITH_OBJECTS)
    good, lost = split(records)
    assert good == ["a", "e"]  # e is not in the table: nothing is known of it
    facts = [(r.labels["class"], r.sequences["photometry"].metadata) for r in records[:1]]  # type: ignore[union-attr]
    assert facts == [("Ia", {"redshift": 0.1})]
    reasons = {r.unit: r.reason for r in lost}
    assert set(reasons) == {"b", "c", "d"}
    assert "two rows" in reasons["b"]
    assert "z 'far' is not a number" in reasons["c"]
    assert "2 entries instead of 3" in reasons["d"]


def test_an_object_table_that_lacks_a_column_or_is_not_there(write: Write) -> None:
    folder = write({"t.csv": HEAD + GOOD})
    with pytest.raises(DataError, match=r"the object table objects\.csv .* is not in"):
        read(folder, WITH_OBJECTS)
    write({"objects.csv": "id,Type,z\na,SN Ia,0\n"})
    with pytest.raises(DataError, match=r"has no column 'type': is it 'Type'\?"):
        read(folder, WITH_OBJECTS)


def test_labels_may_stand_in_the_rows(write: Write) -> None:
    head = "id,mjd,flux,error,band,type,z\n"
    rows = "a,2,1,1,g,SN Ia,0.5\na,1,1,1,g,SN II,0.7\nb,1,1,1,g,,\nc,1,1,1,g,SN II,far\n"
    mapping = {k: v for k, v in WITH_OBJECTS.items() if k != "objects"}
    a, b, c = read(write({"t.csv": head + rows}), mapping)
    assert isinstance(a, Sample)
    assert isinstance(b, Sample)
    assert isinstance(c, Quarantined)
    assert (a.labels["class"], a.sequences["photometry"].metadata["redshift"]) == ("Ia", 0.5)
    assert (b.labels["class"], b.sequences["photometry"].metadata["redshift"]) == (None, None)
    assert c.reason == "z 'far' is not a number"


def test_of_several_columns_the_first_that_is_measured_counts(write: Write) -> None:
    head = "id,mjd,flux,error,band,spec,phot\n"
    rows = "".join(
        f"{n},1,1,1,g,{z}\n" for n, z in zip("abc", ("0.1,9", "-9,0.2", "-9,"), strict=True)
    )
    redshift = {"column": ["spec", "phot"], "low": 0}
    found = read(write({"t.csv": head + rows}), LONG | {"metadata": {"redshift": redshift}})
    sequences = [r.sequences["photometry"] for r in found if isinstance(r, Sample)]
    assert [s.metadata["redshift"] for s in sequences] == [0.1, 0.2, None]


# ---------------------------------------------------------------- other layouts


def parquet(columns: dict[str, Any]) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue()


def test_parquet_columns_of_other_types(write: Write) -> None:
    columns: dict[str, Any] = {
        "id": pa.array([7, 7, 8]),
        "mjd": pa.array(["59001", "59000", "soon"]),
        "flux": pa.array([1, None, 3], pa.int16()),
        "error": pa.array([0.5, 0.5, 0.5], pa.float32()),
        "band": pa.array(["g", "r", "g"]).dictionary_encode(),
    }
    nested = columns | {"flux": pa.array([[1.0], [2.0], []])}
    mapping = LONG | {"files": "*.parquet", "layout": "parquet"}
    files = {"a.parquet": parquet(columns), "b.parquet": parquet(nested), "c.parquet": b"PAR1?"}
    good, lost = split(read(write(files), mapping))  # type: ignore[arg-type]
    assert good == ["7"]
    assert [(r.file, r.unit) for r in lost] == [
        ("a.parquet", "8"),
        ("b.parquet", ""),
        ("c.parquet", ""),
    ]
    assert lost[0].reason == "mjd 'soon' is not a number"
    assert "not one entry per row" in lost[1].reason


def test_text_between_blanks_without_a_header(write: Write) -> None:
    files: dict[str, str | bytes] = {
        "cepheids/a.dat": "# HJD mag err\n  2450001.5   17.5\t0.1 \r\n2450000.5 17.25 0.1\n\n",
        "quasars/b.dat": "2450000.5 17.25\n",
        "quasars/c.dat": "2450000.5 17.25 0.1 ",
    }
    records = read(write(files), "ogle")
    good, lost = split(records)
    assert good == ["a", "c"]
    first = records[0]
    assert isinstance(first, Sample)
    assert first.labels == {"class": "cepheid", "subtype": "cepheids"}
    assert first.sequences["photometry"].positions["time"].tolist() == [50000, 50001]
    assert "2 entries instead of 3" in lost[0].reason


def fits_table(filter_name: str | None, num_rows: int = 2, **names: str) -> fits.BinTableHDU:
    columns = [
        fits.Column(names.get(name, name), "E", array=np.arange(1.0, 1 + num_rows))
        for name in ("Time", "Magnitudes", "error")
    ]
    table = fits.BinTableHDU.from_columns(columns)
    if filter_name is not None:
        table.header["FILTER"] = filter_name
    return table


def test_fits_tables_one_per_filter(write: Write) -> None:
    def packed(*tables: fits.BinTableHDU) -> bytes:
        file = io.BytesIO()
        fits.HDUList([fits.PrimaryHDU(), *tables]).writeto(file)
        return file.getvalue()

    both = packed(fits_table("V"), fits_table("R", 3))
    files: dict[str, str | bytes] = {
        "qso/1.2.fits": both,
        "qso/2.fits": packed(fits_table(None)),
        "qso/3.fits": packed(fits_table("V", Time="hjd")),
        "qso/4.fits": packed(fits_table("I")),
        "qso/5.fits": both[:3000],
        "qso/6.fits": packed(),
    }
    records = read(write(files), "macho")
    good, lost = split(records)
    assert good == ["1.2"]
    first = records[0]
    assert isinstance(first, Sample)
    assert first.sequences["photometry"].categories["band"].tolist() == [1, 2, 1, 2, 2]
    reasons = [r.reason for r in lost]
    assert "no column 'FILTER'" in reasons[0]
    assert "no column 'Time'" in reasons[1]
    assert "'I' is no band" in reasons[2]
    assert len(lost) == 5


def test_rows_that_describe_a_stay(write: Write) -> None:
    """-1 is missing, the weight is both, hours go beyond a day."""
    text = (
        "Time,Parameter,Value\n00:00,RecordID,7\n00:00,Age,54\n00:00,Gender,-1\n00:00,Weight,80\n"
        "00:00,Height,-1\n00:07,HR,73\n00:07,HR,74\n01:30,pH,-1\n47:45,Weight,81.5\n"
    )
    files: dict[str, str | bytes] = {
        "set-a/7.txt": text,
        "set-a/8.txt": "Time,Parameter,Value\n5,HR,1\n",
        "set-a/9.txt": "Time,Parameter,Value\n05:00,HR,-1\n",
        "set-a/6.txt": "Time,Parameter,Value\n05:00,Age,54\n",
        "Outcomes-a.txt": "RecordID,In-hospital_death\n7,1\n",
    }
    six, first, *rest = read(write(files), "physionet2012")
    assert isinstance(six, Quarantined)
    assert "'Age' is no channel" in six.reason  # it is known at 00:00 only
    assert isinstance(first, Sample)
    assert first.object_id == "physionet2012-7"
    assert first.labels == {
        "class": "died", "subtype": None, "age": 54.0, "gender": None, "height": None,
        "icu_type": None, "weight": 80.0,
    }  # fmt: skip
    vitals = first.sequences["vitals"]
    assert vitals.value.tolist() == [80, 73, 74, 81.5]
    assert np.allclose(vitals.positions["time"], [0, 7 / 60, 7 / 60, 47.75], rtol=1e-15)
    assert vitals.error is None
    reasons = [r.reason for r in rest if isinstance(r, Quarantined)]
    assert reasons[0] == "Time '5' is not a time hh:mm"
    assert reasons[1] == "no valid measurement: no row has a reading and a time"


def test_difference_magnitudes_become_signed_fluxes(write: Write) -> None:
    head = "objectId,mjd,fid,magpsf,sigmapsf,isdiffpos\n"
    rows = "a,1,1,23.9,0.1,1\na,2,2,21.4,0.1,-1\na,3,1,20,0.1,0\na,4,1,20,0.1,\n"
    files: dict[str, str | bytes] = {
        "x_detections_corr.csv": head + rows,
        "x_non_detections.csv": "objectId,jd\na,2459000.5\n",
    }
    records = read(write(files), "alerce-sne")
    (found,) = (r for r in records if isinstance(r, Sample))
    curve = found.sequences["photometry"]
    assert np.allclose(curve.value, [1, -10], rtol=1e-12)
    assert curve.error is not None
    assert np.allclose(curve.error, np.array([1, 10]) * 0.1 * np.log(10) / 2.5, rtol=1e-12)
    assert Ignored("x_non_detections.csv") in records
