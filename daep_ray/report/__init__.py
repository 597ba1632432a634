"""A study's tables in, a page that answers its question out.

`build(OUT)` reads OUT/tables, OUT/spec.json and OUT/run.json and writes OUT/report: one HTML page
that needs nothing else, its Markdown and CSV twins, and for a paper the tables as LaTeX and the
figures as SVG and PDF. The same tables give the same bytes. Neither torch nor Ray is needed: a
report is built on a laptop.
"""

from pathlib import Path


def build(out: Path, is_alone: bool = False) -> Path:
    """Write the report of the study in `out`; returns the page's path.

    `is_alone`: the page without files beside it, and without links to them.

    Raises:
        DataError: there are no tables in `out`, or one cannot be read.
        StorageError: `out` cannot be written.
    """
    # matplotlib takes half a second to import: not for everybody who imports the package
    from daep_ray.report.write import write_report

    return write_report(Path(out), is_alone)
