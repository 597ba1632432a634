"""A report: the same bytes from the same tables, whole in one file, whatever the tables lack."""

import hashlib
import io
import json
import math
import os
import re
import shutil
import subprocess
import sys
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fontTools.ttLib import TTFont

from daep_ray.errors import DataError, StorageError
from daep_ray.report import build
from daep_ray.report.html import render
from daep_ray.report.numbers import whole
from daep_ray.report.page import compose
from daep_ray.report.source import DRAWN, read
from daep_ray.report.svg import files
from daep_ray.report.twins import markdown
from daep_ray.study import tables
from tests.report.fake_study import SHOWN, Fake, make

ALL_FAILED = tuple(f"{m}/{n}/0" for m in ("daep", "vae") for n in (2, 4, 8))
DESIGNS = {
    "whole": Fake(),
    "photometry": SHOWN,
    "one model": Fake(models=("daep",), seeds=(0,)),
    "one size": Fake(sizes=((4, 4),), seeds=(0, 1)),
    "several shapes": Fake(sizes=((2, 2), (4, 1), (4, 4)), seeds=(0,)),
    "three models": Fake(models=("daep", "vae", "maep"), seeds=(0,)),
    "no references": Fake(references=(), seeds=(0,), is_old=True),
    "no training mean": Fake(references=("pca",), seeds=(0,), is_old=True),
    "no probe": Fake(
        without_metrics=(
            "probe_accuracy",
            "probe_macro_f1",
            "probe_balanced_accuracy",
            "probe_majority_accuracy",
        ),
        is_old=True,
    ),
    "no error": Fake(without_metrics=("absolute_error",), seeds=(0,)),
    "evaluated long ago": Fake(seeds=(0,), is_old=True),
    "many models": Fake(
        models=("daep", "VAE, beta 0.1", "maep", "daep, cosine schedule", "mmvae", "contrastive"),
        sizes=((4, 4),),
        seeds=(0,),
        gain={"daep, cosine schedule": 1.1, "maep": 0.8},
    ),
    "many classes": Fake(seeds=(0,), classes=tuple(f"class {i}" for i in range(12))),
    "not trained": Fake(is_trained=False, seeds=(0,)),
    "all failed": Fake(seeds=(0,), failed=ALL_FAILED),
    "all failed, nothing else": Fake(seeds=(0,), failed=ALL_FAILED, references=()),
}
VOID = {"meta", "link", "br", "input", "img", "hr", "wbr"}


class Structure(HTMLParser):
    """Open tags, ids and addresses of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: Counter[str] = Counter()
        self.addresses: list[str] = []
        self.scripts = 0
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        self.scripts += tag == "script"
        for name, value in attrs:
            if name == "id" and value:
                self.ids[value] += 1
            if name in ("href", "src", "xlink:href") and value:
                self.addresses.append(value)
            assert not name.startswith("on"), f"an inline handler: {name}"

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("script", "style"):
            self.words.append(data)


def parse(text: str) -> Structure:
    structure = Structure()
    structure.feed(text)
    return structure


def digests(folder: Path) -> dict[str, str]:
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


@pytest.mark.parametrize("name", DESIGNS)
def test_every_study_gets_a_whole_page(name: str, text_of: Callable[[Fake], str]) -> None:
    text = text_of(DESIGNS[name])
    structure = parse(text)
    assert not structure.open
    assert [i for i, n in structure.ids.items() if n > 1] == []
    assert len(text.encode()) < 3_000_000
    inside = {a[1:] for a in structure.addresses if a.startswith("#")}
    assert inside <= structure.ids.keys()
    words = " ".join(structure.words)
    assert not re.search(r"\b(nan|None|inf|NaN|Undefined)\b", words)


@pytest.mark.slow
def test_addresses_lead_to_files_beside_the_page_and_nowhere_else(
    page_of: Callable[[Fake], Path],
) -> None:
    page = page_of(DESIGNS["photometry"])
    outside = [a for a in parse(page.read_text()).addresses if not a.startswith(("#", "data:,"))]
    assert outside
    for address in outside:
        assert (page.parent / address).is_file(), address


def test_a_rebuilt_report_is_byte_equal(page_of: Callable[[Fake], Path], tmp_path: Path) -> None:
    """Law 15: elsewhere, in a process where Python hashes differently, in another time zone; a
    laptop builds it without torch and Ray."""
    page = page_of(DESIGNS["photometry"])
    shutil.copytree(page.parent.parent, tmp_path / "copy", ignore=lambda *_: ["report"])
    code = "import sys; from pathlib import Path; from daep_ray.report import build; "
    code += "build(Path(sys.argv[1])); assert not {'torch', 'ray'} & set(sys.modules)"
    environment = {**os.environ, "PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo", "LC_ALL": "C"}
    command = [sys.executable, "-c", code, str(tmp_path / "copy")]
    subprocess.run(command, check=True, env=environment)
    before = digests(page.parent)
    assert digests(tmp_path / "copy" / "report") == before
    assert any(name.endswith(".pdf") for name in before)


def test_a_rebuilt_report_has_no_figure_of_an_earlier_one(tmp_path: Path) -> None:
    build(make(tmp_path, replace(DESIGNS["all failed"], modality="photometry")))
    page = build(make(tmp_path, DESIGNS["all failed"]))
    assert not list(page.parent.glob("figures/*photometry*"))
    assert list(page.parent.glob("figures/*spectrum*"))


@pytest.mark.slow
def test_words_of_a_survey_cannot_become_markup(tmp_path: Path) -> None:
    evil = "</svg><script>alert(1)</script><img src=x onerror=alert(2)>../'\"&"
    page = compose(read(make(tmp_path, Fake(modality=evil, seeds=(0,), name=evil))))
    text = render(page)
    assert "<script>alert" not in text
    assert "<img" not in text
    structure = parse(text)  # refuses handlers
    assert structure.scripts == 1
    assert not structure.open
    names = [shown.name for shown in (*page.drawings, *page.grids)]  # of the files beside it
    assert [name for name in names if not re.fullmatch(r"[\w-]+", name)] == []
    assert "<script>" not in markdown(page).replace("\\<", "")


@pytest.mark.slow
def test_words_of_a_survey_are_no_formulae(tmp_path: Path) -> None:
    """matplotlib reads what stands between two dollars, and stops where it is none."""
    names = ("$y_$", "daep", "$\\frac")
    fake = Fake(seeds=(0,), sizes=((4, 4),), modality="$m_$", models=("daep",), classes=names)
    page = compose(read(make(tmp_path, fake)))
    assert "$y_$" in render(page)
    drawn = next(d for d in page.drawings if "$y_$" in d.svg)
    assert files(drawn)[f"{drawn.name}.pdf"].startswith(b"%PDF")


def with_axis(out: Path, path: str, values: list[object]) -> Path:
    """A study whose code sizes have become values of another axis, all with 16 floats."""
    make(out, Fake(sizes=((2, 2), (4, 4), (8, 8)), gain={"vae": 1.2}, is_old=True))
    cells = tables.read(out, "cells").to_pylist()
    for row in cells:
        if row["seed"] is not None:
            settings = {path: values[(4, 16, 64).index(row["num_floats"])]}
            row |= {"num_floats": 16, "settings": json.dumps(settings)}
    kept = [row for row in cells if row["model"] != "pca" or row["num_floats"] == 16]
    tables.write(out / "tables", {"cells": tables.from_rows("cells", kept)})
    spec = json.loads((out / "spec.json").read_text())
    spec["axes"] = [{"path": path, "values": values}]
    (out / "spec.json").write_text(json.dumps(spec))
    return out


@pytest.mark.parametrize(
    ("path", "values", "place"),
    [
        ("evaluation.sampler.num_steps", [5, 10, 20], "at num steps 5 and by"),
        ("objective.prediction", ["epsilon", "v", "x0"], "at prediction epsilon and by"),
        ("model.tokenizer.position_scale", [[1, 1], [1, 30], [30, 30]], "position scale [1, 1]"),
    ],
)
def test_a_study_of_another_axis_has_it_as_its_x(
    path: str, values: list[object], place: str, tmp_path: Path
) -> None:
    text = render(compose(read(with_axis(tmp_path, path, values))))
    words = " ".join(parse(text).words)
    assert place in words
    assert path.rpartition(".")[2].replace("_", " ") in words
    assert "Against PCA with as many floats: daep" in words


def test_a_failed_training_keeps_its_row_and_its_reason(page_of: Callable[[Fake], Path]) -> None:
    page = page_of(DESIGNS["photometry"]).read_text()
    assert "the loss became non-finite at step 412 (samples sn1999aa:3, sn2004dk:1)" in page
    assert "7 of 8 trainings" not in page
    assert "11 of 12 trainings, 1 failed" in page


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("no probe", "missing: probe accuracy: too few objects of two classes"),
        ("no error", "missing: error: no cell of the tables has an error"),
        ("all failed", "missing: examples: no training has finished"),
        ("no training mean", "missing: no training mean"),
    ],
)
def test_what_is_missing_says_why(name: str, words: str, text_of: Callable[[Fake], str]) -> None:
    assert words in text_of(DESIGNS[name])


def test_every_figure_has_a_sentence_for_those_who_cannot_see_it(
    text_of: Callable[[Fake], str],
) -> None:
    text = text_of(DESIGNS["whole"])
    titles = re.findall(
        r'<svg role="img" aria-labelledby="([\w-]+)" [^>]*><title id="([\w-]+)">([^<]+)<', text
    )
    assert len(titles) == text.count("<svg ") == 21
    for label, own, sentence in titles:
        assert label == own
        assert sentence.endswith(".")
        assert len(sentence) > 40


def test_figures_in_the_page_follow_light_and_dark(page_of: Callable[[Fake], Path]) -> None:
    """No colour is left in the page's figures that a variable does not give."""
    text = page_of(DESIGNS["photometry"]).read_text()
    figures = re.findall(r"<svg .*?</svg>|^\.s\d+ .*?$", text, flags=re.DOTALL | re.MULTILINE)
    assert not [c for f in figures for c in re.findall(r"(?:fill|stroke): ?(#[0-9a-f]{6})", f)]
    variables = set(re.findall(r"var\(--([\w-]+)\)", "".join(figures)))
    assert {"daep", "vae", "ink", "grid"} <= variables
    assert variables <= set(re.findall(r"--([\w-]+):", text))


def test_figures_in_the_page_cost_little(page_of: Callable[[Fake], Path]) -> None:
    """No style, no region and no space is said in full for every mark."""
    text = page_of(DESIGNS["photometry"]).read_text()
    figures = "".join(re.findall(r"<svg .*?</svg>", text, flags=re.DOTALL))
    num_elements = len(re.findall(r"<\w+", figures))
    assert num_elements > 1500
    assert "\n" not in re.sub(r"<t(ext|itle).*?</t\1>", "", figures, flags=re.DOTALL)
    assert figures.count(' style="') < 0.01 * num_elements
    assert len(figures) < 80 * num_elements


def test_files_for_a_paper_keep_their_colours_and_have_no_date(
    page_of: Callable[[Fake], Path],
) -> None:
    folder = page_of(DESIGNS["photometry"]).parent / "figures"
    svg = (folder / "error-photometry.svg").read_text()
    assert "#d55e00" in svg
    assert "var(--" not in svg
    assert "dc:date" not in svg
    pdf = (folder / "error-photometry.pdf").read_bytes()
    assert b"CreationDate" not in pdf
    streams = re.findall(rb"/FlateDecode.*?stream\r?\n(.*?)\r?\nendstream", pdf, re.DOTALL)
    fonts = [f for f in map(zlib.decompress, streams) if f.startswith(b"\x00\x01\x00\x00")]
    assert fonts  # letters stay letters; how words are laid out is no reader's business
    for font in fonts:
        known = set(TTFont(io.BytesIO(font)).keys())
        assert {"glyf", "cmap"} <= known
        assert not {"GSUB", "GPOS", "GDEF"} & known


def test_a_folder_without_tables_is_refused_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^no study at .*--out\)$"):
        build(tmp_path)


def test_a_cut_table_is_refused_in_a_sentence(tmp_path: Path) -> None:
    out = make(tmp_path, Fake(seeds=(0,)))
    path = out / "tables" / "metrics.parquet"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DataError, match=r"metrics\.parquet"):
        build(out)


@pytest.mark.parametrize("name", ["cells", "metrics", "codes"])
def test_a_table_of_something_else_is_refused_in_a_sentence(name: str, tmp_path: Path) -> None:
    out = make(tmp_path, Fake(seeds=(0,)))
    pq.write_table(pa.table({"a": [1]}), out / "tables" / f"{name}.parquet")
    with pytest.raises(
        DataError, match=rf"{name}\.parquet is no table of a study's {name} \(it has"
    ):
        build(out)


@pytest.mark.parametrize("content", ['{"name": ', "[]", "null"])
@pytest.mark.parametrize("name", ["spec.json", "run.json"])
def test_a_broken_design_is_refused_in_a_sentence(name: str, content: str, tmp_path: Path) -> None:
    out = make(tmp_path, Fake(seeds=(0,)))
    (out / name).write_text(content)
    with pytest.raises(DataError, match=re.escape(name)) as caught:
        build(out)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_an_infinite_error_is_missing(tmp_path: Path) -> None:
    """It is no error that can be drawn, or ranked."""
    out = make(tmp_path, Fake(seeds=(0,), is_old=True))
    rows = tables.read(out, "metrics").to_pylist()
    first = rows[0]["cell"]
    changed = [
        r | ({"value": math.inf, "sd": math.inf} if r["cell"] == first else {}) for r in rows
    ]
    tables.write(out / "tables", {"metrics": tables.from_rows("metrics", changed)})
    page = compose(read(out))
    assert "missing: not measured, or not finite" in render(page)
    assert "16 and 64 floats" in page.answer.sentence  # 4 is not there to compare


def test_a_model_that_diverged_everywhere_leaves_a_page(tmp_path: Path) -> None:
    """The first cell's rows hold no finite number: they are left out, and that is said."""
    out = make(tmp_path, Fake(seeds=(0,), sizes=((4, 4),)))
    first = tables.read(out, "cells")["cell"][0].as_py()
    numbers = (math.nan, math.inf, -math.inf)
    num_lost = {}
    for name, columns in DRAWN.items():
        rows = tables.read(out, name).to_pylist()
        own = [row for row in rows if row["cell"] == first]
        for i, row in enumerate(own):
            row |= dict.fromkeys(columns, numbers[i % 3])
        num_lost[name] = len(own)
        tables.write(out / "tables", {name: tables.from_rows(name, rows)})
    text = render(compose(read(out)))
    said = re.search(r"numbers are not finite: (.*?)\.", text)
    assert said
    for name, number in num_lost.items():
        assert number > 2
        assert f"{whole(number)} rows of {name}" in said[1]
    assert not re.search(r">[^<]*\b(nan|inf)\b[^<]*<", text)


def test_a_report_needs_no_spec_and_no_run(tmp_path: Path) -> None:
    out = make(tmp_path, Fake(seeds=(0,)))
    (out / "spec.json").unlink()
    (out / "run.json").unlink()
    text = render(compose(read(out)))
    assert "missing: not in spec.json" in text
    assert "missing: not in run.json" in text


def test_a_place_that_cannot_be_written_is_refused_in_a_sentence(tmp_path: Path) -> None:
    out = make(tmp_path, Fake(seeds=(0,)))
    (out / "report").write_text("a file where a folder must be")
    with pytest.raises(StorageError):
        build(out)
