"""A figure in; an SVG for the page, and SVG and PDF files for a paper, the same bytes every time.

No date, no random id. In the page the SVG's colours become the page's variables (light, dark,
print), its text takes the page's font, and its ids are made unique on the page.
"""

import io
import re
from dataclasses import dataclass
from functools import cached_property

from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from daep_ray.report.style import INKS, paper

# Verdana has DejaVu Sans' widths: what a reader without DejaVu gets
FONT = "'DejaVu Sans', Verdana"


@dataclass(frozen=True)
class Drawing:
    """A figure with its words: `alt` says what it shows, for those who cannot see it."""

    name: str
    figure: Figure
    alt: str
    caption: str

    @cached_property
    def svg(self) -> str:
        """The SVG file's text."""
        return _svg(self.figure)


def files(drawing: Drawing) -> dict[str, bytes]:
    """`<name>.svg` and `<name>.pdf`."""
    return {
        f"{drawing.name}.svg": drawing.svg.encode(),
        f"{drawing.name}.pdf": _pdf(drawing.figure),
    }


def inline(drawing: Drawing) -> str:
    """The SVG element for the page."""
    text = drawing.svg
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->\s*", "", text, flags=re.DOTALL)
    text = _short_ids(text, drawing.name)
    for colour, ink in INKS.items():
        text = text.replace(colour, f"var(--{ink})")
    text = re.sub(r"font-family: [^;\"]+", "font-family: var(--sans)", text)
    head, rest = text.split(">", 1)
    size = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', head)
    assert size is not None
    name = f'aria-labelledby="{drawing.name}-alt" viewBox="0 0 {size[1]} {size[2]}"'
    alt = f'<title id="{drawing.name}-alt">{_escape(drawing.alt)}</title>'
    return f'<svg role="img" {name}>{alt}{rest}'


def slug(words: str) -> str:
    """A survey's words as a part of a file name or an id."""
    return re.sub(r"[^A-Za-z0-9]+", "-", words).strip("-") or "x"


def _svg(figure: Figure) -> str:
    buffer = io.StringIO()
    with paper():
        FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None})
    text = buffer.getvalue().replace("'DejaVu Sans'", FONT)
    text = re.sub(r' transform="rotate\(-?0 [^)]*\)"', "", text)
    return re.sub(r"-?\d+\.\d{3,}", _rounded, text)


def _rounded(match: re.Match[str]) -> str:
    """Two decimals: a 36th of a point of 1/72 inch, invisible; halves the file."""
    short = f"{float(match[0]):.2f}".rstrip("0").rstrip(".")
    return "0" if short == "-0" else short


def _pdf(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    with paper():
        FigureCanvasPdf(figure).print_pdf(buffer, metadata={"CreationDate": None})
    return buffer.getvalue()


def _short_ids(text: str, prefix: str) -> str:
    """Drop ids that nothing refers to; number the others `<prefix>-<n>`."""
    used = set(re.findall(r'(?:url\(#|href="#)([^)"]+)', text))
    short: dict[str, str] = {}

    def rename(match: re.Match[str]) -> str:
        if match[1] not in used:
            return ""
        return f' id="{short.setdefault(match[1], f"{prefix}-{len(short)}")}"'

    text = re.sub(r'\s+id="([^"]+)"', rename, text)
    return re.sub(r'(url\(#|href="#)([^)"]+)', lambda m: m[1] + short.get(m[2], m[2]), text)


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
