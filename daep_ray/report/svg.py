"""A figure in; an SVG for the page, and SVG and PDF files for a paper, the same bytes every time.

No date, no random id. In the page the SVG's colours become the page's variables (light, dark,
print), its text takes the page's font, its styles become classes that the page's figures share,
and its ids are made unique on the page.
"""

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
from xml.etree.ElementTree import Element

from fontTools import subset
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from daep_ray.report.compact import REFERENCE, compact, whole, write
from daep_ray.report.style import INKS, on_paper, paper

# Verdana has DejaVu Sans' widths: what a reader without DejaVu gets
LAYOUT = ("BASE", "GDEF", "GPOS", "GSUB", "MATH", "kern")  # tables of a font
FONT = "'DejaVu Sans', Verdana"


@dataclass(frozen=True)
class Drawing:
    """A figure with its words: `alt` says what it shows, for those who cannot see it."""

    name: str
    figure: Figure
    alt: str
    caption: str

    @cached_property
    def elements(self) -> Element:
        """Of the SVG file, and of the page's figure; drawn once for both."""
        return _drawn(self.figure)

    @property
    def svg(self) -> str:
        """The SVG file's text."""
        return whole(self.elements)


def files(drawing: Drawing) -> dict[str, bytes]:
    """`<name>.svg` and `<name>.pdf`."""
    return {
        f"{drawing.name}.svg": drawing.svg.encode(),
        f"{drawing.name}.pdf": _pdf(drawing.figure),
    }


@on_paper
def on_page(drawings: Sequence[Drawing]) -> tuple[dict[str, str], str]:
    """The SVG elements for a page by the drawings' names, and the rules of style they share."""
    classes: dict[str, str] = {}
    shown = {d.name: _inline(d, f"f{i}", classes) for i, d in enumerate(drawings)}
    return shown, "\n".join(f".{name} {{{style}}}" for style, name in classes.items())


def _inline(drawing: Drawing, prefix: str, classes: dict[str, str]) -> str:
    """One element, ids numbered `<prefix>-<n>`, styles as classes of the page, new ones added."""
    root = deepcopy(drawing.elements)
    ids = [e.get("id") for e in root.iter() if e.get("id")]
    short = {f"#{old}": f"#{prefix}-{i}" for i, old in enumerate(ids)}
    for element in root.iter():
        for name, value in list(element.attrib.items()):
            del element.attrib[name]
            if "#" in value or "font-family" in value:
                value = _inks(REFERENCE.sub(lambda m: short.get(m[0], m[0]), value))
            if name == "id":
                value = short[f"#{value}"][1:]
            if name == "style" and "url(" not in value:
                name, value = "class", classes.setdefault(value, f"s{len(classes)}")
            element.set(name.removeprefix("xlink:"), value)
    width, height = root.get("viewBox", "").split()[2:]
    root.attrib = {
        "role": "img",
        "aria-labelledby": f"{drawing.name}-alt",
        "viewBox": f"0 0 {width} {height}",
    }
    title = Element("title", {"id": f"{drawing.name}-alt"})
    title.text = drawing.alt
    root.insert(0, title)
    return write(root)


def _inks(style: str) -> str:
    """An attribute with the page's colours and font."""
    for colour, ink in INKS.items():
        style = style.replace(colour, f"var(--{ink})")
    return re.sub(r"font-family:[^;]+", "font-family:var(--sans)", style)


def slug(words: str) -> str:
    """A survey's words as a part of a file name or an id."""
    return re.sub(r"[^A-Za-z0-9]+", "-", words).strip("-") or "x"


def _drawn(figure: Figure) -> Element:
    buffer = io.StringIO()
    with paper():
        FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None})
    text = buffer.getvalue().replace("'DejaVu Sans'", FONT)
    return compact(re.sub(r' transform="rotate\(-?0 [^)]*\)"', "", text))


def _pdf(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    with paper(), _bare_fonts():
        FigureCanvasPdf(figure).print_pdf(buffer, metadata={"CreationDate": None})
    return buffer.getvalue()


@contextmanager
def _bare_fonts() -> Iterator[None]:
    """Embed fonts without the tables that lay words out.

    A PDF places every glyph itself, so nobody reads them, and to cut them down to a figure's
    letters took three quarters of a report's time. Where fontTools does not know the list of what
    it drops, fonts keep them.
    """
    name = "_drop_tables_default"
    known = getattr(subset.Options, name, None)
    if known is None:
        yield
        return
    setattr(subset.Options, name, [*known, *LAYOUT])
    try:
        yield
    finally:
        setattr(subset.Options, name, known)
