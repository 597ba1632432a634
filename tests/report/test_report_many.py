"""A study of many models: who is best, who is better than the control, which of them are shown."""

import re
from pathlib import Path

import pytest

from daep_ray.report import source
from daep_ray.report.chosen import MOST, choose
from daep_ray.report.evidence import Evidence, gather
from daep_ray.report.figures_dots import error_dots, has_no_axis, probe_dots
from daep_ray.report.style import VARIANT_TRACES, apart, look
from daep_ray.report.text import answer
from tests.report.fake_study import Fake, make

MODELS = ("daep", "vae", "maep", "daep, cosine schedule", "mmvae")


def read(out: Path, **gains: float) -> tuple[source.Study, Evidence]:
    gain = {"daep, cosine schedule": 0.9} | gains
    made = make(out, Fake(models=MODELS, sizes=((4, 4),), seeds=(0,), gain=gain, num_test=60))
    study = source.read(made)
    return study, gather(study, "spectrum")


def test_the_best_of_many_is_named_beside_the_control(tmp_path: Path) -> None:
    found = answer(*read(tmp_path, maep=0.6))
    assert found.kind == "winner"
    assert found.sentence.startswith("maep has the lowest error of 5 models at 16 floats: it is ")
    assert found.sentence.endswith("below that of daep, the control.")
    better = next(s for s in found.more if s.startswith("Better than daep: "))
    worse = next(s for s in found.more if s.startswith("Worse than daep: "))
    assert "maep (\u2212" in better
    assert "VAE (+" in worse
    assert "Against PCA with as many floats: all 5 models are better at 16 floats." in found.more


def test_every_model_is_in_one_group(tmp_path: Path) -> None:
    study, evidence = read(tmp_path, maep=0.6)
    groups = " ".join(answer(study, evidence).more)
    for line in evidence.trained:
        if line.model != "daep":
            assert len(re.findall(rf"[:;] {line.name} \(", groups)) == 1


def test_a_control_that_nobody_beats_is_the_best(tmp_path: Path) -> None:
    found = answer(*read(tmp_path, daep=0.5))
    assert found.kind == "winner"
    assert found.sentence.startswith("daep, the control, has the lowest error of 5 models")
    assert not any(s.startswith("Better than") for s in found.more)


def test_nothing_is_ranked_against_a_control_that_has_not_learnt(tmp_path: Path) -> None:
    found = answer(*read(tmp_path, daep=3.0))
    assert found.kind == "untrained"
    assert found.sentence.startswith("Not trained enough to compare: daep, the control, does not")
    assert not any("than daep:" in s for s in found.more)


def test_the_control_and_the_best_are_shown(tmp_path: Path) -> None:
    _, evidence = read(tmp_path, maep=0.6, mmvae=0.7, daep=1.5)
    chosen = choose(evidence)
    assert chosen is not None
    assert {c.model for c in chosen.trained} == {"daep", "maep", "mmvae"}
    assert len(chosen.trained) == MOST
    assert chosen.note == "Of 5 models the control and the best 2 others. "


@pytest.mark.parametrize("model", ["VAE", "VAE, beta 0.1", "vae", "mmVAE", "maep 75 %", "DAEP"])
def test_a_model_s_name_may_be_written_as_people_write_it(model: str) -> None:
    kind = "".join(c for c in model.split(",")[0].split()[0].lower() if c.isalpha())
    assert look(model).colour == look(kind).colour
    assert look(f"{kind}ish").colour != look(kind).colour


def test_models_of_one_colour_have_lines_of_their_own() -> None:
    looks = apart(["daep", "daep, slow", "vae", "daep, fast"])
    assert len({str(own.trace) for own in looks if own.colour == looks[0].colour}) == 3
    assert len(VARIANT_TRACES) > MOST


def test_a_dot_per_model_in_the_order_of_the_error(tmp_path: Path) -> None:
    _, evidence = read(tmp_path, maep=0.6)
    assert has_no_axis(evidence)
    drawing = error_dots("error", evidence)
    names = [t.get_text() for t in drawing.figure.axes[0].get_yticklabels()]
    assert names[0] == "maep"
    assert names[-1] == "PCA"
    errors = {line.name: line.points[0].mean for line in evidence.trained}
    assert [n.replace("\n", " ") for n in names[:-1]] == sorted(errors, key=lambda n: errors[n])
    probes = probe_dots("probe", evidence).figure.axes[0].get_yticklabels()
    assert [t.get_text() for t in probes] == names


def test_the_bar_of_one_seed_is_the_interval_over_objects(tmp_path: Path) -> None:
    study, evidence = read(tmp_path)
    (cell,) = evidence.errors[0].points[0].cells
    rows = study.rows("metrics", cell=cell.cell, metric="absolute_error", estimate="mean_of_draws")
    (row,) = rows.to_pylist()
    assert evidence.spreads[cell.cell] == pytest.approx(row["sd"] / row["count"] ** 0.5)
    assert "95 % interval over test objects" in error_dots("error", evidence).caption


def test_a_sweep_has_an_axis(tmp_path: Path) -> None:
    made = make(tmp_path, Fake(seeds=(0,)))
    assert not has_no_axis(gather(source.read(made), "spectrum"))
