"""Search: the right neighbours at the right phase, their values at the places asked for."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from daep_ray.diffusion.samplers import DPMSolverConfig, OneStepConfig
from daep_ray.objectives import build_objective
from daep_ray.objectives.contrastive import Contrastive, ContrastiveConfig
from daep_ray.objectives.gallery import Gallery, interpolated, one_number
from daep_ray.stream.batch import Layout, PackedBatch, PackedSequence
from daep_ray.stream.noise import Noise
from tests.objectives.conftest import LAYOUTS, make_sequence, model_of

SPECTRUM = Layout("n", 1, num_metadata=1, metadata_names=("phase",), metadata_scales=(5.0,))


def spectra(phases: Sequence[float | None], levels: Sequence[float]) -> PackedSequence:
    """Flat spectra of three points; `phases` standardised, None where not known."""
    num = len(phases)
    return PackedSequence(
        value=torch.tensor(levels).repeat_interleave(3),
        error=None,
        position=torch.tensor([[-1.0], [0.0], [1.0]]).repeat(num, 1),
        category=torch.zeros(3 * num, 0, dtype=torch.int64),
        offsets=torch.arange(num + 1, dtype=torch.int32) * 3,
        max_length=3,
        metadata=torch.tensor([[p or 0.0] for p in phases]).reshape(num, 1),
        metadata_is_known=torch.tensor([[p is not None] for p in phases]).reshape(num, 1),
        metadata_category=torch.zeros(num, 0, dtype=torch.int64),
    )


def towards(degrees: Sequence[float]) -> Tensor:
    angle = torch.tensor(degrees) * torch.pi / 180
    return torch.stack([angle.cos(), angle.sin()], dim=1)


def gallery(days: float = 2.0) -> Gallery:
    """Six spectra, 10 degrees apart, two per phase and one whose phase is not known."""
    found = Gallery(SPECTRUM, 2, {"phase": days, "redshift": 0.1})
    phases = [0.0, 1.0, 0.0, 1.0, 3.0, None]
    found.add(towards([0, 10, 20, 30, 40, 5]), spectra(phases, [0, 1, 2, 3, 4, 5]), 10**6)
    return found


@pytest.mark.parametrize(
    ("phase", "num", "expected"),
    [
        (0.0, 2, [0, 2]),  # of the same phase, the nearest in direction first
        (1.0, 2, [1, 3]),
        (0.39, 2, [0, 2]),  # 1.95 of 2 days apart
        (0.6, 4, [1, 3, 0, 2]),  # 2 days from phase 1 and 3 days from 0
        (1.9, 4, [1, 3, 4, 0]),  # none within reach: the least distant, 4.5 days
        (None, 3, [0, 5, 1]),  # a phase that is not known matches all
        (3.0, 8, [4, 1, 3, 0, 2, 5, 4, 1]),  # an unknown phase last; then again
    ],
)
def test_neighbours_are_of_the_same_phase(
    phase: float | None, num: int, expected: list[int]
) -> None:
    query = spectra([phase], [9.0])
    assert gallery().neighbours(towards([0.0]), query, num).tolist() == [expected]


def test_a_search_by_direction_against_a_loop() -> None:
    torch.manual_seed(0)
    phases = torch.randn(40).tolist()
    vectors = torch.nn.functional.normalize(torch.randn(40, 2), dim=1)
    found = Gallery(SPECTRUM, 2, {"phase": 1.5})
    found.add(vectors, spectra(phases, list(map(float, range(40)))), 10**6)
    asked, directions = torch.randn(7).tolist(), torch.randn(7, 2)
    drawn = found.told(directions, spectra(asked, [0.0] * 7), 3)
    for b, phase in enumerate(asked):
        apart = [abs(p - phase) * 5.0 for p in phases]
        near = [g for g in range(40) if apart[g] <= 1.5]
        near.sort(key=lambda g: -float(vectors[g] @ directions[b]))
        far = sorted(set(range(40)) - set(near), key=lambda g: apart[g])
        expected = torch.tensor([*near, *far][:3], dtype=torch.float32)
        torch.testing.assert_close(drawn[:, 3 * b : 3 * b + 3], expected[:, None].expand(3, 3))


def test_each_band_is_told_from_its_own() -> None:
    """In any order of measurements, constant beyond the ends."""
    time, band = np.array([1.0, 0, 0, 1]), np.array([1, 1, 2, 2])
    value = np.array([10.0, 0, 100, 200])
    at, asked = np.array([0.5, 0.5, 0.5, 7.0, -7.0]), np.array([1, 2, 3, 2, 2])
    found = interpolated(at[:, None], asked, time[:, None], band, value)
    assert found[[0, 1, 3, 4]].tolist() == [5.0, 150.0, 200.0, 100.0]
    assert 0 <= found[2] <= 200  # a band that the neighbour lacks: from all it has
    twice = interpolated(at[:, None], asked, np.zeros((4, 1)), band, value)
    assert np.isfinite(twice).all()
    codes = torch.tensor([[1, 2], [2, 1], [1, 2]])
    assert one_number(codes)[0] == one_number(codes)[2] != one_number(codes)[1]


def test_of_several_positions_the_nearest_measurement_is_told() -> None:
    rng = np.random.default_rng(0)
    known, value, at = rng.normal(size=(30, 2)), rng.normal(size=30), rng.normal(size=(9, 2))
    found = interpolated(at, np.zeros(9, int), known, np.zeros(30, int), value)
    nearest = [np.argmin([np.hypot(*(x - place)) for x in known]) for place in at]
    assert found.tolist() == value[nearest].tolist()


def contrastive(**settings: object) -> Contrastive:
    torch.manual_seed(0)
    built = build_objective(ContrastiveConfig(**settings), model_of("two_stage"), LAYOUTS)
    assert isinstance(built, Contrastive)
    return built


def pairs(num: int) -> PackedBatch:
    sequences = {name: make_sequence(layout, [6] * num) for name, layout in LAYOUTS.items()}
    return PackedBatch(tuple(f"sample{i}" for i in range(num)), sequences)


def test_memory_is_bounded_in_points() -> None:
    objective, batch = contrastive(gallery_points=40), pairs(5)
    objective.remember([batch, batch])
    for m in ("m", "n"):
        assert len(objective.gallery(m)) == 6  # of six points each
        assert len(objective.gallery(m).value) == 36
    objective.remember([batch])  # anew, not more
    assert len(objective.gallery("m")) == 5


@torch.no_grad()
def test_a_gallery_is_saved_and_loaded_whatever_its_size() -> None:
    objective, batch = contrastive(), pairs(9)
    before = {n: tuple(x.shape) for n, x in objective.state_dict().items()}
    objective.remember([batch])
    fresh = contrastive()
    fresh.load_state_dict(objective.state_dict())
    query, noise = batch.query(), Noise(0, 0, batch.sample_ids)
    answers = [
        o.decode(o.encode(batch), query, DPMSolverConfig(), 4, noise).values
        for o in (objective, fresh)
    ]
    assert all(torch.equal(answers[0][m], answers[1][m]) for m in answers[0])
    fresh.load_state_dict(contrastive().state_dict())
    assert {n: tuple(x.shape) for n, x in fresh.state_dict().items()} == before


@torch.no_grad()
def test_an_empty_gallery_says_the_training_mean() -> None:
    objective, batch = contrastive(), pairs(3)
    drawn = objective.decode(
        objective.encode(batch), batch.query(), DPMSolverConfig(), 2, Noise(0, 0, batch.sample_ids)
    )
    assert all(x.shape == (2, 18) and not x.any() for x in drawn.values.values())


@pytest.mark.slow
def test_11_overfits_a_tiny_set_to_its_own_other_half() -> None:
    """Top-1 accuracy 1.0 both ways among sixteen pairs; so the nearest spectrum, told from the
    light curve alone, is the sample's own: error 0 at its own places."""
    objective, batch = contrastive(), pairs(16)
    optimiser = torch.optim.AdamW(objective.parameters(), lr=3e-3)
    for _ in range(200):
        optimiser.zero_grad()
        objective(batch, Noise(0, 0, batch.sample_ids)).total.backward()
        optimiser.step()
    with torch.no_grad():
        u, v = objective.aligned(batch).values()
        for nearest in ((u @ v.T).argmax(1), (u @ v.T).argmax(0)):
            assert nearest.tolist() == list(range(16))
        objective.remember([batch])
        for source, target in (("m", "n"), ("n", "m")):
            told = objective.decode(
                objective.encode(batch.only(source)),
                batch.query(),
                OneStepConfig(),
                1,
                Noise(0, 0, batch.sample_ids),
            ).values[target]
            truth = batch.sequences[target].value
            assert truth is not None
            assert torch.equal(told[0], truth)
