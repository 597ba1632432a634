"""How settings were chosen, and that the test objects had no part in it.

A study in, sentences out: which settings were tried and why, which one its validation error chooses
of a search, and what that one does on the test objects.
"""

import math
from statistics import fmean
from typing import Any

from daep_ray.report.evidence import METRIC, Evidence
from daep_ray.report.numbers import listing, significant, whole
from daep_ray.report.source import Cell, Study
from daep_ray.report.style import title
from daep_ray.study.axes import ERROR, Target
from daep_ray.study.compare import shown

Setting = tuple[str, str]  # model, its settings in words


def how(study: Study) -> str:
    """`20 suggested by Optuna for the lowest validation/absolute_error`."""
    search = study.spec.get("search", "grid")
    if search == "grid":
        return "all of a grid"
    # a search may end before its number of trials, where there are no more settings
    number = whole(len({(c.model, *shown(c.settings)) for c in study.trained}))
    if search == "random":
        return f"{number} drawn at random"
    given = study.spec.get("targets") or [study.spec.get("target", ERROR)]
    return f"{number} suggested by Optuna for {listing([_words(Target.parse(t)) for t in given])}"


def _words(target: Target) -> str:
    if not target.is_curve:
        return f"few {target.name.removeprefix('num_')}"
    return f"the {'lowest' if target.direction == 'min' else 'highest'} {target.name}"


def note(study: Study) -> str:
    """What the errors' split had to say about the settings: nothing."""
    split = study.spec.get("base", {}).get("evaluation", {}).get("split", "test")
    if split != "test":
        return (
            f"Errors are those of the {split} split, so that settings may be chosen by them; what "
            "is chosen is then to be measured on the test split."
        )
    search = study.spec.get("search", "grid")
    chosen = "settings were fixed before any of them was trained"
    if search in ("optuna", "pareto"):
        chosen = "settings were suggested by what earlier ones did on the validation split"
    return (
        "Errors are those of the test split, which has chosen nothing: a training ends at its "
        f"budget, and {chosen}."
    )


def choice(study: Study, evidence: Evidence) -> str:
    """Of a search: the setting with the best validation curves, and its error on test objects;
    "" of a grid, which asks for all of them, and of a trade-off between several targets."""
    if study.spec.get("search", "grid") not in ("random", "optuna"):
        return ""
    target = Target.parse(study.spec.get("target", ERROR))
    last = _last(study, target.name)
    found: dict[Setting, list[Cell]] = {}
    for cell in study.trained:
        if cell.state == "done":
            found.setdefault((cell.model, ", ".join(shown(cell.settings))), []).append(cell)
    known = {
        setting: fmean(last[c.training] for c in cells)
        for setting, cells in found.items()
        if all(c.training in last for c in cells)
    }
    if not known:
        return ""
    take: Any = min if target.direction == "min" else max
    best = take(known, key=known.__getitem__)
    values = study.values(evidence.modality, METRIC)
    errors = [values[c.cell] for c in found[best] if c.cell in values]
    error = f"has an error of {significant(fmean(errors))} z units" if errors else "has no error"
    name = ", ".join(filter(None, [title(best[0]), best[1]]))
    return (
        f"Chosen by {target.name} ({significant(known[best])}, the best of {len(known)} settings "
        f"that came to their end): {name}; on test objects it {error}."
    )


def _last(study: Study, name: str) -> dict[str, float]:
    """The last point of a learning curve per training."""
    rows = sorted(study.rows("curves", name=name).to_pylist(), key=lambda r: r["num_objects"])
    known = [row for row in rows if row["value"] is not None and math.isfinite(row["value"])]
    return {row["training"]: row["value"] for row in known}
