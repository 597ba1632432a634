"""The plan: every sample once, the same steps for any ranks, similar lengths together."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daep_ray.errors import DataError
from daep_ray.stream.plan import Plan, Step, bins, cut_by_tokens, first_of_shared, steps


def make_lengths(lengths: np.ndarray, rows_per_group: int = 50, split: str = "train") -> pa.Table:
    """A table of one modality `m`, every sample an object of its own."""
    num = len(lengths)
    group = np.arange(num) // rows_per_group
    return pa.table(
        {
            "sample_id": [f"s{i}" for i in range(num)],
            "object_id": [f"o{i}" for i in range(num)],
            "split": [split] * num,
            "shard": (group // 4).astype(np.int32),
            "row_group": (group % 4).astype(np.int32),
            "m.length": lengths.astype(np.int32),
            "m.raw_length": lengths.astype(np.int32),
            "m.hash": np.arange(num),
            "m.is_first": np.ones(num, bool),
        }
    )


def make_plan(lengths: np.ndarray, budget: int, seed: int = 0, per_group: int = 50) -> Plan:
    return Plan(make_lengths(lengths, per_group), ("m",), "train", seed, budget)


def rows_of(found: list[Step]) -> np.ndarray:
    return np.concatenate([step.rows for step in found])


@given(
    st.lists(st.integers(0, 30), min_size=1, max_size=200).filter(any),
    st.integers(1, 200),
    st.integers(1, 60),
    st.integers(0, 5),
)
def test_each_sample_is_in_one_step_of_an_epoch(lengths, budget, per_group, epoch):
    lengths = np.array(lengths)
    found = list(make_plan(lengths, budget, per_group=per_group).steps(epoch))
    assert np.array_equal(np.sort(rows_of(found)), np.flatnonzero(lengths))
    assert [step.index for step in found] == list(range(len(found)))
    assert [step.is_last for step in found] == [False] * (len(found) - 1) + [True]
    for step in found:
        assert np.array_equal(step.tokens, lengths[step.rows])
        assert step.num_tokens <= budget or len(step.rows) == 1


@given(st.lists(st.integers(1, 30), min_size=1, max_size=60), st.integers(1, 6))
def test_bins_share_a_step_and_none_is_empty_without_need(tokens, world):
    step = Step(0, 0, np.arange(len(tokens)) + 5, np.array(tokens))
    cut = bins(step, world)
    assert len(cut) == world
    assert np.array_equal(np.concatenate(cut), step.rows)
    assert min(map(len, cut)) >= (1 if len(tokens) >= world else 0)


def test_bins_are_balanced_by_tokens():
    rng = np.random.default_rng(0)
    step = Step(0, 0, np.arange(400), np.sort(rng.integers(5, 65, 400)))
    for world in (2, 3, 4):
        loads = [step.tokens[rows].sum() for rows in bins(step, world)]
        assert max(loads) - min(loads) <= 64


@given(st.lists(st.integers(1, 50), max_size=100), st.integers(1, 300))
def test_stretches_cover_all_and_keep_the_budget(tokens, budget):
    tokens = np.array(tokens, dtype=np.int64)
    cuts = cut_by_tokens(tokens, budget)
    assert np.array_equal(
        np.concatenate([np.arange(len(tokens))[c] for c in cuts] or [[]]), np.arange(len(tokens))
    )
    for cut in cuts:
        assert tokens[cut].sum() <= budget or cut.stop - cut.start == 1


def test_no_step_is_a_small_remainder():
    found = list(make_plan(np.full(1000, 10), budget=330).steps(0))
    sizes = [len(step.rows) for step in found]
    assert min(sizes) >= 0.9 * max(sizes)


@pytest.mark.parametrize(
    "distribution",
    ["photometry", "spectra", "light_tail"],
)
def test_padding_would_waste_at_most_a_twentieth(distribution):
    rng = np.random.default_rng(0)
    lengths = {
        "photometry": rng.integers(10, 65, 6000),
        "spectra": rng.integers(200, 1000, 3000),
        "light_tail": np.clip(rng.lognormal(3.9, 0.4, 6000), 1, 400).astype(int),
    }[distribution]
    found = list(make_plan(lengths, budget=int(64 * lengths.mean())).steps(0))
    for world in (1, 2):
        cut = [rows for step in found for rows in bins(step, world)]
        allocated = sum(lengths[rows].max() * len(rows) for rows in cut)
        assert lengths.sum() / allocated >= 0.95


def test_epochs_and_seeds_differ_in_order_and_in_company():
    lengths = np.random.default_rng(0).integers(10, 65, 400)
    plan = make_plan(lengths, 640)

    def company(found: list[Step]) -> set[frozenset[int]]:
        return {frozenset(step.rows.tolist()) for step in found}

    first, second = list(plan.steps(0)), list(plan.steps(1))
    assert company(first) == company(list(plan.steps(0)))
    assert len(company(first) & company(second)) < 0.5 * len(first)
    assert company(first) != company(list(make_plan(lengths, 640, seed=1).steps(0)))


@pytest.mark.usefixtures("small_windows")
def test_large_surveys_plan_window_by_window(monkeypatch: pytest.MonkeyPatch):
    """Windows join row groups from all over the survey and are cut only when they are reached."""
    lengths = np.random.default_rng(0).integers(10, 65, 2000)
    plan = make_plan(lengths, 640)
    groups = plan.window_groups(0)
    assert len(groups) == 20  # of 40 row groups, two at least in each
    assert np.array_equal(np.sort(np.concatenate(groups)), np.arange(40))
    assert np.mean([np.abs(np.diff(g)).mean() for g in groups if len(g) > 1]) > 5
    assert np.array_equal(np.sort(rows_of(list(plan.steps(0)))), np.arange(2000))
    touched: list[int] = []
    monkeypatch.setattr(Plan, "eligible", _noting(touched, Plan.eligible))
    next(plan.steps(1))
    assert len(touched) == len(plan.window_groups(1)[0])


def _noting(touched, eligible):
    def noted(self, start, stop):
        touched.append(start)
        return eligible(self, start, stop)

    return noted


@pytest.mark.parametrize("fixture", ["small_windows", None])
def test_starting_in_the_middle_is_the_same_as_skipping(fixture, request):
    if fixture:
        request.getfixturevalue(fixture)
    table = make_lengths(np.random.default_rng(0).integers(10, 65, 600))
    whole = list(steps(table, ("m",), "train", 3, 2, 640))
    for start in range(len(whole) + 1):
        rest = list(steps(table, ("m",), "train", 3, 2, 640, start))
        assert [s.index for s in rest] == [s.index for s in whole[start:]]
        assert all(np.array_equal(a.rows, b.rows) for a, b in zip(rest, whole[start:], strict=True))


def test_a_shared_sequence_is_taken_once_per_object():
    table = make_lengths(np.full(6, 10))
    objects = pa.array(["a", "a", "a", "b", "b", "c"])
    hashes = pa.array([1, 1, 2, 1, 1, 7])
    table = table.set_column(1, "object_id", objects)
    table = table.set_column(table.column_names.index("m.hash"), "m.hash", hashes)
    assert first_of_shared(table, "m").tolist() == [True, False, True, True, False, True]


def test_a_split_without_measurements_is_one_clear_sentence():
    plan = make_plan(np.zeros(5), 100)
    with pytest.raises(DataError, match="split 'train' has no measurement of m left"):
        next(plan.steps(0))


def test_two_modalities_are_both_of_similar_length():
    rng = np.random.default_rng(0)
    curves, spectra = rng.integers(10, 65, 12000), rng.integers(100, 200, 12000)
    spectra[rng.random(12000) < 0.2] = 0
    table = make_lengths(curves)
    for name in ("length", "raw_length"):
        table = table.append_column(f"n.{name}", pa.array(spectra.astype(np.int32)))
    allocated = 0
    for step in steps(table, ("m", "n"), "train", 0, 0, 64 * 180):
        for lengths in (curves[step.rows], spectra[step.rows]):
            allocated += lengths.max() * np.count_nonzero(lengths)
    assert (curves.sum() + spectra.sum()) / allocated >= 0.95


def test_of_two_modalities_a_sample_has_one_at_least():
    """Whatever is missing elsewhere: each sample with any measurement once, the others never."""
    rng = np.random.default_rng(0)
    curves, spectra = rng.integers(0, 3, 500), rng.integers(0, 3, 500)
    table = make_lengths(curves)
    for name in ("length", "raw_length"):
        table = table.append_column(f"n.{name}", pa.array(spectra.astype(np.int32)))
    rows = rows_of(list(steps(table, ("m", "n"), "train", 0, 0, 40)))
    assert sorted(rows) == np.flatnonzero(curves + spectra).tolist()
    assert len(rows) < 500
