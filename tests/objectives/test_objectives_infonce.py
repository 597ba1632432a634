"""InfoNCE against a direct loop, and what is no negative; the same gradient for any workers."""

import math
from dataclasses import replace
from pathlib import Path

import hypothesis
import hypothesis.strategies as st
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from daep_ray.nn.config import BottleneckConfig
from daep_ray.objectives import Objective, build_objective
from daep_ray.objectives.contrastive import ContrastiveConfig
from daep_ray.objectives.daep import DaepConfig
from daep_ray.objectives.infonce import Alignment, InfoNceConfig, info_nce
from daep_ray.stream.batch import PackedBatch
from daep_ray.stream.noise import Noise
from daep_ray.train.loop import _reduce
from tests.objectives.conftest import LAYOUTS, make_sequence, model_of, pick_sequence


def unit(num: int, seed: int = 0) -> Tensor:
    rows = torch.randn(num, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.nn.functional.normalize(rows, dim=1)


def by_loop(u: Tensor, v: Tensor, objects: list[int], temperature: float) -> tuple[float, int]:
    """Sample by sample, direction by direction, in plain Python."""
    total, number = 0.0, 0
    for i, mine in enumerate(objects):
        others = [j for j, other in enumerate(objects) if other != mine]
        if not others:
            continue
        number += 1
        for one, two in ((u, v), (v, u)):
            right = math.exp(float(one[i] @ two[i]) / temperature)
            wrong = sum(math.exp(float(one[i] @ two[j]) / temperature) for j in others)
            total -= 0.5 * math.log(right / (right + wrong))
    return total, number


@hypothesis.settings(max_examples=40, deadline=None)
@hypothesis.given(
    objects=st.lists(st.integers(0, 4), max_size=9), temperature=st.sampled_from([0.07, 0.1, 1.0])
)
def test_the_value_is_that_of_a_direct_loop(objects: list[int], temperature: float) -> None:
    u, v = unit(len(objects)), unit(len(objects), 1)
    scale = torch.tensor(1 / temperature, dtype=torch.float64)
    found, number = info_nce(u, v, torch.tensor(objects, dtype=torch.int64), scale)
    expected, counted = by_loop(u, v, objects, temperature)
    assert float(found) == pytest.approx(expected, rel=1e-9, abs=1e-12)
    assert float(number) == counted


def test_chance_is_the_logarithm_of_the_number() -> None:
    same = unit(1).expand(6, 5)
    found, number = info_nce(same, same, torch.arange(6), torch.tensor(10.0).double())
    assert float(found / number) == pytest.approx(math.log(6))


def test_samples_of_one_object_are_no_negatives() -> None:
    """Every sample planted a second time as another of its object; as strangers they would cost
    up to log 2 more."""
    u, v, scale = unit(5), unit(5, 1), torch.tensor(10.0).double()
    twice, objects = (torch.cat([u, u]), torch.cat([v, v])), torch.arange(5).repeat(2)
    found, number = info_nce(*twice, objects, scale)
    assert float(found) == pytest.approx(by_loop(*twice, objects.tolist(), 0.1)[0])
    strangers, _ = info_nce(*twice, torch.arange(10), scale)
    assert float(found) < float(strangers)
    assert float(number) == 10


def test_a_planted_twin_changes_nothing_for_its_object() -> None:
    """Each keeps the negatives that it had, so the twins' shares of the loss are equal; and among
    samples of one object there is nothing to gain whatever their vectors are."""
    u, v, scale = unit(3), unit(3, 1), torch.tensor(10.0).double()
    once = by_loop(u, v, [0, 1, 2], 0.1)[0]
    one_object = torch.zeros(3, dtype=torch.int64)
    own = u.clone().requires_grad_()
    info_nce(own, v, one_object, scale)[0].backward()
    assert own.grad is not None
    assert not own.grad.any()
    # the twin of sample 0 is a negative of 1 and 2, never of 0: the loss does not fall
    planted = torch.cat([u, u[:1]]), torch.cat([v, v[:1]])
    found, _ = info_nce(*planted, torch.tensor([0, 1, 2, 0]), scale)
    assert float(found) > once


@pytest.mark.parametrize("objects", [[], [3], [3, 3, 3]])
def test_without_a_negative_nothing_is_counted(objects: list[int]) -> None:
    u = unit(len(objects)).requires_grad_()
    found, number = info_nce(u, u, torch.tensor(objects, dtype=torch.int64), torch.tensor(10.0))
    found.backward()
    assert float(found.detach()) == float(number) == 0
    assert u.grad is not None
    assert not u.grad.any()


def contrastive(**settings: object) -> Objective:
    torch.manual_seed(0)
    return build_objective(ContrastiveConfig(**settings), model_of("two_stage"), LAYOUTS)


def pairs(present: list[tuple[bool, bool]], objects: list[int]) -> PackedBatch:
    torch.manual_seed(1)
    sequences = {
        name: make_sequence(LAYOUTS[name], [(3 + k) * has[i] for k, has in enumerate(present)])
        for i, name in enumerate(("m", "n"))
    }
    ids = tuple(f"sample{k}" for k in range(len(present)))
    return PackedBatch(ids, sequences, tuple(f"object{o}" for o in objects))


def pick(batch: PackedBatch, rows: list[int]) -> PackedBatch:
    return PackedBatch(
        tuple(batch.sample_ids[i] for i in rows),
        {m: pick_sequence(s, rows) for m, s in batch.sequences.items()},
        tuple(batch.object_ids[i] for i in rows),
    )


@hypothesis.settings(max_examples=20, deadline=None)
@hypothesis.given(
    samples=st.lists(
        st.tuples(st.booleans(), st.booleans(), st.integers(0, 3)), min_size=1, max_size=6
    ),
    data=st.data(),
)
def test_samples_lacking_a_modality_take_no_part(
    samples: list[tuple[bool, bool, int]], data: st.DataObject
) -> None:
    """The loss is that of the complete samples alone, in any order; all parameters are touched."""
    objective = contrastive(learns_temperature=True)
    batch = pairs([s[:2] for s in samples], [s[2] for s in samples])
    (term,) = objective(batch, Noise(0, 0, batch.sample_ids)).terms.values()
    complete = [i for i, s in enumerate(samples) if s[0] and s[1]]
    rows = data.draw(st.permutations(complete))
    (alone,) = objective(pick(batch, rows), Noise(0, 0, ())).terms.values()
    torch.testing.assert_close(alone.sum, term.sum, rtol=1e-4, atol=1e-5)
    assert float(alone.weight) == float(term.weight)
    if len({samples[i][2] for i in complete}) < 2:
        assert float(term.weight) == 0
        assert float(term.sum.detach()) == 0
    term.sum.backward()
    found = [p.grad for p in objective.parameters()]
    assert all(g is not None and bool(g.isfinite().all()) for g in found)


def test_whose_samples_they_are_reaches_the_loss() -> None:
    objective, batch = contrastive(), pairs([(True, True)] * 4, [0, 0, 1, 1])
    (known,) = objective(batch, Noise(0, 0, ())).terms.values()
    (unknown,) = objective(replace(batch, object_ids=()), Noise(0, 0, ())).terms.values()
    assert float(known.sum) < float(unknown.sum)


def test_settings_of_the_comparison() -> None:
    """A learnt temperature begins at the fixed one; without a head the code itself is compared."""
    bottleneck = BottleneckConfig(length=2, width=3)
    fixed = Alignment(InfoNceConfig(projection=()), bottleneck, ("m", "n"))
    assert fixed.num_features == 6
    assert not list(fixed.parameters())
    code = torch.randn(4, 2, 3)
    torch.testing.assert_close(
        fixed.unit("m", code), torch.nn.functional.normalize(code.flatten(1), dim=1)
    )
    learnt = Alignment(
        InfoNceConfig(projection=(), learns_temperature=True), bottleneck, ("m", "n")
    )
    assert [n for n, _ in learnt.named_parameters()] == ["log_scale"]
    assert float(learnt.log_scale.exp()) == pytest.approx(10)
    assert torch.equal(learnt.log_scale, fixed.log_scale)


def hybrid() -> Objective:
    """Daep with the term, beside others that are means over points."""
    torch.manual_seed(0)
    config = DaepConfig(contrastive_weight=0.5, modality_drop=0.0)
    return build_objective(config, model_of("single_stage"), LAYOUTS)


KINDS = {"contrastive": lambda: contrastive(learns_temperature=True), "hybrid": hybrid}
PRESENT = [(True, True)] * 5 + [(True, False), (False, True), (True, True)]
OBJECTS = [0, 1, 1, 2, 3, 4, 5, 0]
CUTS = {1: [list(range(8))], 2: [[0, 3, 5, 6, 7], [1, 2, 4]], 3: [[4, 5], [], [0, 1, 2, 3, 6, 7]]}


def one_step(rank: int, world: int, out: str) -> None:
    """The gradients of one step on this rank's share, as the loop takes them; rank 0 saves."""
    torch.set_num_threads(1)
    if world > 1:
        meeting = f"file://{out}/meeting{world}"  # a port could be somebody's by now
        dist.init_process_group("gloo", meeting, rank=rank, world_size=world)
    for kind, build in KINDS.items():
        objective = build()
        batch = pick(pairs(PRESENT, OBJECTS), CUTS[world][rank])
        parallel = DistributedDataParallel(objective) if world > 1 else objective
        total, values = _reduce(parallel(batch, Noise(0, 0, batch.sample_ids)), world)
        total.backward()
        if rank == 0:
            found = {n: p.grad for n, p in objective.named_parameters()}
            torch.save({"gradients": found, "values": values}, Path(out) / f"{kind}{world}.pt")
    if world > 1:
        dist.destroy_process_group()


@pytest.mark.slow
def test_6_two_and_three_workers_have_the_gradient_of_one(tmp_path: Path) -> None:
    """Uneven shares, one of them empty, samples of one object on different workers."""
    one_step(0, 1, str(tmp_path))
    for world in (2, 3):
        mp.spawn(one_step, args=(world, str(tmp_path)), nprocs=world)
    for kind in KINDS:
        one = torch.load(tmp_path / f"{kind}1.pt")
        assert any(bool(g.any()) for g in one["gradients"].values())
        for world in (2, 3):
            several = torch.load(tmp_path / f"{kind}{world}.pt")
            assert several["values"] == pytest.approx(one["values"], rel=1e-5)
            for name, gradient in one["gradients"].items():
                apart = (several["gradients"][name] - gradient).abs().max()
                assert apart <= 1e-4 * gradient.abs().max() + 1e-9, name
