"""A page in, one self-contained HTML file out: inline style, script and figures, no request.

Every word from a survey or a user goes through jinja2's escaping; only our own SVG is marked safe.
"""

from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import Any

import jinja2
from markupsafe import Markup

from daep_ray.report.page import Page
from daep_ray.report.svg import on_page


def render(page: Page, is_alone: bool = False) -> str:
    """The page's text; `is_alone`: nothing lies beside it, so it links to nothing."""
    figures, rules = on_page(page.drawings)
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            page=page,
            has_files=not is_alone,
            figures={name: Markup(figure) for name, figure in figures.items()},
            figure_rules=Markup(rules),
        )
    )


def render_index(entries: Sequence[Any]) -> str:
    """The page over several studies; `entries` are those of `index.py`."""
    return _environment().get_template("index.html.j2").render(entries=entries)


def template(name: str) -> str:
    """A file of `templates/` as text."""
    return (resources.files("daep_ray.report") / "templates" / name).read_text()


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(template),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["include_raw"] = lambda name: Markup(template(name))
    environment.filters["breakable"] = _breakable
    return environment


def _breakable(path: str) -> Markup:
    """A dotted path that may be broken after its dots."""
    return Markup(".<wbr>").join(path.split("."))
