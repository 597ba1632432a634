"""The command line of a study: what it refuses, what it plans, and a whole run."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pyarrow.fs
import pytest

from daep_ray.config import RunConfig, preset, resolve
from daep_ray.shards.read import ShardFolder
from daep_ray.study.mirror import Mirror
from daep_ray.study.spec import Axis, StudySpec, cells
from daep_ray.study_cli import main

ROOT = Path(__file__).resolve().parents[2]
SWEEP = ROOT / "studies" / "bottleneck_sweep.py"


def build(base: RunConfig, preset: str) -> StudySpec:
    """One model, two widths of the code."""
    return StudySpec(
        name="short",
        title="Short",
        question="Does the command line work?",
        expectation="It does.",
        base=base,
        axes=(Axis("model.bottleneck.width", [1, 2]),),
        models={"vae": {"objective.kind": "vae"}},
        references=("mean",),
    )


def refused(arguments: Sequence[object], capsys: pytest.CaptureFixture[str], code: int = 1) -> str:
    """The one line on standard error of a command that must fail before Ray starts."""
    with pytest.raises(SystemExit) as exit_:
        main("short", build, [str(a) for a in arguments])
    assert exit_.value.code == code
    printed = capsys.readouterr()
    lines = printed.err.strip().splitlines()
    assert len(lines) == 1, printed.err
    assert "Traceback" not in printed.err
    assert printed.out == ""
    return lines[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--preset", "huge"], "unknown preset 'huge': choose one of smoke, laptop, cluster"),
        (["--set", "model.widht=8"], "did you mean 'model.width'"),
        (["--set", "model.width=0"], "model.width"),
        (["--set", "model.bottleneck.length=0"], "model.bottleneck.length"),
        (["--set", "model.bottleneck.width=3"], "varies it itself"),
        (["--set", "model.width"], "PATH=VALUE"),
        (["--modality", "radio"], "no modality 'radio' in this survey"),
        (["--address", "127.0.0.1:1"], "no Ray cluster answers at --address 127.0.0.1:1"),
        (["--address", "somewhere"], "HOST:PORT"),
        (["--storage", "ftp://host/runs"], "unknown kind of storage 'ftp://'"),
        (["--storage", "s3://"], "names no bucket"),
        (["--storage", "s3://key:hunter2@bucket/runs"], "s3://bucket/runs has credentials in it"),
        (["--storage", "s3://bucket/runs?token=hunter2"], "not token"),
        (
            ["--storage", "s3://bucket/runs?endpoint_override=127.0.0.1:1&scheme=http"],
            "cannot read s3://bucket/runs: http://127.0.0.1:1 does not answer",
        ),
        (["--storage", "file:///proc/store"], "file:///proc/store"),
        (["--storage", "/proc/store"], "/proc/store"),
        (["--search", "annealing"], "unknown --search 'annealing': choose one of grid, random"),
        (["--trials", "3"], "--trials 3 needs --search random, optuna or pareto"),
        (["--search", "random", "--trials", "3"], "more than the 2 settings of this design"),
        (["--scheduler", "asha"], "a grid needs every cell"),
        (["--search", "pareto", "--scheduler", "asha"], "looks at one curve"),
        (["--search", "random", "--scheduler", "asha", "--workers", "2"], "give --workers 0"),
        (["--search", "optuna", "--set", "runtime.validation_objects=0"], "a validation curve"),
        (["--gpus-per-trial", "1.5"], "neither a part of one GPU nor a whole number"),
        (["--mlflow", "http://127.0.0.1:1"], "--mlflow http://127.0.0.1:1 cannot be used"),
        (["--mlflow", "htp://host", "--dry-run"], "--mlflow htp://host cannot be used"),
        (["--mlflow", "sqlite:////proc/x.db", "--dry-run"], "cannot write '/proc'"),
    ],
)
def test_what_is_wrong_is_told_in_one_sentence(
    arguments: list[str],
    message: str,
    synthetic_shards: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = ["--data", synthetic_shards, "--out", tmp_path / "out", *arguments]
    assert message in refused(given, capsys)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--nonsense"], "--nonsense"),
        (["--seeds", "0"], "--seeds"),
        (["--trials", "0"], "--trials"),
        (["--retries", "-1"], "--retries"),
        (["--workers", "many"], "--workers"),
        (["surplus"], "surplus"),
    ],
)
def test_a_wrong_command_line_exits_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert message in refused(arguments, capsys, code=2)


def test_an_out_that_cannot_be_written_is_refused(
    synthetic_shards: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = refused(["--data", synthetic_shards, "--out", "/proc/nothing/out"], capsys)
    assert "/proc/nothing/out" in line


def test_data_without_a_manifest_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data").mkdir()
    line = refused(["--data", tmp_path / "data", "--out", tmp_path / "out"], capsys)
    assert str(tmp_path / "data") in line


def test_a_job_refuses_relative_folders(
    monkeypatch: pytest.MonkeyPatch,
    synthetic_shards: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    monkeypatch.chdir(tmp_path)
    assert "temporary copy" in refused(["--out", "runs/x"], capsys)
    given = ["--data", synthetic_shards, "--out", tmp_path / "out", "--storage", "store"]
    assert "--storage 'store' is relative" in refused(given, capsys)


def test_another_study_on_the_same_out_is_refused(
    synthetic_shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "spec.json").write_text(json.dumps({"name": "other"}))
    given = ["--data", synthetic_shards, "--out", tmp_path / "out"]
    assert "holds another study" in refused(given, capsys)


def test_help_is_short_and_names_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main("short", build, ["--help"])
    assert exit_.value.code == 0
    printed = capsys.readouterr().out
    for option in (
        "--data",
        "--modality",
        "--preset",
        "--seeds",
        "--set",
        "--workers",
        "--gpus-per-trial",
        "--storage",
        "--address",
        "--out",
        "--dry-run",
        "--search",
        "--trials",
        "--scheduler",
        "--retries",
        "--tensorboard",
        "--mlflow",
    ):
        assert option in printed
    assert "Does the command line work?" in printed


def test_a_bucket_that_is_not_there_is_refused(
    bucket: str, synthetic_shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    absent = bucket.replace("studies", "absent")
    given = ["--data", synthetic_shards, "--out", tmp_path / "out", "--storage", absent]
    line = refused(given, capsys)
    assert "there is no bucket 'absent'" in line
    assert "endpoint" not in line


def test_a_dry_run_names_the_bucket_and_leaves_nothing_there(
    bucket: str, synthetic_shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--data", synthetic_shards, "--out", tmp_path / "out", "--storage", bucket]
    with pytest.raises(SystemExit) as exit_:
        main("short", build, [*map(str, given), "--modality", "photometry", "--dry-run"])
    assert exit_.value.code == 0
    printed = capsys.readouterr().out
    assert "trainings    2 to do, 0 are done" in printed
    assert f"store        {bucket.partition('?')[0]}\n" in printed
    assert list(tmp_path.iterdir()) == []
    mirror = Mirror.open(bucket)
    assert mirror.filesystem.get_file_info(mirror.path()).type == pyarrow.fs.FileType.NotFound


def test_a_dry_run_plans_and_leaves_nothing(
    synthetic_shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = ["model.width=16", "model.num_heads=2", "evaluation.num_draws=2"]
    flags = [word for s in settings for word in ("--set", s)]
    given = ["--data", str(synthetic_shards), "--out", str(tmp_path / "out"), *flags]
    with pytest.raises(SystemExit) as exit_:
        main("short", build, [*given, "--modality", "photometry", "--seeds", "2", "--dry-run"])
    assert exit_.value.code == 0
    printed = capsys.readouterr().out
    assert "trainings    4 to do, 0 are done" in printed
    assert "evaluations  5" in printed
    assert "vae 4 x 2 seed 1" in printed
    assert "estimated" in printed
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_looks_at_mlflow_and_leaves_nothing_there(
    synthetic_shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("mlflow")
    settings = ["model.width=16", "model.num_heads=2", "evaluation.num_draws=2"]
    flags = [word for s in settings for word in ("--set", s)]
    given = ["--data", str(synthetic_shards), "--out", str(tmp_path / "out"), *flags]
    given += ["--modality", "photometry", "--mlflow", f"sqlite:///{tmp_path}/new/mlflow.db"]
    with pytest.raises(SystemExit) as exit_:
        main("short", build, [*given, "--dry-run"])
    assert exit_.value.code == 0
    assert "trainings    2 to do" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_a_training_in_the_store_is_planned_as_done(
    synthetic_shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Other ways to measure are evaluations, not trainings."""
    data = ShardFolder.open(synthetic_shards)
    spec = build(resolve(preset("smoke"), data.manifest, "photometry"), "smoke")
    first = cells(spec, data.manifest)[0]
    mark = tmp_path / "trainings" / first.training / "result.json"
    mark.parent.mkdir(parents=True)
    mark.write_text("{}")
    given = ["--data", str(synthetic_shards), "--out", str(tmp_path / "out")]
    with pytest.raises(SystemExit):
        main("short", build, [*given, "--modality", "photometry", "--dry-run"])
    printed = capsys.readouterr().out
    assert "trainings    1 to do, 1 are done" in printed
    assert re.search(r"vae 4 x 1 seed 0 .* training +done +1 evaluations", printed)


def test_a_random_search_without_a_number_takes_what_there_is(
    synthetic_shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = ["model.width=16", "model.num_heads=2", "evaluation.num_draws=2"]
    flags = [word for s in settings for word in ("--set", s)]
    given = ["--data", str(synthetic_shards), "--out", str(tmp_path / "out"), *flags]
    with pytest.raises(SystemExit) as exit_:
        main(
            "short", build, [*given, "--modality", "photometry", "--search", "random", "--dry-run"]
        )
    assert exit_.value.code == 0
    assert "trainings    2 to do, 0 are done" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.ray
def test_the_bottleneck_sweep_runs_from_nothing_to_a_report_and_resumes(tmp_path: Path) -> None:
    """The built-in survey, six short trainings; a second run does nothing and says the same."""
    settings = (
        "optimisation.num_objects=200",
        "evaluation.max_objects=10",
        "evaluation.num_draws=2",
        "evaluation.num_probe_splits=2",
        "model.width=16",
    )
    flags = [word for s in settings for word in ("--set", s)]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RAY_AUTH")}

    def sweep() -> str:
        done = subprocess.run(
            [sys.executable, SWEEP, "--out", tmp_path / "study", "--seeds", "1", *flags],
            capture_output=True,
            text=True,
            env=environment | {"OMP_NUM_THREADS": "1"},
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        return done.stdout

    first, second = sweep(), sweep()
    assert "6 trainings and 5 references to do" in first
    assert "[11/11]" in first
    assert "every training is in the store already" in second
    page = (tmp_path / "study" / "report" / "index.html").read_bytes()
    assert first.strip().endswith(f"report: {tmp_path / 'study' / 'report' / 'index.html'}")
    assert first.splitlines()[-14:-2] == second.splitlines()[-14:-2]  # the result table
    assert (tmp_path / "study" / "report" / "index.html").read_bytes() == page
