"""With no effect a comparison with the control is called significant as often as it says.

Each study has a control and four models that are no different from it. A rate over `STUDIES`
studies has the binomial error `ERROR`; three of them are allowed.
"""

import math

import numpy as np
import pytest

from daep_ray.study.statistics import holm, paired_difference

STUDIES, MODELS, OBJECTS, LEVEL = 300, 4, 60, 0.05
ERROR = math.sqrt(LEVEL * (1 - LEVEL) / STUDIES)  # 0.013


def p_values(
    number: int,
    num_seeds: int,
    effect: float = 0.0,
    seed_sd: float = 0.0,
    num_models: int = MODELS,
) -> list[float]:
    """Of the comparisons with the control; every training has luck of its own (`seed_sd`)."""
    rng = np.random.default_rng(number)
    difficulty = rng.gamma(2.0, 0.3, OBJECTS)  # shared, skewed, and must cancel

    def model(gain: float) -> dict[tuple[int, str], float]:
        luck = seed_sd * rng.standard_normal((num_seeds, 1))
        own = 0.3 * difficulty * rng.standard_normal((num_seeds, OBJECTS))
        errors = difficulty - gain + luck + own
        return {(s, f"o{o}"): float(v) for (s, o), v in np.ndenumerate(errors)}

    control = model(0.0)
    return [paired_difference(model(effect), control, num_draws=400).p for _ in range(num_models)]


@pytest.fixture(scope="module")
def null() -> list[list[float]]:
    return [p_values(number, num_seeds=1) for number in range(STUDIES)]


def test_a_single_comparison_is_wrong_one_time_in_twenty(null: list[list[float]]) -> None:
    rate = np.mean([p[0] < LEVEL for p in null])
    assert rate == pytest.approx(LEVEL, abs=3 * ERROR)


def test_holm_keeps_the_whole_study_at_one_in_twenty(null: list[list[float]]) -> None:
    uncorrected = np.mean([min(p) < LEVEL for p in null])
    corrected = np.mean([min(holm(p)) < LEVEL for p in null])
    assert uncorrected > LEVEL + 3 * ERROR  # four tries: without a correction it is not
    assert corrected <= LEVEL + 3 * ERROR


def test_a_planted_effect_is_found_in_every_study() -> None:
    found = [max(holm(p_values(number, num_seeds=1, effect=0.25))) for number in range(25)]
    assert max(found) < LEVEL


@pytest.mark.parametrize("num_seeds", [2, 3])
def test_seeds_alike_are_no_reason_to_find_more(num_seeds: int) -> None:
    """The bootstrap counts the noise of a pair too often, and errs to caution."""
    found = [p_values(number, num_seeds, num_models=1)[0] for number in range(STUDIES)]
    assert np.mean([p < LEVEL for p in found]) <= LEVEL + 3 * ERROR


def test_more_seeds_tell_luck_of_training_from_an_effect() -> None:
    """Luck of 0.1 is twice the objects' standard error, and two seeds cannot tell (the code)."""
    rates = {
        num_seeds: np.mean(
            [
                p_values(number, num_seeds, seed_sd=0.1, num_models=1)[0] < LEVEL
                for number in range(100)
            ]
        )
        for num_seeds in (2, 10)
    }
    binomial = math.sqrt(LEVEL * (1 - LEVEL) / 100)  # 0.022
    assert rates[10] <= LEVEL + 3 * binomial
    assert rates[10] < rates[2]
