"""A page without files beside it links to nothing, and says what the page with them says."""

import re
from pathlib import Path

from daep_ray.report import build
from tests.report.fake_study import Fake, make

WORDS = re.compile(r">([^<>]+)<")


def test_a_page_alone_has_no_address_and_the_same_words(tmp_path: Path) -> None:
    out = make(tmp_path, Fake(seeds=(0,)))
    whole = build(out).read_text()
    assert (out / "report" / "report.md").is_file()
    alone = build(out, is_alone=True).read_text()
    assert [p.name for p in (out / "report").rglob("*") if p.is_file()] == ["index.html"]
    assert set(re.findall(r'href="([^#"]*)"', alone)) <= {"data:,"}
    lost = set(WORDS.findall(whole)) - set(WORDS.findall(alone))
    named = {word.strip() for word in lost if word.strip(" ,.")}
    assert {w for w in named if not w.endswith(".csv")} <= {"SVG", "PDF", "CSV", "Markdown"} | {
        w for w in named if "Twins with the same numbers" in w
    }
