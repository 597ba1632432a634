"""Laws over every registered objective: which modalities it takes, and any of them missing."""

import hypothesis
import hypothesis.strategies as st
import pytest
import torch

from daep_ray.errors import ConfigError
from daep_ray.nn.config import ModelConfig
from daep_ray.objectives import OBJECTIVES, Objective, build_objective, num_parameters
from daep_ray.stream.batch import Layout, PackedBatch
from daep_ray.stream.noise import Noise
from tests.objectives.conftest import (
    LAYOUTS,
    accepted,
    layouts_of,
    make_sequence,
    model_of,
    pick_sequence,
)

# measurements of both modalities in each sample, of at least one more than none
presence_patterns = st.lists(
    st.tuples(st.integers(0, 4), st.integers(0, 4)).filter(any), min_size=1, max_size=5
)


@pytest.mark.parametrize("kind", [kind for kind in OBJECTIVES if ("m", "n") in accepted(kind)])
@hypothesis.settings(max_examples=20, deadline=None)
@hypothesis.given(patterns=presence_patterns)
def test_4_any_presence_pattern(kind: str, patterns: list[tuple[int, int]]) -> None:
    """Each sample has the code that it has alone, in a batch that lacks the other modality too;
    and no pattern leaves a parameter without a gradient."""
    torch.manual_seed(0)
    objective = build_objective(OBJECTIVES[kind](), model_of("two_stage"), layouts_of(("m", "n")))
    lengths = {name: [p[i] for p in patterns] for i, name in enumerate(("m", "n"))}
    sequences = {name: make_sequence(LAYOUTS[name], n) for name, n in lengths.items()}
    batch = PackedBatch(tuple(f"sample{i}" for i in range(len(patterns))), sequences)
    with torch.no_grad():
        together = objective.encode(batch).point
        for i, pattern in enumerate(patterns):
            alone = {
                name: pick_sequence(sequences[name], [i])
                for name, length in zip(("m", "n"), pattern, strict=True)
                if length
            }
            found = objective.encode(PackedBatch((batch.sample_ids[i],), alone)).point
            torch.testing.assert_close(found[0], together[i], rtol=1e-4, atol=1e-5)
    objective(batch, Noise(7, 0, batch.sample_ids)).total.backward()
    found = [p.grad for p in objective.parameters() if p.requires_grad]
    assert all(g is not None and bool(torch.isfinite(g).all()) for g in found)


def test_the_number_of_parameters_is_known_without_building(
    objective: Objective, case: tuple[str, str, tuple[str, ...]]
) -> None:
    kind, stages, names = case
    state = torch.get_rng_state()
    found = num_parameters(OBJECTIVES[kind](), model_of(stages), layouts_of(names))
    assert found == sum(p.numel() for p in objective.parameters() if p.requires_grad)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("kind", OBJECTIVES)
@pytest.mark.parametrize("num", range(4))
def test_a_number_of_modalities_is_taken_or_refused_in_one_sentence(kind: str, num: int) -> None:
    layouts = {name: Layout(name, 1) for name in ("a", "b", "c")[:num]}
    example = accepted(kind)
    if num and any(min(num, 2) == len(names) for names in example):
        build_objective(OBJECTIVES[kind](), ModelConfig(width=8, num_heads=1), layouts)
        return
    with pytest.raises(ConfigError, match="modalit") as caught:
        build_objective(OBJECTIVES[kind](), ModelConfig(), layouts)
    assert "\n" not in str(caught.value)
