"""A table of the page as LaTeX, with the same entries: `\\input` it into a paper.

Needs no package beyond LaTeX itself. Every word of a survey or a user is escaped.
"""

from daep_ray.report.grid import Column, Entry, Grid
from daep_ray.report.numbers import MINUS, NARROW, RAISED

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


def escape(text: str) -> str:
    """Words as LaTeX prints them; a bracket that begins a row is no option of the row before."""
    return text.translate(_TABLE).replace("[", "{[}").replace("]", "{]}")


def table(grid: Grid) -> str:
    """A floating table; the caption comes first, the notes stand below in small print."""
    places = "".join("r" if column.kind == "number" else "l" for column in grid.columns)
    lines = [
        r"\begin{table}",
        rf"\caption{{{escape(grid.caption)}}}",
        rf"\label{{tab:{grid.name}}}",
        r"\centering",
        rf"\begin{{tabular}}{{{places}}}",
        r"\hline",
        _row([_head(column) for column in grid.columns]),
        r"\hline",
        *(_row([_entry(entry) for entry in row]) for row in grid.rows),
        r"\hline",
        r"\end{tabular}",
        *(rf"\par\smallskip{{\footnotesize {escape(note)}}}" for note in grid.notes),
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _row(cells: list[str]) -> str:
    return " & ".join(cells) + r" \\"


def _head(column: Column) -> str:
    return escape(column.head)


def _entry(entry: Entry) -> str:
    text = escape(entry.plain)
    return rf"\textbf{{{text}}}" if entry.is_best else text
