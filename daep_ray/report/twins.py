"""The page's twins: Markdown for a repository, CSV for a spreadsheet, with the same numbers."""

import csv
import io

from daep_ray.report.grid import Entry, Grid
from daep_ray.report.page import Page, Part
from daep_ray.report.sections import Section
from daep_ray.report.svg import Drawing


def markdown(page: Page) -> str:
    """The page as Markdown; figures are the SVG files beside it."""
    blocks = [f"# {safe(page.question)}", f"**{safe(page.answer.sentence)}**"]
    blocks += [safe(s) for s in page.answer.more]
    blocks.append(safe(" · ".join(page.subtitle)))
    for part in page.parts:
        blocks += _part(part, len(page.parts) > 1)
    for section in (page.codes, page.training):
        blocks += [] if section.is_empty else _section(section)
    blocks += ["## Every training", table(page.trainings, leave_out=("command",))]
    blocks += ["## What this cannot show", "\n".join(f"- {safe(s)}" for s in page.limits)]
    for name, facts in page.facts.items():
        blocks += [f"## {name}", "\n".join(f"- {safe(k)}: {safe(v)}" for k, v in facts)]
    for name, content in page.configuration:
        blocks += [f"### {safe(name)}", f"```json\n{content}\n```"]
    blocks += ["## To repeat it", f"```sh\n{page.command}\n```"]
    return "\n\n".join(blocks) + "\n"


def _part(part: Part, is_one_of_many: bool) -> list[str]:
    blocks = [f"## {safe(part.modality)}", safe(part.answer.sentence)] if is_one_of_many else []
    for section in (part.main, *part.sections):
        blocks += _section(section)
    return [b for b in blocks if b]


def _section(section: Section) -> list[str]:
    blocks = [f"## {safe(section.title)}" if section.title else "", safe(section.intro)]
    for drawing in section.drawings:
        blocks += [_figure(drawing), safe(drawing.caption)]
    blocks += [*map(safe, section.words), safe(section.note)]
    blocks += [f"missing: {safe(name)}: {safe(why)}" for name, why in section.missing.items()]
    for grid in section.grids:
        blocks += [f"**{safe(grid.caption)}**", table(grid), *map(safe, grid.notes)]
    return [b for b in blocks if b]


def _figure(drawing: Drawing) -> str:
    return f"![{safe(drawing.alt)}](figures/{drawing.name}.svg)"


def table(grid: Grid, leave_out: tuple[str, ...] = ()) -> str:
    """A Markdown table; best values in bold."""
    kept = [i for i, c in enumerate(grid.columns) if c.kind not in leave_out]
    heads = [safe(grid.columns[i].head) for i in kept]
    rules = ["---:" if grid.columns[i].kind == "number" else "---" for i in kept]
    rows = [[_cell(row[i]) for i in kept] for row in grid.rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (heads, rules, *rows))


def _cell(entry: Entry) -> str:
    text = safe(entry.plain)
    return f"**{text}**" if entry.is_best else text


def safe(text: str) -> str:
    """Words of a survey must not become markup, nor end a table's cell."""
    for mark in "\\`*_[]<>|#":
        text = text.replace(mark, f"\\{mark}")
    return " ".join(text.split("\n"))


def comma_separated(grid: Grid) -> str:
    """CSV with every digit; a column with intervals has `_low` and `_high` beside it."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    ranged = [any(e.low is not None for e in c.entries) for c in grid.columns]
    heads: list[str] = []
    for column, has_range in zip(grid.columns, ranged, strict=True):
        heads += [column.key, *([f"{column.key}_low", f"{column.key}_high"] if has_range else [])]
    writer.writerow(heads)
    for row in grid.rows:
        cells: list[str] = []
        for entry, has_range in zip(row, ranged, strict=True):
            cells.append(_raw(entry))
            cells += [_number(entry.low), _number(entry.high)] if has_range else []
        writer.writerow(cells)
    return buffer.getvalue()


def _raw(entry: Entry) -> str:
    if entry.is_missing:
        return entry.text
    return _number(entry.raw)


def _number(value: float | str | None) -> str:
    """Every digit; a word that a spreadsheet would run as a formula gets a quote in front."""
    if value is None:
        return ""
    if isinstance(value, str):
        return f"'{value}" if value[:1] in "=+-@\t\r" and value[1:] else value
    return repr(value)
