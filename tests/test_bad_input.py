"""Whatever a user gets wrong ends in one clear sentence, before Ray starts.

Every case: non-zero exit, at most three lines on standard error, the sentence says what to look
for, no traceback. Where some rows are good they are kept and the bad ones are told apart.
"""

import importlib.util
import json
import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import ray

from daep_ray import study_cli
from daep_ray.cli import app, run_app

ROOT = Path(__file__).resolve().parent.parent
BAD_FOLDER = Path("/proc/no-such-place/out")


@pytest.fixture(autouse=True)
def _no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("Ray was started for input that could be refused before")

    monkeypatch.setattr(ray, "init", refuse)


@pytest.fixture
def fails(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run `daep-ray` (or, with the first word `sweep`, the study) and return its one sentence."""

    def run(*words: object, code: int = 1) -> str:
        capsys.readouterr()
        texts = [str(w) for w in words]
        ended = _sweep(texts[1:]) if texts[0] == "sweep" else run_app(app, texts)
        told = capsys.readouterr().err
        assert ended == code, told
        assert 1 <= len(told.splitlines()) <= 3
        assert "Traceback" not in told
        return told

    return run


def _sweep(words: list[str]) -> int:
    path = ROOT / "studies" / "bottleneck_sweep.py"
    spec = importlib.util.spec_from_file_location("bottleneck_sweep", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with pytest.raises(SystemExit) as stop:
        study_cli.main("bottleneck_sweep", module.build, words)
    return int(stop.value.code or 0)


def template(name: str, nan_epoch: bool = False) -> str:
    """A SNID template of two epochs and 40 bins, in the format's fixed columns."""
    wavelength = np.linspace(3000, 9000, 40)
    flux = np.stack([np.sin(wavelength / 300), np.cos(wavelength / 300)])
    if nan_epoch:
        flux[1] = np.nan
    lines = [f"    2   40   3000.00   9000.00      2 {name:>12}      -9.99  Ia-norm     1  1"]
    lines += ["      2  2.3455      2  2.5555"]
    lines += [f"{k:7d}  2.4871 -0.15420  2.4871 -0.15420" for k in (1, 2)]
    lines += ["      0   -5.000    3.000"]
    lines += [f"{w:8.2f}{a:9.3f}{b:9.3f}" for w, a, b in zip(wavelength, *flux, strict=True)]
    return "\n".join(lines) + "\n"


@pytest.fixture
def templates(tmp_path: Path) -> Path:
    """A folder with one good template."""
    folder = tmp_path / "templates"
    folder.mkdir()
    (folder / "sn1999aa.lnw").write_text(template("sn1999aa"))
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an ingest `data` and a training `run`; tests copy what they damage."""
    folder = tmp_path_factory.mktemp("made")
    words = ["ingest", "synthetic", "--out", str(folder / "data"), "--set", "num_objects=60"]
    assert run_app(app, words) == 0
    words = ["train", str(folder / "data"), "--out", str(folder / "run"), "--preset", "smoke"]
    assert run_app(app, [*words, "--modality", "photometry", *_tiny()]) == 0
    return folder


def _tiny() -> list[str]:
    settings = ("model.width=16", "model.num_heads=2", "optimisation.num_objects=64")
    return [word for setting in settings for word in ("--set", setting)]


@pytest.fixture
def data(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made / "data", tmp_path / "data")


@pytest.fixture
def training(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made / "run", tmp_path / "run")


# ---- survey files


def test_an_empty_folder(fails: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for form in ("snid", "snana"):
        told = fails("ingest", form, tmp_path / "empty", "--out", tmp_path / "out")
        assert str(tmp_path / "empty") in told
        assert not (tmp_path / "out").exists()


def test_no_such_source_and_no_source(fails: Callable[..., str], tmp_path: Path) -> None:
    assert "absent" in fails("ingest", "snid", tmp_path / "absent", "--out", tmp_path / "out")
    assert "snid" in fails("ingest", "snid", "--out", tmp_path / "out")


def test_a_file_of_another_format(fails: Callable[..., str], tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "light_curve.csv").write_text("time,mag\n1,2\n")
    assert "lnw" in fails("ingest", "snid", source, "--out", tmp_path / "out")
    (source / "fake.lnw").write_text("SURVEY: DES\nSNID: 12\nNOBS: 1\n")
    fails("ingest", "snid", source, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_binary_file(fails: Callable[..., str], templates: Path, tmp_path: Path) -> None:
    only = tmp_path / "only"
    only.mkdir()
    noise = np.random.default_rng(0).bytes(20_000)
    (only / "noise.lnw").write_bytes(noise)
    fails("ingest", "snid", only, "--out", tmp_path / "out")
    (templates / "noise.lnw").write_bytes(noise)
    assert _quarantined(templates, tmp_path / "mixed") == {"noise.lnw": 1}


def test_a_truncated_template_is_quarantined_whole(
    fails: Callable[..., str], templates: Path, tmp_path: Path
) -> None:
    whole = template("sn2000bb")
    (templates / "sn2000bb.lnw").write_text(whole[: int(len(whole) * 0.7)])
    assert _quarantined(templates, tmp_path / "out") == {"sn2000bb.lnw": 2}
    words = ("--out", tmp_path / "strict", "--strict")
    assert "--strict" in fails("ingest", "snid", templates, *words)


def test_a_row_of_nans(templates: Path, tmp_path: Path) -> None:
    (templates / "sn2001cc.lnw").write_text(template("sn2001cc", nan_epoch=True))
    assert _quarantined(templates, tmp_path / "out", num_written=3) == {"sn2001cc.lnw": 1}


def _quarantined(source: Path, out: Path, num_written: int = 2) -> dict[str, int]:
    """Ingest, which must succeed; the number of quarantined samples by file, each with a reason."""
    assert run_app(app, ["ingest", "snid", str(source), "--out", str(out)]) == 0
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["num_written"] == num_written
    lost = pq.read_table(out / "quarantine.parquet").to_pylist()
    assert manifest["num_read"] == num_written + len(lost)
    assert all(row["reason"] for row in lost)
    files = [row["file"] or row["unit"] for row in lost]
    return {name: files.count(name) for name in files}


def test_an_unknown_format_or_setting_of_it(fails: Callable[..., str], tmp_path: Path) -> None:
    assert "snid" in fails("ingest", "snit", "x", "--out", tmp_path / "out")
    words = ("ingest", "synthetic", "--out", tmp_path / "out", "--set")
    assert "num_objects" in fails(*words, "num_object=5")
    assert "PATH=VALUE" in fails(*words, "num_objects")


# ---- shards


def damage_cut(data: Path) -> None:
    (shard,) = _shards(data)
    os.truncate(shard, shard.stat().st_size // 2)


def damage_swap(data: Path) -> None:
    """A shard of another ingest, of the same name."""
    words = ["ingest", "synthetic", "--out", str(data.parent / "other"), "--set", "num_objects=60"]
    assert run_app(app, [*words, "--set", "seed=9"]) == 0
    shutil.copy(_shards(data.parent / "other")[0], _shards(data)[0])


def damage_manifest(data: Path) -> None:
    (data / "manifest.json").unlink()


def _shards(data: Path) -> list[Path]:
    named = json.loads((data / "manifest.json").read_text())["shards"]
    return [data / shard["file"] for shard in named]


@pytest.mark.parametrize(
    "damage", [damage_cut, damage_swap, damage_manifest], ids=lambda d: d.__name__
)
def test_damaged_shards_are_named_by_every_command(
    damage: Callable[[Path], None],
    fails: Callable[..., str],
    data: Path,
    made: Path,
    tmp_path: Path,
) -> None:
    names = ["manifest.json"] if damage is damage_manifest else [p.name for p in _shards(data)]
    damage(data)
    for words in (
        ("inspect", data),
        ("train", data, "--out", tmp_path / "new", "--modality", "photometry"),
        ("evaluate", made / "run", data, "--out", tmp_path / "tables"),
        ("embed", made / "run", data, "--out", tmp_path / "codes"),
        ("sweep", "--data", data, "--out", tmp_path / "study"),
    ):
        assert names[0] in fails(*words)


@pytest.mark.parametrize("damage", [damage_cut, damage_swap], ids=lambda d: d.__name__)
def test_validate_names_the_damaged_shard(
    damage: Callable[[Path], None], data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (shard,) = _shards(data)
    damage(data)
    assert run_app(app, ["validate", str(data)]) == 1
    told = capsys.readouterr()
    assert shard.name in told.out + told.err
    assert told.err.count("\n") == 1


def test_data_that_is_not_there(fails: Callable[..., str], tmp_path: Path) -> None:
    absent = tmp_path / "absent"
    for words in (
        ("validate", absent),
        ("inspect", absent),
        ("train", absent, "--out", tmp_path / "run"),
        ("sweep", "--data", absent, "--out", tmp_path / "study"),
    ):
        assert "absent" in fails(*words)


# ---- settings


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--modality", "radio"), "photometry"),
        (("--preset", "enormous"), "smoke"),
        (("--set", "model.bottleneck.lenght=8"), "model.bottleneck.length"),
        (("--set", "nonsense=1"), "nonsense"),
        (("--set", "model.bottleneck.length=0"), "greater than"),
        (("--set", "model.width=seven"), "model.width"),
        (("--set", "objective.kind=gan"), "daep"),
        (("--set", "optimisation.num_objects"), "PATH=VALUE"),
        (("--set", "model.tokenizer.position_scale=Infinity"), "finite"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_wrong_setting(
    words: tuple[str, ...], said: str, fails: Callable[..., str], made: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert said in fails("train", made / "data", "--out", out, *words)
    assert not out.exists()
    if "objective.kind" in words[1] or "bottleneck.length=0" in words[1]:
        return  # the sweep varies these itself and says so
    assert said in fails("sweep", "--data", made / "data", "--out", out, *words)
    assert not out.exists()


def test_a_setting_that_the_study_varies(
    fails: Callable[..., str], made: Path, tmp_path: Path
) -> None:
    words = ("--data", made / "data", "--out", tmp_path / "out")
    assert "bottleneck" in fails("sweep", *words, "--set", "model.bottleneck.length=0")


def test_a_wrong_command_line_of_a_study(fails: Callable[..., str]) -> None:
    assert "--nonsense" in fails("sweep", "--nonsense", code=2)
    assert "--seeds" in fails("sweep", "--seeds", "0", code=2)


def test_an_address_where_nothing_answers(
    fails: Callable[..., str], made: Path, tmp_path: Path
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    words = ("--data", made / "data", "--out", tmp_path / "out", "--address")
    assert address in fails("sweep", *words, address)
    assert "HOST:PORT" in fails("sweep", *words, "somewhere")


# ---- places to write to


def test_an_output_that_cannot_be_written(
    fails: Callable[..., str], made: Path, tmp_path: Path
) -> None:
    for words in (
        ("ingest", "synthetic", "--out", BAD_FOLDER),
        ("train", made / "data", "--out", BAD_FOLDER),
        ("evaluate", made / "run", made / "data", "--out", BAD_FOLDER),
        ("embed", made / "run", made / "data", "--out", BAD_FOLDER),
        ("inspect", made / "data", "--figure", BAD_FOLDER / "figure.png"),
        ("sweep", "--data", made / "data", "--out", BAD_FOLDER),
        ("sweep", "--data", made / "data", "--out", tmp_path / "a", "--storage", BAD_FOLDER),
    ):
        assert str(BAD_FOLDER.parent) in fails(*words)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("a small file system needs root's right to mount one")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_that_becomes_full(
    fails: Callable[..., str], made: Path, small_disk: Path, tmp_path: Path
) -> None:
    out = small_disk / "out"
    ingested = fails("ingest", "synthetic", "--out", out, "--set", "num_objects=2000")
    assert not list(small_disk.iterdir()), "a failed ingest leaves nothing behind"
    trained = fails("train", made / "data", "--out", out, "--preset", "smoke", *_tiny(),
                    "--modality", "photometry", "--set", "model.width=64")  # fmt: skip
    shutil.rmtree(out)
    with pytest.raises(OSError, match="No space left"):
        (small_disk / "filler").write_bytes(b"\0" * 300 * 1024)
    embedded = fails("embed", made / "run", made / "data", "--out", out)
    for told in (ingested, trained, embedded):
        assert "full" in told.lower() or "No space left" in told


# ---- trained models


@pytest.mark.parametrize(
    "name", ["ema.safetensors", "config.json", "modalities.json", "progress.json", "optimizer.pt"]
)
def test_a_checkpoint_with_a_file_missing(
    name: str, fails: Callable[..., str], training: Path, made: Path, tmp_path: Path
) -> None:
    (training / "checkpoint" / name).unlink()
    for command in ("evaluate", "embed"):
        told = fails(command, training, made / "data", "--out", tmp_path / "out")
        assert name in told
    assert not (tmp_path / "out").exists()


def test_a_checkpoint_cut_short_or_absent(
    fails: Callable[..., str], training: Path, made: Path, tmp_path: Path
) -> None:
    os.truncate(training / "checkpoint" / "ema.safetensors", 100)
    assert "checkpoint" in fails("embed", training, made / "data", "--out", tmp_path / "out")
    absent = tmp_path / "absent"
    assert "no trained model" in fails("embed", absent, made / "data", "--out", tmp_path / "out")


def test_a_model_of_another_modality(
    fails: Callable[..., str], made: Path, templates: Path, tmp_path: Path
) -> None:
    spectra = tmp_path / "spectra"
    assert run_app(app, ["ingest", "snid", str(templates), "--out", str(spectra)]) == 0
    for command in ("evaluate", "embed"):
        assert "photometry" in fails(command, made / "run", spectra, "--out", tmp_path / "out")


def test_a_folder_that_is_no_study(fails: Callable[..., str], tmp_path: Path) -> None:
    assert str(tmp_path) in fails("report", tmp_path)
