"""The LaTeX tables: as many cells as the page, nothing of a user's words left as a command."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daep_ray.report import build
from daep_ray.report.grid import Column, Entry, Grid
from daep_ray.report.latex import escape, table
from daep_ray.report.page import compose
from daep_ray.report.source import read
from tests.report.fake_study import Fake, make

# what escaping may leave: our own commands, letters after a backslash, or one escaped mark
COMMAND = re.compile(r"\\(?:text[a-z]+\{\}|[&%$#_{}]|,|pm|times|mu|cdot)")


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = make(tmp_path_factory.mktemp("study"), Fake(seeds=(0, 1), failed=("daep/4/1",)))
    build(made)
    return made


@given(
    st.text(alphabet=st.sampled_from('\\&%$#_{}~^<>|[]"ab \n\u2212\u00b1\u00d7\u202f'), max_size=12)
)
def test_no_word_can_become_a_command(words: str) -> None:
    found = escape(words)
    rest = COMMAND.sub("", found)
    assert "\\" not in rest
    assert not set(rest) & set("&%#_~^\n\u2212\u00b1\u00d7\u202f")
    assert rest.count("$") % 2 == 0
    assert rest.count("{") == rest.count("}")


def test_every_table_of_a_part_is_there_whole(out: Path) -> None:
    grids = compose(read(out)).tables
    assert len(grids) > 6
    assert {p.stem for p in (out / "report").glob("*.tex")} == {grid.name for grid in grids}
    for grid in grids:
        text = (out / "report" / f"{grid.name}.tex").read_text()
        rows = [line for line in text.splitlines() if line.endswith(r"\\")]
        assert len(rows) == len(grid.rows) + 1
        cells = [len(re.findall(r"(?<!\\)&", row)) + 1 for row in rows]
        assert set(cells) == {len(grid.columns)}
        (places,) = re.findall(r"\\begin\{tabular\}\{([lr]+)\}", text)
        assert len(places) == len(grid.columns)
        assert text.isascii()
        for what in ("table", "tabular"):
            assert text.count(rf"\begin{{{what}}}") == text.count(rf"\end{{{what}}}") == 1


def test_numbers_are_the_page_s_and_the_best_is_bold() -> None:
    entries = (Entry("0.213", 0.213, "\u00b1 0.006", is_best=True), Entry("\u22120.1", -0.1))
    grid = Grid("g", "50 % of a_b", (Column("x", "error", entries, "z", "number"),), ("a & b",))
    assert table(grid).splitlines() == [
        r"\begin{table}",
        r"\caption{50 \% of a\_b}",
        r"\label{tab:g}",
        r"\centering",
        r"\begin{tabular}{r}",
        r"\hline",
        r"error (z) \\",
        r"\hline",
        r"\textbf{0.213 $\pm$ 0.006} \\",
        r"$-$0.1 \\",
        r"\hline",
        r"\end{tabular}",
        r"\par\smallskip{\footnotesize a \& b}",
        r"\end{table}",
    ]
