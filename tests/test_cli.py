"""The command line: fast help, exit codes, one sentence on standard error; and a whole journey."""

import math
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import typer

from daep_ray.cli import app, main, output_folder, run_app
from daep_ray.errors import ConfigError, UserError

COMMANDS = [c.callback.__name__ for c in app.registered_commands if c.callback]


def run(*words: object) -> int:
    return run_app(app, [str(w) for w in words])


def test_help_answers_within_a_second() -> None:
    """Whoever else uses the processor or the disk may delay one answer, not each of several."""
    fastest = math.inf
    for _ in range(5):
        started = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "daep_ray", "--help"], capture_output=True, text=True, check=True
        )
        fastest = min(fastest, time.perf_counter() - started)
    assert fastest < 1.0
    assert all(command in done.stdout for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(command, "--help") == 0
    assert f"daep-ray {command} " in capsys.readouterr().out.partition("Usage:")[2][40:]


def test_no_words_at_all_is_a_request_for_help(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["daep-ray"])
    with pytest.raises(SystemExit, match="0"):
        main()
    assert "Usage:" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words",
    [
        ["explode"],
        ["ingest"],
        ["ingest", "snid", "source"],
        ["train", "data", "--out", "run", "--workers", "-1"],
        ["train", "data", "--out", "run", "--workers", "many"],
        ["validate", "data", "--no-such-option"],
    ],
)
def test_a_wrong_command_line_is_told_shortly(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*words) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert 1 <= len(captured.err.splitlines()) <= 3
    assert captured.err.startswith("error: ")


def app_that(raises: BaseException) -> typer.Typer:
    small = typer.Typer(pretty_exceptions_enable=False)

    @small.command()
    def fail() -> None:
        raise raises

    return small


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (UserError("the moon is too bright:\n wait"), 1, "error: the moon is too bright: wait\n"),
        (KeyboardInterrupt(), 130, "error: interrupted\n"),
        (OSError(28, "No space left on device"), 1, "the disk is full"),
        (PermissionError(13, "Permission denied", "/somewhere/x"), 1, "'/somewhere/x'"),
    ],
)
def test_what_a_user_can_put_right_is_one_line(
    error: BaseException, code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_app(app_that(error), []) == code
    told = capsys.readouterr().err
    assert said in told
    assert told.count("\n") == 1


@pytest.mark.parametrize("error", [ZeroDivisionError("ours"), FileNotFoundError(2, "ours")])
def test_a_defect_of_ours_keeps_its_traceback(error: Exception) -> None:
    with pytest.raises(type(error)):
        run_app(app_that(error), [])


def test_the_reader_of_our_output_may_leave(tmp_path: Path) -> None:
    program = tmp_path / "talk.py"
    program.write_text(
        "import sys, typer\n"
        "from daep_ray.cli import run_app\n"
        "app = typer.Typer()\n"
        "@app.command()\n"
        "def talk():\n"
        "    print('x' * 1000000)\n"
        "sys.exit(run_app(app, []))\n"
    )
    done = subprocess.run(
        f"'{sys.executable}' '{program}' | head -c 1",
        shell=True,
        capture_output=True,
        text=True,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("x", "")


def test_a_job_needs_an_absolute_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert output_folder(Path("runs")) == tmp_path / "runs"
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    with pytest.raises(ConfigError, match="temporary copy"):
        output_folder(Path("runs"))
    assert output_folder(tmp_path / "runs") == tmp_path / "runs"
    assert not (tmp_path / "runs").exists()


@pytest.fixture(scope="module")
def journey(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an ingest `data` and a finished training `run`, made by the command line."""
    folder = tmp_path_factory.mktemp("journey")
    assert run("ingest", "synthetic", "--out", folder / "data", "--set", "num_objects=60") == 0
    settings = {
        "model.width": 16,
        "model.num_heads": 2,
        "model.encoder.num_layers": 1,
        "model.decoder.num_layers": 1,
        "optimisation.num_objects": 64,
        "evaluation.num_draws": 2,
        "evaluation.sampler.num_steps": 2,
    }
    words = [w for path, value in settings.items() for w in ("--set", f"{path}={value}")]
    made = run("train", folder / "data", "--out", folder / "run", "--preset", "smoke",
               "--modality", "photometry", *words)  # fmt: skip
    assert made == 0
    return folder


def test_ingest_counts_validate_and_inspect(
    journey: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("validate", journey / "data") == 0
    figure = journey / "overview.png"
    assert run("inspect", journey / "data", "--figure", figure) == 0
    told = capsys.readouterr()
    assert "photometry" in told.out
    assert "spectrum.wavelength" in told.out
    assert told.err == ""
    assert figure.read_bytes().startswith(b"\x89PNG")


def test_ingest_says_what_became_of_every_sample(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("ingest", "synthetic", "--out", tmp_path / "data", "--set", "num_objects=5") == 0
    line = capsys.readouterr().out.splitlines()[-1]
    words = line.replace(",", "").split()
    numbers = [int(w) for w in words if w.isdigit()]
    assert line.startswith("read ")
    assert numbers[0] == numbers[1] + numbers[2] > 0


def test_evaluate_writes_tables_and_prints_them(
    journey: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = journey / "tables"
    assert run("evaluate", journey / "run", journey / "data", "--out", out) == 0
    assert "mean_of_draws" in capsys.readouterr().out
    metrics = pq.read_table(out / "metrics.parquet")
    assert {"modality", "estimate", "metric", "value"} <= set(metrics.column_names)


def test_evaluate_refuses_to_change_the_training(
    journey: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--out", journey / "x", "--set", "model.width=8")
    assert run("evaluate", journey / "run", journey / "data", *words) == 1
    assert "only evaluation.*" in capsys.readouterr().err


def test_embed_writes_a_code_per_sample_with_its_object(journey: Path) -> None:
    assert run("embed", journey / "run", journey / "data", "--out", journey / "codes") == 0
    (path,) = (journey / "codes").glob("*.parquet")
    codes = pq.read_table(path)
    assert {"sample_id", "object_id", "split", "code"} <= set(codes.column_names)
    assert codes.num_rows > 0
    assert set(codes["split"].to_pylist()) == {"train", "validation", "test"}
    known = codes.filter(codes["code"].is_valid())
    assert {len(code) for code in known["code"].to_pylist()} == {16}  # length 4 x width 4
    silent = codes.filter(codes["code"].is_null())["flag"].to_pylist()
    assert all(words == "has no finite measurement of photometry" for words in silent)
