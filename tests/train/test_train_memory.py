"""Peak memory: what is held for a moment counts, and is forgotten when asked."""

import numpy as np

from daep_ray.train.memory import forget_peak, peak_bytes, peak_gpu_bytes

MIB = 2**20


def test_a_moment_counts_until_it_is_forgotten() -> None:
    forget_peak()
    before = peak_bytes()
    held = np.ones(200 * MIB // 8)
    del held
    after = peak_bytes()
    assert 190 * MIB < after - before < 260 * MIB
    forget_peak()
    assert peak_bytes() < after - 150 * MIB


def test_without_a_gpu_none_of_it_is_used() -> None:
    assert peak_gpu_bytes() >= 0
