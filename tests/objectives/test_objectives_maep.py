"""maep: what is hidden, what a hidden value can reach, what is asked for and what is copied."""

from collections.abc import Callable
from typing import Any

import hypothesis
import hypothesis.strategies as st
import pytest
import torch
from torch import Tensor

from daep_ray.diffusion.samplers import DDIMConfig, OneStepConfig
from daep_ray.nn.config import ModelConfig
from daep_ray.nn.embed import TimeEmbedding
from daep_ray.objectives import DaepConfig, VaeConfig, num_parameters
from daep_ray.objectives.maep import Maep, MaepConfig
from daep_ray.objectives.masking import choose, is_shown, shown_query, take
from daep_ray.stream.batch import PackedBatch
from daep_ray.stream.noise import Noise
from tests.objectives.conftest import LAYOUTS, STAGES, make_sequence, model_of, pick_sequence

Make = Callable[[list[int]], PackedBatch]
Changed = Callable[..., PackedBatch]
LAYOUT = {"m": LAYOUTS["m"]}
LENGTHS = [5, 1, 9, 0, 40, 2]
lengths_of_samples = st.lists(st.integers(0, 30), min_size=1, max_size=6)
shares = st.floats(0.01, 0.99)


def maep(stages: str = "two_stage", **settings: Any) -> Maep:
    torch.manual_seed(0)
    return Maep(MaepConfig(**settings), model_of(stages), LAYOUT)


def noise_of(batch: PackedBatch, turn: int = 0) -> Noise:
    return Noise(3, turn, batch.sample_ids)


def batch_of(lengths: list[int]) -> PackedBatch:
    ids = tuple(f"sample{i}" for i in range(len(lengths)))
    return PackedBatch(ids, {"m": make_sequence(LAYOUTS["m"], lengths)})


def hidden_of(objective: Maep, batch: PackedBatch, noise: Noise) -> Tensor:
    config = objective.config
    return choose(batch.sequences["m"], config.mask_ratio, noise, "mask", config.counting)


@pytest.mark.parametrize("counting", ["fixed", "bernoulli"])
@hypothesis.settings(max_examples=60, deadline=None)
@hypothesis.given(lengths=lengths_of_samples, share=shares, turn=st.integers(0, 5))
def test_how_many_are_chosen(counting: str, lengths: list[int], share: float, turn: int) -> None:
    """One at least and not all, where there are two; a single one is left; packing is nothing."""
    batch = batch_of(lengths)
    sequence, noise = batch.sequences["m"], noise_of(batch, turn)
    chosen = choose(sequence, share, noise, "mask", counting)
    for b, part in enumerate(chosen.split(lengths)):
        n, count = lengths[b], int(part.sum())
        assert count == 0 if n < 2 else 1 <= count <= n - 1
        if counting == "fixed" and n >= 2:
            assert abs(count - share * n) <= 0.5 or count in (1, n - 1)
        alone = Noise(3, turn, (batch.sample_ids[b],))
        one = choose(pick_sequence(sequence, [b]), share, alone, "mask", counting)
        assert torch.equal(one, part)
    seen, rest = take(sequence, ~chosen), take(sequence, chosen)
    assert seen.lengths.tolist() == [n - r for n, r in zip(lengths, rest.lengths, strict=True)]
    assert seen.max_length == max(seen.lengths.tolist())
    assert torch.equal(seen.position, sequence.position[~chosen])
    assert torch.equal(seen.metadata, sequence.metadata)


def test_bernoulli_has_the_share_on_average_and_its_spread() -> None:
    batch = batch_of([40] * 500)
    for counting, spread in (("fixed", 0.0), ("bernoulli", (40 * 0.3 * 0.7) ** 0.5)):
        chosen = choose(batch.sequences["m"], 0.3, noise_of(batch), "mask", counting)
        counts = chosen.view(500, 40).sum(1).double()
        assert float(counts.mean()) == pytest.approx(12, abs=0.4)
        assert float(counts.std()) == pytest.approx(spread, rel=0.1)


def test_every_place_is_hidden_as_often_and_each_epoch_anew() -> None:
    batch = batch_of([8] * 2000)
    masks = [choose(batch.sequences["m"], 0.75, noise_of(batch, k), "mask") for k in range(2)]
    rates = masks[0].view(2000, 8).double().mean(0)
    torch.testing.assert_close(
        rates, torch.full((8,), 0.75, dtype=torch.float64), rtol=0, atol=0.05
    )
    # two independent masks of 6 in 8 are the same at a point with 0.75^2 + 0.25^2
    same = float((masks[0] == masks[1]).double().mean())
    assert same == pytest.approx(0.625, abs=0.02)


@pytest.mark.parametrize("stages", STAGES)
@pytest.mark.parametrize("settings", [{}, {"context": "nothing"}, {"loss_on": "all"}], ids=str)
def test_a_hidden_value_is_a_target_and_nothing_else(
    stages: str, settings: dict[str, Any], changed: Changed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any value, even NaN, at hidden points: the same predictions; the loss is of them."""
    objective, batch = maep(stages, **settings), batch_of(LENGTHS)
    hidden = hidden_of(objective, batch, noise_of(batch))
    value = batch.sequences["m"].value
    assert value is not None
    predictions: list[Tensor] = []
    fill = objective.decoder.fill

    def kept(*arguments: Any) -> Tensor:
        predictions.append(fill(*arguments))
        return predictions[-1]

    monkeypatch.setattr(objective.decoder, "fill", kept)
    others = [value, value.masked_fill(hidden, 100.0), value.masked_fill(hidden, torch.nan)]
    losses = [objective(changed(batch, value=v, error=None), noise_of(batch)).total for v in others]
    assert torch.equal(predictions[0], predictions[1])
    assert torch.equal(predictions[0], predictions[2])
    is_asked = hidden if objective.config.loss_on == "hidden" else torch.ones_like(hidden)
    assert len(predictions[0]) == int(is_asked.sum())
    expected = ((predictions[0] - value[is_asked]) ** 2).mean()
    torch.testing.assert_close(losses[0], expected)
    assert losses[1] > 100 * losses[0]
    assert losses[2].isnan()


@pytest.mark.parametrize("stages", STAGES)
def test_a_visible_value_reaches_code_and_other_points(stages: str, changed: Changed) -> None:
    objective, batch = maep(stages), batch_of([9])
    query = shown_query(batch, 0.3, noise_of(batch))
    value, shown = query.sequences["m"].value, is_shown(query)["m"]
    assert value is not None
    with torch.no_grad():
        code = objective.encode(batch)
        plain, moved = (
            objective.decode(code, q, OneStepConfig(), 1, noise_of(batch)).values["m"][0]
            for q in (query, changed(query, value=value + 1))
        )
    torch.testing.assert_close(moved[shown], value[shown] + 1)
    assert (moved[~shown] - plain[~shown]).abs().min() > 1e-6


def test_published_wiring_informs_no_other_point(changed: Changed) -> None:
    """D5 of the field notes: latents that do not read the tokens."""
    torch.manual_seed(0)
    model = model_of("two_stage")
    decoder = model.decoder.model_copy(update={"reads_noisy": False})
    objective = Maep(MaepConfig(), model.model_copy(update={"decoder": decoder}), LAYOUT)
    batch = batch_of([9])
    query = shown_query(batch, 0.3, noise_of(batch))
    hidden = ~is_shown(query)["m"]
    with torch.no_grad():
        code = objective.encode(batch)
        filled, bare = (
            objective.decode(code, q, OneStepConfig(), 1, noise_of(batch)).values["m"][0]
            for q in (query, batch.query())
        )
    torch.testing.assert_close(filled[hidden], bare[hidden])


@hypothesis.settings(max_examples=30, deadline=None)
@hypothesis.given(lengths=lengths_of_samples, share=st.floats(0, 0.99))
def test_shown_values_come_back_and_each_sample_keeps_one_hidden(
    lengths: list[int], share: float
) -> None:
    objective, batch = maep(), batch_of(lengths)
    query = shown_query(batch, share, noise_of(batch))
    shown, value = is_shown(query)["m"], batch.sequences["m"].value
    assert value is not None
    assert all(not part.all() for part in shown.split(lengths) if len(part))
    assert query.sequences["m"].error is None
    with torch.no_grad():
        drawn = objective.decode(
            objective.encode(batch), query, DDIMConfig(num_steps=2), 3, noise_of(batch)
        ).values["m"]
    assert drawn.shape == (3, sum(lengths))
    assert drawn.isfinite().all()
    assert torch.equal(drawn[:, shown], value[shown].expand(3, -1))


def test_without_context_it_is_asked_as_daep_is() -> None:
    objective, batch = maep(context="nothing"), batch_of([7, 4])
    assert not objective.asks_for_values()
    with torch.no_grad():
        code = objective.encode(batch)
        found = [
            objective.decode(code, q, OneStepConfig(), 1, noise_of(batch)).values["m"]
            for q in (batch.query(), batch)
        ]
    assert torch.equal(*found)


@pytest.mark.parametrize("settings", [{"context": "nothing"}, {"average": "objects"}], ids=str)
def test_every_parameter_learns_under_every_option(settings: dict[str, Any]) -> None:
    objective, batch = maep(**settings), batch_of([8, 20, 5, 13])
    objective(batch, noise_of(batch)).total.backward()
    dead = [n for n, p in objective.named_parameters() if p.grad is None or not p.grad.any()]
    assert not dead


def test_single_measurements_have_no_loss_and_break_nothing() -> None:
    objective, batch = maep(), batch_of([1, 1])
    loss = objective(batch, noise_of(batch))
    loss.total.backward()
    assert float(loss.terms["reconstruction"].weight) == 0
    assert all(p.grad is not None and not p.grad.any() for p in objective.parameters())


def test_average_over_objects_counts_a_short_object_as_a_long_one() -> None:
    batch = batch_of([4, 40])
    noise = noise_of(batch)
    points, objects = (maep(average=a)(batch, noise) for a in ("points", "objects"))
    assert float(points.terms["reconstruction"].weight) == 33  # 3 + 30 hidden
    assert float(objects.terms["reconstruction"].weight) == 2
    alone = []
    for b, sample_id in enumerate(batch.sample_ids):
        part = PackedBatch((sample_id,), {"m": pick_sequence(batch.sequences["m"], [b])})
        alone.append(maep()(part, noise_of(part)).total)
    torch.testing.assert_close(objects.total, (alone[0] + alone[1]) / 2)


def test_parameters() -> None:
    """As daep, without a diffusion time and with a mask token; as a VAE, whose code has a scale and
    whose decoder norms its front rows where this one has a value's and a mask's vector."""
    model = ModelConfig(width=32, num_heads=4)
    daep, vae, ours = (
        num_parameters(c(), model, LAYOUT) for c in (DaepConfig, VaeConfig, MaepConfig)
    )
    time = sum(p.numel() for p in TimeEmbedding(32).parameters())
    assert ours == daep - time + 32
    assert ours == vae - (32 + 1) * model.bottleneck.width - 2 * 32 + 2 * 32
