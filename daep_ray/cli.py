"""The command line: `daep-ray ingest | validate | inspect | train | evaluate | embed | report`.

Progress and results go to standard output, one sentence about what is wrong to standard error.
Exit codes: 0 done, 1 a UserError (see errors.py), 2 a wrong command line, 130 interrupted, 143
ended by SIGTERM. Torch, pyarrow and Ray are imported inside the commands, so that `--help` answers
at once.
"""

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from daep_ray import cli_data, cli_evaluate, cli_recipes, cli_study, cli_use, stopping
from daep_ray.errors import (
    ConfigError,
    DataError,
    UserError,
    is_storage_fault,
    require_writable,
    storage_error,
)

UsageError: type[Exception] = typer.BadParameter.mro()[1]  # typer has it, but under no public name
PROGRESS_SECONDS = 5.0

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Learned representations of survey objects: from raw survey files to trained models.\n\n"
    "Studies are files of their own: python studies/bottleneck_sweep.py --help",
)

FORMATS = "synthetic, snid, snana, lamost, desi, ascii, snana_fits, table or surface."
Data = Annotated[Path, typer.Argument(metavar="DATA", help="Folder that `ingest` has written.")]
Run = Annotated[Path, typer.Argument(metavar="RUN", help="Folder that `train` has written.")]
Out = Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder to write to.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="PATH=VALUE", help="Override a setting; may be repeated."),
]


@app.command()
def ingest(
    format: Annotated[str, typer.Argument(metavar="FORMAT", help=FORMATS)],
    out: Out,
    source: Annotated[
        Path | None,
        typer.Argument(metavar="SOURCE", help="Folder, file or archive; synthetic needs none."),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A setting of the reader; repeatable."),
    ] = None,
    strict: Annotated[bool, typer.Option(help="Exit 1 if anything was quarantined.")] = False,
    overwrite: Annotated[bool, typer.Option(help="Replace an earlier ingest in DIR.")] = False,
) -> None:
    """Read survey files into Parquet shards.

    What cannot be read is quarantined with a reason: read = written + quarantined.

    \b
    daep-ray ingest synthetic --out data/synthetic --set num_objects=2000
    daep-ray ingest snid snid_templates.tar.xz --out data/snid
    """
    from daep_ray.shards.ingest import ingest as run

    output_folder(out)
    options = _assignments(settings)
    counts = run(
        format, source, out, options, strict=strict, overwrite=overwrite, on_progress=_Progress()
    )
    print(
        f"read {counts.read:,} = written {counts.written:,} + quarantined {counts.quarantined:,}"
        f" (ignored files: {counts.ignored:,}): {out}"
    )
    if counts.quarantined:
        print(f"why: {out / 'quarantine.parquet'}, or daep-ray inspect {out}")


@app.command()
def validate(data: Data) -> None:
    """Check every shard of an ingest.

    Files are held against the manifest, rows against the survey's declaration.

    \b
    daep-ray validate data/snid
    """
    from daep_ray.shards.validate import validate as run

    problems = run(data)
    for problem in problems:
        print(f"{problem.file}: {problem.what}")
    if problems:
        raise DataError(f"{len(problems)} problems in {str(data)!r}: ingest the survey again")
    print(f"{data}: no problem found")


@app.command()
def inspect(
    data: Data,
    figure: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="Write an overview figure: .png, .svg or .pdf."),
    ] = None,
) -> None:
    """Show what an ingest holds.

    Modalities, lengths, splits, classes and the reasons of the quarantine.

    \b
    daep-ray inspect data/snid --figure overview.png
    """
    from daep_ray.cli_tables import describe

    if figure is not None:
        output_folder(figure.parent)
    print(describe(data))
    if figure is not None:
        from daep_ray.report.overview import overview_figure

        overview_figure(data, figure)
        print(f"figure: {figure}")


@app.command()
def train(
    data: Data,
    out: Annotated[Path, typer.Option("--out", metavar="RUN", help="Folder of the training.")],
    preset: Annotated[
        str,
        typer.Option(
            help="smoke, laptop or cluster; +published_code behind it: that code's choices."
        ),
    ] = "laptop",
    modality: Annotated[str | None, typer.Option(help="Default: the survey's first.")] = None,
    recipe: Annotated[
        str | None, typer.Option(metavar="NAME", help="One of `daep-ray recipes`.")
    ] = None,
    settings: Set = None,
    workers: Annotated[
        int | None, typer.Option(min=0, help="Ray Train workers; 0 trains in this process.")
    ] = None,
) -> None:
    """Train one model.

    Started again on the same RUN it goes on where it stopped.

    \b
    daep-ray train data/snid --out runs/snid --set model.bottleneck.length=8
    daep-ray train data/snid --out runs/vae --set objective.kind=vae --workers 2
    daep-ray train data/bts --out runs/bts --recipe ztf-photometry
    """
    from daep_ray.config import preset as preset_named
    from daep_ray.config import resolve
    from daep_ray.settings import override
    from daep_ray.shards.read import ShardFolder
    from daep_ray.study.session import address_of_cluster, prepare_environment

    folder = output_folder(out)
    assignments = _assignments(settings)
    if workers is not None:
        assignments["runtime.num_workers"] = workers
    # resolved first, so that --set may reach into the survey's recipe
    shards = ShardFolder.open(data)
    start = resolve(preset_named(preset), shards.manifest, modality, recipe)
    config = override(start, assignments)
    for line in cli_recipes.left_out_lines(shards, config):
        _echo(line)
    prepare_environment(address_of_cluster(None))  # before Ray is imported
    from daep_ray.cli_workers import ray_workers
    from daep_ray.train.ray_worker import fit

    with ray_workers(config, folder, _echo):
        result = fit(config, data, folder, echo=_echo)
    print(
        f"{result.num_parameters:,} parameters, {result.num_objects:,} objects in "
        f"{result.num_steps:,} steps, {result.seconds:,.0f} s: {out}"
    )


@app.command()
def report(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder of a study.")],
    index: Annotated[
        bool, typer.Option("--index", help="OUT holds studies: one page over all of them.")
    ] = False,
    page_only: Annotated[
        bool, typer.Option("--page-only", help="No files beside the page, as for an attachment.")
    ] = False,
) -> None:
    """Build a study's page again.

    Only its tables are read, so this works wherever OUT has been copied to.

    \b
    daep-ray report runs/study
    daep-ray report --index runs
    """
    from daep_ray.report import build

    if index:
        from daep_ray.report.index import write_index

        print(f"index: {write_index(out)}")
        return
    print(f"report: {build(out, page_only)}")


app.command()(cli_evaluate.evaluate)
app.command()(cli_use.embed)
app.command()(cli_use.reconstruct)
app.command()(cli_use.translate)
app.command()(cli_use.sample)
app.command()(cli_data.merge)
app.command()(cli_data.audit)
app.command()(cli_recipes.recipes)
app.add_typer(cli_study.app, name="study")


def _echo(line: str) -> None:
    print(line, flush=True)


def _assignments(settings: Sequence[str] | None) -> dict[str, Any]:
    from daep_ray.settings import parse_assignment

    return dict(parse_assignment(text) for text in settings or ())


class _Progress:
    """A line every few seconds while an ingest runs."""

    def __init__(self) -> None:
        self.told = time.monotonic()

    def __call__(self, counts: Any) -> None:
        if time.monotonic() - self.told > PROGRESS_SECONDS:
            self.told = time.monotonic()
            print(f"read {counts.read:,}, quarantined {counts.quarantined:,}", flush=True)


def output_folder(folder: Path) -> Path:
    """The absolute output folder, refused before any work is done for it.

    Raises:
        ConfigError: a relative path under a Ray job.
        StorageError: nothing can be written there.
    """
    from daep_ray.study.session import is_job

    if is_job() and not folder.is_absolute():
        raise ConfigError(
            f"--out {str(folder)!r} is relative, and a Ray job runs in a temporary copy of the "
            "folder that is thrown away: give an absolute path"
        )
    require_writable(folder)
    return folder.absolute()


def run_app(
    command: typer.Typer,
    arguments: Sequence[str] | None = None,
    after_sigterm: str = "start the same command again",
) -> int:
    """Run a command line and return its exit code; what a user did wrong is told in one line."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    with stopping.listening() as sigterm:
        try:
            code = command(args=words, standalone_mode=False)
            sys.stdout.flush()
            if code != 130:  # typer's word for KeyboardInterrupt
                return code if isinstance(code, int) else 0
        except UserError as error:
            return _fail(str(error), 1)
        except UsageError as error:
            return _fail(f"{_one_line(error)} (see --help)", 2)
        except (KeyboardInterrupt, typer.Abort):
            pass
        except BrokenPipeError:
            # the reader of our output has gone (`daep-ray inspect DATA | head`): say nothing
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
        except OSError as error:
            if not is_storage_fault(error):
                raise
            return _fail(str(storage_error(error)), 1)
        if sigterm.came:
            return _fail(f"stopped by SIGTERM: {after_sigterm}", stopping.EXIT_CODE)
        return _fail("interrupted", 130)


def _one_line(error: Any) -> str:
    return " ".join(error.format_message().split())


def _fail(message: str, code: int) -> int:
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    return code


def main() -> None:
    """Entry point of `daep-ray`."""
    sys.exit(run_app(app, sys.argv[1:] or ["--help"]))
