"""Daep with a contrastive term: weight 0 is daep to the last bit, and what the term does."""

import pytest
import torch

from daep_ray.objectives.daep import DaepConfig
from daep_ray.objectives.infonce import InfoNceConfig
from daep_ray.objectives.multimodal import MultimodalDaep
from daep_ray.stream.batch import PackedBatch
from daep_ray.stream.noise import Noise
from tests.objectives.conftest import LAYOUTS, make_sequence, model_of

NAME = "contrastive/m+n"


def daep(**settings: object) -> MultimodalDaep:
    torch.manual_seed(0)
    return MultimodalDaep(DaepConfig(**settings), model_of("single_stage"), LAYOUTS)


def pairs(lengths: list[int], others: list[int], objects: str = "") -> PackedBatch:
    torch.manual_seed(1)
    sequences = {
        name: make_sequence(LAYOUTS[name], n)
        for name, n in zip(("m", "n"), (lengths, others), strict=True)
    }
    ids = tuple(f"sample{i}" for i in range(len(lengths)))
    return PackedBatch(ids, sequences, tuple(objects))


def noise_of(batch: PackedBatch) -> Noise:
    return Noise(seed=1, turn=0, sample_ids=batch.sample_ids)


def test_weight_zero_is_daep_bit_for_bit() -> None:
    plain, zero, hybrid = daep(), daep(contrastive_weight=0.0), daep(contrastive_weight=0.5)
    batch = pairs([5, 4, 3], [6, 3, 2])
    state = plain.state_dict()
    assert state.keys() == zero.state_dict().keys()
    assert set(hybrid.state_dict()) - set(state)
    # the term's own parameters are made last: all others begin as daep's
    assert all(torch.equal(x, hybrid.state_dict()[n]) for n, x in state.items())
    terms = [o(batch, noise_of(batch)).terms for o in (plain, zero, hybrid)]
    assert terms[0].keys() == terms[1].keys() == terms[2].keys() - {NAME}
    for name, term in terms[0].items():
        assert all(torch.equal(t[name].sum, term.sum) for t in terms[1:])
    losses = [o(batch, noise_of(batch)).total for o in (plain, zero)]
    assert torch.equal(losses[0], losses[1])
    for objective, loss in zip((plain, zero), losses, strict=True):
        loss.backward()
        assert NAME not in objective(batch, noise_of(batch)).terms
    found = zip(plain.named_parameters(), zero.parameters(), strict=True)
    assert all(torch.equal(p.grad, q.grad) for (_, p), q in found if p.grad is not None)


def test_the_weight_is_the_coefficient_and_the_term_that_of_contrastive_learning() -> None:
    """Over the pairs that are complete, each modality's code made without the other."""
    batch = pairs([5, 4, 3, 2], [6, 3, 2, 0], "abac")
    objective = daep(contrastive_weight=0.25, modality_drop=1.0)
    terms = objective(batch, noise_of(batch)).terms
    assert terms[NAME].coefficient == 0.25
    assert float(terms[NAME].weight) == 3
    vectors = [x[:3] for x in objective.aligned(batch).values()]
    logits = 10 * vectors[0] @ vectors[1].T
    logits[0, 2] = logits[2, 0] = -torch.inf
    target = torch.arange(3)
    expected = [
        torch.nn.functional.cross_entropy(x, target, reduction="sum") for x in (logits, logits.T)
    ]
    torch.testing.assert_close(terms[NAME].sum, sum(expected) / 2)


def test_a_step_without_pairs_touches_every_parameter() -> None:
    objective = daep(contrastive_weight=1.0, contrastive=InfoNceConfig(learns_temperature=True))
    batch = pairs([5, 0], [0, 3])
    loss = objective(batch, noise_of(batch))
    assert float(loss.terms[NAME].weight) == 0
    loss.total.backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in objective.parameters())


@pytest.mark.slow
def test_the_term_brings_the_codes_of_a_sample_together() -> None:
    """After a short training each of eight samples finds its own other half; daep's do not."""

    def share_found(weight: float) -> float:
        objective, batch = daep(contrastive_weight=weight), pairs([6] * 8, [7] * 8)
        optimiser = torch.optim.AdamW(objective.parameters(), lr=5e-3)
        for step in range(150):
            optimiser.zero_grad()
            objective(batch, Noise(1, step, batch.sample_ids)).total.backward()
            optimiser.step()
        with torch.no_grad():
            u, v = objective.aligned(batch).values()
        return float(((u @ v.T).argmax(1) == torch.arange(8)).float().mean())

    assert share_found(1.0) == 1.0
    assert share_found(0.0) < 1.0
