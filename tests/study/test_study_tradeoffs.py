"""Pareto front and importance of axes: what is planted is found, chance is told as chance."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daep_ray.study.tradeoffs import axis_importance, pareto_front

POINTS = st.lists(st.tuples(*[st.integers(0, 5)] * 3), max_size=25)


def grid(effect: dict[str, float], rng: np.random.Generator, noise: float = 1.0) -> list:
    """3 widths x 4 rates x 3 seeds; `effect` is a path's change per step of its value."""
    found = []
    for width, rate, seed in itertools.product(range(3), range(4), range(3)):
        settings = {"width": width, "rate": rate, "seed": seed}
        value = sum(effect.get(path, 0.0) * step for path, step in settings.items())
        found.append((settings, value + noise * rng.standard_normal()))
    return found


@given(POINTS)
def test_a_front_is_what_a_loop_over_all_pairs_finds(points: list[tuple[int, ...]]) -> None:
    def beats(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
        return a != b and all(x <= y for x, y in zip(a, b, strict=True))

    expected = [i for i, p in enumerate(points) if not any(beats(q, p) for q in points)]
    assert pareto_front(points) == expected


def test_a_failed_training_is_on_no_front() -> None:
    assert pareto_front([(math.nan, 1.0), (2.0, 2.0), (1.0, math.inf), (3.0, 1.0)]) == [1, 3]
    assert pareto_front([(math.nan, 1.0)]) == pareto_front([]) == []


def test_shares_of_a_balanced_design_without_noise() -> None:
    """Two axes that add up: each has the variance of its own steps, by hand."""
    cells = grid({"width": 2.0, "rate": 1.0}, np.random.default_rng(0), noise=0.0)
    found = {i.path: i for i in axis_importance(cells)}
    of_width, of_rate = 4 * np.var(range(3)), np.var(range(4))
    assert found["width"].share == pytest.approx(of_width / (of_width + of_rate))
    assert found["rate"].share == pytest.approx(of_rate / (of_width + of_rate))
    assert found["seed"].share == pytest.approx(0, abs=1e-12)
    assert found["seed"].p == 1
    assert [found["width"].num_values, found["width"].num_cells] == [3, 36]


def test_a_planted_effect_is_found_and_named_first() -> None:
    found = axis_importance(grid({"rate": 1.0}, np.random.default_rng(4)))
    assert found[0].path == "rate"
    assert found[0].p < 0.002
    assert all(i.p > 0.05 for i in found[1:])
    assert all(abs(i.share - i.by_chance) < 0.1 for i in found[1:])


def test_with_no_effect_one_study_in_twenty_says_there_is_one() -> None:
    """The other axis has a large effect and the errors are skewed: neither may matter."""
    num_studies, num_found = 400, 0
    for number in range(num_studies):
        rng = np.random.default_rng(number)
        cells = [(s, v + rng.exponential()) for s, v in grid({"rate": 3.0}, rng, noise=0.0)]
        by_path = {i.path: i for i in axis_importance(cells, num_shuffles=199, seed=number)}
        num_found += by_path["width"].p <= 0.05
    binomial = math.sqrt(0.05 * 0.95 / num_studies)  # 0.011
    assert num_found / num_studies == pytest.approx(0.05, abs=3 * binomial)


def test_by_chance_is_the_share_that_shuffled_values_have() -> None:
    """(values - 1) / (cells - 1) where everything is shuffled: one axis alone, no strata."""
    rng = np.random.default_rng(1)
    cells = [({"width": i % 4}, rng.standard_normal()) for i in range(20)]
    (found,) = axis_importance(cells, num_shuffles=4000)
    assert found.by_chance == pytest.approx(3 / 19, abs=0.01)


def test_what_lacks_an_axis_or_a_value_is_left_out() -> None:
    cells = grid({"width": 1.0}, np.random.default_rng(2))
    more = [*cells, ({"rate": 0, "seed": 0}, 99.0), ({**cells[0][0]}, math.nan)]
    plain = {i.path: i for i in axis_importance([(s | {"one": 1}, v) for s, v in cells])}
    found = {i.path: i for i in axis_importance(more)}
    assert "one" not in plain
    assert found["width"].share == pytest.approx(plain["width"].share)
    assert found["width"].num_cells == 36
    assert found["rate"].num_cells == 37
    assert axis_importance([]) == []


def test_values_that_do_not_differ_have_no_important_axis() -> None:
    found = axis_importance([({"width": w}, 0.25) for w in (1, 1, 2, 2)])
    assert [(i.share, i.p) for i in found] == [(0.0, 1.0)]
