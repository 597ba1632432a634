"""What every study file calls: parse the shared options, run the study, write its report.

In: a study's name and a function that builds its design. Out: tables and a report in OUT, a table
on standard output. Everything that can be checked is checked before Ray starts. A command of
several studies (`run_parts`) has each in OUT/<its name>/, and a page over them.
"""

import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import typer

from daep_ray.cli import run_app
from daep_ray.config import RunConfig, preset, size_of
from daep_ray.errors import UserError
from daep_ray.settings import canonical_hash, override, parse_assignment
from daep_ray.shards.read import ShardFolder
from daep_ray.study import session
from daep_ray.study.address import is_address
from daep_ray.study.mirror import Mirror
from daep_ray.study.spec import StudySpec
from daep_ray.study_options import Options, as_asked, command_of

Build = Callable[[RunConfig, str], StudySpec]  # (the preset's configuration, its name) -> design
WritePage = Callable[[Path], Path]  # (the folder with the studies) -> a page over them

# The built-in survey of each preset when no --data is given.
SYNTHETIC: dict[str, dict[str, Any]] = {
    "smoke": {"num_objects": 3_000},
    "laptop": {"num_objects": 10_000},
    "cluster": {"num_objects": 100_000},
}
SYNTHETIC_MODALITY = "photometry"  # at most 64 points: the cheaper one
AFTER_SIGTERM = "what is done is kept, start the same command again to go on"


@dataclass(frozen=True)
class Part:
    """One study of a command that has several: its name, design, and the data that it is run on."""

    name: str
    build: Build
    data: Path | None = None  # None: the built-in survey
    modality: str | None = None
    recipe: str | None = None


@dataclass(frozen=True)
class Prepared:
    """A study that has been checked."""

    options: Options
    spec: StudySpec
    data: Path
    store: Path | str  # a folder or an address


def main(name: str, build: Build, arguments: Sequence[str] | None = None) -> None:
    """Run the study `name` as a command and exit: 0 done, 1 a UserError, 2 a wrong command line,
    130 interrupted, 143 ended by SIGTERM."""

    def act(options: Options) -> None:
        run(options, build)

    run_command(command_of(name, act), build(RunConfig(), "smoke").question, arguments)


def main_of_parts(
    name: str,
    question: str,
    parts_of: Callable[[Options], Sequence[Part]],
    write_page: WritePage,
    arguments: Sequence[str] | None = None,
) -> None:
    """As `main`, for several studies; `parts_of` makes them from the options that they share."""

    def act(options: Options) -> None:
        run_parts(parts_of(options), options, write_page)

    run_command(command_of(name, act), question, arguments)


def run_command(
    command: Callable[..., None], question: str, arguments: Sequence[str] | None = None
) -> None:
    """Run a function with typer's annotations as a command and exit, as `main` does."""
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command(help=question)(command)
    sys.exit(run_app(app, arguments, AFTER_SIGTERM))


def run(options: Options, build: Build) -> None:
    """Check, then plan or run.

    Raises:
        UserError: in one sentence; also if every trial failed.
    """
    carry_out(prepare(options, build))


def run_parts(parts: Sequence[Part], options: Options, write_page: WritePage) -> None:
    """Check all parts, then plan or run one after the other, then write the page over them.

    They share one store of trainings, beside OUT unless `options` names another.

    Raises:
        UserError: in one sentence; also if every trial of a part failed.
    """
    _folders(options)  # before the built-in survey is made beside OUT
    store = options.storage or str(options.out.parent / "trainings")
    prepared = []
    for part in parts:
        given = replace(
            options,
            data=part.data or _synthetic(options),
            modality=part.modality,
            recipe=part.recipe,
            storage=store,
            out=options.out / part.name,
        )
        prepared.append(prepare(given, part.build))
    for checked in prepared:
        print(f"\n{checked.spec.title} ({checked.options.out.name})", flush=True)
        carry_out(checked)
    if not options.dry_run:
        print(f"page: {write_page(options.out)}")


def prepare(options: Options, build: Build) -> Prepared:
    """Check everything that can be checked before Ray starts.

    Raises:
        UserError: in one sentence.
    """
    store = _folders(options)
    base = preset(options.preset)
    assignments = dict(parse_assignment(text) for text in options.settings)
    override(base, {p: v for p, v in assignments.items() if not p.startswith("recipe.")})
    address = session.address_of_cluster(options.address)
    if address is not None and not options.dry_run:
        session.check_reachable(address)
    if options.tensorboard or options.mlflow is not None:  # what is not asked for is not imported
        from daep_ray.study.track import check_trackers

        check_trackers(options.tensorboard, options.mlflow)
    data = options.data or _synthetic(options)
    spec = _design(options, build, base, assignments, data)
    if address is None:  # before anything is written
        from daep_ray.study.room import room_here

        room_here(spec.base, ShardFolder.open(data), options.gpus_per_trial)
    return Prepared(options, spec, data, store)


def carry_out(prepared: Prepared) -> None:
    """Plan or run.

    Raises:
        UserError: in one sentence; also if every trial failed.
    """
    options, spec = prepared.options, prepared.spec
    data, store = prepared.data, prepared.store
    if options.dry_run:
        return _show_plan(spec, data, options, store)
    session.prepare_environment(session.address_of_cluster(options.address))  # before Ray
    from daep_ray.study.launch import run_study
    from daep_ray.study.summary import as_text

    result = run_study(
        spec,
        data,
        options.out,
        store=store,
        workers=options.workers,
        gpus_per_trial=options.gpus_per_trial,
        retries=options.retries,
        has_tensorboard=options.tensorboard,
        mlflow=options.mlflow,
        address=options.address,
        echo=_echo,
        command=shlex.join(["python", *sys.argv]),
    )
    if result.num_failed and result.num_failed == result.num_trials:
        reason = result.tables["cells"]["reason"][0].as_py()
        raise UserError(f"all {result.num_trials} trials failed, the first because: {reason}")
    print()
    print(as_text(result.tables))
    print(_where_time_went(result.tables["cells"]))
    if result.num_failed:
        print(f"{result.num_failed} of {result.num_trials} trials failed: the report says why")
    if result.num_stopped:
        print(f"{result.num_stopped} of {result.num_trials} trials were stopped early")
    from daep_ray.report import build as build_report

    print(f"report: {build_report(result.out)}")
    return None


def _echo(line: str) -> None:
    print(line, flush=True)


def _folders(options: Options) -> Path | str:
    """Check that OUT and the store can be written; returns the store, a folder or an address."""
    address = options.storage if is_address(options.storage or "") else None
    store = Path(options.storage or options.out.parent / "trainings")
    folders = {"--out": options.out} | ({} if address else {"--storage": store})
    for option, folder in folders.items():
        session.require_kept(option, folder)
    if address is None:
        return store
    Mirror.open(address).check(writes=not options.dry_run)
    return address


def _synthetic(options: Options) -> Path:
    """The built-in survey beside OUT, made on first use."""
    from daep_ray.shards.ingest import ingest

    asked = SYNTHETIC[size_of(options.preset)]
    folder = options.out.parent / f"data-synthetic-{canonical_hash(asked, 8)}"
    if not (folder / "manifest.json").is_file():
        counts = ingest("synthetic", None, folder, asked, overwrite=folder.exists())
        _echo(f"built-in survey: {counts.written:,} objects in {folder}")
    return folder


def _design(
    options: Options, build: Build, base: RunConfig, assignments: dict[str, Any], data: Path
) -> StudySpec:
    """The study on these data, with the options' settings; every cell is checked."""
    from daep_ray.config import resolve
    from daep_ray.study.spec import cells, check

    manifest = ShardFolder.open(data).manifest
    modality = options.modality
    if modality is None and options.data is None and not base.modalities:
        modality = SYNTHETIC_MODALITY
    spec = build(resolve(base, manifest, modality, options.recipe), size_of(options.preset))
    spec = replace(spec, preset=options.preset).with_settings(assignments)
    if options.workers is not None:
        spec = replace(spec, base=override(spec.base, {"runtime.num_workers": options.workers}))
    if options.seeds is not None:
        spec = replace(spec, seeds=tuple(range(options.seeds)))
    spec = as_asked(spec, options)
    check(spec)
    if spec.search == "grid":
        cells(spec, manifest)
    return spec


def _where_time_went(cells: Any) -> str:
    """`training 81 %, evaluation 15 %, Ray 4 %`; a training shared by cells counts once, one that
    was stopped or failed with what it took until then."""
    rows = cells.to_pylist()
    once = {row["training"]: row for row in rows}.values()
    seconds = {
        "training": sum(row["seconds_training"] or 0 for row in once),
        "evaluation": sum(row["seconds_evaluation"] or 0 for row in rows),
        "Ray": sum(row["seconds_ray"] or 0 for row in once),
    }
    total = sum(seconds.values()) or 1.0
    return "time: " + ", ".join(f"{what} {s / total:.0%}" for what, s in seconds.items())


def _show_plan(spec: StudySpec, data: Path, options: Options, store: Path | str) -> None:
    """Print what would run, how long it would take here, and with which resources.

    Raises:
        ConfigError: it does not fit the machines.
    """
    from daep_ray.study.plan import plan
    from daep_ray.study.room import room_here
    from daep_ray.study.shared_store import open_store

    shards, address = ShardFolder.open(data), session.address_of_cluster(options.address)
    found, gpus = open_store(store, options.out, writes=False), options.gpus_per_trial
    if address is None:
        room = room_here(spec.base, shards, gpus)
    else:
        session.check_reachable(address)
        session.prepare_environment(address)  # before Ray
        from daep_ray.study.cluster import room_there

        room = room_there(address, spec.base, shards, found, gpus)
    planned = plan(spec, shards, found, room)
    print(f"study        {spec.name} ({options.preset}): {spec.question}")
    print(f"data         {data}: {shards.manifest.hash}, {', '.join(spec.base.modalities)}")
    print("\n".join(planned.lines()))
    print(f"store        {found}")
