"""What a reader needs to trust and to repeat: limits, data, recipe, configuration, versions.

Spec, run and cells in; sentences and (name, value) pairs out. What is not known says so.
"""

import json
from typing import Any

from daep_ray.report.evidence import Evidence
from daep_ray.report.figures_time import objects_per_second
from daep_ray.report.figures_training import still_falling
from daep_ray.report.numbers import duration, listing, whole
from daep_ray.report.selection import how
from daep_ray.report.source import Study
from daep_ray.report.style import title

Facts = list[tuple[str, str]]
NO_DATE = "the survey names no date"
UNITS = {"Angstrom": "Å"}  # as figures write them


def subtitle(study: Study, modality: str) -> list[str]:
    """The small line under the answer."""
    data = study.spec.get("data", {})
    counts = data.get("counts", {})
    source = data.get("source", {})
    parts = [
        " ".join(
            filter(
                None,
                [
                    "survey",
                    source.get("format", "missing: not in spec.json"),
                    source.get("name", ""),
                ],
            )
        )
    ]
    parts.append(modality)
    split = _evaluation(study).get("split", "test")
    objects = [
        f"{whole(counts[s]['num_objects'])} objects {word}"
        for s, word in (("train", "to train on"), (split, f"in the {split} split"))
        if s in counts
    ]
    parts += [", ".join(objects)] if objects else []
    budget = study.spec.get("base", {}).get("optimisation", {}).get("num_objects")
    parts += [f"budget {whole(budget)} objects seen"] if budget else []
    hash_ = data.get("manifest")
    parts.append(
        f"data {hash_[:12]}, {date_of(study) or 'not dated'}" if hash_ else "missing: data"
    )
    num_seeds = len({c.seed for c in study.trained})
    parts.append("1 seed" if num_seeds == 1 else f"{num_seeds} seeds")
    return [*parts, states(study)]


def date_of(study: Study) -> str:
    """The date that the survey gives its data, "" if it gives none: a file's date is no date of
    data, and the manifest has no clock, so that equal data have equal hashes."""
    return str(study.spec.get("data", {}).get("source", {}).get("date", ""))


def states(study: Study) -> str:
    """`12 of 12 trainings, 0 failed`; what is missing or was stopped early only where there is."""
    by_state: dict[str, set[str]] = {}
    for cell in study.trained:
        by_state.setdefault(cell.state, set()).add(cell.training)
    total = len({c.training for c in study.trained})
    unfinished = set().union(*(by_state.get(s, set()) for s in ("failed", "missing", "stopped")))
    done = len(by_state.get("done", set()) - unfinished)
    text = f"{done} of {total} trainings, {len(by_state.get('failed', set()))} failed"
    for state, words in {"missing": "missing", "stopped": "stopped early"}.items():
        if number := len(by_state.get(state, set())):
            text += f", {number} {words}"
    return text


def limits(study: Study, evidence: list[Evidence]) -> list[str]:
    """What this cannot show."""
    said = []
    num_seeds = len({c.seed for c in study.trained})
    if num_seeds < 3:
        few = "One seed" if num_seeds == 1 else "Two seeds"
        said.append(f"{few} per configuration: too few to know how much a result owes to luck.")
    budget = study.spec.get("base", {}).get("optimisation", {}).get("num_objects")
    if budget:
        falling = still_falling(study, evidence[0])
        ahead = "Which model leads at a longer budget is open."
        said.append(
            f"Every model saw {whole(budget)} objects. {falling} {ahead}".replace("  ", " ")
        )
    said.append(
        "All models share one configuration apart from the settings listed under Study; the best "
        "setting of each may differ from it."
    )
    shown = _evaluation(study)
    if shown.get("max_objects"):
        said.append(
            f"Errors come from at most {whole(shown['max_objects'])} {shown.get('split', 'test')} "
            f"objects of one survey, and from {shown.get('num_draws', '?')} draws each; another "
            "survey may rank otherwise."
        )
    said.append(
        "The error is measured at the observed points against noisy data, so its floor is the "
        "noise and not zero; it does not say how well gaps are filled."
    )
    if any(e.mean is None for e in evidence):
        said.append("There is no training mean, so the learning gate could not be applied.")
    stopped = sum(c.state == "stopped" for c in study.trained)
    if stopped:
        said.append(
            f"Stopped before their budget, because their learning curves were worse than others': "
            f"{_cells(stopped)}; what they would have become is unknown, and they are compared "
            "with nothing."
        )
    unfinished = [c for c in study.trained if c.state not in ("done", "stopped")]
    if unfinished:
        models = listing(list(dict.fromkeys(title(c.model) for c in unfinished)))
        said.append(
            f"Without a result: {_cells(len(unfinished))} of {models}; their configurations rest "
            "on fewer seeds or none."
        )
    if study.left_out:
        rows = listing([f"{whole(n)} rows of {name}" for name, n in study.left_out.items()])
        said.append(f"Left out, because their numbers are not finite: {rows}.")
    lacking = [
        words
        for table, words in (
            ("calibration", "calibration of the draws"),
            ("groups", "errors by class and signal to noise"),
            ("confusion", "confusion of the probe"),
            ("codes", "a map of the codes"),
        )
        if not study.rows(table).num_rows
    ]
    if lacking:
        said.append(f"missing: {listing(lacking)}: the study's tables hold none.")
    return said


def _cells(number: int) -> str:
    return f"{whole(number)} cell{'s' if number > 1 else ''}"


def why_no_probe(study: Study) -> str:
    """Why nobody told classes from codes, as far as the design and the survey's counts say."""
    if _evaluation(study).get("probe_label", "class") is None:
        return "no probe was asked for"
    counts = study.spec.get("data", {}).get("counts", {}).values()
    classes = {name for count in counts for name in count.get("classes") or {}}
    if not classes:
        return "no labels"
    if len(classes) == 1:
        return f"one class only ({next(iter(classes))})"
    done = any(c.state == "done" for c in study.cells)
    return "too few objects of two classes" if done else "no training has finished"


def about_data(study: Study) -> Facts:
    """Survey, manifest, counts."""
    data = study.spec.get("data", {})
    source = data.get("source", {})
    facts: Facts = [
        ("survey", source.get("format", _no("spec.json"))),
        ("manifest", data.get("manifest", _no("spec.json"))),
        (
            "date of the data",
            date_of(study) or f"missing: {NO_DATE}",
        ),
    ]
    if source.get("options"):
        facts.append(("options", _flat(source["options"])))
    order = ("train", "validation", "test")
    counts = data.get("counts", {})
    for split in sorted(counts, key=lambda s: order.index(s) if s in order else len(order)):
        count = counts[split]
        classes = ", ".join(
            f"{k} {whole(v)}" for k, v in sorted((count.get("classes") or {}).items())
        )
        objects = f"{whole(count['num_objects'])} objects, {whole(count['num_samples'])} samples"
        facts.append((split, objects + (f" ({classes})" if classes else "")))
    return facts


def about_run(study: Study) -> Facts:
    """Versions, machine, threads, times."""
    run = study.run
    commit = run.get("commit")
    changed = " with uncommitted changes" if run.get("is_modified") else ""
    facts: Facts = [
        ("commit", f"{commit[:12]}{changed}" if commit else "missing: not run from a repository"),
        ("Python", run.get("python", _no("run.json"))),
    ]
    facts += [
        (name, version or "missing: not installed")
        for name, version in sorted(run.get("packages", {}).items())
    ]
    facts += [
        ("platform", run.get("platform", _no("run.json"))),
        ("cores", str(run.get("num_cpus", _no("run.json")))),
        ("threads per training", str(run.get("num_threads", _no("run.json")))),
        ("workers per training", str(run.get("num_workers", _no("run.json")))),
    ]
    for key, words in (
        ("seconds_study", "the study took"),
        ("seconds_session", "of it, starting and stopping Ray"),
    ):
        if run.get(key) is not None:
            facts.append((words, duration(run[key])))
    for model in dict.fromkeys(c.model for c in study.trained):
        facts.append(
            (
                f"speed, {title(model)}",
                objects_per_second([c for c in study.trained if c.model == model]),
            )
        )
    return facts


def about_study(study: Study) -> Facts:
    """The design."""
    spec = study.spec
    facts: Facts = [
        ("study", spec.get("name", _no("spec.json"))),
        ("expected before it ran", spec.get("expectation") or _no("spec.json")),
        ("preset", spec.get("preset") or "none"),
        ("control", title(spec["control"]) if spec.get("control") else _no("spec.json")),
        ("seeds", ", ".join(map(str, spec.get("seeds", []))) or _no("spec.json")),
    ]
    facts.append(("settings", how(study)))
    if spec.get("scheduler"):
        facts.append(("stopped early by", spec["scheduler"]))
    for name, changes in spec.get("models", {}).items():
        facts.append((f"model {title(name)}", _flat(changes) or "the base"))
    for axis in spec.get("axes", []):
        facts.append((axis["path"], ", ".join(str(v) for v in axis["values"])))
    return facts


def configuration(study: Study) -> list[tuple[str, str]]:
    """The base configuration in parts, each as indented JSON; the recipe first."""
    base = study.spec.get("base", {})
    if not base:
        return [("configuration", _no("spec.json"))]
    if base.get("recipe") and base.get("modalities"):
        used = {m: r for m, r in base["recipe"]["modalities"].items() if m in base["modalities"]}
        base = {**base, "recipe": used}
    parts = sorted(base, key=lambda name: (name != "recipe", name))
    return [
        (name, json.dumps(base[name], indent=2, sort_keys=True, ensure_ascii=False))
        for name in parts
    ]


def command(study: Study) -> str:
    return study.run.get("command") or _no("run.json")


def units(study: Study, modality: str) -> dict[str, str]:
    """Axis labels of the value and of the first position: `flux (mJy)`, `wavelength (Angstrom)`."""
    declared = study.declaration(modality)
    value, positions = declared.get("value"), declared.get("positions")
    return {
        "value": _labelled(value) if value else "value",
        "unit": UNITS.get(positions[0]["unit"], positions[0]["unit"]) if positions else "",
        "position": _position(study, modality, positions[0]) if positions else "position",
    }


def _position(study: Study, modality: str, axis: dict[str, Any]) -> str:
    """The axis, and what the recipe did to it: `time since peak, rest frame (day)`."""
    recipe = study.spec.get("base", {}).get("recipe") or {}
    steps = (
        recipe.get("modalities", {}).get(modality, {}).get("positions", {}).get(axis["name"], [])
    )
    name = axis["name"]
    for step in steps:
        if step.get("kind") == "reference":
            name += f" since {str(step.get('at', 'reference')).removeprefix('column:')}"
        if step.get("kind") == "divide_by_one_plus":
            name += ", rest frame"
    return _labelled({**axis, "name": name})


def _labelled(axis: dict[str, Any]) -> str:
    unit = UNITS.get(axis["unit"], axis["unit"])
    return f"{axis['name']} ({unit})" if unit else axis["name"]


def _evaluation(study: Study) -> dict[str, Any]:
    return study.spec.get("base", {}).get("evaluation", {})


def _flat(content: dict[str, Any]) -> str:
    return ", ".join(
        f"{k} = {json.dumps(v, ensure_ascii=False)}" for k, v in sorted(content.items())
    )


def _no(file: str) -> str:
    return f"missing: not in {file}"
