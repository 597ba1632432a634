"""attend(query, context): the one place that knows about raggedness and attention backends.

reference   a loop over samples; what the others are tested against
padded      a padded block and `scaled_dot_product_attention` with a key bias (CPU, any dtype);
            a view without scatter or bias where all lengths are equal
varlen      `torch.nn.attention.varlen.varlen_attn` (CUDA, half precision): no padding at all
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from daep_ray.nn.ragged import Rows

SHARPNESS = 2.0  # gain of queries and of keys at the start


def _nothing(query: Tensor, key_value: Tensor) -> Tensor:
    """Zeros where there is nothing to read or nobody who reads.

    Still a function of both, so that an empty batch gives every parameter a gradient (of zero),
    which gradient reduction between workers waits for.
    """
    return 0 * query + 0 * key_value.sum()


def _reference(query: Tensor, key_value: Tensor, rows: Rows, context: Rows, heads: int) -> Tensor:
    key, value = key_value.chunk(2, dim=1)
    dim = query.shape[1] // heads
    out = []
    for b in range(rows.num_samples):
        i = slice(int(rows.offsets[b]), int(rows.offsets[b + 1]))
        j = slice(int(context.offsets[b]), int(context.offsets[b + 1]))
        q = query[i].unflatten(1, (heads, dim))
        k = key[j].unflatten(1, (heads, dim))
        v = value[j].unflatten(1, (heads, dim))
        weights = torch.einsum("ihd,jhd->hij", q, k).mul(dim**-0.5).softmax(-1)
        out.append(torch.einsum("hij,jhd->ihd", weights, v).flatten(1))
    return torch.cat(out) if out else _nothing(query, key_value)


def _padded(query: Tensor, key_value: Tensor, rows: Rows, context: Rows, heads: int) -> Tensor:
    if rows.num_rows == 0 or context.num_rows == 0:
        return _nothing(query, key_value)
    dim = query.shape[1] // heads
    q = rows.pad(query).unflatten(2, (heads, dim)).transpose(1, 2)  # (B, H, Lq, d)
    kv = context.pad(key_value).unflatten(2, (2, heads, dim))  # (B, Lk, 2, H, d)
    k, v = kv[:, :, 0].transpose(1, 2), kv[:, :, 1].transpose(1, 2)
    bias = context.key_bias
    if bias is not None:
        bias = bias.to(q.dtype)
    out = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
    return rows.unpad(out.transpose(1, 2).flatten(2))


def _varlen(query: Tensor, key_value: Tensor, rows: Rows, context: Rows, heads: int) -> Tensor:
    from torch.nn.attention.varlen import varlen_attn

    if rows.num_rows == 0 or context.num_rows == 0:
        return _nothing(query, key_value)
    dim = query.shape[1] // heads
    kv = key_value.unflatten(1, (2, heads, dim))
    out = varlen_attn(
        query.unflatten(1, (heads, dim)),
        kv[:, 0],
        kv[:, 1],
        rows.offsets,
        context.offsets,
        rows.max_length,
        context.max_length,
    )
    assert isinstance(out, Tensor)
    return out.flatten(1)


BACKENDS: dict[str, Callable[[Tensor, Tensor, Rows, Rows, int], Tensor]] = {
    "reference": _reference,
    "padded": _padded,
    "varlen": _varlen,
}


def attend(
    query: Tensor,
    key_value: Tensor,
    rows: Rows,
    context: Rows,
    num_heads: int,
    backend: str | None = None,
) -> Tensor:
    """Softmax attention within each sample: (Nq, D), (Nk, 2 D) -> (Nq, D).

    `rows` and `context` say which rows belong to which sample, the same samples in both; dense and
    ragged mix freely. A sample with an empty context reads zeros. By default the backend follows
    from the device and the dtype.
    """
    assert rows.num_samples == context.num_samples
    if backend is None:
        is_half = query.dtype in (torch.float16, torch.bfloat16)
        backend = "varlen" if query.is_cuda and is_half else "padded"
    return BACKENDS[backend](query, key_value, rows, context, num_heads)


def folds(num_queries: int, num_rows: int, width: int, num_heads: int) -> bool:
    """Whether `num_queries` queries per sample read `num_rows` rows cheaper without keys.

    True if folding the key and value matrices into the queries halves the arithmetic at least.
    """
    columns = num_queries * num_heads
    return 2 * columns <= width and num_rows > 2 * columns


def linear(num_in: int, num_out: int, gain: float = 1.0, bias: bool = True) -> nn.Linear:
    """A linear layer whose outputs have `gain` times the spread of its inputs at the start."""
    layer = nn.Linear(num_in, num_out, bias=bias)
    nn.init.normal_(layer.weight, std=gain * num_in**-0.5)
    if bias:
        nn.init.zeros_(layer.bias)
    return layer


class CrossAttention(nn.Module):
    """Queries read a context; both are normalised by the caller.

    Scores begin wide (`SHARPNESS`), so that from the start different queries read different places;
    near-uniform attention hands every query the same mean, and learning begins with a long wait.
    """

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.to_query = linear(width, width, SHARPNESS, bias=False)
        self.to_key_value = linear(width, 2 * width, bias=False)
        self.to_output = linear(width, width, bias=False)
        with torch.no_grad():
            self.to_key_value.weight[:width] *= SHARPNESS

    def forward(self, x: Tensor, context: Tensor, rows: Rows, context_rows: Rows) -> Tensor:
        """(Nq, D), (Nk, D) -> (Nq, D)."""
        is_foldable = rows.is_even and rows.num_rows > 0 and context_rows.num_rows > 0
        if (
            is_foldable
            and not x.is_cuda
            and folds(rows.max_length, context_rows.max_length, x.shape[1], self.num_heads)
        ):
            return self.to_output(self._folded(x, context, rows, context_rows))
        query, key_value = self.to_query(x), self.to_key_value(context)
        return self.to_output(attend(query, key_value, rows, context_rows, self.num_heads))

    def _folded(self, x: Tensor, context: Tensor, rows: Rows, context_rows: Rows) -> Tensor:
        """The same attention without making keys and values of every context row.

        q . (W_k c) = (W_k^T q) . c, and a weighted mean of W_v c is W_v of the weighted mean: with
        M queries and H heads, 2 M H D products per context row instead of 2 D^2.
        """
        num_samples, width, heads = rows.num_samples, x.shape[1], self.num_heads
        query = self.to_query(x).view(num_samples, -1, heads, width // heads)
        key_of, value_of = self.to_key_value.weight.view(2, heads, width // heads, width)
        folded = torch.einsum("bmhd,hdw->bhmw", query, key_of).flatten(1, 2)
        block = context_rows.pad(context)
        scores = torch.bmm(folded * (width // heads) ** -0.5, block.transpose(1, 2))
        if context_rows.key_bias is not None:
            scores = scores + context_rows.key_bias[:, 0].to(scores.dtype)
        read = torch.bmm(scores.softmax(-1), block).unflatten(1, (heads, -1))
        return torch.einsum("bhmw,hdw->bmhd", read, value_of).reshape(-1, width)


class SelfAttention(nn.Module):
    """Rows of a sample read each other; normalised by the caller."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.to_query_key_value = linear(width, 3 * width, bias=False)
        self.to_output = linear(width, width, bias=False)

    def forward(self, x: Tensor, rows: Rows) -> Tensor:
        """(N, D) -> (N, D)."""
        width = x.shape[1]
        query, key_value = self.to_query_key_value(x).split([width, 2 * width], dim=1)
        return self.to_output(attend(query, key_value, rows, rows, self.num_heads))


class FeedForward(nn.Sequential):
    """D -> ratio x D -> D on every row."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__(linear(width, hidden), nn.SiLU(), linear(hidden, width))
