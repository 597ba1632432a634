"""What does each archive of public survey data hold, once read?

Design: every archive of a folder is ingested with its reader; objects, samples and measurements
are counted in what was written (a sequence that an object's samples share counts once), and
quarantined samples by their reason, numbers aside. Seconds are the whole ingest on one thread.
Answer: the table in studies/README.md, compared with the archives' own counts.

    python studies/archives.py FOLDER
    python studies/archives.py FOLDER --only lamost,desi
"""

import json
import re
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import pyarrow.parquet as pq
import typer

from daep_ray.cli import run_app
from daep_ray.errors import ConfigError
from daep_ray.shards.ingest import ingest
from daep_ray.shards.manifest import QUARANTINE
from daep_ray.shards.read import ShardFolder


@dataclass(frozen=True)
class Archive:
    """A file of public data and how it is read."""

    name: str
    file: str
    format: str
    options: dict[str, Any] = field(default_factory=dict)


def _table(name: str, file: str, mapping: str | None = None) -> Archive:
    return Archive(name, file, "table", {"mapping": mapping or name})


ARCHIVES = (
    Archive("snid", "snid_templates.tar.xz", "snid"),
    Archive("salt3", "salt3_training.tar.xz", "snana"),
    Archive("csp", "csp_spectra.tar.xz", "ascii", {"dialect": "csp"}),
    Archive("bsnip", "bsnip_spectra_subset.tar.xz", "ascii", {"dialect": "bsnip"}),
    Archive("lamost", "lamost_spectra.tar.gz", "lamost"),
    Archive("desi", "desi_spectra.tar.xz", "desi"),
    _table("ztf-bts", "ztf_bts_snia.tar.gz"),
    _table("sdss-rrlyrae", "sdss_s82_rrlyrae.tar.gz"),
    _table("ogle", "ogle_macho_variables.tar.gz"),
    _table("ogle-fits", "ogle_macho_variables.tar.gz"),
    _table("macho", "ogle_macho_variables.tar.gz"),
    _table("plasticc", "plasticc_train_subset.tar.xz"),
    Archive("spcc", "spcc_subset.tar.xz", "snana"),
    Archive("ps1-md", "ps1_md_superraenn.tar.gz", "snana"),
    Archive("snana-fits", "snana_fits.tar.gz", "snana_fits"),
    _table("alerce", "broker_light_curves.tar.gz"),
    _table("alerce-sne", "broker_light_curves.tar.gz"),
    _table("elasticc", "broker_light_curves.tar.gz"),
    _table("physionet2012", "physionet2012_subset.tar.gz"),
    Archive("surface", "salt3_model_lsst_filters.tar.xz", "surface"),
)


@dataclass(frozen=True)
class Counted:
    """What one archive gave."""

    archive: str
    objects: int
    samples: int
    measurements: dict[str, int]  # by modality, a shared sequence once
    quarantined: dict[str, int]  # by reason
    seconds: float

    @property
    def row(self) -> str:
        """A line of the table."""
        measured = ", ".join(f"{n:,} {m}" for m, n in self.measurements.items())
        lost = "; ".join(f"{n:,} {reason}" for reason, n in self.quarantined.items()) or "0"
        return (
            f"| {self.archive} | {self.objects:,} | {self.samples:,} | {measured} | {lost} "
            f"| {self.seconds:.1f} |"
        )


def read(archive: Archive, folder: Path, scratch: Path) -> Counted:
    """Ingest one archive into `scratch` and count."""
    started = time.perf_counter()
    out = scratch / archive.name
    ingest(archive.format, folder / archive.file, out, archive.options)
    seconds = time.perf_counter() - started
    shards = ShardFolder.open(out)
    reasons = pq.read_table(out / QUARANTINE, columns=["reason"])["reason"].to_pylist()
    lengths = shards.lengths()
    return Counted(
        archive=archive.name,
        objects=len(lengths["object_id"].unique()),
        samples=len(lengths),
        measurements={m: _once(lengths, m) for m in shards.modalities},
        quarantined=dict(Counter(re.sub(r"-?\d+", "N", r) for r in reasons).most_common()),
        seconds=seconds,
    )


def _once(lengths: Any, modality: str) -> int:
    """Measurements of a modality, a sequence that samples of one object share counted once."""
    columns = (lengths[c].to_pylist() for c in ("object_id", f"{modality}.hash"))
    lengths_of = dict(
        zip(zip(*columns, strict=True), lengths[f"{modality}.length"].to_pylist(), strict=True)
    )
    return sum(lengths_of.values())


def read_all(folder: Path, only: set[str] | None = None) -> Iterator[Counted]:
    """Every archive, or those of the names `only`."""
    with tempfile.TemporaryDirectory() as scratch:
        for archive in ARCHIVES:
            if only is None or archive.name in only:
                yield read(archive, folder, Path(scratch))


def command(
    folder: Annotated[Path, typer.Argument(help="Where the archives are.")],
    only: Annotated[str, typer.Option(metavar="NAMES", help="Some of them, comma between.")] = "",
) -> None:
    """Ingest public survey archives and print what each holds."""
    wanted = set(only.split(",")) if only else None
    known = {a.name for a in ARCHIVES}
    if unknown := (wanted or set()) - known:
        raise ConfigError(f"--only names {sorted(unknown)}: known are {', '.join(sorted(known))}")
    print("| archive | objects | samples | measurements | quarantined | seconds |")
    print("|---|---:|---:|---|---|---:|")
    found = []
    for counted in read_all(folder, wanted):
        print(counted.row, flush=True)
        found.append(vars(counted))
    print(json.dumps(found))


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command()(command)
    raise SystemExit(run_app(app, None))
