"""The count of every objective's arithmetic, against torch's counter on the module itself."""

from collections.abc import Callable

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from daep_ray.diffusion.samplers import DDIMConfig, OneStepConfig
from daep_ray.nn.config import ModelConfig
from daep_ray.nn.cost import denoise_flops
from daep_ray.objectives import OBJECTIVES, Objective, cost
from daep_ray.objectives.daep import DaepConfig
from daep_ray.objectives.maep import MaepConfig
from daep_ray.objectives.masking import choose
from daep_ray.stream.batch import Layout, PackedBatch
from daep_ray.stream.noise import Noise
from tests.objectives.conftest import layouts_of, model_of

LENGTHS = {"m": [50] * 3, "n": [20] * 3}  # even: no padding is computed
SAMPLER, NUM_DRAWS = DDIMConfig(num_steps=3), 4
LAYOUTS = {"m": Layout("m", 2), "n": Layout("n", 1)}


def counted(work: Callable[[], object]) -> int:
    """What torch counts; fused attention, which it does not see, switched off."""
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH), torch.no_grad():
        work()
    return int(counter.get_total_flops())


def test_every_objective_is_counted(
    case: tuple[str, str, tuple[str, ...]],
    objective: Objective,
    make_batch: Callable[..., PackedBatch],
) -> None:
    """Exactly, but for what the module's first lines leave out: a mixer's codes of each modality
    alone, and a gallery's search; and draws that share what does not change between them."""
    kind, stages, names = case
    shape = (OBJECTIVES[kind](), model_of(stages), layouts_of(names))
    batch, lengths = make_batch(LENGTHS["m"], LENGTHS["n"]), {m: LENGTHS[m] for m in names}
    noise = Noise(0, 0, batch.sample_ids)
    has_mixer = len(names) > 1 and kind in ("daep", "prior")

    step = counted(lambda: objective(batch, noise))
    ours = cost.training_flops(*shape, lengths).total / 3
    assert ours == pytest.approx(step, rel=0.1 if kind == "prior" else 1e-9)

    encoding = counted(lambda: objective.encode(batch))
    ours = cost.encoding_flops(*shape, lengths).total
    if has_mixer:
        assert 0.7 * encoding < ours < encoding
    else:
        assert ours == pytest.approx(encoding, rel=0.01 if kind == "contrastive" else 1e-9)

    if kind == "contrastive":
        return
    code, query = objective.encode(batch), batch.query()
    draws = counted(lambda: objective.decode(code, query, SAMPLER, NUM_DRAWS, noise))
    assert cost.decoding_flops(*shape, lengths, SAMPLER, NUM_DRAWS).total == pytest.approx(
        draws, rel=0.01
    )


def test_an_evaluation_is_its_parts() -> None:
    """An encoding, the draws, one step; of several modalities the same from each alone."""
    model, daep = ModelConfig(width=32, num_heads=4), DaepConfig()
    alone = (daep, model, {"m": LAYOUTS["m"]})
    lengths = {"m": LENGTHS["m"]}
    encoding = cost.encoding_flops(*alone, lengths).total
    drawn = cost.decoding_flops(*alone, lengths, SAMPLER, NUM_DRAWS).total
    once = cost.decoding_flops(*alone, lengths, OneStepConfig(), 1).total
    whole = cost.measuring_flops(*alone, lengths, SAMPLER, NUM_DRAWS).total
    assert whole == pytest.approx(encoding + drawn + once)
    without = (DaepConfig(prediction="epsilon"), *alone[1:])
    assert cost.measuring_flops(*without, lengths, SAMPLER, NUM_DRAWS).total == pytest.approx(
        encoding + drawn
    )
    both = (daep, model, LAYOUTS)
    drawn = cost.decoding_flops(*both, LENGTHS, SAMPLER, NUM_DRAWS).total
    assert cost.measuring_flops(*both, LENGTHS, SAMPLER, NUM_DRAWS).total > 3 * drawn


@pytest.mark.parametrize("num_steps", [1, 7, 50])
def test_work_grows_with_steps_and_draws(num_steps: int) -> None:
    shape = (DaepConfig(), ModelConfig(width=32, num_heads=4), {"m": LAYOUTS["m"]})
    lengths = {"m": LENGTHS["m"]}

    def of(draws: int) -> float:
        sampler = DDIMConfig(num_steps=num_steps)
        return cost.decoding_flops(*shape, lengths, sampler, draws).total

    once = denoise_flops(*shape[1:], lengths).total
    assert of(2) - of(1) == pytest.approx(num_steps * once)
    assert of(5) - of(4) == pytest.approx(num_steps * once)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.75])
@pytest.mark.parametrize("lengths", [[1, 2, 3, 50], [7, 10, 64]])
def test_as_many_are_hidden_as_a_training_hides(
    share: float, lengths: list[int], make_batch: Callable[..., PackedBatch]
) -> None:
    sequence = make_batch(lengths).sequences["m"]
    noise = Noise(0, 0, tuple(map(str, lengths)))
    expected = [0] * len(lengths)
    if share:
        taken = choose(sequence, share, noise, "mask").split(lengths)
        expected = [int(t.sum()) for t in taken]
    assert cost.chosen({"m": lengths}, share)["m"] == expected


def test_nothing_is_shown_where_the_decoder_takes_nothing() -> None:
    model, lengths = ModelConfig(width=32, num_heads=4), {"m": LENGTHS["m"]}
    blind = (MaepConfig(context="nothing"), model, {"m": LAYOUTS["m"]}, lengths, SAMPLER, 2)
    assert cost.decoding_flops(*blind, 0.5) == cost.decoding_flops(*blind, 0.0)
