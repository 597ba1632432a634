"""A study in, everything that its page shows out: words, drawings, tables. No HTML here."""

from dataclasses import dataclass
from typing import Any

from daep_ray.report import along_axis, figures_time, figures_training, provenance, sections
from daep_ray.report import chosen as rule
from daep_ray.report.costs import costs, sentence
from daep_ray.report.evidence import Evidence, gather
from daep_ray.report.grid import Grid
from daep_ray.report.provenance import Facts
from daep_ray.report.sections import Section
from daep_ray.report.source import Study
from daep_ray.report.style import on_paper
from daep_ray.report.svg import Drawing
from daep_ray.report.text import Answer, answer
from daep_ray.report.trainings import trainings


@dataclass(frozen=True)
class Part:
    """One modality's sections."""

    modality: str
    answer: Answer
    main: Section
    sections: list[Section]


@dataclass(frozen=True)
class Page:
    """The whole page."""

    question: str
    title: str
    answer: Answer
    subtitle: list[str]
    parts: list[Part]
    codes: Section
    training: Section
    trainings: Grid
    limits: list[str]
    facts: dict[str, Facts]
    configuration: list[tuple[str, str]]
    command: str

    @property
    def sections(self) -> list[Section]:
        """Every section with figures or tables, in the page's order."""
        own = [s for p in self.parts for s in (p.main, *p.sections)]
        return [s for s in (*own, self.codes, self.training) if not s.is_empty]

    @property
    def drawings(self) -> list[Drawing]:
        """Every drawing, in the page's order."""
        return [d for s in self.sections for d in s.drawings]

    @property
    def states(self) -> list[str]:
        """The states that trainings are in."""
        column = next(c for c in self.trainings.columns if c.kind == "state")
        return sorted({e.text for e in column.entries})

    @property
    def tables(self) -> list[Grid]:
        """Those of a paper: all but the table of trainings."""
        return [g for s in self.sections for g in s.grids]

    @property
    def grids(self) -> list[Grid]:
        return [*self.tables, self.trainings]

    @property
    def anchors(self) -> list[tuple[str, str]]:
        """Where the page's links lead: (address, words)."""
        first = [s for s in self.parts[0].sections if not s.is_empty]
        found = [(s.key, s.title) for s in (*first, self.codes, self.training) if not s.is_empty]
        last = (("trainings", "Every training"), ("limits", "Limits"), ("repeat", "Repeat it"))
        return [*found, *last]


@on_paper
def compose(study: Study) -> Page:
    """Put the page together."""
    modalities = study.modalities or [study.spec.get("data", {}).get("modality", "unknown")]
    evidence = [gather(study, m) for m in modalities]
    chosen = [rule.choose(e) for e in evidence]
    parts = [_part(study, e, c) for e, c in zip(evidence, chosen, strict=True)]
    spec = study.spec
    return Page(
        question=spec.get("question") or spec.get("title") or "A study without a question",
        title=_title(spec),
        answer=parts[0].answer,
        subtitle=provenance.subtitle(study, ", ".join(modalities)),
        parts=parts,
        codes=sections.codes(study, list(zip(evidence, chosen, strict=True))),
        training=_training(study, evidence[0], chosen[0]),
        trainings=trainings(study, evidence[0]),
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


def _part(study: Study, evidence: Evidence, chosen: rule.Chosen | None) -> Part:
    along = along_axis.steps(study, evidence)
    told = answer(study, evidence, along)
    found = [
        sections.says(study, evidence, along, told.rest),
        sections.chooses(study, evidence),
        sections.examples(study, evidence, chosen),
        sections.fails(study, evidence, chosen),
    ]
    return Part(
        evidence.modality,
        told,
        sections.main(study, evidence),
        [s for s in found if not s.is_empty or s.note],
    )


def _training(study: Study, evidence: Evidence, chosen: rule.Chosen | None) -> Section:
    """How it got there."""
    names = list(chosen.names.values()) if chosen else []
    drawn = [
        figures_training.learning_figure("learning", study, evidence, names),
        figures_training.loss_figure("loss", study, evidence, names),
        figures_time.time_figure("time", study),
    ]
    found = [d for d in drawn if d]
    missing = {} if found else {"learning curves": "no training left any"}
    cost = costs(study)
    words, grids = ([sentence(study)], [cost]) if cost else ([], [])
    return Section("training", "How it got there", found, words, grids, missing=missing)
