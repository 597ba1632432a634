"""How a page and its figures look: one colour, dash and marker per model, paper-size text.

Every colour in a figure is one of `INKS`; the page replaces it by a variable of the same name, so
that a figure follows the reader's light or dark setting. The files beside the page keep them.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import matplotlib.style

INKS = {
    "#1b1b1f": "ink",  # text
    "#000001": "data",  # measurements: black on paper
    "#6b6b73": "muted",  # axes, notes
    "#e3e3e6": "grid",
    "#f1f1f4": "shade",  # background of a region
    "#fefefe": "paper",
    "#d55e00": "daep",  # the models: Okabe & Ito (2008)
    "#0072b2": "vae",
    "#009e73": "maep",
    "#cc79a7": "mmvae",
    "#e69f00": "contrastive",
    "#6a3d9a": "prior",
    "#4d4d4d": "pca",
    "#8c8c8c": "mean",
    "#86622f": "gp",
    "#56b4e9": "other",
    "#32455c": "share-a",  # shares of time
    "#7d93ad": "share-b",
    "#b9c7d6": "share-c",
    "#dfe5ec": "share-d",
    "#4477aa": "class-a",  # classes of objects: Tol (2021), bright
    "#ee6677": "class-b",
    "#228833": "class-c",
    "#ccbb44": "class-d",
    "#66ccee": "class-e",
    "#aa3377": "class-f",
    "#bbbbbb": "class-g",  # all others, and unknown ones
}
COLOURS = {name: colour for colour, name in INKS.items()}


@dataclass(frozen=True)
class Look:
    """How a model appears in every figure of every page."""

    title: str
    colour: str
    dash: Any
    marker: str
    trace: Any = "-"  # dash of a line without markers


LOOKS = {
    "daep": Look("daep", COLOURS["daep"], "-", "o"),
    "vae": Look("VAE", COLOURS["vae"], "-", "s", (0, (6, 1.2))),
    "maep": Look("maep", COLOURS["maep"], "-", "^", (0, (4, 1, 1, 1))),
    "mmvae": Look("mmVAE", COLOURS["mmvae"], "-", "D", (0, (8, 1, 1, 1, 1, 1))),
    "contrastive": Look("contrastive", COLOURS["contrastive"], "-", "v", (0, (2.5, 1))),
    "prior": Look("latent prior", COLOURS["prior"], "-", "P", (0, (1, 1, 4, 1))),
    "pca": Look("PCA", COLOURS["pca"], (0, (4, 2)), "x", (0, (2, 1.2))),
    "mean": Look("training mean", COLOURS["mean"], (0, (1, 1.6)), "", (0, (1, 1.6))),
    "gp": Look("GP, other points", COLOURS["gp"], (0, (5, 1.5, 1, 1.5)), "", (0, (3, 1, 1, 1))),
}
CLASS_LOOKS = tuple(zip("abcdef", "os^DvP", strict=True))  # colour, marker
VARIANT_TRACES: tuple[Any, ...] = ("", (0, (5, 1.5)), (0, (1.5, 1)), (0, (6, 1, 1, 1, 1, 1)))
VARIANT_DASHES: tuple[Any, ...] = ("-", (0, (6, 1.5)), (0, (3, 1.2, 1, 1.2)), (0, (2, 1)))

COLUMN = 3.5  # inches: a paper's column


def look(model: str) -> Look:
    """The model's look: `daep two-stage` looks like `daep`, `VAE, beta 0.1` like `vae`; an unknown
    one is sky blue, a star."""
    kind = next((k for k in LOOKS if re.match(rf"(?i:{k})(?![A-Za-z])", model)), None)
    found = LOOKS[kind] if kind else Look(model, COLOURS["other"], "-", "*")
    return found if model == kind else replace(found, title=model)


def apart(models: Sequence[str]) -> list[Look]:
    """Looks in which models of one colour have lines of their own."""
    found: list[Look] = []
    for model in models:
        own = look(model)
        number = sum(other.colour == own.colour for other in found)
        trace = VARIANT_TRACES[number % len(VARIANT_TRACES)] or own.trace
        found.append(replace(own, trace=trace))
    return found


def title(model: str) -> str:
    return look(model).title


# svg.fonttype none: text stays text, small, searchable, in the reader's font; DejaVu comes with
# matplotlib, so that every machine lays out the same. pdf.fonttype 42: text editable in a paper.
RC: dict[str, Any] = {
    "text.parse_math": False,  # a survey's words may have dollars in them
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 8.0,
    "axes.titlesize": 8.0,
    "axes.labelsize": 8.0,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "axes.titlelocation": "left",
    "axes.titley": 1.0,  # no title stands above an axis' names, from which it would move
    "axes.edgecolor": COLOURS["muted"],
    "axes.labelcolor": COLOURS["ink"],
    "axes.titlecolor": COLOURS["ink"],
    "axes.facecolor": "none",
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "grid.color": COLOURS["grid"],
    "grid.linewidth": 0.5,
    "text.color": COLOURS["ink"],
    "xtick.color": COLOURS["muted"],
    "ytick.color": COLOURS["muted"],
    "xtick.labelcolor": COLOURS["ink"],
    "ytick.labelcolor": COLOURS["ink"],
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "lines.linewidth": 1.4,
    "lines.markersize": 4.0,
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "svg.fonttype": "none",
    "svg.hashsalt": "daep_ray",
    "pdf.fonttype": 42,
    "path.simplify": True,
}


P = ParamSpec("P")
T = TypeVar("T")


_IS_PAPER = ContextVar("is_paper", default=False)


@contextmanager
def paper() -> Iterator[None]:
    """matplotlib's own defaults and `RC` on them, whatever the reader's matplotlibrc says.

    Within another one it is that one: setting 300 parameters costs more than a small figure.
    """
    if _IS_PAPER.get():
        yield
        return
    mark = _IS_PAPER.set(True)
    try:
        with matplotlib.style.context(["default", RC]):
            yield
    finally:
        _IS_PAPER.reset(mark)


def on_paper(draw: Callable[P, T]) -> Callable[P, T]:
    """Run a drawing function under `paper`."""

    @wraps(draw)
    def drawing(*args: P.args, **kwargs: P.kwargs) -> T:
        with paper():
            return draw(*args, **kwargs)

    return drawing
