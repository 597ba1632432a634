"""Figures in few bytes: every place where it was, every word, few bytes per mark."""

import io
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from daep_ray.report.compact import compact, read, whole
from daep_ray.report.outline import COLUMN, MOST, outline
from daep_ray.report.style import COLOURS, paper
from daep_ray.report.svg import Drawing, on_page

places = st.tuples(st.floats(-900, 900), st.floats(-900, 900))
Polyline = list[tuple[float, float]]


def followed(d: str) -> list[Polyline]:
    """The absolute places of an outline's subpaths, as SVG 2 section 9.3 reads them."""
    here = start = (0.0, 0.0)
    lines: list[Polyline] = []
    for command, rest in re.findall(r"([a-zA-Z])([^a-zA-Z]*)", d):
        numbers = [float(n) for n in re.findall(r"-?(?:\d+\.?\d*|\.\d+)", rest)]
        if command == "z":
            here = start
        while numbers:
            across = numbers.pop(0) if command != "v" else 0.0
            down = numbers.pop(0) if command != "h" else 0.0
            here = (across, down) if command == "M" else (here[0] + across, here[1] + down)
            if command in "mM":
                start = here
                lines.append([])
            lines[-1].append(here)
    return lines


def drawn(points: Polyline) -> str:
    """As matplotlib writes a line."""
    return "".join(f"{'L' if i else 'M'} {x:.6f} {y:.6f} \n" for i, (x, y) in enumerate(points))


@given(st.lists(st.lists(places, min_size=2, max_size=30), min_size=1, max_size=3))
def test_every_place_stays_within_half_a_unit(lines: list[Polyline]) -> None:
    text = outline("".join(drawn(line) + "z\n" for line in lines), 10)
    found = followed(text)
    assert len(found) == len(lines)
    for line, kept in zip(lines, found, strict=True):
        wanted = [(round(x * 10), round(y * 10)) for x, y in line]
        expected = [p for i, p in enumerate(wanted) if i < 2 or p != wanted[i - 1]]
        assert [(round(x * 10), round(y * 10)) for x, y in kept] == expected


def test_a_line_of_no_length_stays_a_dot() -> None:
    assert followed(outline(drawn([(1.0, 2.0), (1.0, 2.0), (1.0, 2.0)]), 10)) == [
        [(1.0, 2.0), (1.0, 2.0)]
    ]


def test_a_long_line_is_thinned_to_its_envelope() -> None:
    x = np.linspace(40, 240, 20_000)
    y = 50 + 20 * np.random.default_rng(0).normal(size=x.size)
    (line,) = followed(outline(drawn(list(zip(x, y, strict=True))), 10))
    assert MOST < len(line) <= 2 * (200 / COLUMN + 1) + 1
    kept = np.array(line)
    columns = [np.floor(np.round(v, 1) / COLUMN) for v in (x, kept[:, 0])]
    for column in np.unique(columns[0]):
        before, after = y[columns[0] == column], kept[columns[1] == column, 1]
        assert after.min() == pytest.approx(before.min(), abs=0.051)
        assert after.max() == pytest.approx(before.max(), abs=0.051)


def test_a_line_that_can_be_seen_keeps_every_place() -> None:
    rng = np.random.default_rng(0)
    points = list(zip(np.linspace(0, 200, MOST), rng.normal(size=MOST), strict=True))
    (line,) = followed(outline(drawn(points), 100))
    assert len(line) == MOST


def figure(num_marks: int) -> Figure:
    """Marks, error bars, a band and a line of so many measurements each."""
    rng = np.random.default_rng(3)
    x, y = np.sort(rng.uniform(0, 100, num_marks)), rng.normal(size=num_marks)
    with paper():
        drawing = Figure(figsize=(3.5, 2.5))
        ax = drawing.add_subplot()
        black = COLOURS["data"]
        ax.fill_between(x, y - 1, y + 1, color=COLOURS["daep"], alpha=0.2, lw=0)
        ax.errorbar(x, y, 0.3, fmt="o", ms=1.8, mew=0, color=black, elinewidth=0.4)
        ax.plot(x, np.sin(x), color=COLOURS["vae"], label="a < b & c")
        ax.set_title("a < b & c")
    return drawing


def text_of(svg: str) -> str:
    return whole(compact(svg))


def raw(drawing: Figure) -> str:
    buffer = io.StringIO()
    with paper():
        FigureCanvasSVG(drawing).print_svg(buffer, metadata={"Date": None})
    return buffer.getvalue()


def test_a_mark_costs_no_more_bytes_than_it_must() -> None:
    """A law for every page: 38 for a mark, 13 for its error bar, 7 for each place of a line or an
    edge of a band; matplotlib itself writes 320 for the four."""
    sizes = []
    for num_marks in (100, 300):
        shown, rules = on_page([Drawing("f", figure(num_marks), "A figure.", "")])
        sizes.append(len(shown["f"]) + len(rules))
    assert (sizes[1] - sizes[0]) / 200 < 38 + 13 + 3 * 7.5


def test_a_file_is_whole_and_says_every_word() -> None:
    text = raw(figure(50)).replace("a &lt; b", "a \x07&lt; b")  # which XML forbids
    root = read(text_of(text))
    assert root.tag == "svg"
    assert root.get("width") == "252pt"
    words = [t.text for t in root.iter("text")]
    assert "a < b & c" in words
    used = {u.get("xlink:href", "")[1:] for u in root.iter("use")}
    assert used <= {e.get("id") for e in root.iter() if e.get("id")}
    assert len(list(root.iter("use"))) == text.count("<use") - 1  # the band, in place


def test_what_lies_over_each_other_stays_apart() -> None:
    """Lines through which one sees are not joined: where they cross, they are darker."""
    for alpha, num_paths in ((0.5, 2), (1.0, 1)):
        drawing = Figure(figsize=(2, 2))
        ax = drawing.add_subplot()
        ax.set_axis_off()
        for ends in ((0, 1), (1, 0)):
            ax.plot((0, 1), ends, color="#d55e00", alpha=alpha)
        found = [e for e in read(text_of(raw(drawing))).iter("path") if "stroke" in str(e.attrib)]
        assert len(found) == num_paths
