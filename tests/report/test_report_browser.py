"""The page in a real browser: it sorts, filters, copies; no error, no request, no overflow."""

import io
import re
import shutil
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import pytest
from matplotlib.backends.backend_svg import FigureCanvasSVG
from PIL import Image

from daep_ray.report.compact import compact, whole
from daep_ray.report.page import compose
from daep_ray.report.source import read
from daep_ray.report.style import paper
from tests.report.fake_study import SHOWN, Fake, make

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = pytest.mark.slow  # a browser needs seconds to start
Scheme = Literal["light", "dark"]
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
MANY = Fake(
    models=("daep", "vae", "daep, errors read and weighted", "maep 75 %, nothing shown", "mmvae"),
    sizes=((4, 4),),
    seeds=(0,),
    classes=("Ia", "a class with a very long name", "II"),
)


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    path = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if path is None:
        pytest.skip(f"no browser on this machine (looked for {', '.join(BROWSERS)})")
    with sync_api.sync_playwright() as playwright:
        # no sandbox: tests may run as root in a container; the page is our own
        browser = playwright.chromium.launch(
            executable_path=path, args=["--no-sandbox"], timeout=120_000
        )
        yield browser
        browser.close()


@pytest.fixture
def tab(browser: "Browser", page_of: Callable[[Fake], Path]) -> Iterator["Page"]:
    """The page, opened; complaints and requests are collected and must be none."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    tab = context.new_page()
    complaints: list[str] = []
    requests: list[str] = []
    tab.on(
        "console", lambda m: complaints.append(m.text) if m.type in ("error", "warning") else None
    )
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    tab.on("request", lambda request: requests.append(request.url))
    address = page_of(SHOWN).as_uri()
    tab.goto(address)
    yield tab
    assert complaints == []
    assert [r for r in requests if r != address and not r.startswith("data:")] == []
    context.close()


def column(tab: "Page", name: str) -> list[str]:
    """The visible words of a column of the table of trainings."""
    heads = tab.locator("#trainings-table thead th").all_inner_texts()
    place = next(i for i, head in enumerate(heads) if head.strip().startswith(name))
    rows = tab.locator("#trainings-table tbody tr:visible").all()
    return [row.locator("td").nth(place).inner_text().strip() for row in rows]


def test_a_click_sorts_by_value_and_a_second_one_turns_it(tab: "Page") -> None:
    button = tab.locator("#trainings-table .sort", has_text="error")
    button.click()
    errors = column(tab, "error")
    assert errors[-1] == "missing: failed"  # what is missing is last, whichever way
    numbers = [float(e) for e in errors[:-1]]
    assert numbers == sorted(numbers)
    button.press("Enter")
    errors = column(tab, "error")
    assert errors[-1] == "missing: failed"
    assert [float(e) for e in errors[:-1]] == sorted(numbers, reverse=True)
    assert tab.locator('th[aria-sort="descending"]').count() == 1


def test_words_and_states_filter(tab: "Page") -> None:
    assert tab.locator("#count").inner_text() == "12 of 12 shown"
    tab.fill("#filter", "VAE")
    assert set(column(tab, "model")) == {"VAE"}
    assert tab.locator("#count").inner_text() == "6 of 12 shown"
    tab.fill("#filter", "")
    tab.select_option("#state", "failed")
    assert column(tab, "reason") == [
        "the loss became non-finite at step 412 (samples sn1999aa:3, sn2004dk:1)"
    ]


def test_a_click_copies_the_command(tab: "Page") -> None:
    tab.context.grant_permissions(["clipboard-read", "clipboard-write"])
    button = tab.locator("#trainings-table .copy").first
    tab.evaluate("window.setTimeout = (work) => { window.later = work }")  # it says so for 1.5 s
    button.click()
    sync_api.expect(button).to_have_text("copied")
    copied = tab.evaluate("navigator.clipboard.readText()")
    assert copied.startswith("daep-ray train DATA --out RUN --set model.bottleneck.length=2")
    tab.evaluate("window.later()")
    sync_api.expect(button).to_have_text("copy")


@pytest.mark.parametrize("width", [390, 1440])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_wider_than_the_window(tab: "Page", width: int, scheme: Scheme) -> None:
    tab.emulate_media(color_scheme=scheme)
    tab.set_viewport_size({"width": width, "height": 844})
    assert tab.evaluate("document.documentElement.scrollWidth") == width
    small = tab.evaluate(
        """() => [...document.querySelectorAll('figure svg')]
              .map((svg) => svg.getBoundingClientRect().width)"""
    )
    assert min(small) >= min(320, width - 40)


CONTRAST = """() => {
  const channels = (colour) => colour.match(/[\\d.]+/g).slice(0, 3).map(Number);
  const luminance = (colour) => channels(colour)
    .map((c) => c / 255)
    .map((c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const page = luminance(getComputedStyle(document.body).backgroundColor);
  const ratio = (ink) => (Math.max(ink, page) + 0.05) / (Math.min(ink, page) + 0.05);
  return [...document.querySelectorAll('h1, p, li, td, dd, dt, figcaption, a')]
    .map((e) => [ratio(luminance(getComputedStyle(e).color)), e.textContent.slice(0, 40)])
    .filter(([r]) => r < 4.5);
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_stand_out_from_the_page(tab: "Page", scheme: Scheme) -> None:
    """WCAG AA: at least 4.5 to 1."""
    tab.emulate_media(color_scheme=scheme)
    assert tab.evaluate(CONTRAST) == []


def test_the_keyboard_reaches_everything(tab: "Page") -> None:
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.className") == "skip"
    unreachable = tab.evaluate(
        """() => [...document.querySelectorAll('button, a, input, select, summary, .scroll')]
              .filter((e) => e.tabIndex < 0).length"""
    )
    assert unreachable == 0


def test_on_paper_it_is_light_and_without_controls(tab: "Page") -> None:
    tab.emulate_media(media="print", color_scheme="dark")
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not tab.locator(".controls").is_visible()


def test_on_paper_no_table_is_wider_than_the_page(tab: "Page") -> None:
    tab.emulate_media(media="print")
    tab.set_viewport_size({"width": 794, "height": 1123})  # A4 at 96 dots per inch
    assert tab.evaluate("document.documentElement.scrollWidth") == 794
    widths = tab.evaluate("[...document.querySelectorAll('table')].map((t) => t.offsetWidth)")
    assert len(widths) > 8
    assert max(widths) <= 794


WORDS = """() => [...document.querySelectorAll('figure svg')].flatMap((svg) => {
  const place = svg.getBoundingClientRect();
  return [...svg.querySelectorAll('text')]
    .map((text) => [text.textContent.trim(), text.getBoundingClientRect()])
    .filter(([words, box]) => words && (box.left < place.left - 2 || box.right > place.right + 2
      || box.top < place.top - 2 || box.bottom > place.bottom + 2))
    .map(([words]) => words);
})"""


@pytest.mark.parametrize("fake", [SHOWN, MANY], ids=["sweep", "many models"])
def test_no_word_of_a_figure_leaves_it(
    browser: "Browser", text_of: Callable[[Fake], str], fake: Fake, tmp_path: Path
) -> None:
    (tmp_path / "page.html").write_text(text_of(fake))
    tab = browser.new_page(viewport={"width": 1440, "height": 900})
    tab.goto((tmp_path / "page.html").as_uri())
    assert tab.evaluate(WORDS) == []
    tab.close()


def test_every_link_of_the_head_leads_to_its_section(tab: "Page") -> None:
    for link in tab.locator("nav a").all():
        address = link.get_attribute("href") or ""
        assert tab.locator(address).locator("h2").first.inner_text() == _title(link.inner_text())


def _title(words: str) -> str:
    return {"Limits": "What this cannot show"}.get(words, words)


def test_a_compact_figure_is_the_same_picture(browser: "Browser", tmp_path: Path) -> None:
    """At three dots per pixel, beside matplotlib's own file; all figures below each other."""
    tab = browser.new_page(viewport={"width": 360, "height": 700}, device_scale_factor=3)

    def pictures(svgs: list[str]) -> list[np.ndarray]:
        shown = "".join(svg[svg.index("<svg") :] for svg in svgs)
        tab.set_content(f"<style>body {{ margin: 0 }} svg {{ display: block }}</style>{shown}")
        heights = (
            "[...document.querySelectorAll('svg')].map((s) => s.getBoundingClientRect().bottom)"
        )
        ends = [round(3 * end) for end in tab.evaluate(heights)]
        shot = Image.open(io.BytesIO(tab.screenshot(full_page=True)))
        seen = np.asarray(shot.convert("RGB"))
        return [seen[a:b].astype(np.int16) for a, b in pairwise([0, *ends])]

    found = compose(read(make(tmp_path, Fake(modality="photometry", seeds=(0,))))).drawings
    drawings = list({re.sub(r"\d+$", "", d.name): d for d in found}.values())  # one of each kind
    assert len(drawings) > 12
    files = []
    for drawing in drawings:
        raw = io.StringIO()
        with paper():
            FigureCanvasSVG(drawing.figure).print_svg(raw)
        files.append(raw.getvalue())
    own = pictures([_with_own_ids(svg, f"f{i}") for i, svg in enumerate(files)])
    made = [_with_own_ids(whole(compact(svg)), f"f{i}") for i, svg in enumerate(files)]
    for drawing, before, after in zip(drawings, own, pictures(made), strict=True):
        is_ink, is_other = (
            (pixels[..., 0] > level) | (pixels[..., 1] > level) | (pixels[..., 2] > level)
            for pixels, level in ((255 - before, 25), (np.abs(after - before), 127))
        )
        assert is_ink.sum() > 5_000, drawing.name
        assert is_other.sum() < 0.02 * is_ink.sum(), drawing.name
    tab.close()


def _with_own_ids(svg: str, prefix: str) -> str:
    """Ids that no other figure of the document has."""
    return re.sub(r'( id="|href="#|url\(#)', rf"\g<1>{prefix}", svg)
