"""Noise as data: keyed by (seed, turn, sample id, name), never by a place in the batch.

A `turn` is an epoch in training and a draw at inference. The same sample gets the same noise
whatever its neighbours, the packing, or the worker, and two samplers can be compared on the same
noise. Counter-based: element j of a stream is a hash of (key, j) (SplitMix64, Steele et al. 2014),
so nothing is drawn in sequence and everything is vectorised. What concerns a whole step (a pattern
of dropped modalities) is keyed by (seed, epoch, step), the same on every worker.
"""

import hashlib
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from daep_ray.stream.keyed import element_bits, normal, uniform


@dataclass(frozen=True)
class Noise:
    """Noise of one batch; cheap to make, tensors are drawn when asked for."""

    seed: int
    turn: int  # epoch in training, draw at inference
    sample_ids: tuple[str, ...]
    device: torch.device | str = "cpu"
    step: int = 0  # of the epoch, the same on all workers
    scope: str = ""  # before every name

    def within(self, name: str) -> "Noise":
        """The same samples, all names below `name`: one stream of each per modality."""
        return replace(self, scope=f"{self.scope}{name}/")

    def at(self, turn: int) -> "Noise":
        """The same samples at another turn."""
        return replace(self, turn=turn)

    def _keys(self, name: str) -> np.ndarray:
        """(B,) uint64, one key per sample."""
        prefix = f"{self.seed}/{self.turn}/{self.scope}{name}/".encode()
        digests = b"".join(
            hashlib.blake2b(prefix + s.encode(), digest_size=8).digest() for s in self.sample_ids
        )
        return np.frombuffer(digests, dtype=np.uint64)

    def _bits(self, name: str, lengths: np.ndarray, lane: int) -> np.ndarray:
        """(sum of lengths,) uint64: element j of each sample's stream, samples end to end."""
        keys = np.repeat(self._keys(name), lengths)
        starts = np.repeat(np.cumsum(lengths) - lengths, lengths)
        return element_bits(keys, np.arange(len(keys)) - starts, lane)

    def _normal(self, name: str, lengths: np.ndarray) -> np.ndarray:
        """Box-Muller on two independent lanes."""
        drawn = normal(self._bits(name, lengths, 0), self._bits(name, lengths, 1))
        return drawn.astype(np.float32)

    def normal(self, name: str, offsets: Tensor) -> Tensor:
        """(N,) standard normal, ragged as `offsets` (B+1,)."""
        lengths = np.diff(offsets.cpu().numpy()).astype(np.int64)
        return torch.from_numpy(self._normal(name, lengths)).to(self.device)

    def normal_per_sample(self, name: str, *shape: int) -> Tensor:
        """(B, *shape) standard normal."""
        lengths = np.full(len(self.sample_ids), int(np.prod(shape)), dtype=np.int64)
        flat = torch.from_numpy(self._normal(name, lengths)).to(self.device)
        return flat.reshape(len(self.sample_ids), *shape)

    def uniform(self, name: str) -> Tensor:
        """(B,) uniform in (0, 1)."""
        lengths = np.ones(len(self.sample_ids), dtype=np.int64)
        values = uniform(self._bits(name, lengths, 0)).astype(np.float32)
        # float32 rounds the last 2^-25 of the interval up to 1, which would index past an end
        values = np.minimum(values, np.float32(1.0 - 2.0**-24))
        return torch.from_numpy(values).to(self.device)

    def uniform_per_point(self, name: str, offsets: Tensor) -> Tensor:
        """(N,) uniform in (0, 1), float64, ragged as `offsets` (B+1,)."""
        lengths = np.diff(offsets.cpu().numpy()).astype(np.int64)
        return torch.from_numpy(uniform(self._bits(name, lengths, 0))).to(self.device)

    def uniform_of_step(self, name: str) -> float:
        """Uniform in (0, 1), one number for the whole step: the same on every worker."""
        key = f"{self.seed}/{self.turn}/step {self.step}/{self.scope}{name}".encode()
        bits = np.frombuffer(hashlib.blake2b(key, digest_size=8).digest(), dtype=np.uint64)
        return float(uniform(bits)[0])
