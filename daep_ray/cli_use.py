"""Commands that use a trained model: `daep-ray embed | reconstruct | translate | sample`.

In: a training's folder or address, and shards of any size. Out: one Parquet file, a row per sample
in the shards' order, the same bytes for any number of workers. Heavy imports are inside.
"""

import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from daep_ray.errors import ConfigError

if TYPE_CHECKING:
    import pyarrow as pa

    from daep_ray.diffusion.samplers import SamplerConfig
    from daep_ray.evaluate.answer import Ask
    from daep_ray.evaluate.parts import Done, Job
    from daep_ray.train.checkpoint import Trained

Run = Annotated[
    str, typer.Argument(metavar="RUN", help="Folder that `train` has written, or s3://...")
]
Data = Annotated[Path, typer.Argument(metavar="DATA", help="Folder that `ingest` has written.")]
Out = Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder to write to.")]
Workers = Annotated[
    int, typer.Option(min=0, help="Ray Data workers, a model each; 0: in this process.")
]
Split = Annotated[
    str | None, typer.Option(metavar="NAME", help="train, validation or test; default: all.")
]
Address = Annotated[
    str | None, typer.Option(metavar="HOST:PORT", help="A Ray cluster; default: our own session.")
]
Draws = Annotated[int, typer.Option(min=1, help="Draws per sample.")]
Quantiles = Annotated[
    str | None,
    typer.Option(metavar="Q,Q,...", help="Of the draws, instead of these: 0.05,0.5,0.95"),
]
At = Annotated[
    list[str] | None,
    typer.Option(
        "--at",
        metavar="NAME=PLACES",
        help="Where to answer, else at a sample's own: wavelength=4000:7000:300, band=g, "
        "redshift=0.1; with several modalities spectrum.wavelength=...; repeatable.",
    ),
]
FromReference = Annotated[
    bool,
    typer.Option("--from-reference", help="--at counts from what the recipe does (its peak)."),
]
Seed = Annotated[int, typer.Option(help="Of the noise; draws are keyed by it and the sample id.")]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="PATH=VALUE",
        help="Another solver or number of steps than the training's: evaluation.sampler.kind=ddim, "
        "evaluation.sampler.num_steps=50; repeatable.",
    ),
]
SAMPLER = "evaluation.sampler."  # what may be set of a model that is trained


def embed(
    run: Run,
    data: Data,
    out: Out,
    workers: Workers = 0,
    split: Split = None,
    address: Address = None,
) -> None:
    """Write every sample's code as Parquet.

    One row per sample: sample id, object id, split, labels, code, flag.

    \b
    daep-ray embed runs/snid data/snid --out codes
    """
    from daep_ray.evaluate.embed import FILE, code_tables

    _job(run, data, out, FILE, lambda _: (code_tables, ""), workers, split, address)


def reconstruct(
    run: Run,
    data: Data,
    out: Out,
    draws: Draws = 8,
    quantiles: Quantiles = None,
    at: At = None,
    from_reference: FromReference = False,
    seed: Seed = 0,
    workers: Workers = 0,
    split: Split = None,
    address: Address = None,
    settings: Set = None,
) -> None:
    """Write every sample's reconstruction as Parquet, in physical units.

    One row per sample: ids, positions, categories, mean, draws or quantiles, flag.

    \b
    daep-ray reconstruct runs/snid data/snid --out rebuilt --quantiles 0.05,0.5,0.95
    daep-ray reconstruct runs/snid data/snid --out finer --set evaluation.sampler.num_steps=50
    """
    rest = (at, from_reference, draws, quantiles, seed, settings)
    _answers("reconstruction", run, data, out, None, None, rest, workers, split, address)


def translate(
    run: Run,
    data: Data,
    out: Out,
    source: Annotated[str, typer.Option(metavar="MODALITY", help="What is read.")],
    target: Annotated[str, typer.Option(metavar="MODALITY", help="What is answered.")],
    draws: Draws = 8,
    quantiles: Quantiles = None,
    at: At = None,
    from_reference: FromReference = False,
    seed: Seed = 0,
    workers: Workers = 0,
    split: Split = None,
    address: Address = None,
    settings: Set = None,
) -> None:
    """Write what one modality says of another as Parquet, in physical units.

    \b
    daep-ray translate runs/pairs data/pairs --out t --source photometry --target spectrum \
--at wavelength=4000:7000:300
    """
    rest = (at, from_reference, draws, quantiles, seed, settings)
    _answers("translation", run, data, out, (source,), (target,), rest, workers, split, address)


def sample(
    run: Run,
    data: Data,
    out: Out,
    draws: Draws = 8,
    quantiles: Quantiles = None,
    at: At = None,
    seed: Seed = 0,
    label: Annotated[str | None, typer.Option(help="Draw this class; default: any.")] = None,
    guidance: Annotated[float, typer.Option(help="Above 1: lean on the class more.")] = 1.0,
    workers: Workers = 0,
    split: Split = None,
    address: Address = None,
    settings: Set = None,
) -> None:
    """Write draws of the prior at the cadences of DATA as Parquet; its values are not read.

    Refused for a model whose objective has no prior.

    \b
    daep-ray sample runs/prior data/snid --out drawn
    """
    rest = (at, False, draws, quantiles, seed, settings)
    where = (workers, split, address)
    _answers("sample", run, data, out, (), None, rest, *where, label, guidance)


def _answers(
    name: str,
    run: str,
    data: Path,
    out: Path,
    source: tuple[str, ...] | None,
    target: tuple[str, ...] | None,
    rest: tuple[list[str] | None, bool, int, str | None, int, list[str] | None],
    workers: int,
    split: str | None,
    address: str | None,
    label: str | None = None,
    guidance: float = 1.0,
) -> None:
    at, from_reference, draws, quantiles, seed, settings = rest

    def asked(trained: "Trained") -> tuple[Callable[..., Any], str]:
        from daep_ray.evaluate.answer import Ask, check_ask
        from daep_ray.evaluate.answer_table import identity

        names = trained.config.modalities
        wanted = names if target is None else target
        ask = Ask(
            source=names if source is None else source,
            target=wanted,
            at=_places(at, wanted),
            from_reference=from_reference,
            num_draws=draws,
            quantiles=_quantiles(quantiles),
            sampler=_sampler(trained, settings),
            seed=seed,
            label=label,
            guidance=guidance,
        )
        check_ask(trained, ask)
        return functools.partial(_answer_rows, ask=ask), identity(ask)

    _job(run, data, out, f"{name}.parquet", asked, workers, split, address)


def _answer_rows(trained: "Trained", rows: "pa.Table", ask: "Ask") -> Iterator["pa.Table"]:
    from daep_ray.evaluate.answer_table import tables

    return tables(trained, rows, ask)


def _job(
    run: str,
    data: Path,
    out: Path,
    file: str,
    asked: Callable[["Trained"], tuple[Callable[..., Any], str]],
    workers: int,
    split: str | None,
    address: str | None,
) -> None:
    from daep_ray.cli import output_folder
    from daep_ray.evaluate.parts import Job
    from daep_ray.pretrained import load_trained
    from daep_ray.study.address import is_address

    folder = output_folder(out)
    trained = load_trained(run)
    compute, about = asked(trained)
    job = Job(file, folder, compute, split, about)
    # a worker's working folder is another one
    place = run if is_address(run) else str(Path(run).absolute())
    done = _done(trained, place, data.absolute(), job, workers, address)
    flagged = f", {done.num_flagged:,} flagged" if done.num_flagged else ""
    typer.echo(f"{done.num_rows:,} rows{flagged}: {done.path}")


def _done(
    trained: "Trained", run: str, data: Path, job: "Job", workers: int, address: str | None
) -> "Done":
    import torch

    from daep_ray.evaluate.parts import run_here
    from daep_ray.shards.read import ShardFolder

    shards = ShardFolder.open(data)
    if workers == 0:
        if address is not None:
            raise ConfigError("--address names a cluster, and --workers 0 uses none: say how many")
        torch.set_num_threads(trained.config.runtime.num_threads)
        return run_here(trained, shards, job)
    from daep_ray.study.session import address_of_cluster, prepare_environment

    prepare_environment(address_of_cluster(address))  # before Ray is imported
    from daep_ray.cli_workers import ray_jobs
    from daep_ray.evaluate.jobs import run_on_workers
    from daep_ray.pretrained import load_trained

    with ray_jobs(workers, trained.config.runtime.num_threads, address):
        return run_on_workers(load_trained, run, shards, job, workers)


def _sampler(trained: "Trained", settings: list[str] | None) -> "SamplerConfig | None":
    """The configuration's solver with what is set of it; None where nothing is."""
    from daep_ray.settings import override, parse_assignment

    assignments = dict(parse_assignment(text) for text in settings or ())
    for path in assignments:
        if not path.startswith(SAMPLER):
            raise ConfigError(
                f"--set {path} is no setting of the solver: of a trained model only {SAMPLER}* "
                f"may be set, as {SAMPLER}num_steps=50"
            )
    return override(trained.config, assignments).evaluation.sampler if assignments else None


def _quantiles(text: str | None) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(",")) if text else ()
    except ValueError:
        raise ConfigError(f"--quantiles {text!r}: write numbers, 0.05,0.5,0.95") from None


def _places(given: list[str] | None, targets: tuple[str, ...]) -> dict[str, Any]:
    """`wavelength=4000:7000:300` or `spectrum.wavelength=...` by modality."""
    found: dict[str, dict[str, Any]] = {}
    for text in given or ():
        name, equals, value = text.partition("=")
        modality, dot, entry = name.partition(".")
        if not dot:
            modality, entry = targets[0], name
        if not equals or not value or (not dot and len(targets) > 1):
            raise ConfigError(
                f"--at {text!r}: write NAME=LOW:HIGH:COUNT, NAME=1,2,3 or NAME=word, with several "
                "modalities MODALITY.NAME=..."
            )
        found.setdefault(modality, {})[entry] = _values(text, value)
    return found


def _values(text: str, value: str) -> Any:
    """Evenly spaced numbers, a list, or one word or number for all places."""
    try:
        if value.count(":") == 2:
            low, high, count = value.split(":")
            if int(count) < 1:
                raise ValueError
            step = (float(high) - float(low)) / max(1, int(count) - 1)
            return [float(low) + step * i for i in range(int(count))]
    except ValueError:
        raise ConfigError(f"--at {text!r}: write LOW:HIGH:COUNT in numbers, COUNT from 1") from None
    parts = value.split(",")
    try:
        numbers: list[Any] = [float(part) for part in parts]
    except ValueError:
        numbers = list(parts)
    return numbers if len(numbers) > 1 else numbers[0]
