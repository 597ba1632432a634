"""Symmetric InfoNCE between the codes of modalities, over all samples of a step.

In: one code per modality, which samples have which, and whose samples they are. Out: a term of the
loss per pair of modalities, whose gradient is the same for any number of workers.

With unit vectors u_i, v_i of the P samples that have both modalities, and temperature tau,

    S_ij = u_i . v_j / tau
    l_i  = (log sum_j exp S_ij - S_ii) / 2 + (log sum_j exp S_ji - S_ii) / 2

(van den Oord et al. 2018; Radford et al. 2021); j runs over i itself and the samples of other
objects: another spectrum of the same supernova is no wrong answer. Chance is log P.
"""

from collections.abc import Mapping
from itertools import combinations, pairwise

import pyarrow as pa
import torch
import torch.distributed as dist
import torch.nn.functional as F
from pydantic import PositiveFloat, PositiveInt
from torch import Tensor, nn

from daep_ray.nn.attention import linear
from daep_ray.nn.config import BottleneckConfig
from daep_ray.objectives.base import Term
from daep_ray.settings import Settings
from daep_ray.stream.keyed import string_keys


class InfoNceConfig(Settings):
    """`temperature` tau, or its first value where it `learns_temperature` (the published: fixed).

    `projection`: the widths of the layers from a modality's code to the vector that is compared,
    one set of weights per modality (published: 16 -> 16 -> 8); empty: the code itself.
    """

    temperature: PositiveFloat = 0.1
    learns_temperature: bool = False
    projection: tuple[PositiveInt, ...] = (16, 8)


class Alignment(nn.Module):
    """What brings the codes of several modalities to one sphere, and their loss there."""

    log_scale: Tensor

    def __init__(
        self, config: InfoNceConfig, bottleneck: BottleneckConfig, modalities: tuple[str, ...]
    ) -> None:
        super().__init__()
        self.modalities = modalities
        widths = (bottleneck.length * bottleneck.width, *config.projection)
        self.num_features = widths[-1]
        self.heads = nn.ModuleDict({m: projection(widths) for m in modalities})
        log_scale = -torch.tensor(config.temperature).log()
        if config.learns_temperature:
            self.log_scale = nn.Parameter(log_scale)
        else:
            self.register_buffer("log_scale", log_scale, persistent=False)

    def unit(self, modality: str, code: Tensor) -> Tensor:
        """(B, M, Z) a modality's code -> (B, F) of length 1."""
        return F.normalize(self.heads[modality](code.flatten(1)), dim=1)

    def together(self, codes: Mapping[str, Tensor], is_present: Tensor) -> Tensor:
        """(B, F) of length 1: the direction between those of the present modalities."""
        each = torch.stack([self.unit(m, codes[m]) for m in self.modalities], dim=1)
        return F.normalize((each * is_present[:, :, None]).sum(1), dim=1)

    def terms(
        self, codes: Mapping[str, Tensor], is_present: Tensor, objects: tuple[str, ...]
    ) -> dict[str, Term]:
        """`contrastive/a+b` for each pair of modalities, from codes (B, M, Z) and (B, E) bool.

        All workers' samples are each other's negatives, so all of them must call this at a step.
        Each computes the loss of the whole step, with a gradient to its own codes alone: added up,
        that is the gradient of one worker. The value is counted on the first.
        """
        each = torch.stack([self.unit(m, codes[m]) for m in self.modalities], dim=1)
        keys = torch.from_numpy(string_keys(pa.array(objects, pa.string())).view("int64").copy())
        marks = torch.cat([keys.to(each.device)[:, None], is_present.long()], dim=1)
        vectors, marks = of_all_workers(each.flatten(1)), of_all_workers(marks)
        vectors = vectors.unflatten(1, (len(self.modalities), self.num_features))
        scale = _shared_gradient(self.log_scale).exp()
        # a head that no pair asks gets a gradient of zero, which workers wait for
        touched = 0 * each.sum()
        pairs = list(combinations(range(len(self.modalities)), 2))
        found = {}
        for a, b in pairs:
            both = (marks[:, 1 + a] * marks[:, 1 + b]).nonzero()[:, 0]
            u, v = vectors[both, a], vectors[both, b]
            whole, num_pairs = info_nce(u, v, marks[both, 0], scale)
            counted = float(rank() == 0)
            value = whole + (counted - 1) * whole.detach()
            name = f"contrastive/{self.modalities[a]}+{self.modalities[b]}"
            found[name] = Term(value + touched, counted * num_pairs, 1 / len(pairs))
        return found


def projection(widths: tuple[int, ...]) -> nn.Sequential:
    """A multilayer perceptron through these widths; one width: nothing."""
    layers: list[nn.Module] = []
    for num_in, num_out in pairwise(widths):
        layers += [linear(num_in, num_out), nn.SiLU()]
    return nn.Sequential(*layers[:-1])


def info_nce(u: Tensor, v: Tensor, objects: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """() the sum of l_i over pairs of unit vectors (P, F), and () float how many there are.

    `objects` (P,) int64 says whose they are. A pair without a negative says nothing and is left
    out of both.
    """
    logits = scale * (u @ v.T)
    is_other = objects[:, None] != objects[None, :]
    is_counted = is_other.any(1)
    is_self = torch.eye(len(u), dtype=torch.bool, device=u.device)
    logits = logits.masked_fill(~(is_other | is_self), -torch.inf)
    both = (logits.logsumexp(0) + logits.logsumexp(1)) / 2 - logits.diagonal()
    return (both * is_counted).sum(), is_counted.sum().float()


def of_all_workers(rows: Tensor) -> Tensor:
    """(n, W) of this worker -> those of all, in the order of ranks; a gradient to its own alone.

    The gather has no backward pass of its own, so it cannot come between the reductions of
    gradients, whose order all workers must share.
    """
    if num_workers() == 1:
        return rows
    sizes = [torch.zeros(1, dtype=torch.int64, device=rows.device) for _ in range(num_workers())]
    dist.all_gather(sizes, torch.tensor([len(rows)], device=rows.device))
    lengths = [int(n) for n in sizes]
    padded = rows.new_zeros(max(lengths), rows.shape[1])
    padded[: len(rows)] = rows.detach()
    blocks = [torch.empty_like(padded) for _ in lengths]
    dist.all_gather(blocks, padded)
    parts = [block[:n] for block, n in zip(blocks, lengths, strict=True)]
    parts[rank()] = rows
    return torch.cat(parts)


def _shared_gradient(x: Tensor) -> Tensor:
    """x, of whose gradient every worker gives an equal share: each computes the whole loss."""
    share = x / num_workers()
    return share + (x - share).detach()


def num_workers() -> int:
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    return dist.get_rank() if num_workers() > 1 else 0
