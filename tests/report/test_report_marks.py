"""Labels at the ends of lines, never on each other; ticks of any size that fit beside an axis."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from daep_ray.report.marks import in_power, spread, thousands
from daep_ray.report.numbers import power_of

TOP, GAP = 100.0, 10.0
WANTED = st.lists(st.floats(0, TOP), min_size=1, max_size=9)


@given(WANTED)
def test_labels_do_not_touch_and_keep_their_order(wanted: list[float]) -> None:
    places = spread(wanted, GAP, TOP)
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    sorted_places = [places[i] for i in order]
    gaps = [b - a for a, b in pairwise(sorted_places)]
    assert all(gap >= GAP - 1e-9 for gap in gaps)


@given(WANTED)
def test_labels_stay_inside(wanted: list[float]) -> None:
    assert all(-1e-9 <= place <= TOP + 1e-9 for place in spread(wanted, GAP, TOP))


@given(st.lists(st.integers(0, 5), min_size=1, max_size=5, unique=True))
def test_labels_that_have_room_stay_at_their_lines(steps: list[int]) -> None:
    wanted = [step * 2 * GAP for step in steps]
    assert spread(wanted, GAP, TOP) == wanted


@given(st.floats(-300, 300), st.booleans())
def test_a_tick_of_any_size_fits_beside_its_axis(exponent: float, is_below: bool) -> None:
    value = 10.0**exponent * (-1 if is_below else 1)
    text = thousands(power_of(abs(value), 1e-2))(float(f"{value:.2g}"), 0)
    assert len(text) <= 7, text


def test_the_axis_name_says_the_power_that_its_ticks_leave_to_it() -> None:
    assert power_of(4.5e18, 1e-2) == 18
    assert power_of(3e-15, 1e-2) == -15
    assert power_of(96_000, 1e-2) == power_of(0.02, 1e-2) == power_of(0, 1e-2) == 0
    assert in_power("flux (\u00b5Jy)", 18) == "flux (10\u00b9\u2078 \u00b5Jy)"
    assert in_power("flux", -15) == "flux (10\u207b\u00b9\u2075)"
    assert in_power("flux (\u00b5Jy)", 0) == "flux (\u00b5Jy)"
    assert thousands(18)(4.5e18, 0) == "4.5"
