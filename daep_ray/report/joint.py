"""A page over the studies of one command: Markdown for a repository, LaTeX and CSV per table.

In: sections of words and tables, made from the studies' own tables. Out: FOLDER/<name>.md,
FOLDER/<name>.tex, FOLDER/<table>.csv and FOLDER/index.html, which links every study's report.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from daep_ray.errors import require_writable, storage_error
from daep_ray.report import latex, twins
from daep_ray.report.grid import Grid
from daep_ray.report.index import write_index
from daep_ray.report.write import replace_file


@dataclass(frozen=True)
class Section:
    """A heading, a paragraph each of `words`, the tables, and what a reader must know of them."""

    heading: str
    words: tuple[str, ...] = ()
    grids: tuple[Grid, ...] = ()
    notes: tuple[str, ...] = ()


def write_joint(
    folder: Path, name: str, title: str, words: Sequence[str], sections: Sequence[Section]
) -> Path:
    """Write the page and its tables; returns the Markdown file's path.

    Raises:
        DataError: no study in `folder`.
        StorageError: `folder` cannot be written.
    """
    require_writable(folder)
    grids = [grid for section in sections for grid in section.grids]
    files = {f"{grid.name}.csv": twins.comma_separated(grid) for grid in grids}
    files[f"{name}.tex"] = "\n".join(latex.table(grid) for grid in grids)
    files[f"{name}.md"] = _markdown(title, words, sections)
    try:
        for file, content in files.items():
            replace_file(folder / file, content.encode())
    except OSError as error:
        raise storage_error(error, folder) from error
    write_index(folder)
    return folder / f"{name}.md"


def _markdown(title: str, words: Sequence[str], sections: Sequence[Section]) -> str:
    blocks = [f"# {twins.safe(title)}", *map(twins.safe, words)]
    for section in sections:
        blocks += [f"## {twins.safe(section.heading)}", *map(twins.safe, section.words)]
        for grid in section.grids:
            blocks += [f"**{twins.safe(grid.caption)}**", twins.table(grid)]
            blocks += [twins.safe(note) for note in grid.notes]
        if section.notes:
            blocks.append("\n".join(f"- {twins.safe(note)}" for note in section.notes))
    return "\n\n".join(blocks) + "\n"
