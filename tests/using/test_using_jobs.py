"""Jobs over shards: one file, the same bytes whoever computes it, nothing half, restarts."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from daep_ray.cli import app, run_app
from daep_ray.diffusion.samplers import DDIMConfig
from daep_ray.evaluate import parts
from daep_ray.pretrained import Autoencoder
from daep_ray.shards.read import ShardFolder


def call(command: str, run: Path, pairs: ShardFolder, out: Path, *more: str) -> int:
    return run_app(app, [command, str(run), str(pairs.path), "--out", str(out), *more])


def test_a_reconstruction_is_that_of_the_notebook(
    model: Autoencoder, run: Path, pairs: ShardFolder, tmp_path: Path
) -> None:
    assert call("reconstruct", run, pairs, tmp_path, "--draws", "2") == 0
    table = pq.read_table(tmp_path / "reconstruction.parquet")
    assert table.column("sample_id").equals(pairs.lengths().column("sample_id"))
    assert len(list(pairs.row_groups())) > 2
    rows = pairs.read_row_group(0, 1)
    direct = model.reconstruct(rows, num_draws=2)
    first = pairs.read_row_group(0, 0).num_rows
    mine = table.slice(first, rows.num_rows)
    for name in direct.column_names:
        assert mine[name].to_pylist() == direct[name].to_pylist(), name
    assert [p.name for p in tmp_path.iterdir()] == ["reconstruction.parquet"]


def test_another_number_of_steps_is_that_of_the_notebook(
    model: Autoencoder, run: Path, pairs: ShardFolder, tmp_path: Path
) -> None:
    path = "evaluation.sampler"
    chosen = ("--set", f"{path}.kind=ddim", "--set", f"{path}.num_steps=2")
    assert call("reconstruct", run, pairs, tmp_path, "--draws", "2", *chosen) == 0
    table = pq.read_table(tmp_path / "reconstruction.parquet")
    rows = pairs.read_row_group(0, 0)
    mine = table.slice(0, rows.num_rows)["spectrum.mean"].to_pylist()
    direct = model.reconstruct(rows, num_draws=2, sampler=DDIMConfig(num_steps=2))
    assert direct["spectrum.mean"].to_pylist() == mine
    assert model.reconstruct(rows, num_draws=2)["spectrum.mean"].to_pylist() != mine


@pytest.mark.parametrize("command", ["reconstruct", "translate", "sample"])
@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("model.width=8", "--set model.width is no setting of the solver"),
        ("evaluation.num_draws=3", "only evaluation.sampler.* may be set"),
        ("evaluation.sampler.num_step=3", "did you mean 'evaluation.sampler.num_steps'?"),
        ("evaluation.sampler.num_steps=0", "evaluation.sampler"),
        ("evaluation.sampler.num_steps", "--set needs PATH=VALUE"),
    ],
)
def test_what_is_no_setting_of_the_solver_is_refused(
    run: Path,
    pairs: ShardFolder,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    command: str,
    setting: str,
    words: str,
) -> None:
    more = ("--source", "photometry", "--target", "spectrum") if command == "translate" else ()
    assert call(command, run, pairs, tmp_path / "out", *more, "--set", setting) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line
    assert not list((tmp_path / "out").glob("*.parquet"))


def test_a_split_and_places_of_a_translation(run: Path, pairs: ShardFolder, tmp_path: Path) -> None:
    words = ("--source", "photometry", "--target", "spectrum", "--quantiles", "0.1,0.9")
    at = ("--at", "wavelength=4000:6000:5", "--at", "log_scale=0")
    assert call("translate", run, pairs, tmp_path, *words, *at, "--split", "train") == 0
    table = pq.read_table(tmp_path / "translation.parquet")
    assert set(table["split"].to_pylist()) == {"train"}
    answered = table.filter(table["spectrum.mean"].is_valid()).to_pylist()
    assert len(answered) > 20
    for row in answered:
        assert row["spectrum.wavelength"] == [4000, 4500, 5000, 5500, 6000]
        low, high = np.array(row["spectrum.quantiles"])
        assert (low <= high).all()
        assert np.isfinite(row["spectrum.mean"]).all()
    silent = table.filter(table["spectrum.mean"].is_null())["flag"].to_pylist()
    assert all("has no" in words for words in silent)


@pytest.mark.parametrize(
    ("source", "target"), [("photometry", ""), ("", "spectrum"), ("photometry", "radio")]
)
def test_a_translation_from_or_to_no_modality_is_refused(
    run: Path,
    pairs: ShardFolder,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    source: str,
    target: str,
) -> None:
    words = ("--source", source, "--target", target)
    assert call("translate", run, pairs, tmp_path / "out", *words) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "it has photometry, spectrum" in line
    assert not list((tmp_path / "out").glob("*.parquet"))


def test_an_interrupted_job_leaves_no_file_and_goes_on(
    run: Path, pairs: ShardFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert call("embed", run, pairs, tmp_path / "whole") == 0
    whole = (tmp_path / "whole" / "codes.parquet").read_bytes()
    out, plain = tmp_path / "cut", parts.write_part
    done: list[int] = []
    with monkeypatch.context() as patch:
        patch.setattr(parts, "write_part", _dying(plain, done))
        assert call("embed", run, pairs, out) == 130
    assert not (out / "codes.parquet").exists()
    assert done == [0, 1]
    monkeypatch.setattr(parts, "write_part", _counting(plain, done))
    assert call("embed", run, pairs, out) == 0
    assert done == list(range(len(list(pairs.row_groups()))))
    assert (out / "codes.parquet").read_bytes() == whole
    assert [p.name for p in out.iterdir()] == ["codes.parquet"]


def _counting(plain: Any, done: list[int]) -> Any:
    def write(trained: Any, folder: Any, job: Any, number: int) -> None:
        plain(trained, folder, job, number)
        done.append(number)

    return write


def _dying(plain: Any, done: list[int]) -> Any:
    count = _counting(plain, done)

    def write(trained: Any, folder: Any, job: Any, number: int) -> None:
        if number == 2:
            (job.parts / "000002.parquet.7.partial").write_bytes(b"half")
            raise KeyboardInterrupt
        count(trained, folder, job, number)

    return write


def test_parts_of_another_job_are_not_taken(
    run: Path, pairs: ShardFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[int] = []
    plain = parts.write_part
    with monkeypatch.context() as patch:
        patch.setattr(parts, "write_part", _dying(plain, done))
        assert call("reconstruct", run, pairs, tmp_path, "--draws", "2", "--seed", "1") == 130
    assert call("reconstruct", run, pairs, tmp_path, "--draws", "2") == 0
    found = (tmp_path / "reconstruction.parquet").read_bytes()
    assert call("reconstruct", run, pairs, tmp_path / "b", "--draws", "2") == 0
    assert (tmp_path / "b" / "reconstruction.parquet").read_bytes() == found


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--split", "night"), "no split 'night'"),
        (("--quantiles", "low"), "write numbers"),
        (("--at", "wavelength=1,2"), "with several modalities MODALITY.NAME"),
        (("--at", "spectrum.wavelength=a:b:c"), "LOW:HIGH:COUNT"),
        (("--at", "spectrum.wavelength=4000:7000:0"), "COUNT from 1"),
        (("--at", "spectrum.color=1"), "has 'color'"),
        (("--address", "10.0.0.1:6379"), "--workers 0 uses none"),
    ],
)
def test_what_a_command_cannot_do_is_one_sentence(
    run: Path,
    pairs: ShardFolder,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    sentence: str,
) -> None:
    assert call("reconstruct", run, pairs, tmp_path, *words) == 1
    told = capsys.readouterr().err
    assert sentence in told
    assert told.count("\n") == 1
    assert not list(tmp_path.glob("*.parquet"))


def test_a_model_without_a_prior_is_refused(
    run: Path, pairs: ShardFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("sample", run, pairs, tmp_path) == 1
    assert "has no prior to sample from" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.filterwarnings("error::ray.util.annotations.RayDeprecationWarning")
@pytest.mark.usefixtures("ray_session")
def test_the_same_bytes_for_any_number_of_workers(
    run: Path, pairs: ShardFolder, tmp_path: Path
) -> None:
    from daep_ray.evaluate.embed import FILE, code_tables
    from daep_ray.evaluate.jobs import run_on_workers
    from daep_ray.evaluate.parts import Job, run_here
    from daep_ray.pretrained import load_trained

    trained = load_trained(str(run))
    here = run_here(trained, pairs, Job(FILE, tmp_path / "here", code_tables))
    for num_workers in (1, 2):
        job = Job(FILE, tmp_path / str(num_workers), code_tables)
        done = run_on_workers(load_trained, str(run), pairs, job, num_workers)
        assert done.num_rows == here.num_rows
        assert done.path.read_bytes() == here.path.read_bytes()
        assert [p.name for p in done.path.parent.iterdir()] == [FILE]
