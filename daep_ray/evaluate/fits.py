"""Whether data can be given to a trained model at all.

In: a folder of shards and the model's recipe. Out: nothing, or a DataError that says what differs.
"""

from daep_ray.errors import DataError
from daep_ray.shards.read import ShardFolder
from daep_ray.stream.fitted import FittedRecipe


def check_fits(folder: ShardFolder, fitted: FittedRecipe, modalities: tuple[str, ...]) -> None:
    """Raise DataError unless the data declare the modalities as the model learnt them."""
    for name in modalities:
        if name not in folder.modalities:
            raise DataError(
                f"the data in {str(folder.path)!r} have no modality {name!r}: "
                f"they have {', '.join(folder.modalities)}"
            )
        if folder.modalities[name] != fitted.modalities[name]:
            raise DataError(
                f"{name!r} in {str(folder.path)!r} is declared otherwise than where the model was "
                "trained (units, positions, words of a category or metadata): "
                "ingest the data with the same format and options"
            )
