"""The sections of one modality, and of what codes know: words, drawings, tables.

A study with its evidence in, `Section`s out. A section says what it lacks and why; one that would
be empty, in a study that was evaluated before the package measured such things, is left out, and
the page's limits name what is not on it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from daep_ray.report import (
    along_axis,
    figures_calibration,
    figures_codes,
    figures_examples,
    figures_fails,
    figures_residuals,
    provenance,
    results_draws,
    results_groups,
    results_intervals,
    selection,
    tradeoffs,
)
from daep_ray.report.chosen import Chosen
from daep_ray.report.evidence import METRIC, Evidence, across, sources
from daep_ray.report.figures import error_figure, probe_figure
from daep_ray.report.figures_dots import error_dots, has_no_axis, probe_dots
from daep_ray.report.grid import Grid
from daep_ray.report.numbers import listing, significant
from daep_ray.report.results import comparisons, probe, reconstruction, told
from daep_ray.report.results_retrieval import retrieval
from daep_ray.report.source import Study
from daep_ray.report.svg import Drawing, slug
from daep_ray.report.text import findings, seeds_note


@dataclass(frozen=True)
class Section:
    """`key` is its address on the page; `intro` stands above the figures, `note` below words."""

    key: str
    title: str
    drawings: list[Drawing] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    grids: list[Grid] = field(default_factory=list)
    intro: str = ""
    note: str = ""
    missing: dict[str, str] = field(default_factory=dict)  # what could not be shown -> reason
    columns: str = "three"

    @property
    def is_empty(self) -> bool:
        return not (self.drawings or self.words or self.grids or self.missing)


def main(study: Study, evidence: Evidence) -> Section:
    """The one figure: error, the probe beside it, and what is told from other modalities alone."""
    drawn, missing, name = [], {}, slug(evidence.modality)
    is_flat = has_no_axis(evidence)
    if evidence.errors and evidence.x.values:
        drawn.append((error_dots if is_flat else error_figure)(f"error-{name}", evidence))
    else:
        missing["error"] = "no cell of the tables has an error"
    if evidence.probes and evidence.x.values:
        drawn.append((probe_dots if is_flat else probe_figure)(f"probe-{name}", evidence))
    else:
        missing["probe accuracy"] = provenance.why_no_probe(study)
    for source in sources(study, evidence.modality):
        told_from = across(study, evidence, source)
        if told_from.errors and evidence.x.values:
            title = f"across-{name}-{slug(source)}"
            drawn.append((error_dots if is_flat else error_figure)(title, told_from))
    return Section("figure", "", drawn, missing=missing, columns="two")


def says(
    study: Study, evidence: Evidence, along: Sequence[along_axis.Step], rest: Sequence[str] = ()
) -> Section:
    """The paired statistics, steps `along` the axis, errors; `rest` of the answer last."""
    grids = [comparisons(evidence)] if evidence.comparisons else []
    more = [
        along_axis.grid(study, evidence, along) if along else None,
        reconstruction(study, evidence),
        results_draws.across(study, evidence),
        retrieval(study, evidence),
    ]
    words = findings(evidence, _estimates(study, evidence))
    others = [s for s in along if s.line.model != evidence.control]  # the control's: the answer
    words += [*along_axis.sentences(study, evidence, others), *rest]
    words += [s for s in [selection.choice(study, evidence)] if s]
    said = [grid for grid in more if grid]
    note = f"{selection.note(study)} {seeds_note(evidence)}"
    return Section("says", "What it says", [], words, [*grids, *said], note=note)


def chooses(study: Study, evidence: Evidence) -> Section:
    """Trade-offs and the axes' importance."""
    name, found = slug(evidence.modality), tradeoffs.choices(study, evidence)
    axes = tradeoffs.importance(study, evidence)
    drawn = [tradeoffs.figure(f"tradeoffs-{name}", study, found)] if found else []
    grids = [tradeoffs.front_grid(study, evidence.modality, found)] if found else []
    grids += [tradeoffs.importance_grid(evidence.modality, axes)] if axes else []
    words = [s for s in [tradeoffs.finding(axes)] if s]
    return Section("tradeoffs", "Trade-offs", drawn, words, grids)


def examples(study: Study, evidence: Evidence, chosen: Chosen | None) -> Section:
    """A few test objects, chosen by rule."""
    modality = evidence.modality
    found = figures_examples.examples(study, modality, chosen) if chosen else []
    if not chosen or not found:
        why = "no finished training left reconstructions" if chosen else "no training has finished"
        return Section("examples", "Examples", missing={"examples": why})
    units = provenance.units(study, modality)
    drawn = [
        figures_examples.example_figure(f"example-{slug(modality)}-{i}", e, chosen, units)
        for i, e in enumerate(found)
    ]
    place = evidence.x.label(chosen.x)
    caption = figures_examples.caption(place, found, chosen)
    return Section("examples", "Examples", drawn, intro=caption)


def fails(study: Study, evidence: Evidence, chosen: Chosen | None) -> Section:
    """Residuals, groups of objects, scales, calibration."""
    title = "Where it fails"
    if chosen is None:
        return Section("fails", title, missing={"residuals": "no training has finished"})
    modality, name = evidence.modality, slug(evidence.modality)
    units, place = provenance.units(study, modality), evidence.x.label(chosen.x)
    where = (study, modality, chosen)
    rows = figures_residuals.profile_rows(*where)
    residuals = figures_residuals.residual_figure(
        f"residuals-{name}", rows, chosen, units, f"With {place}"
    )
    origins = sources(study, modality)
    drawn = [
        residuals,
        *(_told_from(source, *where, units, place) for source in origins),
        figures_fails.group_figure(f"groups-{name}", *where),
        figures_fails.scale_figure(f"scales-{name}", *where),
        figures_calibration.coverage_figure(f"coverage-{name}", *where),
        figures_calibration.position_figure(f"coverage-position-{name}", *where, units),
        figures_calibration.rank_figure(f"ranks-{name}", *where),
    ]
    grids = [
        results_draws.calibration(study, evidence),
        results_intervals.intervals(study, evidence),
        results_draws.by_phase(*where),
        *(results_draws.by_phase_of(source, *where) for source in origins),
        results_groups.groups(*where),
        results_groups.spectral_lines(*where),
    ]
    missing = {} if residuals else {"residuals": "too few test measurements for a profile"}
    return Section(
        "fails",
        title,
        [d for d in drawn if d],
        figures_residuals.words(rows, chosen, units) + _before_peak(study, evidence, chosen),
        [grid for grid in grids if grid],
        intro=f"{chosen.note}With {place}." if chosen.note else "",
        missing=missing,
    )


def _told_from(
    source: str, study: Study, modality: str, chosen: Chosen, units: dict[str, str], place: str
) -> Drawing | None:
    """Where it fails when it knows the other modality alone."""
    rows = figures_residuals.told_rows(study, modality, source, chosen)
    what = f"Told from {source} alone, with {place}"
    if any(row["category"].endswith(" day") for row in rows):
        what += f"; by the phase of the {modality}"
    name = f"residuals-{slug(modality)}-{slug(source)}"
    return figures_residuals.residual_figure(name, rows, chosen, units, what)


def codes(study: Study, found: list[tuple[Evidence, Chosen | None]]) -> Section:
    """What the code knows; modalities that share a code share this."""
    drawn: list[Drawing | None] = []
    grids: list[Grid | None] = []
    seen: set[str] = set()
    for evidence, chosen in found:
        coded = study.coded(evidence.modality)
        if coded in seen:
            continue
        seen.add(coded)
        grids += [probe(study, evidence), told(study, evidence)]
        if chosen is None:
            continue
        grids.append(results_groups.confusion(study, coded, chosen))
        drawn += _each(figures_codes.map_figure, "codes", study, coded, chosen)
        drawn += _each(figures_codes.confusion_figure, "confusion", study, coded, chosen)
    shown = [d for d in drawn if d]
    intro = ""
    if any(d.name.startswith("codes-") for d in shown):
        note = next(chosen.note for _, chosen in found if chosen)
        intro = (
            f"{note}Maps: t-SNE of the codes, a point per object, training and evaluated objects "
            "placed together; neighbours mean something, distances between groups do not. "
        )
    if any(d.name.startswith("confusion-") for d in shown):
        intro += "Matrices: rows are true classes, columns what a linear probe of the code says."
    kept = [grid for grid in grids if grid]
    return Section("codes", "What the code knows", shown, [], kept, intro=intro.strip())


def _each(
    draw: Callable[..., Drawing | None], kind: str, study: Study, coded: str, chosen: Chosen
) -> list[Drawing | None]:
    """A drawing per shown cell."""
    split = study.spec.get("base", {}).get("evaluation", {}).get("split", "test")
    more = (split,) if kind == "codes" else ()
    return [
        draw(f"{kind}-{slug(coded)}-{i}", study, coded, c.cell, chosen.names[c.cell], *more)
        for i, c in enumerate(chosen.cells)
    ]


def _before_peak(study: Study, evidence: Evidence, chosen: Chosen) -> list[str]:
    """The mean signed residual of the rise, with its interval over objects."""
    modality, metric = evidence.modality, "bias_before_peak"
    values = study.values(modality, metric)
    errors = study.standard_errors(modality, metric)
    said = []
    for cell in chosen.cells:
        if cell.cell in values and cell.cell in errors:
            value, half = values[cell.cell], 1.96 * errors[cell.cell]
            ends = f"{significant(value - half)} to {significant(value + half)}"
            said.append(f"{significant(value)} ({ends}) of {chosen.names[cell.cell]}")
    if not said:
        return []
    return [
        f"Before the peak the reconstruction minus data is on average {listing(said)}, in z units "
        "with the 95 % interval over objects; positive: the value is told too large."
    ]


def _estimates(study: Study, evidence: Evidence) -> list[str]:
    """How far the kinds of estimates are apart, for the model that has them all."""
    for line in evidence.trained:
        point = line.points[-1]
        found = {}
        for estimate in ("one_draw", "mean_of_draws", "one_step"):
            values = study.values(evidence.modality, METRIC, estimate)
            own = [values[c.cell] for c in point.cells if c.cell in values]
            if own:
                found[estimate] = sum(own) / len(own)
        if len(found) == 3:
            said = [f"{significant(v)} as {k.replace('_', ' ')}" for k, v in found.items()]
            where = "" if line.is_flat else f"At {evidence.x.label(point.x)}, "
            return [f"{where}{line.name}'s error is {listing(said)}."]
    return []
