"""Numbers: three significant digits, one number of decimals per column, a real minus."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daep_ray.report import numbers
from daep_ray.report.grid import DOES_NOT_APPLY, number_column, range_decimals, range_entry
from daep_ray.study.statistics import Difference, Interval, seed_interval


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.18734, "0.187"),
        (12.44, "12.4"),
        (96_000, "96\u202f000"),
        (-0.0231, "\u22120.0231"),
        (0.0, "0.000"),
        (1.23e-7, "1.23e\u221207"),
    ],
)
def test_a_lone_number_has_three_significant_digits(value: float, text: str) -> None:
    assert numbers.significant(value) == text


@given(st.floats(1e-3, 1e5))
def test_three_digits_lose_less_than_half_a_per_cent(value: float) -> None:
    shown = float(numbers.significant(value).replace(numbers.NARROW, ""))
    assert abs(shown - value) <= 0.0051 * value


@given(st.lists(st.floats(-1e4, 1e4), min_size=1, max_size=8))
def test_a_column_has_one_number_of_decimals(values: list[float]) -> None:
    texts = [e.text for e in number_column("x", "x", values).entries]
    assert len({len(t.partition(".")[2]) for t in texts}) == 1


@given(st.floats(-1, 1))
def test_a_rounded_zero_has_no_sign(value: float) -> None:
    text = numbers.fixed(value / 1000, 1, sign=True)
    assert text == "0.0"


@pytest.mark.parametrize(
    ("fraction", "text"), [(0.1234, "12"), (0.0421, "4.2"), (-0.05, "\u22125.0"), (0.0, "0")]
)
def test_per_cent(fraction: float, text: str) -> None:
    assert numbers.percent(fraction) == f"{text}\u202f%"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(42, "42 s"), (725, "12 min 5 s"), (11_220, "3 h 7 min"), (0.0312, "0.031 s")],
)
def test_durations(seconds: float, text: str) -> None:
    assert numbers.duration(seconds).replace(numbers.NARROW, " ") == text


def test_listings() -> None:
    assert [numbers.listing(list("abc")[:n]) for n in range(4)] == [
        "",
        "a",
        "a and b",
        "a, b and c",
    ]
    assert numbers.listing(["a, b", "c", "d"]) == "a, b; c; and d"


def test_an_interval_needs_two_values_and_a_gap_needs_a_reason() -> None:
    values: list[Interval | float | str] = [
        seed_interval([0.5]),
        seed_interval([0.48, 0.52]),
        "failed",
        DOES_NOT_APPLY,
    ]
    one, two, failed, none = number_column("x", "x", values).entries
    assert (one.text, one.spread) == ("0.500", "")
    half = 12.7062 * math.sqrt(0.0008) / math.sqrt(2)  # Student's t for one degree of freedom
    assert two.spread == f"\u00b1 {half:.3f}"
    assert (failed.text, failed.is_missing) == ("missing: failed", True)
    assert (none.text, none.is_missing) == (DOES_NOT_APPLY, False)


def test_a_column_of_huge_numbers_leaves_their_power_to_its_unit() -> None:
    seen = number_column("error", "error", [3.04469698e17, 1.74e17, 6.2e15], "FLUXCAL")
    assert [e.text for e in seen.entries] == ["304", "174", "6"]
    assert seen.head == "error (10\u00b9\u2075 FLUXCAL)"
    assert [e.raw for e in seen.entries] == [3.04469698e17, 1.74e17, 6.2e15]  # the CSV's


def test_an_outlier_changes_no_unit() -> None:
    seen = number_column("error", "error", [0.2, 0.3, 1e9], "z")
    assert seen.unit == "z"
    assert seen.entries[0].text == "0.200"


@pytest.mark.parametrize(("power", "text"), [(18, "10\u00b9\u2078"), (-3, "10\u207b\u00b3")])
def test_powers_are_raised(power: int, text: str) -> None:
    assert numbers.ten_to(power) == text


def around(mean: float, half_width: float, count: int = 3) -> Interval:
    return Interval(mean, mean - half_width, mean + half_width, count)


@pytest.mark.parametrize("unit", ["", "z"])
@pytest.mark.parametrize(
    ("mean", "half_width", "text"),
    [
        (0.0000123, 0.0004, "0.00001 \u00b1 0.00040"),
        (-0.0012, 0.31, "0.00 \u00b1 0.31"),
        (0.0, 0.004, "0.0000 \u00b1 0.0040"),
        (0.213, 0.006, "0.213 \u00b1 0.006"),  # far from zero: three digits of the mean
        (0.213, 0.2, "0.213 \u00b1 0.200"),
    ],
)
def test_a_mean_has_no_more_decimals_than_its_interval(
    mean: float, half_width: float, text: str, unit: str
) -> None:
    column = number_column("x", "x", [around(mean, half_width)] * 3, unit)
    assert {e.plain for e in column.entries} == {text}
    assert column.unit == unit  # no power of ten for a number that is not told from zero


def test_one_value_alone_keeps_its_digits() -> None:
    assert number_column("x", "x", [seed_interval([0.213])]).entries[0].plain == "0.213"


@given(st.floats(-1, 1), st.floats(1.001, 1e4), st.floats(1e-6, 1))
def test_an_interval_around_zero_has_two_digits(share: float, times: float, size: float) -> None:
    """Of the uncertainty, however small the mean."""
    shown = number_column("x", "x", [around(share * size, times * size)]).entries[0]
    digits = shown.spread.removeprefix("\u00b1 ").replace(".", "").replace(numbers.NARROW, "")
    assert len(digits.lstrip("0")) in ((2, 3) if "." in shown.spread else range(2, 6))


def difference(mean: float, half_width: float) -> Difference:
    return Difference(mean, mean - half_width, mean + half_width, 0.5, 0.5, 30, 2)


def test_differences_that_are_not_seen_have_few_decimals() -> None:
    found = [difference(m, 0.02) for m in (1.2e-5, -3e-4, 0.001, -0.004)]
    places = range_decimals(found)
    assert [range_entry(d.mean, d.low, d.high, places, False).text for d in found] == [
        "0.000",
        "0.000",
        "+0.001",
        "\u22120.004",
    ]
    assert range_decimals([difference(-0.0231, 0.008)]) == 4  # seen: three digits
    assert range_decimals([]) == 3
