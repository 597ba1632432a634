"""Learning curves as TensorBoard reads them: `tensorboard --logdir OUT/tensorboard`.

In: the trainings of a study. Out: a folder of event files per training; the step is the number of
objects seen. Needs the extra `track` (tensorboardX).
"""

import shutil
from collections.abc import Sequence
from pathlib import Path

from daep_ray.errors import ConfigError
from daep_ray.study.tracked import Training

try:
    from tensorboardX import SummaryWriter
except ImportError:
    raise ConfigError(
        "--tensorboard needs the package tensorboardX, which is not installed: "
        "pip install 'daep-ray[track]'"
    ) from None


class TensorBoard:
    """Written anew when a study is started again, then added to."""

    name = "TensorBoard"

    def __init__(self, folder: Path):
        self.folder = folder
        self._shown: dict[str, int] | None = None  # points by fingerprint; None: nothing yet

    def show(self, trainings: Sequence[Training]) -> None:
        """Add the points that are new.

        Raises:
            OSError: the folder cannot be written.
        """
        if self._shown is None:
            shutil.rmtree(self.folder, ignore_errors=True)
            self._shown = {}
        for training in trainings:
            shown = self._shown.get(training.fingerprint, 0)
            if points := training.curve[shown:]:
                # two files of one second would have one name without the suffix
                place = {"logdir": str(self.folder / training.label)}
                with SummaryWriter(**place, filename_suffix=f".{shown:06}") as writer:
                    for point in points:
                        for name, value in point.values.items():
                            writer.add_scalar(name, value, point.num_objects)
            self._shown[training.fingerprint] = len(training.curve)
