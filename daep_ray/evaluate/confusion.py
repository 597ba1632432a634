"""What a probe takes for what: the classes that it says of each true class.

In: what a probe said on each of its splits. Out: rows of the table `confusion`; the shares of a
true class add up to 1, over all splits together, every object of a split weighing the same.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from daep_ray.evaluate.probe import Told

MOST_CLASSES = 40  # beyond, a matrix says nothing to the eye


def confusion(told: Sequence[Told]) -> Iterator[dict[str, Any]]:
    """Rows by true class and class said, zeros included; none of too many classes."""
    if not told:
        return
    truth, said, weight = (
        np.concatenate(parts)
        for parts in zip(*((t.truth, t.said, t.weight) for t in told), strict=True)
    )
    names = np.unique(np.concatenate([truth, said]))  # a class may be said and never be scored
    if len(names) > MOST_CLASSES:
        return
    for true in np.unique(truth):
        own = truth == true
        for name in names:
            yield {
                "truth": str(true),
                "said": str(name),
                "value": float(weight[own & (said == name)].sum() / weight[own].sum()),
                "count": round(float(weight[own].sum())),
            }
