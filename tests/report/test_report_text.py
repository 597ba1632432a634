"""The answer follows from the tables: who wins, ties, is not trained, cannot be ranked."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from daep_ray.report import source, text
from daep_ray.report.evidence import Evidence, gather
from daep_ray.report.numbers import NARROW
from tests.report.fake_study import Fake, make


def read(out: Path, fake: Fake) -> tuple[source.Study, Evidence]:
    study = source.read(make(out, fake))
    return study, gather(study, fake.modality)


def answer(out: Path, fake: Fake) -> text.Answer:
    return text.answer(*read(out, fake))


def test_a_winner_is_named_with_interval_and_cost(tmp_path: Path) -> None:
    found = answer(tmp_path, Fake())
    assert found.kind == "winner"
    assert found.sentence.startswith("daep reconstructs better than VAE at all 3 code sizes")
    assert f"95{NARROW}% interval" in found.sentence
    assert "training daep takes 1.3" in found.sentence
    assert found.more == (
        "Against PCA with as many floats: daep and VAE are better at 4, 16 and 64 floats.",
    )


def test_the_control_may_lose(tmp_path: Path) -> None:
    found = answer(tmp_path, Fake(gain={"daep": 1.5}))
    assert found.sentence.startswith("VAE reconstructs better than daep")


def test_the_gain_is_a_share_of_the_losers_error(tmp_path: Path) -> None:
    """The same two models, whichever is the control."""
    first = answer(tmp_path / "a", Fake(sizes=((4, 4),)))
    second = answer(tmp_path / "b", Fake(sizes=((4, 4),), models=("vae", "daep")))
    assert first.sentence == second.sentence


def test_different_winners_at_different_sizes_are_both_named(tmp_path: Path) -> None:
    found = answer(tmp_path, Fake(gain={"daep/2": 1.5}))
    assert found.kind == "mixed"
    before, after = found.sentence.split("; ", 1)
    assert before.startswith("It depends on the code size: daep's error is up to")
    assert before.endswith("lower than VAE's at 16 and 64 floats")
    assert after.startswith("daep's error is ")
    assert "higher than VAE's at 4 floats; training daep takes" in after


def test_one_test_object_ranks_nobody(tmp_path: Path) -> None:
    study, evidence = read(tmp_path, Fake(num_test=1))
    assert evidence.comparisons == ()
    assert text.answer(study, evidence).kind == "none"


def test_equal_models_tie(tmp_path: Path) -> None:
    # the same seed of the same model under another name has the same errors but for luck
    found = answer(tmp_path, Fake(gain={"vae": 0.872 * 16**-0.02}, sizes=((4, 4),)))
    assert found.kind == "tie"
    assert found.sentence.startswith("No difference seen between daep and VAE at 16 floats: it is")


def test_an_interval_without_0_that_is_one_of_many_says_why(tmp_path: Path) -> None:
    """Alone the difference would be seen, among all comparisons it is not."""
    study, evidence = read(tmp_path, Fake(sizes=((4, 4),)))
    c = evidence.comparisons[0]
    assert not c.difference.low <= 0 <= c.difference.high
    tied = replace(evidence, comparisons=(replace(c, p=0.19), *evidence.comparisons[1:]))
    assert text.answer(study, tied).sentence.count("; corrected p 0.19)") == 1
    assert "corrected p 0.19): not told apart." in " ".join(text.findings(tied, []))


def test_a_winner_that_pca_beats_is_no_good_news(tmp_path: Path) -> None:
    found = answer(tmp_path, Fake(gain={"daep": 1.5, "vae": 1.5}))
    assert found.kind == "mixed"
    assert "worse at" in " ".join(found.more)


def test_nothing_is_ranked_that_does_not_pass_the_gate(tmp_path: Path) -> None:
    study, evidence = read(tmp_path, Fake(is_trained=False))
    found = text.answer(study, evidence)
    assert found.kind == "untrained"
    assert found.sentence.startswith(
        f"Not trained enough: no model beats the training mean by 20{NARROW}%"
    )
    assert {c.verdict for c in evidence.comparisons} == {"unranked"}
    assert "better" not in found.sentence


def test_a_model_that_fails_the_gate_at_one_size_is_left_out_there(tmp_path: Path) -> None:
    study, evidence = read(tmp_path, Fake(gain={"vae": 1.4}))
    found = text.answer(study, evidence)
    assert any(
        s.startswith("Not trained enough, and not ranked: VAE at 4 floats") for s in found.more
    )
    assert "at 16 and 64 floats: its error" in found.sentence
    vae = [c for c in evidence.comparisons if "vae" in (c.first.model, c.second.model) and c.x == 4]
    assert vae
    assert {c.verdict for c in vae} == {"unranked"}


def test_two_models_that_never_pass_together_are_not_compared(tmp_path: Path) -> None:
    found = answer(tmp_path, Fake(gain={"vae": 5.0}))
    assert found.kind == "untrained"
    assert found.sentence == (
        "Not trained enough to compare daep with VAE: VAE does not beat the training mean by "
        f"20{NARROW}% at any code size."
    )


def test_without_a_training_mean_nothing_is_ranked(tmp_path: Path) -> None:
    study, evidence = read(tmp_path, Fake(references=()))
    assert text.answer(study, evidence).sentence.startswith("Not ranked")
    assert {c.verdict for c in evidence.comparisons} == {"unranked"}


def test_one_model_is_held_against_pca(tmp_path: Path) -> None:
    found = answer(tmp_path, Fake(models=("daep",)))
    assert found.sentence.startswith("daep reconstructs better than PCA at all 3 code sizes")


def test_one_model_alone_is_compared_with_nothing(tmp_path: Path) -> None:
    found = answer(tmp_path, Fake(models=("daep",), references=("mean",)))
    assert found.sentence.endswith("the study has nothing to compare it with.")


def test_when_all_fail_there_is_no_answer(tmp_path: Path) -> None:
    failed = tuple(f"{m}/{n}/0" for m in ("daep", "vae") for n in (2, 4, 8))
    found = answer(tmp_path, Fake(seeds=(0,), failed=failed))
    assert found.sentence == (
        "No answer yet: no training has finished (6 failed, 0 missing; reasons below)."
    )


def test_one_seed_says_what_its_interval_covers(tmp_path: Path) -> None:
    _, evidence = read(tmp_path, Fake(seeds=(0,)))
    assert text.seeds_note(evidence).startswith("One seed per configuration")
    assert all(np.isfinite([c.difference.low for c in evidence.comparisons]))


@pytest.mark.parametrize("model", ["vae", "pca"])
def test_a_comparison_is_the_paired_difference_of_the_objects(tmp_path: Path, model: str) -> None:
    """Against a direct calculation from the table of objects; the interval roughly a t interval."""
    study, evidence = read(tmp_path, Fake(sizes=((4, 4),)))
    rows = study.rows("objects", metric="absolute_error").to_pylist()
    models = {c.cell: c.model for c in study.cells}
    errors: dict[str, dict[str, list[float]]] = {}
    for row in rows:
        if row["estimate"] in ("mean_of_draws", "reference"):
            by_object = errors.setdefault(models[row["cell"]], {})
            by_object.setdefault(row["object_id"], []).append(row["value"])
    per_object = np.array(
        [np.mean(errors["daep"][o]) - np.mean(errors[model][o]) for o in errors["daep"]]
    )
    found = next(
        c for c in evidence.comparisons if (c.first.model, c.second.model) == ("daep", model)
    )
    assert found.difference.mean == pytest.approx(per_object.mean())
    assert found.difference.share_better == np.mean(per_object < 0)
    base = np.mean([np.mean(v) for v in errors[model].values()])
    assert found.relative[0] == pytest.approx(per_object.mean() / base)
    half = stats.t.ppf(0.975, len(per_object) - 1) * stats.sem(per_object)
    # seeds add to the spread, so the crossed bootstrap is wider than objects alone
    assert found.difference.high - found.difference.low > 1.6 * half


def test_a_failed_seed_leaves_the_others_paired(tmp_path: Path) -> None:
    _, evidence = read(tmp_path, Fake(failed=("daep/4/1",)))
    seeds = {(c.second.model, c.x): c.difference.num_seeds for c in evidence.comparisons}
    assert seeds["vae", 16] == 2
    assert seeds["vae", 4] == 3
