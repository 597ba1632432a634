"""Labels at the ends of lines: near their lines, never on each other."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from daep_ray.report.marks import spread

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
