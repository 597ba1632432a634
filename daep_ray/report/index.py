"""Many studies on one page: each one's question and answer, and a link to its report.

In: a folder with studies below it. Out: FOLDER/index.html, one file without any request. Only
tables and designs are read; a study that cannot be read keeps its row and says why.
"""

from dataclasses import dataclass
from pathlib import Path

from daep_ray.errors import DataError, require_writable, storage_error
from daep_ray.report import along_axis, html, provenance
from daep_ray.report.evidence import gather
from daep_ray.report.source import read
from daep_ray.report.text import answer
from daep_ray.report.write import replace_file


@dataclass(frozen=True)
class Entry:
    """One study; `link` is relative to the page, empty if its report has not been built."""

    name: str
    question: str
    kind: str  # of the answer, as on the study's page
    sentence: str
    subtitle: tuple[str, ...] = ()
    link: str = ""
    reason: str = ""  # why it cannot be read


def write_index(folder: Path) -> Path:
    """Write the page; returns its path.

    Raises:
        DataError: no study in `folder`.
        StorageError: `folder` cannot be written.
    """
    found = sorted(p.parent.parent for p in folder.glob("*/tables/cells.parquet"))
    if not found:
        raise DataError(
            f"no study in {str(folder)!r}: give the folder in which studies have their --out"
        )
    require_writable(folder)
    page = html.render_index([_entry(out) for out in found])
    try:
        replace_file(folder / "index.html", page.encode())
    except OSError as error:
        raise storage_error(error, folder) from error
    return folder / "index.html"


def _entry(out: Path) -> Entry:
    try:
        study = read(out)
    except DataError as error:
        return Entry(out.name, out.name, "none", "", reason=str(error))
    modalities = study.modalities or [study.spec.get("data", {}).get("modality", "unknown")]
    evidence = gather(study, modalities[0])
    found = answer(study, evidence, along_axis.steps(study, evidence))
    # a folder that keeps results may hold the page beside its tables
    pages = (path for path in ("report/index.html", "index.html") if (out / path).is_file())
    page = next(pages, "")
    return Entry(
        name=out.name,
        question=study.spec.get("question") or study.spec.get("title") or out.name,
        kind=found.kind,
        sentence=found.sentence,
        subtitle=tuple(provenance.subtitle(study, ", ".join(modalities))),
        link=f"{out.name}/{page}" if page else "",
    )
