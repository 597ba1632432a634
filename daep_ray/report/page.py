"""A study in, everything that its page shows out: words, drawings, tables. No HTML here."""

from dataclasses import dataclass
from typing import Any

from daep_ray.report import chosen as rule
from daep_ray.report import (
    figures_examples,
    figures_residuals,
    figures_time,
    figures_training,
    provenance,
)
from daep_ray.report.evidence import METRIC, Evidence, gather
from daep_ray.report.figures import error_figure, probe_figure
from daep_ray.report.grid import Grid
from daep_ray.report.numbers import listing, significant
from daep_ray.report.provenance import Facts
from daep_ray.report.results import comparisons, probe, reconstruction
from daep_ray.report.source import Study
from daep_ray.report.svg import Drawing, slug
from daep_ray.report.text import Answer, answer, findings, seeds_note
from daep_ray.report.trainings import trainings


@dataclass(frozen=True)
class Part:
    """One modality's sections."""

    modality: str
    answer: Answer
    main: list[Drawing]
    findings: list[str]
    note: str  # what the intervals cover
    grids: list[Grid]  # comparisons, reconstruction, probe
    examples: list[Drawing]
    examples_caption: str
    residuals: Drawing | None
    residuals_words: list[str]
    missing: dict[str, str]  # what could not be drawn: name -> reason


@dataclass(frozen=True)
class Page:
    """The whole page."""

    question: str
    title: str
    answer: Answer
    subtitle: list[str]
    parts: list[Part]
    training: list[Drawing]
    trainings: Grid
    limits: list[str]
    facts: dict[str, Facts]
    configuration: list[tuple[str, str]]
    command: str

    @property
    def drawings(self) -> list[Drawing]:
        """Every drawing, in the page's order."""
        own = [d for p in self.parts for d in (*p.main, *p.examples, p.residuals) if d]
        return [*own, *self.training]

    @property
    def states(self) -> list[str]:
        """The states that trainings are in."""
        column = next(c for c in self.trainings.columns if c.kind == "state")
        return sorted({e.text for e in column.entries})

    @property
    def grids(self) -> list[Grid]:
        return [*(g for p in self.parts for g in p.grids), self.trainings]


def compose(study: Study) -> Page:
    """Put the page together."""
    modalities = study.modalities or [study.spec.get("data", {}).get("modality", "unknown")]
    evidence = [gather(study, m) for m in modalities]
    parts = [_part(study, e) for e in evidence]
    first = evidence[0]
    training = [
        figures_training.learning_figure("learning", study, first),
        figures_training.loss_figure("loss", study, first),
        figures_time.time_figure("time", study),
    ]
    spec = study.spec
    return Page(
        question=spec.get("question") or spec.get("title") or "A study without a question",
        title=_title(spec),
        answer=parts[0].answer,
        subtitle=provenance.subtitle(study, ", ".join(modalities)),
        parts=parts,
        training=[d for d in training if d],
        trainings=trainings(study, first),
        limits=provenance.limits(study, evidence),
        facts={
            "Data": provenance.about_data(study),
            "Study": provenance.about_study(study),
            "Software and machine": provenance.about_run(study),
        },
        configuration=provenance.configuration(study),
        command=provenance.command(study),
    )


def _title(spec: dict[str, Any]) -> str:
    """The study's title; its name where the question says the title already."""
    title, question = spec.get("title") or "", spec.get("question") or ""
    is_said = question.lower().startswith(title.lower().rstrip("?. "))
    return (spec.get("name", "study") if is_said else title).replace("_", " ")


def _part(study: Study, evidence: Evidence) -> Part:
    modality = evidence.modality
    units = provenance.units(study, modality)
    selected = rule.choose(evidence)
    examples = figures_examples.examples(study, modality, selected) if selected else []
    place = evidence.x.label(selected.x) if selected else ""
    drawn = [
        figures_examples.example_figure(f"example-{slug(modality)}-{i}", e, selected, units)
        for i, e in enumerate(examples)
        if selected
    ]
    residuals = (
        figures_residuals.residual_figure(
            f"residuals-{slug(modality)}", study, modality, selected, units, place
        )
        if selected
        else None
    )
    rows = figures_residuals.profile_rows(study, modality, selected) if selected else []
    missing = {}
    if not examples:
        missing["examples"] = (
            "no finished training left reconstructions" if selected else "no training has finished"
        )
    if residuals is None:
        missing["residuals"] = (
            "too few test measurements for a profile" if selected else "no training has finished"
        )
    return Part(
        modality=modality,
        answer=answer(study, evidence),
        main=_main(evidence, missing),
        findings=findings(evidence, _estimates(study, evidence)),
        note=seeds_note(evidence),
        grids=_grids(study, evidence),
        examples=drawn,
        examples_caption=figures_examples.caption(place, examples),
        residuals=residuals,
        residuals_words=figures_residuals.words(rows, selected, units) if selected else [],
        missing=missing,
    )


def _grids(study: Study, evidence: Evidence) -> list[Grid]:
    found = [reconstruction(study, evidence), probe(study, evidence)]
    compared = [comparisons(evidence)] if evidence.comparisons else []
    return [*compared, *(grid for grid in found if grid)]


def _main(evidence: Evidence, missing: dict[str, str]) -> list[Drawing]:
    """The one figure: error, and the probe beside it."""
    drawn = []
    if evidence.errors and evidence.x.values:
        drawn.append(error_figure(f"error-{slug(evidence.modality)}", evidence))
    else:
        missing["error"] = "no cell of the tables has an error"
    if evidence.probes and evidence.x.values:
        drawn.append(probe_figure(f"probe-{slug(evidence.modality)}", evidence))
    else:
        missing["probe accuracy"] = "no probe was run, or the survey has no classes"
    return drawn


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
            return [f"At {evidence.x.label(point.x)}, {line.name}'s error is {listing(said)}."]
    return []
