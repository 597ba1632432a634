"""The files of a report: the page, its twins, its figures; each replaced in one step."""

import os
from pathlib import Path

from daep_ray.errors import require_writable, storage_error
from daep_ray.report import html, latex, svg, twins
from daep_ray.report.page import Page, compose
from daep_ray.report.source import read


def write_report(out: Path, is_alone: bool = False) -> Path:
    """Read OUT's tables and write OUT/report; see `daep_ray.report.build`."""
    study = read(out)
    require_writable(out / "report")
    page = compose(study)
    files = {} if is_alone else _beside(page)
    files["index.html"] = html.render(page, is_alone).encode()
    folder = out / "report"
    try:
        for name, content in files.items():
            replace_file(folder / name, content)
        _remove_others(folder, set(files))
    except OSError as error:
        raise storage_error(error, folder) from error
    return folder / "index.html"


def _beside(page: Page) -> dict[str, bytes]:
    """Figures and tables in the formats of papers, and the page's Markdown twin."""
    files = {f"figures/{name}": c for d in page.drawings for name, c in svg.files(d).items()}
    files |= {f"{grid.name}.csv": twins.comma_separated(grid).encode() for grid in page.grids}
    files |= {f"{grid.name}.tex": latex.table(grid).encode() for grid in page.tables}
    files["report.md"] = twins.markdown(page).encode()
    return files


def replace_file(path: Path, content: bytes) -> None:
    """Write a file in one step: a reader sees the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    staged = path.with_name(f".{path.name}.{os.getpid()}.partial")
    staged.write_bytes(content)
    staged.replace(path)


def _remove_others(folder: Path, kept: set[str]) -> None:
    """Figures and tables of an earlier build that this one does not have would be mistaken for its
    own."""
    for kind in ("figures/*.svg", "figures/*.pdf", "*.csv", "*.tex", "report.md"):
        for path in folder.glob(kind):
            if path.relative_to(folder).as_posix() not in kept:
                path.unlink()
