"""Rows: padding, joining and repeating lose nothing and touch nothing else."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from daep_ray.nn.ragged import Rows

LENGTHS = st.lists(st.integers(0, 5), min_size=0, max_size=5)


def rows_of(lengths: list[int]) -> Rows:
    offsets = torch.tensor([0, *lengths]).cumsum(0).int()
    return Rows(offsets, int(offsets[-1]), max(lengths, default=0))


@given(LENGTHS)
def test_unpad_inverts_pad_and_padding_is_zero(lengths: list[int]) -> None:
    rows = rows_of(lengths)
    x = torch.arange(1.0, 1 + 2 * rows.num_rows).reshape(-1, 2)
    block = rows.pad(x)
    assert torch.equal(rows.unpad(block), x)
    assert block.shape == (len(lengths), max(lengths, default=0), 2)
    for b, length in enumerate(lengths):
        start = int(rows.offsets[b])
        assert torch.equal(block[b, :length], x[start : start + length])
        assert not block[b, length:].any()


@given(LENGTHS, st.integers(1, 3))
def test_join_puts_the_front_before_every_sample(lengths: list[int], num_front: int) -> None:
    rows = rows_of(lengths)
    back = torch.randn(rows.num_rows, 2)
    front = torch.randn(len(lengths), num_front, 2)
    joined = rows.after(num_front)
    whole = joined.join(front, back)
    expected = [
        torch.cat([front[b], back[int(rows.offsets[b]) : int(rows.offsets[b + 1])]])
        for b in range(len(lengths))
    ]
    assert torch.equal(whole, torch.cat([*expected, torch.zeros(0, 2)]))
    assert torch.equal(joined.take_back(whole), back)
    assert joined.rows.lengths.tolist() == [n + num_front for n in lengths]


@given(LENGTHS, st.integers(1, 3))
def test_repeat_is_the_samples_over_again(lengths: list[int], times: int) -> None:
    repeated = rows_of(lengths).repeat(times)
    expected = rows_of(lengths * times)
    assert torch.equal(repeated.offsets, expected.offsets)
    assert (repeated.num_rows, repeated.max_length) == (expected.num_rows, expected.max_length)


def test_padding_of_equal_lengths_is_a_view() -> None:
    x = torch.randn(6, 4)
    assert Rows.dense(2, 3).pad(x).data_ptr() == x.data_ptr()
    assert Rows.dense(2, 3).key_bias is None


@given(st.lists(st.integers(0, 4), min_size=1, max_size=4))
def test_gradients_of_pad_and_unpad(lengths: list[int]) -> None:
    rows = rows_of(lengths)
    x = torch.randn(rows.num_rows, 2, dtype=torch.float64, requires_grad=True)
    block = torch.randn(len(lengths), rows.max_length, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(rows.pad, (x,))
    assert torch.autograd.gradcheck(rows.unpad, (block,))
