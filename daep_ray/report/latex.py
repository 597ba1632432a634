"""A table of the page as LaTeX, with the same entries: `\\input` it into a paper.

Needs no package beyond LaTeX itself. Every word of a survey or a user is escaped. What is too wide
for a paper's column is set small across the page, and in panels below each other where that is too
narrow as well (`panels.py`).
"""

import unicodedata
from collections.abc import Sequence

from daep_ray.report.grid import Column, Entry, Grid
from daep_ray.report.numbers import MINUS, NARROW, RAISED
from daep_ray.report.panels import NORMAL, SMALL, floats, is_wide

_MARKS = {
    "\\": r"\textbackslash{}",
    **{mark: f"\\{mark}" for mark in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": "$<$",
    ">": "$>$",
    "|": "$|$",
    '"': "''",
    MINUS: "$-$",
    NARROW: r"\,",
    "\u00b1": r"$\pm$",
    "\u00d7": r"$\times$",
    "\u00b5": r"$\mu$",
    **{raised: f"$^{digit}$" for digit, raised in enumerate(RAISED)},
    "\u207b": "$^-$",
    "\u00c5": r"\AA{}",
    "\u2014": "---",
    "\u00b7": r"$\cdot$",
    "\n": " ",
}
_TABLE = str.maketrans(_MARKS)


# `[` and `*` that begin a row are no options of the end of the row before.
_LETTERS = {"[": "{[}", "]": "{]}", "*": "{*}"}
_LETTERS |= {c: rf"\{c_}{{}}" for c, c_ in zip("\u0141\u0142\u00d8\u00f8", "LlOo", strict=True)}
_LETTERS |= {"\u00df": r"\ss{}", "\u00c6": r"\AE{}", "\u00e6": r"\ae{}", "\u00e5": r"\aa{}"}
_GREEK = (  # in Unicode's order, from U+03B1 on
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi o pi rho varsigma "
    "sigma tau upsilon phi chi psi omega"
)
_LETTERS |= {chr(0x3B1 + i): f"$\\{name}$" for i, name in enumerate(_GREEK.split())}
_LETTERS["\u03bf"] = "o"
_CAPITALS = "gamma delta theta lambda xi pi sigma upsilon phi psi omega"  # others are Latin's
_LETTERS |= {
    chr(0x391 + _GREEK.split().index(name)): f"$\\{name.capitalize()}$"
    for name in _CAPITALS.split()
}
# grave, acute, circumflex, diaeresis, tilde, macron, dot, cedilla, caron, double acute, breve, ring
_ACCENTS = dict(
    zip(
        "\u0300\u0301\u0302\u0308\u0303\u0304\u0307\u0327\u030c\u030b\u0306\u030a",
        "`'^\"~=.cvHur",
        strict=True,
    )
)


def escape(text: str) -> str:
    """Words as LaTeX prints them, in ASCII."""
    marked = unicodedata.normalize("NFC", text).translate(_TABLE)
    return "".join(_LETTERS.get(c) or (c if " " <= c <= "~" else _accented(c)) for c in marked)


def _accented(letter: str) -> str:
    """`\\"{u}`; a letter that LaTeX cannot write without a package is a question mark."""
    base, *accents = list(unicodedata.normalize("NFD", letter))
    if len(accents) == 1 and base.isascii() and accents[0] in _ACCENTS:
        return rf"\{_ACCENTS[accents[0]]}{{{base}}}"
    return "?"


def table(grid: Grid) -> str:
    """A floating table, or several; the caption comes first, notes stand below in small print."""
    parts = floats(grid)
    return "".join(_float(grid, part, i, len(parts)) for i, part in enumerate(parts))


def _float(grid: Grid, part: Sequence[Grid], number: int, count: int) -> str:
    """The float `number` of `count`; the notes stand below the last."""
    name = "table*" if is_wide(grid, SMALL) else "table"
    small = [r"\footnotesize", r"\setlength{\tabcolsep}{3pt}"] if is_wide(grid, NORMAL) else []
    tabulars = [_tabular(panel) for panel in part]
    lines = [
        rf"\begin{{{name}}}",
        rf"\caption{{{escape(grid.caption)}{' (continued)' if number else ''}}}",
        rf"\label{{tab:{grid.name}{f'-{number + 1}' if number else ''}}}",
        r"\centering",
        *small,
        *tabulars[0],
        *(line for tabular in tabulars[1:] for line in (r"\par\medskip", *tabular)),
        *(_note(note) for note in grid.notes if number == count - 1),
        rf"\end{{{name}}}",
    ]
    return "\n".join(lines) + "\n"


def _note(note: str) -> str:
    return rf"\par\smallskip{{\footnotesize {escape(note)}}}"


def _tabular(grid: Grid) -> list[str]:
    places = "".join("r" if column.kind == "number" else "l" for column in grid.columns)
    return [
        rf"\begin{{tabular}}{{{places}}}",
        r"\hline",
        _row([_head(column) for column in grid.columns]),
        r"\hline",
        *(_row([_entry(entry) for entry in row]) for row in grid.rows),
        r"\hline",
        r"\end{tabular}",
    ]


def _row(cells: list[str]) -> str:
    return " & ".join(cells) + r" \\"


def _head(column: Column) -> str:
    return escape(column.head)


def _entry(entry: Entry) -> str:
    text = escape(entry.plain)
    return rf"\textbf{{{text}}}" if entry.is_best else text
