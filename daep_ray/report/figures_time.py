"""Where the time went: shares of training, evaluation, waiting for data, and Ray."""

from typing import Any

from matplotlib.axes import Axes
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter

from daep_ray.report.marks import canvas, label_room, wrapped
from daep_ray.report.numbers import duration, listing, percent, whole
from daep_ray.report.source import Cell, Study
from daep_ray.report.style import COLOURS, on_paper, title
from daep_ray.report.svg import Drawing

SHARES = (  # name, colour, hatch: never by colour alone
    ("training", "share-a", ""),
    ("evaluation", "share-b", ""),
    ("data", "share-c", "////"),
    ("Ray", "share-d", ""),
)
LEAST_WRITTEN = 0.12  # smaller shares have no room for their number


def seconds(cells: list[Cell]) -> dict[str, float]:
    """Seconds by what they went to; waiting for data is a part of the training's own clock."""
    once = list({c.training: c for c in cells}.values())  # a training may have several evaluations
    data = sum(c.seconds_data or 0.0 for c in once)
    training = sum(c.seconds_training or 0.0 for c in once)
    return {
        "training": max(training - data, 0.0),
        "evaluation": sum(c.seconds_evaluation or 0.0 for c in cells),
        "data": data,
        "Ray": sum(c.seconds_ray or 0.0 for c in once),
    }


def objects_per_second(cells: list[Cell]) -> str:
    """The rate over a model's trainings."""
    timed = [c for c in cells if c.seconds_training and c.num_objects]
    if not timed:
        return "missing: no finished training"
    seen = sum(c.num_objects or 0 for c in timed)
    return f"{whole(seen / sum(c.seconds_training or 0.0 for c in timed))} objects/s"


@on_paper
def time_figure(name: str, study: Study) -> Drawing | None:
    """A bar for all trainings and one per model; None if no clock was kept."""
    groups = {"all": study.trained}
    for cell in study.trained:
        groups.setdefault(title(cell.model), []).append(cell)
    if len(groups) == 2:  # one model: it is all
        groups.pop("all")
    spent = {group: seconds(cells) for group, cells in groups.items()}
    spent = {group: parts for group, parts in spent.items() if sum(parts.values()) > 0}
    if not spent:
        return None
    names = [wrapped(group) for group in spent]
    left = label_room(list(spent), 7.5, 0.62)
    each = (0.22 if len(spent) < 6 else 0.06) + 0.12 * max(name.count("\n") + 1 for name in names)
    figure, (ax,) = canvas(0.85 + each * len(spent), left=left, right=0.75, top=0.42, bottom=0.4)
    for row, parts in enumerate(spent.values()):
        _bar(ax, row, parts)
    ax.set_yticks(range(len(spent)), names)
    ax.set_ylim(len(spent) - 0.5, -0.5)
    ax.set_xlim(0, 1)
    ax.grid(visible=False)
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    ax.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{100 * v:.0f} %"))
    _key(ax, left)
    caption = (
        "Seconds of all trials added up, whether they ran side by side or not. Data: waiting for "
        "batches. Ray: a trial's time that was neither training nor evaluation."
    )
    return Drawing(name, figure, _alt(spent), caption)


def _bar(ax: Axes, row: int, parts: dict[str, float]) -> None:
    left, total = 0.0, sum(parts.values())
    edge: dict[str, Any] = {"edgecolor": COLOURS["muted"], "lw": 0.3}
    for name, colour, hatch in SHARES:
        share = parts[name] / total
        ax.barh(row, share, 0.62, left, color=COLOURS[colour], hatch=hatch, **edge)
        if share >= LEAST_WRITTEN:
            ink = COLOURS["paper" if name == "training" else "data"]
            words = f"{100 * share:.0f} %"
            ax.text(left + share / 2, row, words, ha="center", va="center", fontsize=7, color=ink)
        left += share
    at = ax.get_yaxis_transform()
    ax.text(1.03, row, duration(total), transform=at, va="center")


def _key(ax: Axes, left: float) -> None:
    """The four words above the bars, each behind a sample of its colour."""
    edge: dict[str, Any] = {"edgecolor": COLOURS["muted"], "lw": 0.3}
    samples = [
        Patch(facecolor=COLOURS[colour], hatch=hatch, label=name, **edge)
        for name, colour, hatch in SHARES
    ]
    where: dict[str, Any] = {"loc": "lower left", "bbox_to_anchor": (0, 1), "borderaxespad": 0.3}
    if left > 1:  # the words must not leave the paper
        where["bbox_to_anchor"] = (-0.35, 1)
    size: dict[str, Any] = {"handlelength": 0.9, "handletextpad": 0.4, "columnspacing": 1.2}
    ax.legend(handles=samples, ncols=4, frameon=False, borderpad=0, **where, **size)


def _alt(spent: dict[str, dict[str, float]]) -> str:
    parts = next(iter(spent.values()))
    total = sum(parts.values())
    shares = listing([f"{name} {percent(parts[name] / total)}" for name, _, _ in SHARES])
    return f"Of {duration(total)} over all trials: {shares}."
