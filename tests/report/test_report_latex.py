"""The LaTeX tables: as many cells as the page, nothing of a user's words left as a command."""

import re
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from daep_ray.report import build
from daep_ray.report.grid import Column, Entry, Grid
from daep_ray.report.latex import escape, table
from daep_ray.report.page import compose
from daep_ray.report.source import read
from tests.report import tex
from tests.report.fake_study import Fake, make

# what escaping may leave: our own commands, letters after a backslash, or one escaped mark
COMMAND = re.compile(r"\\(?:text[a-z]+\{\}|[&%$#_{}]|,|pm|times|mu|cdot)")
NASTY = ("<script>", "a/b\\c & d", "* II | x_1", "[Müller] $\u03b1$ \u0394M", "спектр 50 % #1 ~ ^")


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


def of_one_cell(words: str) -> str:
    return table(Grid("g", words, (Column("x", words, (Entry(words, words),)),), (words,)))


@given(st.text(max_size=12))
@example("* [1]")
@example("e\u0301 \u00e9 \u0141 \u03b1 \u0394 \u0394\u0301 \u0434 \u200b \u2028 \x00 \r")
@example("\\end{tabular}")
def test_any_words_compile(words: str) -> None:
    (head, cell) = tex.rows_of(of_one_cell(words))
    assert len(head) == len(cell) == 1


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ("Müller Łódź Ångström", r"M\"{u}ller \L{}\'{o}d\'{z} \AA{}ngstr\"{o}m"),
        ("\u0394m \u03b1", r"$\Delta$m $\alpha$"),
        ("спектр", "??????"),
        ("*", "{*}"),
    ],
)
def test_other_letters(words: str, shown: str) -> None:
    assert escape(words) == shown


@pytest.mark.parametrize(
    "broken",
    [
        of_one_cell("a").replace(r"\end{tabular}", ""),
        of_one_cell("a").replace(r"\end{tabular}", r"\end{table}"),
        of_one_cell("a").replace("{l}", "{lr}"),
        of_one_cell("a").replace(r"a \\", r"{a \\", 1),
        of_one_cell("a").replace(r"a \\", r"$a \\", 1),
        *(
            of_one_cell("a").replace(r"a \\", rf"{b} \\", 1)
            for b in ("_", "5 %", r"\alpha", "[", "é")
        ),
        of_one_cell("a").replace(r"\hline", r"\toprule"),
    ],
)
def test_the_reader_sees_what_tex_would(broken: str) -> None:
    tex.rows_of(of_one_cell("a"))
    with pytest.raises(tex.Untypable):
        tex.rows_of(broken)


def test_every_table_of_a_part_is_there_whole(out: Path) -> None:
    grids = compose(read(out)).tables
    assert len(grids) > 6
    assert {p.stem for p in (out / "report").glob("*.tex")} == {grid.name for grid in grids}
    for grid in grids:
        rows = tex.rows_of((out / "report" / f"{grid.name}.tex").read_text())
        assert len(rows) == len(grid.rows) + 1
        assert {len(row) for row in rows} == {len(grid.columns)}


def test_names_of_a_survey_do_not_break_a_table(tmp_path: Path) -> None:
    grids = compose(
        read(make(tmp_path, Fake(seeds=(0,), classes=NASTY, modality="a/b_c &")))
    ).tables
    text = "".join(map(table, grids))
    assert r"\textbackslash{}c \& d" in text
    assert tex.rows_of(text)


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
