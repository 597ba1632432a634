"""A table too wide for a paper in, narrower ones out: panels that repeat what tells rows apart.

Widths are estimates in points, a little too large: of Computer Modern, the font of plain LaTeX.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from daep_ray.report.grid import Column, Grid

COLUMN = 240.0  # pt: of MNRAS, the narrowest of the journals'
PAGE = 468.0  # pt: across both columns, and a manuscript's letter page with margins of one inch
MOST_ROWS = 50  # in one float, heads of panels included: a page holds few more


@dataclass(frozen=True)
class Size:
    """Points that a character takes, and the space around a column (twice `tabcolsep`)."""

    character: float
    gap: float


NORMAL = Size(5.3, 12.0)
SMALL = Size(4.5, 6.0)  # footnotesize of a 10 pt class, tabcolsep of 3 pt


def is_wide(grid: Grid, size: Size) -> bool:
    """Whether a table leaves a paper's column."""
    return _width(grid.columns, size) > COLUMN


def floats(grid: Grid) -> list[list[Grid]]:
    """The table's panels, as many to a float as a page is high."""
    found = panels(grid)
    most = max(1, MOST_ROWS // (len(grid.rows) + 2))
    return [found[i : i + most] for i in range(0, len(found), most)]


def panels(grid: Grid) -> list[Grid]:
    """The whole table, if a page is wide enough; else parts that begin with the same columns."""
    if _width(grid.columns, SMALL) <= PAGE:
        return [grid]
    keys = grid.columns[: _num_keys(grid)]
    return [replace(grid, columns=(*keys, *part)) for part in _parts(grid, keys)]


def _parts(grid: Grid, keys: tuple[Column, ...]) -> Iterator[list[Column]]:
    """The other columns, as many at a time as fit beside the keys; at least one."""
    part: list[Column] = []
    for column in grid.columns[len(keys) :]:
        if part and _width((*keys, *part, column), SMALL) > PAGE:
            yield part
            part = []
        part.append(column)
    yield part


def _num_keys(grid: Grid) -> int:
    """The first columns that together tell every row from every other, if they leave room for
    more; else the first one."""
    for number in range(1, len(grid.columns)):
        keys = grid.columns[:number]
        if _width(keys, SMALL) > PAGE / 2:
            break
        if len({tuple(e.plain for e in row[:number]) for row in grid.rows}) == len(grid.rows):
            return number
    return 1


def _width(columns: tuple[Column, ...], size: Size) -> float:
    return sum(_characters(column) * size.character + size.gap for column in columns)


def _characters(column: Column) -> int:
    return max(len(column.head), *(len(e.plain) for e in column.entries), 0)
