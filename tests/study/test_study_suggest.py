"""What a search suggests, as Ray Tune asks for it, without a Ray session.

A search is played: each suggestion begins and ends in the journal, with a value that its settings
alone decide.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ray.tune.search import Searcher

from daep_ray.settings import canonical_hash
from daep_ray.shards.read import ShardFolder
from daep_ray.study.axes import Axis, Range
from daep_ray.study.journal import Suggestion
from daep_ray.study.search import identity
from daep_ray.study.spec import StudySpec
from daep_ray.study.state import Study
from daep_ray.study.store import Store
from daep_ray.study.suggest import Suggester, _told

RATE = "optimisation.clip_norm"
STEPS = "evaluation.sampler.num_steps"
LISTS = (Axis(RATE, [0.5, 1.0, 1.5]), Axis("model.width", [16, 32]))
Make = Callable[..., Study]


@pytest.fixture
def make(spec: StudySpec, synthetic_shards: Path, tmp_path: Path) -> Make:
    """A study that searches, in a folder of its own."""
    shards = ShardFolder.open(synthetic_shards)

    def made(out: str = "out", **changes: Any) -> Study:
        plain: dict[str, Any] = {"search": "optuna", "num_trials": 12, "axes": LISTS, "seeds": (0,)}
        (tmp_path / out).mkdir()
        return Study(
            spec=replace(spec, **plain | changes).resolved(shards.manifest),
            shards=shards,
            data="data",
            out=tmp_path / out,
            store=Store(tmp_path / "trainings"),
            address=None,
            gpus_per_trial=0.0,
            num_retries=1,
            echo=lambda line: None,
        )

    return made


def end(study: Study, suggestion: Suggestion) -> None:
    """In five ways of eight with values, else failed or, with one target, stopped: its hash
    decides."""
    fate = int(canonical_hash(dict(suggestion)), 16)
    values = [(fate >> place) % 997 / 997 for place, _ in enumerate(study.spec.targets)]
    if fate % 8 < 5:
        study.journal.end(suggestion, values)
    elif fate % 8 == 5 or len(values) > 1:
        study.journal.end(suggestion, None)
    else:
        judged = (20 + fate % 3, values[0])
        study.journal.end(suggestion, None, stopped="too bad", judged=judged)


def play(study: Study, num: int) -> list[Any]:
    """What a run of the search suggests, one at a time; it ends early where there is no more."""
    asked, found = Suggester(study), []
    for place in range(num):
        suggestion = asked.suggest(str(place))
        if suggestion == Searcher.FINISHED:
            break
        study.journal.begin(suggestion)
        end(study, suggestion)
        found.append(suggestion)
    return found


def cells(study: Study, suggestions: list[Suggestion]) -> set[str]:
    return {identity(study.spec, study.shards.manifest, s) for s in suggestions}


@pytest.mark.parametrize("search", ["optuna", "pareto"])
def test_no_setting_is_suggested_twice_and_then_there_is_none(make: Make, search: str) -> None:
    said: list[str] = []
    study = replace(make(search=search, num_trials=20), echo=said.append)
    assert study.num_wanted == study.num_searched == 12  # two models, three rates, two widths
    found = play(study, 20)
    assert len(found) == len(cells(study, found)) == 12
    assert study.num_searched == 0
    assert said == ["no new setting is left: the search ends before 20 trials"]


def test_trials_that_run_at_once_differ(make: Make) -> None:
    study = make()
    asked = Suggester(study)
    found: list[Any] = [asked.suggest(str(place)) for place in range(12)]
    assert len(cells(study, found)) == 12
    assert asked.suggest("3") == found[3]  # the same trial, asked again
    assert asked.suggest("more") == Searcher.FINISHED


def test_settings_that_a_model_does_not_look_at_make_no_new_suggestion(make: Make) -> None:
    """A VAE has no solver: of its five settings four are the same."""
    study = make(axes=(Axis(STEPS, [2, 3, 4, 5, 6], is_conditional=True),), num_trials=10)
    assert study.num_wanted == 6
    found = play(study, 10)
    assert sorted(s["model"] for s in found) == ["daep"] * 5 + ["vae"]


def test_whole_numbers_end_as_lists_do_and_fractions_do_not(make: Make) -> None:
    whole = Range("model.bottleneck.length", 1, 4, is_log=True)
    study = make("whole", axes=(whole,), models={"vae": {"objective.kind": "vae"}}, num_trials=9)
    assert study.num_wanted == 4
    assert sorted(s["model.bottleneck.length"] for s in play(study, 9)) == [1, 2, 3, 4]
    study = make("fractions", axes=(whole, Range(RATE, 0.1, 2.0)), num_trials=30)
    assert study.num_wanted == 30
    assert len(cells(study, play(study, 30))) == 30


@pytest.mark.parametrize("search", ["optuna", "pareto"])
@pytest.mark.parametrize("kind", ["lists", "ranges"])
def test_a_search_killed_anywhere_goes_on_as_if_it_had_not_been(
    make: Make, search: str, kind: str
) -> None:
    """Beyond the ten first, which Optuna draws blindly."""
    axes = LISTS if kind == "lists" else (*LISTS, Range("optimisation.ema_decay", 0.5, 0.9))
    num = 12 if kind == "lists" else 16
    whole = play(make("whole", search=search, axes=axes, num_trials=num), num)
    assert len(whole) == num
    for place in (1, 5, 11):
        between = make(f"between{place}", search=search, axes=axes, num_trials=num)
        assert play(between, place) + play(between, num - place) == whole
        within = make(f"within{place}", search=search, axes=axes, num_trials=num)
        begun = play(within, place)
        within.journal.begin(whole[place])
        assert begun + play(within, num - place) == whole


def test_a_search_that_was_killed_first_tries_what_had_begun(make: Make) -> None:
    study = make(axes=(Range(RATE, 0.1, 2.0),), num_trials=6)
    first = {"model": "vae", RATE: 0.25}
    study.journal.begin(first)
    study.journal.end({"model": "vae", RATE: 0.75}, [0.3])
    study.journal.end(
        {"model": "vae", RATE: 1.75}, None, stopped="stopped at 25 objects: bad", judged=(25, 0.9)
    )
    study.journal.end({"model": "vae", RATE: 1.5}, None)
    asked = Suggester(study)
    assert asked.suggest("again") == first
    following = asked.suggest("next")
    assert isinstance(following, dict)
    assert following[RATE] != 0.25
    assert study.num_searched == 3
    assert list(study.stopped().values()) == ["stopped at 25 objects: bad"]
    heard = _told(study, asked.space, seed=0)
    assert [t.state.name for t in heard.trials] == ["COMPLETE", "PRUNED", "FAIL"]
    assert heard.trials[1].intermediate_values == {25: 0.9}
    assert heard.best_value == 0.3


def test_a_random_search_gives_its_own_settings_in_order(make: Make) -> None:
    random = make(search="random", num_trials=6)
    wanted = random.to_try()
    assert len(wanted) == random.num_wanted == 6
    asked = Suggester(random)
    assert [asked.suggest(str(i)) for i in range(6)] == wanted
    random.journal.end(wanted[0], [])
    assert random.to_try() == wanted[1:]


def test_a_random_search_says_how_many_there_are(make: Make) -> None:
    whole = Range("model.bottleneck.length", 1, 4)
    study = make(search="random", axes=(whole,), num_trials=20)
    assert study.num_wanted == study.num_searched == 8
