"""Every backend against the loop: values and gradients, ragged and dense, empty sequences."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from daep_ray.nn.attention import CrossAttention, attend, folds
from daep_ray.nn.ragged import Rows

WIDTH, HEADS = 8, 2
RAGGED = [3, 0, 5, 1]
EVEN = [4, 4, 4, 4]
TOLERANCE = {torch.float32: 2e-5, torch.float64: 1e-12}


def rows_of(lengths: list[int]) -> Rows:
    offsets = torch.tensor([0, *lengths]).cumsum(0).int()
    return Rows(offsets, int(offsets[-1]), max(lengths, default=0))


def outputs(backend: str, query: Tensor, key_value: Tensor, rows: Rows, context: Rows) -> list:
    out = attend(query, key_value, rows, context, HEADS, backend)
    weight = torch.linspace(-1, 1, out.numel(), dtype=out.dtype).reshape(out.shape)
    return [out, *torch.autograd.grad((out * weight).sum(), [query, key_value])]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("context", [RAGGED, EVEN])
@pytest.mark.parametrize("queries", [RAGGED[::-1], EVEN])
def test_padded_equals_the_loop(queries: list[int], context: list[int], dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    rows, context_rows = rows_of(queries), rows_of(context)
    query = torch.randn(rows.num_rows, WIDTH, dtype=dtype, requires_grad=True)
    key_value = torch.randn(context_rows.num_rows, 2 * WIDTH, dtype=dtype, requires_grad=True)
    ours = outputs("padded", query, key_value, rows, context_rows)
    theirs = outputs("reference", query, key_value, rows, context_rows)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=TOLERANCE[dtype])


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=5))
def test_padded_equals_the_loop_at_any_lengths(lengths: list[tuple[int, int]]) -> None:
    rows, context = rows_of([q for q, _ in lengths]), rows_of([k for _, k in lengths])
    query = torch.randn(rows.num_rows, WIDTH, dtype=torch.float64, requires_grad=True)
    key_value = torch.randn(context.num_rows, 2 * WIDTH, dtype=torch.float64, requires_grad=True)
    ours = outputs("padded", query, key_value, rows, context)
    theirs = outputs("reference", query, key_value, rows, context)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


@pytest.mark.parametrize("backend", ["padded", "reference"])
def test_an_empty_context_reads_zeros_and_gives_no_nan(backend: str) -> None:
    rows, context = rows_of([2, 2]), rows_of([0, 3])
    query = torch.randn(4, WIDTH, requires_grad=True)
    key_value = torch.randn(3, 2 * WIDTH, requires_grad=True)
    out, *gradients = outputs(backend, query, key_value, rows, context)
    assert not out[:2].any()
    assert out[2:].all()
    assert all(torch.isfinite(g).all() for g in gradients)


@pytest.mark.parametrize("backend", ["padded", "reference"])
def test_the_order_of_the_context_does_not_matter(backend: str) -> None:
    rows, context = rows_of([3, 2]), rows_of([5, 4])
    query, key_value = torch.randn(5, WIDTH), torch.randn(9, 2 * WIDTH)
    order = torch.cat([torch.randperm(5), 5 + torch.randperm(4)])
    torch.testing.assert_close(
        attend(query, key_value, rows, context, HEADS, backend),
        attend(query, key_value[order], rows, context, HEADS, backend),
    )


@pytest.mark.parametrize("lengths", [[40, 40, 40], [40, 17, 0]])
def test_folded_reading_equals_keys_and_values(
    lengths: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    context, rows = rows_of(lengths), Rows.dense(3, 2)
    module = CrossAttention(32, 4).double()
    x = torch.randn(6, 32, dtype=torch.float64, requires_grad=True)
    tokens = torch.randn(context.num_rows, 32, dtype=torch.float64, requires_grad=True)

    def both() -> list[Tensor]:
        out = module(x, tokens, rows, context)
        return [out, *torch.autograd.grad((out**2).sum(), [x, tokens, *module.parameters()])]

    assert folds(2, 40, 32, 4)
    folded = both()
    monkeypatch.setattr("daep_ray.nn.attention.folds", lambda *_: False)
    for a, b in zip(folded, both(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="varlen_attn needs a CUDA device")
@pytest.mark.parametrize("queries", [RAGGED[::-1], EVEN])
@pytest.mark.parametrize("context", [RAGGED, EVEN])
def test_varlen_equals_the_loop(queries: list[int], context: list[int]) -> None:
    width = 64
    rows, context_rows = (
        Rows(r.offsets.cuda(), r.num_rows, r.max_length)
        for r in (rows_of(queries), rows_of(context))
    )
    query = torch.randn(rows.num_rows, width, device="cuda", requires_grad=True)
    key_value = torch.randn(context_rows.num_rows, 2 * width, device="cuda", requires_grad=True)
    half = [t.detach().bfloat16().requires_grad_() for t in (query, key_value)]
    ours = attend(half[0], half[1], rows, context_rows, HEADS, "varlen")
    theirs = attend(query, key_value, rows, context_rows, HEADS, "reference")
    torch.testing.assert_close(ours.float(), theirs, rtol=0, atol=3e-2)
    ours.float().sum().backward()
    theirs.sum().backward()
    for a, b in zip(half, (query, key_value), strict=True):
        assert a.grad is not None
        assert b.grad is not None
        torch.testing.assert_close(a.grad.float(), b.grad, rtol=0, atol=5e-2)
