"""Studies that cannot work are refused in one sentence, before Ray starts and OUT is claimed.

What is only missing (labels, a second class) does not stop a study: its table lacks those rows.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import ray

from daep_ray.config import RunConfig, resolve
from daep_ray.errors import ConfigError, DataError
from daep_ray.evaluate.probe import is_probeable
from daep_ray.settings import override
from daep_ray.shards.read import ShardFolder
from daep_ray.study import folder, room
from daep_ray.study.estimate import Estimate
from daep_ray.study.plan import Plan
from daep_ray.study.room import Machine, check_room
from daep_ray.study.session import resources
from daep_ray.study.spec import Axis, StudySpec, cells
from daep_ray.study.store import Store
from daep_ray.study.trial import run_trial, trials
from daep_ray.study_cli import main
from daep_ray.train.prepare import refuse_impossible
from tests.study.conftest import TINY

VAE: Mapping[str, Mapping[str, Any]] = {"vae": {"objective.kind": "vae"}}
WIDTHS = Axis("model.bottleneck.width", [1, 2])
GIB = 2**30


@pytest.fixture(autouse=True)
def _no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("Ray was started for input that could be refused before")

    monkeypatch.setattr(ray, "init", refuse)


@pytest.fixture
def refused(
    synthetic_shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """The one line on standard error of a study that must not begin."""

    def run(
        *words: str,
        axes: Sequence[Axis] = (WIDTHS,),
        models: Mapping[str, Mapping[str, Any]] = VAE,
        modality: str = "photometry",
        is_new: bool = True,
    ) -> str:
        def build(base: RunConfig, preset: str) -> StudySpec:
            told = ("short", "Short", "Does it refuse?", "It does.")
            return StudySpec(*told, base, tuple(axes), models, references=("mean",))

        given = ["--data", str(synthetic_shards), "--out", str(tmp_path / "out")]
        with pytest.raises(SystemExit) as stop:
            main("short", build, [*given, "--modality", modality, *words])
        assert stop.value.code == 1
        lines = capsys.readouterr().err.strip().splitlines()
        assert len(lines) == 1, lines
        assert not is_new or not (tmp_path / "out").exists()
        return lines[0]

    return run


def test_an_unknown_axis_is_named_with_the_nearest(refused: Callable[..., str]) -> None:
    told = refused(axes=[Axis("model.bottleneck.lenght", [1, 2])])
    assert "did you mean 'model.bottleneck.length'" in told


@pytest.mark.parametrize(
    ("axes", "models", "said"),
    [
        ([Axis("model.num_heads", [4, 3])], VAE, "not a multiple of num_heads 3"),
        ([WIDTHS], {"contrastive": {"objective.kind": "contrastive"}}, "two modalities or more"),
        (
            [Axis("evaluation.sampler.kind", ["ddim", "one_step"])],
            {"daep": {"objective.prediction": "epsilon"}},
            "choose 'ddim' or 'dpm_solver'",
        ),
        ([WIDTHS], {"vae": {"objective.kind": "vae", "objective.beta": -1}}, "objective.vae.beta"),
        ([WIDTHS, WIDTHS], VAE, "name a path twice"),
    ],
    ids=["heads", "one modality", "one step of epsilon", "negative beta", "an axis twice"],
)
@pytest.mark.parametrize("words", [(), ("--dry-run",)], ids=["run", "plan"])
def test_an_impossible_combination(
    words: tuple[str, ...],
    axes: Sequence[Axis],
    models: Mapping[str, Mapping[str, Any]],
    said: str,
    refused: Callable[..., str],
) -> None:
    assert said in refused(*words, axes=axes, models=models)


def test_a_modality_that_the_survey_does_not_have(refused: Callable[..., str]) -> None:
    assert "it has photometry, spectrum" in refused(modality="photometry,radio")


def test_a_modality_that_no_training_sample_has(synthetic_shards: Path) -> None:
    """Declared, but every sample with it is in another split."""
    lengths = pq.read_table(synthetic_shards / "lengths.parquet")
    place = lengths.column_names.index("spectrum.length")
    in_train = pc.equal(lengths["split"], "train")
    emptied = pc.if_else(in_train, pa.scalar(0, lengths["spectrum.length"].type), lengths[place])
    shards = ShardFolder.open(synthetic_shards)
    table = lengths.set_column(place, "spectrum.length", emptied)

    class Emptied(ShardFolder):
        def iter_lengths(self) -> Any:
            yield table

    known = Emptied(shards.path, shards.manifest)
    config = override(RunConfig(), {**TINY, "modalities": ["spectrum"]})
    config = resolve(config, shards.manifest)
    with pytest.raises(DataError, match=r"no sample of the split 'train' .* has 'spectrum'"):
        refuse_impossible(config, known)
    refuse_impossible(resolve(override(RunConfig(), TINY), shards.manifest), known)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--gpus-per-trial", "1"], "--gpus-per-trial 1 asks for a GPU, and this machine has no"),
        (["--set", "runtime.device=cuda"], "runtime.device 'cuda' asks for a GPU"),
        (["--set", "runtime.num_threads=5000"], "runtime.num_threads 5000 needs as many CPUs"),
        (["--workers", "64"], "--workers 64 asks for 64 CPUs, and this machine has 2: lower"),
        (
            ["--workers", "2", "--set", "runtime.num_threads=2"],
            "--workers 2 of 2 threads each asks for 4 CPUs",
        ),
    ],
)
@pytest.mark.parametrize("plan", [[], ["--dry-run"]], ids=["run", "plan"])
def test_no_such_machine(
    words: list[str],
    plan: list[str],
    said: str,
    refused: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(room, "this_machine", lambda: Machine(2, 0, 24 * GIB))
    assert said in refused(*words, *plan)


@pytest.mark.parametrize(
    ("changes", "gpus", "machines", "said"),
    [
        ({}, 0.0, [Machine(2, 0)], ""),
        ({}, 1.0, [Machine(2, 0), Machine(8, 0)], "no machine of the cluster has a GPU"),
        ({}, 0.25, [Machine(2, 0), Machine(8, 1)], ""),
        ({}, 4.0, [Machine(2, 2), Machine(8, 2)], "no machine of the cluster has more than 2"),
        ({"device": "cuda"}, 0.0, [Machine(8, 1)], "add --gpus-per-trial 1"),
        ({"device": "cuda"}, 1.0, [Machine(8, 1)], ""),
        ({"device": "cuda", "num_workers": 2}, 0.0, [Machine(8, 1), Machine(8, 1)], ""),
        ({"num_workers": 3}, 0.0, [Machine(8, 1), Machine(8, 1)], "3 workers need a GPU each"),
        ({"num_workers": 3, "device": "cpu"}, 0.0, [Machine(8, 1), Machine(8, 1)], ""),
        ({"num_threads": 8}, 0.0, [Machine(4, 0), Machine(4, 0)], "num_threads 8 needs"),
        ({"num_threads": 4}, 0.0, [Machine(4, 0), Machine(2, 0)], ""),
        ({}, 0.0, [Machine(4, 0, 2**20)], "--set runtime.stream=ray"),
        ({"stream": "ray"}, 0.0, [Machine(4, 0, 2**20)], ""),
        ({}, 0.0, [Machine(4, 0, 2**20), Machine(4, 0, None)], ""),
    ],
)
def test_room_for_one_trial(
    changes: dict[str, Any],
    gpus: float,
    machines: list[Machine],
    said: str,
    synthetic_shards: Path,
) -> None:
    """What no machine has is refused; what is not known is not guessed."""
    config = override(RunConfig(), {f"runtime.{name}": v for name, v in changes.items()})
    shards = ShardFolder.open(synthetic_shards)
    if not said:
        check_room(config, shards, gpus, machines)
        return
    with pytest.raises(ConfigError, match=said) as caught:
        check_room(config, shards, gpus, machines)
    assert "\n" not in str(caught.value)


def test_a_plan_that_needs_more_memory_than_there_is(spec: StudySpec) -> None:
    two = resources(2, num_threads=1, num_workers=0, num_datasets=0)
    planned = Plan(spec, [None, None], 0, frozenset(), 2, {"a": Estimate(1.0, 1.0, 3 * GIB)}, two)  # type: ignore[list-item]
    planned.check(Machine(2, 0, 7 * GIB))
    planned.check(Machine(2, 0, None))
    with pytest.raises(ConfigError, match=r"2 trainings at a time need about 6.4 GB"):
        planned.check(Machine(2, 0, 5 * GIB))
    shared = replace(planned, spec=spec.with_settings({"runtime.num_workers": 3}))
    assert shared.memory == 3 * planned.memory  # each of the workers is a process


def test_a_study_that_runs_already(refused: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with folder.lock(tmp_path / "out"):
        told = refused(is_new=False)
    assert "a study is running on" in told
    assert "choose another --out" in told


def test_another_study_in_the_same_folder(refused: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "spec.json").write_text(json.dumps({"name": "other"}))
    assert "holds another study" in refused(is_new=False)
    assert json.loads((tmp_path / "out" / "spec.json").read_text()) == {"name": "other"}


@pytest.mark.parametrize("label", ["nobodys_label", None])
def test_data_without_labels_are_measured_all_the_same(
    label: str | None, spec: StudySpec, synthetic_shards: Path, tmp_path: Path
) -> None:
    shards, store = ShardFolder.open(synthetic_shards), Store(tmp_path / "store")
    base = override(spec.base, {"evaluation.probe_label": label})
    design = cells(replace(spec, base=base), shards.manifest)
    pca = next(t for t in trials(design) if t.cells[0].model == "pca")
    run_trial(pca, synthetic_shards, store)
    found = dict(store.results(pca.cells[0]))["metrics"]
    assert "absolute_error" in found["metric"].to_pylist()
    assert not [e for e in found["estimate"].to_pylist() if e in ("probe", "clusters")]


def test_one_class_is_nothing_to_tell_apart() -> None:
    """Nor are two, if one of them has too few objects."""
    objects = np.array([f"o{i}" for i in range(12)])
    assert not is_probeable(objects, np.array(["Ia"] * 12))
    assert not is_probeable(objects, np.array(["Ia"] * 9 + ["II"] * 3))
    assert is_probeable(objects, np.array(["Ia"] * 6 + ["II"] * 6))
