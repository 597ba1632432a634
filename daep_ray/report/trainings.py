"""The table of every training, failed ones with their reason: what differs, and what it cost."""

from daep_ray.report.evidence import METRIC, Evidence
from daep_ray.report.grid import (
    NOT_MEASURED,
    Column,
    Entry,
    Grid,
    missing,
    number_column,
    text_column,
)
from daep_ray.report.points import varied
from daep_ray.report.source import Cell, Study
from daep_ray.report.style import title


def trainings(study: Study, evidence: Evidence) -> Grid:
    """Every training; only what differs of the configuration."""
    cells = study.trained
    errors = study.values(evidence.modality, METRIC)
    axes = [path for path in varied(study) if path != "objective.kind"]
    columns = [
        text_column("model", "model", [title(c.model) for c in cells]),
        *(_axis_column(path, cells) for path in axes),
        _whole("seed", "seed", [c.seed for c in cells], cells),
        text_column("state", "state", [c.state for c in cells], "state"),
        text_column("command", "repeat it", [c.command for c in cells], "command"),
        number_column("error", "error", [errors.get(c.cell, _why(c)) for c in cells], "z"),
        _whole("num_objects", "objects seen", [c.num_objects for c in cells], cells),
        _whole("seconds", "training", [c.seconds_training for c in cells], cells, "s"),
        _whole("rate", "speed", [_rate(c) for c in cells], cells, "objects/s"),
        _whole("parameters", "parameters", [c.num_parameters for c in cells], cells),
        text_column("training", "fingerprint", [c.training for c in cells], "code"),
    ]
    if any(c.reason for c in cells):
        place = next(i for i, c in enumerate(columns) if c.kind == "command")
        columns.insert(place, text_column("reason", "reason", [c.reason for c in cells]))
    return Grid("trainings", f"{len(cells)} rows, one per training and evaluation", tuple(columns))


def _whole(
    key: str, name: str, values: list[float | None], cells: list[Cell], unit: str = ""
) -> Column:
    """A column of whole numbers; a training without one shows its state."""
    known = [_why(c) if v is None else v for v, c in zip(values, cells, strict=True)]
    return number_column(key, name, known, unit, num_decimals=0)


def _axis_column(path: str, cells: list[Cell]) -> Column:
    name = path.split(".")[-1].replace("_", " ")
    values = [c.settings.get(path) for c in cells]
    is_number = all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
    entries = tuple(missing("not set") if v is None else Entry(str(v), v) for v in values)
    return Column(path, name, entries, kind="number" if is_number else "text")


def _why(cell: Cell) -> str:
    return NOT_MEASURED if cell.state == "done" else cell.state


def _rate(cell: Cell) -> float | None:
    if not cell.num_objects or not cell.seconds_training:
        return None
    return cell.num_objects / cell.seconds_training
