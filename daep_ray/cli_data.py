"""Commands about data on disk: `daep-ray merge | audit`; `cli.py` registers them.

Heavy imports are inside the commands, as there.
"""

from pathlib import Path
from typing import Annotated

import typer


def merge(
    folders: Annotated[
        list[Path], typer.Argument(metavar="DIR...", help="Folders that `ingest` has written.")
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder to write to.")],
    overwrite: Annotated[bool, typer.Option(help="Replace an earlier ingest in DIR.")] = False,
) -> None:
    """Join ingests of agreeing surveys into one.

    Units, frames, positions, extras and errors must agree; vocabularies and labels are united.

    \b
    daep-ray merge data/salt3 data/lowz --out data/supernovae
    """
    from daep_ray.cli import output_folder
    from daep_ray.shards.merge import merge as run

    output_folder(out)
    counts = run(folders, out, overwrite=overwrite)
    typer.echo(
        f"read {counts.read:,} = written {counts.written:,} + quarantined {counts.quarantined:,}"
        f" from {len(folders)} folders: {out}"
    )


def audit(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="Folder that `ingest` has written.")],
) -> None:
    """Look for leakage between splits and for mixed units.

    Objects under two spellings, equal sequences, columns on another scale, statistics of test rows,
    rows that are rejected whole. A line per finding; exit 1 if there is one. What a recipe in use
    leaves out on purpose is counted by reason in notes, which are no findings.

    \b
    daep-ray audit data/snid
    """
    from daep_ray.stream.audit import audit as run

    is_clean = True
    for finding in run(data):
        is_clean &= finding.is_note
        typer.echo(f"{'note' if finding.is_note else finding.check}: {finding.what}")
    if not is_clean:
        raise typer.Exit(1)
    typer.echo(f"{data}: nothing found")
