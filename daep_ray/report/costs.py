"""What a study cost: its ledger, summed per model.

The table `ledger` in, a `Grid` and a sentence out; nothing for studies older than the ledger.
"""

from collections.abc import Sequence
from typing import Any

from daep_ray.report.grid import DOES_NOT_APPLY, Column, Grid, number_column, text_column
from daep_ray.report.numbers import NARROW, duration, significant, whole
from daep_ray.report.source import Study
from daep_ray.report.style import title

Row = dict[str, Any]
_NOT_NOTED = "an older store has not noted it"


def costs(study: Study) -> Grid | None:
    """One row per model and reference, and their sum."""
    rows = study.tables["ledger"].to_pylist()
    if not rows:
        return None
    models = list(dict.fromkeys(row["model"] for row in rows))
    groups = [[row for row in rows if row["model"] == model] for model in models]
    names = [title(model) for model in models]
    if len(models) > 1:
        groups, names = [*groups, rows], [*names, "all"]
    training, evaluation = (
        [[row for row in group if row["what"] == what] for group in groups]
        for what in ("training", "evaluation")
    )
    columns = (
        text_column("model", "model", names),
        _count("trainings", training),
        _count("evaluations", evaluation),
        _sum("objects", "objects seen", "num_objects", training),
        _sum("tokens", "measurements seen", "num_tokens", training),
        _sum("tflop_training", "training work", "flop", training, "TFLOP", 1e12),
        _sum("tflop_evaluation", "evaluation work", "flop", evaluation, "TFLOP", 1e12),
        _mean("seconds_training", "one training", training),
        _mean("seconds_evaluation", "one evaluation", evaluation),
        _sum("seconds", "all of it", "seconds", groups, "s"),
        _sum("seconds_gpu", "GPU time", "seconds_gpu", groups, "s"),
        _most("memory", "memory", groups),
        _most("memory_gpu", "GPU memory", groups),
    )
    return Grid("ledger", "What it cost", columns, (_note(),))


def sentence(study: Study) -> str:
    """`1 training took 45 s; 60 evaluations took 2 min 6 s, 2.1 s each.`"""
    rows = study.tables["ledger"].to_pylist()
    done = [row for row in rows if row["state"] == "done"]
    found = []
    for what in ("training", "evaluation"):
        own = [row["seconds"] for row in done if row["what"] == what]
        if own:
            count = f"{whole(len(own))} {what}{'s' if len(own) > 1 else ''}"
            each = f"{significant(sum(own) / len(own))}{NARROW}s each" if len(own) > 1 else ""
            took = f"took {duration(sum(own))}"
            found.append(" ".join(filter(None, [count, took])) + (f", {each}" if each else ""))
    for state, words in {"stopped": "stopped early", "failed": "that failed"}.items():
        lost = [r for r in rows if (r["what"], r["state"]) == ("training", state)]
        if spent := sum(row["seconds"] or 0.0 for row in lost):
            count = f"{whole(len(lost))} training{'s' if len(lost) > 1 else ''} {words}"
            found.append(f"{count} took {duration(spent)}")
    return f"{'; '.join(found)}." if found else ""


def _note() -> str:
    return (
        "A training that several evaluations share is counted once, one that an earlier study made "
        "with what it took then; one that was stopped or failed, with what it took until then. "
        "Operations are those of matrix products, counted from the "
        "settings, in TFLOP (10\u00b9\u00b2); of references they are not counted. Memory is the "
        "most that one process held."
    )


def _count(what: str, groups: Sequence[Sequence[Row]]) -> Column:
    """`5`, or `4 of 5` where one has no result."""
    shown = []
    for group in groups:
        done = sum(row["state"] == "done" for row in group)
        shown.append(str(done) if done == len(group) else f"{done} of {len(group)}")
    return text_column(what, what, [s if s != "0" else DOES_NOT_APPLY for s in shown], "number")


def _sum(
    key: str,
    name: str,
    column: str,
    groups: Sequence[Sequence[Row]],
    unit: str = "",
    per: float = 1.0,
) -> Column:
    found = [_of(group, column, sum) for group in groups]
    scaled = [value if isinstance(value, str) else value / per for value in found]
    return number_column(key, name, scaled, unit, num_decimals=None if per > 1 else 0)


def _mean(key: str, name: str, groups: Sequence[Sequence[Row]]) -> Column:
    """Over those that came to their end, where any did."""
    ended = [[row for row in group if row["state"] == "done"] or group for group in groups]
    values = [_of(group, "seconds", lambda found: sum(found) / len(found)) for group in ended]
    return number_column(key, name, values, "s")


def _most(key: str, name: str, groups: Sequence[Sequence[Row]]) -> Column:
    found = [_of(group, key, max) for group in groups]
    return number_column(
        key, name, [v if isinstance(v, str) else v / 1e9 for v in found], "GB", num_decimals=2
    )


def _of(group: Sequence[Row], column: str, over: Any) -> float | str:
    """Over the rows that have it; why there is none where no row has."""
    known = [row[column] for row in group if row[column] is not None]
    if known:
        return float(over(known))
    is_done = any(row["state"] == "done" for row in group)
    if not group or (column == "flop" and is_done):
        return DOES_NOT_APPLY
    return _NOT_NOTED if is_done else "no result"
