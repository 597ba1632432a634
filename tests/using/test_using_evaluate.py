"""`daep-ray evaluate`: the tables of the function, how much is measured, what is refused."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from daep_ray.cli import app, run_app
from daep_ray.evaluate.run import evaluate
from daep_ray.evaluate.tables import SCHEMAS
from daep_ray.pretrained import Autoencoder
from daep_ray.shards.read import ShardFolder

FEW = ("--set", "evaluation.probe_label=null", "--set", "evaluation.num_draws=3")


def call(run: Path, pairs: ShardFolder, out: Path, *more: str) -> int:
    return run_app(app, ["evaluate", str(run), str(pairs.path), "--out", str(out), *more])


def test_the_command_writes_the_tables_of_the_function(
    model: Autoencoder,
    run: Path,
    pairs: ShardFolder,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ("--split", "validation", "--set", "evaluation.max_objects=3", *FEW)
    assert call(run, pairs, tmp_path, *words) == 0
    num = pairs.manifest.counts["validation"].num_samples
    assert f"measuring 3 of {num} samples of validation (--all: every one)" in (
        capsys.readouterr().out
    )
    settings = {"split": "validation", "max_objects": 3, "num_draws": 3, "probe_label": None}
    asked = model.trained.config.evaluation.model_copy(update=settings)
    expected = evaluate(model.trained, pairs, asked)
    assert expected.keys() == SCHEMAS.keys()
    for name, table in expected.items():
        assert pq.read_table(tmp_path / f"{name}.parquet").equals(table), name
    assert {p.stem for p in tmp_path.iterdir()} == set(SCHEMAS)


def test_all_is_every_sample_of_the_split(
    run: Path, pairs: ShardFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--all", "--split", "test", "--set", "evaluation.max_objects=1", *FEW)
    assert call(run, pairs, tmp_path, *words) == 0
    count = pairs.manifest.counts["test"]
    assert f"measuring all {count.num_samples} samples of test" in capsys.readouterr().out
    objects = pq.read_table(tmp_path / "objects.parquet")["object_id"].to_pylist()
    assert len(set(objects)) == count.num_objects


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--split", "night"), "'night'"),
        (("--address", "10.0.0.1:6379"), "--workers 0 uses none"),
        (("--workers", "2", "--address", "127.0.0.1:1"), "no Ray cluster answers"),
        (("--workers", "2", "--set", "model.width=8"), "would change a training that is over"),
        (("--workers", "2", "--set", "evaluation.draws=8"), "evaluation.num_draws"),
    ],
)
def test_what_cannot_be_is_one_sentence_before_ray_starts(
    run: Path,
    pairs: ShardFolder,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    sentence: str,
) -> None:
    import ray

    def started(**_: object) -> None:
        raise AssertionError("Ray was started")

    monkeypatch.setattr(ray, "init", started)
    assert call(run, pairs, tmp_path, *FEW, *words) == 1
    told = capsys.readouterr().err
    assert sentence in told
    assert told.count("\n") == 1
    assert not list(tmp_path.glob("*.parquet"))
