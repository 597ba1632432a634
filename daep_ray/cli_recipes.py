"""The command `daep-ray recipes`: the named recipes, and what one of them does to a survey.

In: a recipe's name and a folder of `ingest`. Out: its steps, how many samples it leaves and why
not the others, and a figure of one object before and after.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from daep_ray.config import RunConfig
    from daep_ray.shards.read import ShardFolder
    from daep_ray.stream.fitted import FittedRecipe


def recipes(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="A recipe; none lists them all.")
    ] = None,
    data: Annotated[
        Path | None, typer.Argument(metavar="DATA", help="Folder that `ingest` has written.")
    ] = None,
    figure: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="The figure: .svg, .png, .pdf; default: beside DATA."),
    ] = None,
    sample: Annotated[
        str | None, typer.Option(metavar="ID", help="The sample to draw; default: a typical one.")
    ] = None,
) -> None:
    """List the paper's recipes, or show what one does to a survey.

    One object before and after as a figure, how many samples are left out and why.

    \b
    daep-ray recipes
    daep-ray recipes ztf-spectra data/snid --figure recipe.svg
    """
    from daep_ray.cli_tables import columns
    from daep_ray.stream.named import RECIPES

    if name is None:
        rows = [[r.name, " + ".join(r.modalities), r.source, r.title] for r in RECIPES.values()]
        typer.echo(columns(["recipe", "modalities", "source", "what it does"], rows))
        return
    if data is None:
        typer.echo(_described(name))
        return
    _show(name, data, figure or data.parent / f"{data.name}-{name.replace(':', '-')}.svg", sample)


def left_out_lines(folder: "ShardFolder", config: "RunConfig") -> list[str]:
    """What a training does not see: `left out: 195 samples of photometry, no point of r before ...`

    The recipe's statistics are fitted for it, and are there when the training begins.
    """
    from daep_ray.stream.excluded import summary
    from daep_ray.stream.statistics import excluded_samples

    assert config.recipe is not None
    found = summary(excluded_samples(folder, config.recipe))
    return [
        f"left out: {number:,} samples of {modality}, {reason}"
        for modality, reason, number in found
        if modality in config.modalities
    ]


def _described(name: str) -> str:
    from daep_ray.errors import ConfigError
    from daep_ray.stream.named import RECIPES

    if name not in RECIPES:
        raise ConfigError(f"unknown recipe {name!r}: choose one of {', '.join(RECIPES)}")
    named = RECIPES[name]
    return (
        f"{named.name}: {named.title}\n"
        f"source: {named.source}; modalities: {', '.join(named.modalities)}\n"
        f"its steps depend on the survey: daep-ray recipes {name} DATA"
    )


def _show(name: str, data: Path, figure: Path, sample: str | None) -> None:
    from daep_ray.cli import output_folder
    from daep_ray.report.recipe_figure import recipe_figure
    from daep_ray.shards.read import ShardFolder
    from daep_ray.stream.named import named_recipe
    from daep_ray.stream.statistics import fit_recipe

    folder = ShardFolder.open(data)
    recipe = named_recipe(name, folder.manifest)
    output_folder(figure.parent)
    fitted = fit_recipe(folder, recipe)
    typer.echo(_described(name).splitlines()[0])
    for modality, part in recipe.modalities.items():
        typer.echo(f"\n{modality}")
        for line in _steps(part):
            typer.echo(f"  {line}")
    typer.echo(f"\n{_counts(folder, fitted)}")
    typer.echo(_left_out(folder, fitted))
    shown = recipe_figure(folder, fitted, figure, sample)
    typer.echo(f"figure: {figure} ({shown})")


def _steps(part: Any) -> list[str]:
    """`value: log10, median_filter width=3`, a line for everything that is not empty."""
    lines = []
    for what in ("selection", "factors", "value", "augmentation"):
        steps = getattr(part, what)
        if steps:
            lines.append(f"{what}: {', '.join(map(_step, steps))}")
    for axis, steps in part.positions.items():
        if steps:
            lines.append(f"{axis}: {', '.join(map(_step, steps))}")
    if part.max_length is not None:
        per = f" per {part.max_length_per}" if part.max_length_per else ""
        lines.append(f"at most {part.max_length} measurements{per}")
    if part.frozen_copies is not None:
        lines.append(f"augmentation in {part.frozen_copies} frozen copies")
    if part.metadata:
        lines.append(f"metadata: {', '.join(part.metadata)}")
    return [*lines, f"z-score: {part.z_score}"]


def _step(step: Any) -> str:
    settings = step.model_dump(mode="json", exclude={"kind"}, exclude_none=True)
    shown = [f"{key}={_setting(value)}" for key, value in settings.items() if value not in ([], "")]
    return " ".join([step.kind, *shown])


def _setting(value: Any) -> str:
    return "/".join(value) if isinstance(value, list) else str(value)


def _counts(folder: "ShardFolder", fitted: "FittedRecipe") -> str:
    """Samples and measurements before and after, over all splits."""
    from daep_ray.cli_tables import columns

    lengths = fitted.lengths(folder)
    rows = []
    for name in fitted.modalities:
        kept = lengths.column(f"{name}.length").to_numpy()
        raw = lengths.column(f"{name}.raw_length").to_numpy()
        counts = [raw > 0, kept > 0, (raw > 0) & (kept == 0)]
        rows.append([name, *(int(c.sum()) for c in counts), int(raw.sum()), int(kept.sum())])
    head = ["modality", "samples", "kept", "left out", "measurements", "seen at once"]
    return columns(head, rows)


def _left_out(folder: "ShardFolder", fitted: "FittedRecipe") -> str:
    """The reasons, the commonest first."""
    from daep_ray.cli_tables import columns
    from daep_ray.stream.excluded import summary
    from daep_ray.stream.recipe import recipe_hash
    from daep_ray.stream.statistics import excluded_samples

    rows = summary(excluded_samples(folder, fitted.recipe))
    if not rows:
        return "no sample is left out"
    where = Path(folder.path) / "recipes" / recipe_hash(fitted.recipe) / "excluded.csv"
    table = columns(["left out", "reason", "samples"], rows)
    return f"\n{table}\nwhich: {where}\n"
