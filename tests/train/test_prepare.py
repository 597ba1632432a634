"""What no model can be built of is told before a folder is claimed for it."""

from pathlib import Path

import pytest

from daep_ray.cli import app, run_app


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("objective.kind=contrastive",), "two modalities or more"),
        (("objective.prediction=epsilon", "objective.zero_terminal=true"), "zero_terminal"),
        (("model.tokenizer.position_scale=[1,2]",), "one per position"),
        (("objective.num_times=1",), "equal to 2"),
        (("objective.kind=mmvae", 'objective.point_weight={"radio": 2}'), "not learnt"),
        (('modalities=["photometry", "photometry"]',), "once"),
        (("objective.prediction=epsilon", "evaluation.sampler.kind=one_step"), "pure noise"),
        (("objective.kind=vae", "objective.beta=Infinity"), "finite"),
    ],
    ids=str,
)
def test_a_refused_training_leaves_its_folder_to_the_corrected_one(
    words: tuple[str, ...],
    said: str,
    synthetic_shards: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    settings = [word for text in words for word in ("--set", text)]
    command = ["train", str(synthetic_shards), "--out", str(out), "--modality", "photometry"]
    assert run_app(app, [*command, *settings]) == 1
    told = capsys.readouterr().err
    assert said in told
    assert told.count("\n") == 1
    assert not out.exists()
