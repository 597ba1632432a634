"""Fixtures: pages of studies that nobody trained.

Drawing takes most of a second, so a design is drawn once per session; where the files beside the
page do not matter, they are left out.
"""

import gc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from daep_ray.report import build
from daep_ray.report.html import render
from daep_ray.report.page import compose
from daep_ray.report.source import read
from tests.report.fake_study import Fake, make


@pytest.fixture(scope="package", autouse=True)
def seldom_collected() -> Iterator[None]:
    """The collector looks at what the imports left once more for every few figures: a third of the
    time that pages take."""
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)
    yield
    gc.set_threshold(*before)
    gc.unfreeze()


@pytest.fixture(scope="session")
def page_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Fake], Path]:
    """The page of a fake study, built once per session and design."""
    built: dict[str, Path] = {}

    def build_once(fake: Fake) -> Path:
        key = repr(fake)
        if key not in built:
            built[key] = build(make(tmp_path_factory.mktemp("study"), fake))
        return built[key]

    return build_once


@pytest.fixture(scope="session")
def text_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Fake], str]:
    """The page's text alone."""
    rendered: dict[str, str] = {}

    def render_once(fake: Fake) -> str:
        key = repr(fake)
        if key not in rendered:
            rendered[key] = render(compose(read(make(tmp_path_factory.mktemp("study"), fake))))
        return rendered[key]

    return render_once
