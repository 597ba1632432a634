"""Commands about finished studies: `daep-ray study compare A B`.

In: folders that studies wrote. Out: a text table on standard output. Heavy imports are inside.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from daep_ray.study.compare import Row

app = typer.Typer(rich_markup_mode=None, help="Finished studies: compare two of them.")

Folder = Annotated[Path, typer.Argument(help="Folder of a study (--out).")]


@app.callback()
def study() -> None:
    """Finished studies: compare two of them."""


@app.command()
def compare(a: Folder, b: Folder) -> None:
    """Two studies side by side, paired over the objects and seeds that both have.

    Differences are B minus A of the mean absolute error in z units, negative: B is better; with
    95 % intervals and p-values that are corrected for the number of rows (Holm).

    \b
    daep-ray study compare runs/study runs/study-longer
    """
    from daep_ray.cli_tables import columns
    from daep_ray.study.compare import compare as pair

    found = pair(a, b)
    names: tuple[str, ...]
    names = ("model", "floats", "settings", "A", "B", "B - A", "95 %", "p", "objects", "seeds")
    rows: list[tuple[Any, ...]] = [_cells(row) for row in found.rows]
    modalities = [row.modality for row in found.rows]
    if len(set(modalities)) > 1:
        names = ("modality", *names)
        rows = [(modality, *row) for modality, row in zip(modalities, rows, strict=True)]
    typer.echo(f"A  {a}\nB  {b}\n")
    typer.echo(columns(names, rows))
    for name, only in {"A": found.only_first, "B": found.only_second}.items():
        if only:
            typer.echo(f"only in {name}: {'; '.join(only)}")
    for note in found.notes:
        typer.echo(f"note: {note}")


def _cells(row: "Row") -> tuple[Any, ...]:
    from daep_ray.evaluate import REFERENCES
    from daep_ray.study.compare import shown

    d = row.difference
    return (
        row.model,
        row.num_floats,
        ", ".join(shown(row.settings)),
        f"{row.first:.4f}",
        f"{row.second:.4f}",
        f"{d.mean:+.4f}",
        f"{d.low:+.4f} to {d.high:+.4f}",
        f"{row.p:.3f}" if row.p >= 0.001 else "<0.001",
        d.num_objects,
        "-" if row.model in REFERENCES else d.num_seeds,
    )
