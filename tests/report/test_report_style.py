"""Every registered objective has a look of its own, on paper and on the page, by day and night."""

import re
from pathlib import Path

import matplotlib
import matplotlib.colors
import numpy as np
import pytest

import daep_ray.report
from daep_ray.objectives import OBJECTIVES
from daep_ray.report.style import COLOURS, INKS, LOOKS, look, paper

PAGE = Path(daep_ray.report.__file__).parent / "templates" / "page.css"


@pytest.mark.parametrize("kind", OBJECTIVES)
def test_every_objective_has_a_look_of_its_own(kind: str) -> None:
    own = look(kind)
    assert own.colour == COLOURS[kind]
    assert own.colour != look("an unknown model").colour
    for other in LOOKS.values():
        if other != own:
            assert other.title != own.title
            assert other.colour != own.colour
            assert (other.marker, other.trace) != (own.marker, own.trace)
    assert look(f"{kind} two-stage").colour == own.colour
    assert look(f"{kind}two").colour == COLOURS["other"]


@pytest.mark.parametrize("kind", OBJECTIVES)
def test_the_page_knows_its_colour_by_day_and_by_night(kind: str) -> None:
    by_day, by_night = _in_css(kind)
    assert INKS[by_day] == kind
    assert by_night != by_day
    # WCAG 2.1 asks 3 : 1 of graphical objects against their background
    assert (_luminance(by_night) + 0.05) / (_luminance(_in_css("paper")[1]) + 0.05) >= 3


def _in_css(name: str) -> list[str]:
    return re.findall(rf"--{name}: (#[0-9a-f]{{6}});", PAGE.read_text())


def _luminance(colour: str) -> float:
    """Relative luminance, WCAG 2.1."""
    channel = np.array(matplotlib.colors.to_rgb(colour))
    linear = np.where(channel <= 0.04045, channel / 12.92, ((channel + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def test_paper_within_paper_sets_nothing_and_all_is_put_back() -> None:
    before = dict(matplotlib.rcParams)
    with paper():
        assert matplotlib.rcParams["axes.labelsize"] == 8
        matplotlib.rcParams["axes.labelsize"] = 5
        with paper():
            assert matplotlib.rcParams["axes.labelsize"] == 5
        assert matplotlib.rcParams["axes.labelsize"] == 5
    assert dict(matplotlib.rcParams) == before
    with paper():
        assert matplotlib.rcParams["axes.labelsize"] == 8
