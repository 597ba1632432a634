"""Whether every cell of a design can be trained and measured on the data, told before it begins.

In: the cells and the shards. Out: nothing, or a refusal in one sentence. Settings that each of the
axes allows may not go together; seeds and budgets change nothing about that.
"""

from collections.abc import Sequence

from daep_ray.config import RunConfig
from daep_ray.settings import canonical_hash
from daep_ray.shards.read import ShardFolder
from daep_ray.study.spec import Cell
from daep_ray.train.prepare import refuse_impossible


def check_possible(cells: Sequence[Cell], shards: ShardFolder) -> None:
    """Look at each kind of cell once.

    Raises:
        ConfigError: settings that do not go together. DataError: data that a cell would lack.
    """
    kinds = {_kind(cell.config): cell.config for cell in cells if not cell.is_reference}
    for config in kinds.values():
        refuse_impossible(config, shards)


def _kind(config: RunConfig) -> str:
    whole = config.model_dump(mode="json", exclude={"seed", "optimisation", "runtime"})
    return canonical_hash(whole)
