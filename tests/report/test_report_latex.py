"""The LaTeX tables: as many cells as the page, nothing of a user's words left as a command."""

import re
from collections.abc import Callable
from pathlib import Path

import matplotlib
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from matplotlib.ft2font import FT2Font

from daep_ray.report.grid import Column, Entry, Grid
from daep_ray.report.latex import escape, table
from daep_ray.report.page import compose
from daep_ray.report.panels import COLUMN, PAGE, panels
from daep_ray.report.source import read
from tests.report import tex
from tests.report.fake_study import SHOWN, Fake, make

# what escaping may leave: our own commands, letters after a backslash, or one escaped mark
COMMAND = re.compile(r"\\(?:text[a-z]+\{\}|[&%$#_{}]|,|pm|times|mu|cdot)")
SIZE = 10
FONTS = [
    FT2Font(f"{matplotlib.get_data_path()}/fonts/ttf/{name}.ttf") for name in ("cmr10", "cmb10")
]
for font in FONTS:
    font.set_size(SIZE, 72)
NASTY = ("<script>", "a/b\\c & d", "* II | x_1", "[Müller] $\u03b1$ \u0394M", "спектр 50 % #1 ~ ^")


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


def test_every_table_of_a_part_is_there_whole(page_of: Callable[[Fake], Path]) -> None:
    folder = page_of(SHOWN).parent
    grids = compose(read(folder.parent)).tables
    assert len(grids) > 6
    assert {p.stem for p in folder.glob("*.tex")} == {grid.name for grid in grids}
    for grid in grids:
        rows = tex.joined(tex.tables_of((folder / f"{grid.name}.tex").read_text()))
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


def wide(num_columns: int, num_rows: int) -> Grid:
    """A model, a place, and numbers with their half widths; models are named twice."""
    names = tuple(Entry(f"model {i // 2}", f"model {i // 2}") for i in range(num_rows))
    places = tuple(Entry(str(i % 2), i % 2) for i in range(num_rows))
    numbers = tuple(
        Entry(f"0.{i + 100}", 0.1, "\u00b1 0.006", is_best=i < 3) for i in range(num_rows)
    )
    columns = [
        Column(f"c{j}", f"coverage {j} %", numbers, "z", "number") for j in range(num_columns)
    ]
    two = (Column("model", "model", names), Column("x", "floats", places, "", "number"))
    return Grid("g", "of many columns", (*two, *columns), ("a note", "another"))


def points(words: str, is_bold: bool) -> float:
    """The width of words in Computer Modern of 8 pt, by its metrics; signs as wide as a plus."""
    font = FONTS[is_bold]
    known = [font.load_char(ord(c if c.isascii() else "+")).linearHoriAdvance for c in words]
    return sum(known) / 65536 * 8 / SIZE * 1.0625  # letters of 8 pt are wider than 10 pt's at 80 %


def width(panel: Grid) -> float:
    return sum(
        6 + max(points(c.head, False), *(points(e.plain, e.is_best) for e in c.entries))
        for c in panel.columns
    )


@pytest.mark.parametrize("num_columns", [5, 11, 30])
def test_no_part_of_a_wide_table_leaves_the_page(num_columns: int) -> None:
    grid = wide(num_columns, 6)
    assert width(grid) > COLUMN
    text = table(grid)
    assert text.startswith("\\begin{table*}")
    assert text.count("\\footnotesize\n\\setlength{\\tabcolsep}{3pt}") == text.count("\\caption")
    found = tex.tables_of(text)
    assert len(found) == len(panels(grid))
    assert (len(found) == 1) == (num_columns == 5)
    assert max(map(width, panels(grid))) <= PAGE
    assert len(found) <= 2 * width(grid) / PAGE + 1  # none is nearly empty
    cells = [[c.head for c in grid.columns], *([e.plain for e in row] for row in grid.rows)]
    plain = [[re.sub(r"[^\w. ]", "", c.replace("\u00b1", "")) for c in row] for row in cells]
    assert [[re.sub(r"[^\w. ]", "", c) for c in row] for row in tex.joined(found)] == plain


def test_panels_repeat_what_tells_their_rows_apart() -> None:
    for panel in tex.tables_of(table(wide(30, 6))):
        assert panel[0][:2] == ["model", "floats"]
        assert len({tuple(row[:2]) for row in panel}) == 7


def test_a_float_is_no_higher_than_a_page() -> None:
    text = table(wide(30, 30))
    floats = text.split("\\end{table*}\n")[:-1]
    assert len(floats) == len(panels(wide(30, 30)))
    assert [f.count("(continued)") for f in floats] == [0] + [1] * (len(floats) - 1)
    assert len(set(re.findall(r"\\label\{[^}]*\}", text))) == len(floats)
    assert [f.count("another") for f in floats] == [0] * (len(floats) - 1) + [1]
    assert len(tex.joined(tex.tables_of(text))[0]) == 32


def test_a_table_of_a_column_s_width_is_set_as_before() -> None:
    text = table(wide(1, 6))
    assert text.startswith("\\begin{table}\n")
    assert "tabcolsep" not in text
    small = table(wide(2, 6))  # too wide for a column but for small print
    assert small.startswith("\\begin{table}\n")
    assert "tabcolsep" in small


def test_one_column_of_long_words_stays_one_table() -> None:
    words = tuple(Entry("word " * 40, "") for _ in range(3))
    text = table(Grid("g", "words", (Column("w", "words", words),)))
    assert [len(rows) for rows in tex.tables_of(text)] == [4]
