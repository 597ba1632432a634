"""Searches: what they draw, what they refuse, and a journal that survives a kill."""

import itertools
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from daep_ray.errors import ConfigError
from daep_ray.settings import override
from daep_ray.shards.manifest import Manifest
from daep_ray.study.axes import Target
from daep_ray.study.journal import Ended, Journal
from daep_ray.study.search import cells_of, drawn, drawn_from, planned, space, tried
from daep_ray.study.spec import Axis, Range, StudySpec, cells, check

CODE = "model.bottleneck.length,model.bottleneck.width"


def test_a_search_draws_models_axes_and_ranges(spec: StudySpec, manifest: Manifest) -> None:
    search = replace(
        spec, search="optuna", axes=(*spec.axes, Range("optimisation.clip_norm", 0.5, 2.0))
    )
    assert sorted(space(search)) == ["model", CODE, "optimisation.clip_norm"]
    suggestion = {"model": "vae", CODE: 1, "optimisation.clip_norm": 0.75}
    found = cells_of(search, manifest, suggestion)
    assert [c.seed for c in found] == [0, 1]
    assert found[0].num_floats == 4
    assert found[0].config.optimisation.clip_norm == 0.75


def test_the_journal_survives_a_kill(spec: StudySpec, manifest: Manifest, tmp_path: Path) -> None:
    search = replace(spec, search="optuna", axes=(Range("optimisation.clip_norm", 0.5, 2.0),))
    journal = Journal(tmp_path / "trials.jsonl")
    assert (journal.ended(), journal.unfinished()) == ([], [])
    points = [{"model": "vae", "optimisation.clip_norm": c} for c in (0.5, 1.5, 0.75)]
    for point in points:
        journal.begin(point)
    journal.end(points[1], [0.3])
    journal.begin(points[0])  # begun again after a kill
    with journal.path.open("a") as file:
        file.write('{"ended": {"mod')
    journal.begin(points[2])  # a line cut by a kill spoils no other
    assert journal.ended() == [Ended(points[1], (0.3,))]
    assert journal.unfinished() == [points[0], points[2]]
    found = tried(search, manifest, journal)
    assert [c.model for c in found] == ["vae", "vae", "pca", "mean"]


def test_a_journal_tells_stopped_from_failed_and_reads_older_lines(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "trials.jsonl")
    journal.end({"model": "a"}, [1.0, 2.0])
    journal.end({"model": "b"}, None)
    journal.end({"model": "c"}, None, stopped="stopped at 10 objects: too bad")
    with journal.path.open("a") as file:
        file.write('\n{"ended": {"model": "d"}, "value": 0.5}')
        file.write('\n{"ended": {"model": "e"}, "value": null}')
    assert journal.ended() == [
        Ended({"model": "a"}, (1.0, 2.0)),
        Ended({"model": "b"}, None),
        Ended({"model": "c"}, None, "stopped at 10 objects: too bad"),
        Ended({"model": "d"}, (0.5,)),
        Ended({"model": "e"}, None),
    ]


def random_search(spec: StudySpec, num_trials: int, *axes: Axis | Range) -> StudySpec:
    return replace(spec, search="random", num_trials=num_trials, axes=axes or spec.axes)


def test_random_settings_are_the_designs_own_and_more_begin_with_fewer(
    spec: StudySpec, manifest: Manifest
) -> None:
    axes = (
        Axis("model.bottleneck.length", [1, 2, 4]),
        Range("optimisation.optimizer.rate", 1e-4, 1e-1, is_log=True),
    )
    ten = drawn(random_search(spec, 10, *axes), manifest)
    assert len(ten) == 10
    assert drawn(random_search(spec, 10, *axes), manifest) == ten
    assert drawn(random_search(spec, 4, *axes), manifest) == ten[:4]
    rates = [suggestion["optimisation.optimizer.rate"] for suggestion in ten]
    assert all(1e-4 <= rate <= 1e-1 for rate in rates)
    assert 2 <= sum(rate < 10**-2.5 for rate in rates) <= 8  # log-uniform: half of them


def test_a_random_search_of_lists_alone_is_a_part_of_the_grid_without_repeats(
    spec: StudySpec, manifest: Manifest
) -> None:
    grid = {c.id for c in cells(spec, manifest) if not c.is_reference}
    for num_trials in (1, 3, 4):
        found = planned(random_search(spec, num_trials), manifest)
        ids = [c.id for c in found if not c.is_reference]
        assert len(set(ids)) == len(ids) == num_trials * len(spec.seeds)
        assert set(ids) <= grid
    assert set(ids) == grid


def test_conditional_values_that_one_model_ignores_are_tried_once(
    spec: StudySpec, manifest: Manifest
) -> None:
    """A VAE has no solver: of its five settings four are the same cell."""
    axis = Axis("evaluation.sampler.num_steps", [2, 3, 4, 5, 6], is_conditional=True)
    found = drawn(random_search(spec, 10, axis), manifest)
    assert sorted(s["model"] for s in found) == ["daep"] * 5 + ["vae"]


def test_a_range_of_whole_numbers_is_drawn_evenly_and_ends_when_it_is_used_up(
    spec: StudySpec, manifest: Manifest
) -> None:
    search = replace(
        random_search(spec, 9, Range("model.bottleneck.length", 1, 4)), models={"vae": {}}
    )
    found = [s["model.bottleneck.length"] for s in drawn(search, manifest)]
    assert sorted(found) == [1, 2, 3, 4]
    assert all(isinstance(value, int) for value in found)


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"search": "annealing"}, "unknown --search 'annealing': choose one of grid, random, optuna"),
    ({"search": "random", "num_trials": 5}, "--trials 5 is more than the 4 settings"),
    ({"search": "optuna", "num_trials": 0}, "tries nothing"),
    ({"search": "optuna", "target": ("validation/absolute_error", "seconds")}, "--search pareto"),
    ({"search": "optuna", "target": "absolute_error"}, "unknown target 'absolute_error'"),
    ({"search": "pareto", "target": Target("seconds", "up")}, "give min or max"),  # type: ignore[arg-type]
    (
        {"search": "optuna", "axes": (Axis("evaluation.sampler.num_steps", [2, 3]),)},
        "'evaluation.sampler.num_steps' changes no training",
    ),
    ({"axes": (Range("model.bottleneck.length", 1, 4),)}, "a grid tries all of them"),
    ({"scheduler": "hyperband"}, "unknown --scheduler 'hyperband': choose one of none, asha"),
    ({"scheduler": "asha"}, "a grid needs every cell"),
    ({"scheduler": "asha", "search": "pareto"}, "looks at one curve"),
    ({"scheduler": "asha", "search": "optuna", "target": "seconds"}, "needs a learning curve"),
]


@pytest.mark.parametrize(("changes", "message"), REFUSED)
def test_what_makes_no_sense_is_refused(
    changes: dict[str, Any], message: str, spec: StudySpec
) -> None:
    with pytest.raises(ConfigError) as caught:
        check(replace(spec, **changes))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("runtime.validation_objects", 0, "needs a validation curve"),
        ("runtime.num_workers", 2, "--workers 0"),
    ],
)
def test_early_stopping_needs_a_curve_that_is_told_as_it_grows(
    path: str, value: int, message: str, spec: StudySpec
) -> None:
    search = replace(random_search(spec, 3), scheduler="asha")
    check(search)
    with pytest.raises(ConfigError, match=message):
        check(replace(search, base=override(search.base, {path: value})))


def test_targets_of_a_trade_off_are_error_floats_and_seconds(spec: StudySpec) -> None:
    assert [t.name for t in spec.targets] == ["validation/absolute_error"]
    pareto = replace(spec, search="pareto")
    names = ["validation/absolute_error", "num_floats", "seconds"]
    assert [t.name for t in pareto.targets] == names
    own = replace(pareto, target=("train/loss", Target("num_floats", "max")))
    assert [(t.name, t.direction) for t in own.targets] == [
        ("train/loss", "min"),
        ("num_floats", "max"),
    ]
    assert own.to_json()["targets"] == ["train/loss", "-num_floats"]
    assert tuple(map(Target.parse, own.to_json()["targets"])) == own.targets


def test_a_grids_identity_knows_nothing_of_searches(spec: StudySpec) -> None:
    """What was written before there were searches resumes."""
    assert not {"num_trials", "target", "targets", "scheduler"} & spec.to_json().keys()
    assert replace(spec, search="optuna").to_json()["target"] == "validation/absolute_error"


def test_draws_fill_a_range(spec: StudySpec, manifest: Manifest) -> None:
    """Whole numbers on a logarithmic range: each has the probability of its interval."""
    search = replace(
        spec, axes=(Range("model.bottleneck.length", 1, 8, is_log=True),), models={"vae": {}}
    )
    rng = np.random.default_rng(1)
    values = [drawn_from(space(search)["model.bottleneck.length"], rng) for _ in range(4000)]
    edges = [math.log(value + 0.5) for value in range(9)]
    shares = [(b - a) / (edges[-1] - edges[0]) for a, b in itertools.pairwise(edges)]
    counts = np.bincount(values, minlength=9)[1:] / len(values)
    assert counts == pytest.approx(shares, abs=0.03)
