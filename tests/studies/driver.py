"""Runs study commands one after the other, each in a fork that has the slow imports already.

In: a JSON file {name: [study file, *words]} and a folder. Out: FOLDER/<name>.log with what the
command printed, then FOLDER/<name>.code with its exit code. As the entrypoint of a Ray job every
command is what a job of its own would run.
"""

import json
import os
import runpy
import sys
from pathlib import Path

import ray.tune  # noqa: F401
import torch  # noqa: F401

import daep_ray.pretrained
import daep_ray.report.write
import daep_ray.study.launch
import daep_ray.study_cli  # noqa: F401


def fork(words: list[str], log: Path) -> int:
    """The exit code of a command; in the fork it never returns."""
    process = os.fork()
    if process:
        return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    with log.open("w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.argv = words
    runpy.run_path(words[0], run_name="__main__")
    sys.exit(0)


def main(commands: Path, folder: Path) -> None:
    for name, words in json.loads(commands.read_text()).items():
        code = fork(words, folder / f"{name}.log")
        staged = folder / f"{name}.partial"
        staged.write_text(str(code))
        staged.rename(folder / f"{name}.code")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
