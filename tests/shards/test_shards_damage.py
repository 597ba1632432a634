"""Folders that were cut, mixed or edited: named in one sentence on opening or reading, and by
`validate` down to the single byte."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from daep_ray.errors import DataError
from daep_ray.shards.manifest import LENGTHS, MANIFEST, QUARANTINE, Manifest, footer_of
from daep_ray.shards.read import ShardFolder
from daep_ray.shards.validate import validate
from daep_ray.shards.write import write_shards


def read_everything(path: Path) -> None:
    folder = ShardFolder.open(path)
    for shard, row_group in folder.row_groups():
        folder.read_row_group(shard, row_group)


def files_with_problems(path: Path) -> set[str]:
    return {problem.file for problem in validate(path)}


def edit(path: Path, change) -> None:
    """Change a Parquet file's table in place."""
    pq.write_table(change(pq.read_table(path)), path, compression="zstd")


def one_sentence(error: pytest.ExceptionInfo) -> bool:
    return "\n" not in str(error.value)


def test_a_sound_folder_has_no_problems(folder):
    read_everything(folder)
    assert validate(folder) == []


def test_a_folder_without_manifest(tmp_path):
    for path, words in ((tmp_path, "has no manifest.json"), (tmp_path / "x", "is not there")):
        for function in (ShardFolder.open, validate):
            with pytest.raises(DataError, match=words) as error:
                function(path)
            assert one_sentence(error)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema_version": 1}', '{"schema_version": 9}'])
def test_a_manifest_that_is_none(folder, text):
    (folder / MANIFEST).write_text(text)
    with pytest.raises(DataError, match="ingest again") as error:
        ShardFolder.open(folder)
    assert one_sentence(error)


def test_an_edited_manifest(folder):
    raw = json.loads((folder / MANIFEST).read_text())
    raw["modalities"][0]["value"]["unit"] = "mag"
    (folder / MANIFEST).write_text(json.dumps(raw))
    with pytest.raises(DataError, match="was edited"):
        ShardFolder.open(folder)


@pytest.mark.parametrize("share", [0.0, 0.5, 0.999])
def test_a_shard_cut_is_named_on_opening(folder, share):
    shard = folder / "part-00001.parquet"
    content = shard.read_bytes()
    shard.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(DataError, match=r"part-00001\.parquet' is cut or damaged") as error:
        ShardFolder.open(folder)
    assert one_sentence(error)
    assert files_with_problems(folder) == {"part-00001.parquet"}


def test_a_missing_shard_is_named(folder):
    (folder / "part-00000.parquet").unlink()
    with pytest.raises(DataError, match=r"part-00000\.parquet' cannot be read \(No such file"):
        ShardFolder.open(folder)
    assert files_with_problems(folder) == {"part-00000.parquet"}


@pytest.mark.parametrize("file", ["part-00000.parquet", LENGTHS])
def test_a_file_from_another_ingest_is_named(folder, tmp_path, make, make_survey, file):
    other = tmp_path / "other"
    survey = make_survey(make.some_samples(60, prefix="t"))
    write_shards(survey, other, row_group_bytes=2000, shard_bytes=6000)
    shutil.copy(other / file, folder / file)
    with pytest.raises(DataError, match=f"{file}' comes from another ingest") as error:
        read_everything(folder)
    assert one_sentence(error)
    assert file in files_with_problems(folder)


def test_a_shard_of_the_same_size_from_another_ingest_is_named_on_reading(folder):
    """Also where the size cannot tell: the footer does."""
    path = folder / "part-00000.parquet"
    size = path.stat().st_size
    table = pq.read_table(path)
    changed = pa.array([f"x{name}" for name in table["sample_id"].to_pylist()])
    pq.write_table(table.set_column(0, "sample_id", changed), path)
    content = path.read_bytes()
    assert len(content) < size * 3
    raw = json.loads((folder / MANIFEST).read_text())
    raw["shards"][0]["bytes"] = len(content)
    (folder / MANIFEST).write_text(json.dumps(raw))
    with pytest.raises(DataError, match="comes from another ingest"):
        read_everything(folder)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_validate_sees_any_byte_that_changes(folder, data):
    files = sorted(path for path in folder.glob("part-*.parquet"))
    path = data.draw(st.sampled_from(files))
    content = path.read_bytes()
    place = data.draw(st.integers(0, len(content) - 1))
    changed = bytearray(content)
    changed[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(changed)
    try:
        assert path.name in files_with_problems(folder)
    finally:
        path.write_bytes(content)


def test_a_damaged_page_is_not_read_as_numbers(folder):
    """A flipped bit in the values decodes to other numbers unless the page's checksum is read."""
    path = folder / "part-00000.parquet"
    column = pq.read_metadata(path).row_group(0).column(10)
    content = bytearray(path.read_bytes())
    content[column.data_page_offset + column.total_compressed_size // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"part-00000\.parquet' cannot be read") as error:
        read_everything(folder)
    assert one_sentence(error)


def forge(folder: Path, change) -> None:
    """Change the first shard and give the manifest the sums of the changed one, as a bug would."""
    path = folder / "part-00000.parquet"
    table = change(pq.read_table(path))
    manifest = Manifest.read(folder)
    rows = manifest.shards[0].row_group_rows
    with pq.ParquetWriter(path, table.schema) as writer:
        for start, num in zip(np.cumsum((0, *rows[:-1])), rows, strict=True):
            writer.write_table(table.slice(start, num))
    raw = json.loads((folder / MANIFEST).read_text())
    raw["shards"][0] |= {
        "bytes": path.stat().st_size,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "footer": footer_of(path),
    }
    Manifest.from_json(raw).write(folder)


def put(name: str, row: int, value: object):
    def change(table: pa.Table) -> pa.Table:
        column = table[name].to_pylist()
        column[row] = value
        return table.set_column(
            table.column_names.index(name), name, pa.array(column, table[name].type)
        )

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (put("photometry.value", 1, [np.nan, 1, 1]), "value or position is not finite"),
        (put("photometry.time", 1, [np.inf, 1, 1]), "value or position is not finite"),
        (put("photometry.error", 1, [0, 1, 1]), "errors that are not positive"),
        (put("photometry.band", 1, [9, 0, 0]), "code outside its vocabulary"),
        (put("photometry.band", 1, [0, 0]), "lists of unequal length"),
        (put("photometry.error", 1, None), "lists of unequal length"),
        (put("spectrum.instrument", 1, 7), "instrument has a code outside"),
        (put("split", 1, "holdout"), "a sample without id, object or split"),
        (put("split", 1, "test"), "splits that are not the hash of the object"),
        (put("sample_id", 1, "s0"), "1 sample ids were there before"),
        (put("sample_id", 1, None), "a sample without id, object or split"),
        (lambda t: t.set_column(2, "split", pa.array([1] * len(t))), "columns of other types"),
    ],
)
def test_validate_sees_rows_that_a_bug_would_write(folder, change, words):
    assert pq.read_table(folder / "part-00000.parquet")["split"][1].as_py() == "train"
    forge(folder, change)
    found = [p.what for p in validate(folder) if p.file == "part-00000.parquet"]
    assert any(words in what for what in found), found


def test_validate_compares_lengths_row_by_row(folder):
    def longer(table: pa.Table) -> pa.Table:
        column = table["photometry.length"].to_numpy().copy()
        column[17] += 1
        return table.set_column(
            table.column_names.index("photometry.length"), "photometry.length", pa.array(column)
        )

    edit(folder / LENGTHS, longer)
    found = [p.what for p in validate(folder) if p.file == LENGTHS]
    assert any("photometry.length differs from row group" in what for what in found), found
    edit(folder / LENGTHS, lambda table: table.slice(0, 30))
    assert any("has no rows for part-00001" in p.what for p in validate(folder))


@pytest.mark.parametrize("file", [QUARANTINE, LENGTHS])
def test_validate_names_a_small_table_that_is_missing(folder, file):
    (folder / file).unlink()
    assert file in files_with_problems(folder)


def test_validate_names_a_file_too_many_and_wrong_counts(folder):
    shutil.copy(folder / "part-00000.parquet", folder / "part-00099.parquet")
    raw = json.loads((folder / MANIFEST).read_text())
    raw["counts"]["train"]["num_objects"] += 1
    raw["num_read"] += 1
    (folder / MANIFEST).write_text(json.dumps(raw))
    found = {(p.file, p.what) for p in validate(folder)}
    assert found == {
        ("part-00099.parquet", "is not in the manifest"),
        (MANIFEST, "the counts of split train are not those of the shards"),
        (MANIFEST, "num_read is not num_written + num_quarantined"),
    }
