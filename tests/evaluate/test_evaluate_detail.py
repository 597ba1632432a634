"""Power by scale against a loop over blocks, Parseval, and signals whose answer is known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daep_ray.evaluate.detail import SCALES, finest, powers, scale_rows
from daep_ray.evaluate.over_objects import OverObjects
from daep_ray.evaluate.reconstruction import SampleErrors
from daep_ray.stream.flat import FlatSequence, offsets_of


def sequences(lengths: list[int], num_bands: int, rng: np.random.Generator) -> FlatSequence:
    """White noise at random positions, in no order."""
    offsets = offsets_of(np.array(lengths))
    num, size = int(offsets[-1]), len(lengths)
    return FlatSequence(
        value=rng.normal(size=num),
        error=None,
        position=rng.uniform(size=(num, 1)),
        category=rng.integers(0, num_bands, (num, 1)),
        offsets=offsets,
        kept=np.arange(num),
        raw_start=offsets[:-1],
        metadata={},
        reference=np.zeros((size, 1)),
        one_plus_redshift=np.ones((size, 1)),
        log_scale=np.zeros(size),
    )


def told(flat: FlatSequence, estimates: dict[str, np.ndarray]) -> OverObjects:
    """Each sample an object."""
    ids = [(f"s{i:05d}", f"o{i:05d}") for i in range(flat.num_samples)]
    errors = SampleErrors()
    errors.add(ids, flat, powers(flat, estimates))
    return errors.sorted().over_objects()


def value(rows: list[dict], metric: str, scale: int) -> float:
    return next(r["value"] for r in rows if (r["metric"], r["low"]) == (metric, scale))


@given(
    st.integers(0, 10**6),
    st.lists(st.integers(0, 90), min_size=1, max_size=5),
    st.integers(1, 3),
    st.integers(1, 4),
)
def test_power_is_that_of_a_loop(seed: int, lengths: list[int], bands: int, draws: int) -> None:
    rng = np.random.default_rng(seed)
    flat = sequences(lengths, bands, rng)
    values = rng.normal(size=(draws, len(flat.value)))
    found = powers(flat, {"one_draw": values})
    for i in range(flat.num_samples):
        inside = np.arange(flat.offsets[i], flat.offsets[i + 1])
        for scale in SCALES:
            squares, truths, residuals = [], [], []
            for band in range(bands):
                points = inside[flat.category[inside, 0] == band]
                points = points[np.argsort(flat.position[points, 0])]
                for start in range(0, len(points) - 2 * scale + 1, 2 * scale):
                    first = points[start : start + scale]
                    second = points[start + scale : start + 2 * scale]

                    def detail(x: np.ndarray) -> float:
                        return (x[first].sum() - x[second].sum()) ** 2 / (2 * scale)  # noqa: B023

                    squares += [detail(x) for x in values]
                    residuals += [detail(x - flat.value) for x in values]
                    truths.append(detail(flat.value))
            for key, expected in (
                (("one_draw", f"power {scale}"), squares),
                (("one_draw", f"residual {scale}"), residuals),
                (("truth", f"power {scale}"), truths),
            ):
                mean = np.mean(expected) if expected else 0.0
                assert found[key][i] == pytest.approx(mean, rel=1e-9, abs=1e-12)


def test_all_scales_and_the_mean_keep_the_sum_of_squares() -> None:
    flat = sequences([64], 1, np.random.default_rng(0))
    found = powers(flat, {})
    num_blocks = {scale: 64 // (2 * scale) for scale in SCALES}
    total = sum(found["truth", f"power {s}"][0] * n for s, n in num_blocks.items())
    assert total + 64 * flat.value.mean() ** 2 == pytest.approx((flat.value**2).sum())


def test_copies_smooth_curves_and_unrelated_noise_have_the_ratios_that_are_claimed() -> None:
    rng = np.random.default_rng(1)
    flat = sequences([256] * 60, 1, rng)
    estimates = {
        "reference": np.zeros((1, len(flat.value))),
        "one_step": flat.value[None],
        "one_draw": rng.normal(size=(4, len(flat.value))),
    }
    rows = list(scale_rows(told(flat, estimates)))
    assert len(rows) == 3 * 2 * len(SCALES)
    for scale in SCALES:
        # of 60 x 256 / (2 scale) coefficients, the relative error of a sum of squares
        slack = 4 * np.sqrt(2 / (60 * 256 / (2 * scale)))
        for name, residual, power in (
            ("reference", 1.0, 0.0),
            ("one_step", 0.0, 1.0),
            ("one_draw", 2.0, 1.0),
        ):
            mine = [r for r in rows if r["estimate"] == name]
            assert value(mine, "residual_power", scale) == pytest.approx(residual, abs=2 * slack)
            assert value(mine, "power", scale) == pytest.approx(power, abs=slack)
    assert value([r for r in rows if r["estimate"] == "one_step"], "residual_power", 1) == 0.0


def test_what_is_lost_is_lost_at_its_own_scale() -> None:
    """A running mean of 8 loses what is finer and keeps what is much coarser."""
    rng = np.random.default_rng(2)
    num = 512
    flat = sequences([num], 1, rng)
    order = np.argsort(flat.position[:, 0])
    slow = np.empty(num)
    slow[order] = 3 * np.cos(np.arange(num) * 2 * np.pi / 128)
    object.__setattr__(flat, "value", slow + rng.normal(size=num))
    smooth = np.empty(num)
    smooth[order] = np.convolve(flat.value[order], np.full(8, 1 / 8), mode="same")
    rows = list(scale_rows(told(flat, {"reference": smooth[None]})))
    residual = [value(rows, "residual_power", s) for s in SCALES]
    assert residual[0] > 0.8
    assert residual[-1] < 0.1
    shown = {r["metric"]: r["value"] for r in finest(rows)}
    assert shown["fine_residual_power"] == residual[0]
    assert shown["fine_power"] < 0.1


def test_a_sequence_too_short_for_a_scale_says_nothing_of_it() -> None:
    flat = sequences([3, 1, 0], 1, np.random.default_rng(3))
    rows = list(scale_rows(told(flat, {"one_step": flat.value[None] * 0.5})))
    assert {r["low"] for r in rows} == {1.0}
    assert value(rows, "residual_power", 1) == pytest.approx(0.25)
    assert all(r["count"] == 1 for r in rows)
