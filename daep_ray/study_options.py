"""The options that all studies share, and what those about searching do to a design.

In: a command line. Out: `Options`; a design that searches as asked.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from daep_ray.config import PRESETS
from daep_ray.errors import ConfigError
from daep_ray.settings import override
from daep_ray.study.session import check_share
from daep_ray.study.spec import Scheduler, Search, StudySpec

# Options of every command that runs studies, with the type that each has.
Preset = Annotated[str, typer.Option(help=f"{', '.join(PRESETS)}.")]
Seeds = Annotated[int | None, typer.Option(min=1, metavar="N", help="Replicates of every cell.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="PATH=VALUE", help="Override a setting; repeatable."),
]
GpusPerTrial = Annotated[
    float, typer.Option(min=0.0, metavar="X", help="GPUs of a trial; 0.5 shares one.")
]
Storage = Annotated[
    str | None,
    typer.Option(
        metavar="PATH",
        help="Store of trainings, or s3://bucket/prefix; default: beside --out.",
    ),
]
Address = Annotated[
    str | None,
    typer.Option(metavar="HOST:PORT", help="Ray cluster, or auto; default: this machine."),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Show what would run and how long it takes.")
]


@dataclass(frozen=True)
class Options:
    """The options that all studies share."""

    data: Path | None
    modality: str | None
    preset: str
    seeds: int | None
    settings: tuple[str, ...]
    workers: int | None
    gpus_per_trial: float
    storage: str | None
    address: str | None
    out: Path
    dry_run: bool
    recipe: str | None = None
    search: str | None = None  # None: the study's own
    trials: int | None = None
    scheduler: str | None = None
    retries: int = 1
    tensorboard: bool = False
    mlflow: str | None = None


def command_of(name: str, act: Callable[[Options], None]) -> Callable[..., None]:
    """A function with typer's annotations that reads the options and acts on them."""

    def command(
        data: Annotated[
            Path | None,
            typer.Option(metavar="DIR", help="Folder of `daep-ray ingest`; default: built in."),
        ] = None,
        modality: Annotated[
            str | None,
            typer.Option(metavar="NAMES", help="One, or several with commas; default: the first."),
        ] = None,
        preset: Preset = "smoke",
        seeds: Seeds = None,
        settings: Settings = None,
        workers: Annotated[
            int | None,
            typer.Option(min=0, metavar="N", help="Ray Train workers of a trial; 0: its process."),
        ] = None,
        gpus_per_trial: GpusPerTrial = 0.0,
        storage: Storage = None,
        address: Address = None,
        out: Annotated[Path, typer.Option(metavar="DIR", help="Tables and report.")] = Path("runs")
        / name,
        dry_run: DryRun = False,
        recipe: Annotated[
            str | None, typer.Option(metavar="NAME", help="One of `daep-ray recipes`.")
        ] = None,
        search: Annotated[
            str | None, typer.Option(help=f"{', '.join(get_args(Search))}; default: the study's.")
        ] = None,
        trials: Annotated[
            int | None, typer.Option(min=1, metavar="N", help="Settings that a search tries.")
        ] = None,
        scheduler: Annotated[
            str | None,
            typer.Option(help=f"{', '.join(get_args(Scheduler))}: stop bad trainings of a search."),
        ] = None,
        retries: Annotated[
            int, typer.Option(min=0, metavar="N", help="Further attempts of a trial that fails.")
        ] = 1,
        tensorboard: Annotated[
            bool, typer.Option("--tensorboard", help="Curves in OUT/tensorboard as well.")
        ] = False,
        mlflow: Annotated[
            str | None, typer.Option(metavar="URI", help="Trainings as runs of MLflow as well.")
        ] = None,
    ) -> None:
        given = Options(
            data,
            modality,
            preset,
            seeds,
            tuple(settings or ()),
            workers,
            gpus_per_trial,
            storage,
            address,
            out,
            dry_run,
            recipe,
            search,
            trials,
            scheduler,
            retries,
            tensorboard,
            mlflow,
        )
        act(given)

    return command


def as_asked(spec: StudySpec, options: Options) -> StudySpec:
    """The design with its settings chosen as asked; `check` refuses what makes no sense.

    Raises:
        ConfigError: a number of trials for a grid, one GPU and a half.
    """
    check_share(options.gpus_per_trial)
    search: Any = options.search or spec.search
    scheduler: Any = options.scheduler or spec.scheduler
    if options.trials is not None and search == "grid":
        raise ConfigError(
            f"--trials {options.trials} needs --search random, optuna or pareto: a grid tries "
            "every cell"
        )
    if options.workers is not None:
        spec = replace(spec, base=override(spec.base, {"runtime.num_workers": options.workers}))
    num_trials = options.trials or spec.num_trials
    if search == "random" and options.trials is None and spec.num_settings is not None:
        num_trials = min(num_trials, spec.num_settings)
    return replace(spec, search=search, scheduler=scheduler, num_trials=num_trials)
