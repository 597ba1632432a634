"""The overview of a survey: any survey, the same bytes, one sentence for what cannot be drawn."""

from pathlib import Path

import numpy as np
import pytest

from daep_ray.errors import ConfigError, DataError
from daep_ray.report.overview import overview_figure
from daep_ray.sample import UNKNOWN, Axis, Category, Modality, Sample, Sequence
from daep_ray.shards.write import write_shards
from daep_ray.surveys import Survey

SPECTRUM = Modality("spectrum", Axis("flux", ""), (Axis("wavelength", "Angstrom"),))
LIGHT = Modality(
    "photometry",
    Axis("flux", "mJy"),
    (Axis("time", "day", is_time=True),),
    categories=(Category("band", (UNKNOWN, "g", "r")),),
)


def sequence(rng: np.random.Generator, modality: Modality, length: int) -> Sequence:
    position = np.sort(rng.uniform(4000, 9000, length))
    codes = rng.integers(1, 3, length).astype(np.int16)
    return Sequence(
        value=rng.normal(size=length),
        positions={modality.positions[0].name: position},
        error=np.full(length, 0.1),
        categories={c.name: codes for c in modality.categories},
    )


def survey(path: Path, *, has_classes: bool = True, num: int = 12) -> Path:
    """A survey with both modalities, the spectrum missing in every third sample."""
    rng = np.random.default_rng(0)

    def samples() -> list[Sample]:
        return [
            Sample(
                sample_id=f"o{i}",
                object_id=f"o{i}",
                sequences={
                    m.name: sequence(rng, m, 5 + i)
                    for m in (SPECTRUM, LIGHT)
                    if m is LIGHT or i % 3
                },
                labels={"class": f"$\\frac{i % 2}<b>"} if has_classes else {},
            )
            for i in range(num)
        ]

    write_shards(
        Survey("made", (SPECTRUM, LIGHT), lambda: iter(samples()), {"format": "made"}), path
    )
    return path


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_the_same_survey_gives_the_same_bytes(tmp_path: Path, suffix: str) -> None:
    folder = survey(tmp_path / "data")
    first = overview_figure(folder, tmp_path / f"a{suffix}").read_bytes()
    second = overview_figure(folder, tmp_path / f"b{suffix}").read_bytes()
    assert first == second
    assert len(first) > 10_000


def test_it_shows_examples_lengths_and_coverage(tmp_path: Path) -> None:
    drawn = overview_figure(survey(tmp_path / "data"), tmp_path / "a.svg").read_text()
    for words in (
        "made: 12 objects, 12 samples",
        "spectrum: flux",
        "measurements per sample, 4 have none",
        "measurements by wavelength",
        "wavelength (Å)",
        "measurements by time",
    ):
        assert words in drawn, words


def test_a_survey_without_classes_can_be_drawn(tmp_path: Path) -> None:
    folder = survey(tmp_path / "data", has_classes=False, num=2)
    assert overview_figure(folder, tmp_path / "a.png").stat().st_size > 10_000


def test_an_unknown_format_is_refused_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"\.png, \.svg or \.pdf"):
        overview_figure(tmp_path, tmp_path / "a.doc")


def test_a_folder_without_a_survey_is_refused_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError):
        overview_figure(tmp_path, tmp_path / "a.png")
