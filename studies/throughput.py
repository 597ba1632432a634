"""How fast is it, and does it meet its bars?

Design: every figure that depends on the machine is held against its float32 matmul rate, measured
in the same minute, or against a plain twin; medians over interleaved repeats. Sizes are the paper's
surveys (LAMOST 2,500 points, ZTF spectra 220, ZTF light curves 40). Ratios travel between machines,
seconds do not; nothing else should run meanwhile.

Cost: about 20 minutes on two cores, 4 with --quick. Command:

    python studies/throughput.py
    python studies/throughput.py --only step,scaling --threads 1 --quick

Ends with a table for people and one line of JSON. Answers: studies/README.md.
"""

import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from daep_ray.cli import run_app
from daep_ray.cli_tables import columns
from daep_ray.errors import ConfigError

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
PARTS = (
    "step",
    "sampling",
    "scaling",
    "stream",
    "packing",
    "memory",
    "training",
    "overhead",
    "help",
)


@app.command(help=__doc__)
def main(
    only: Annotated[str, typer.Option(metavar="PARTS", help=f"Of {', '.join(PARTS)}.")] = "",
    quick: Annotated[bool, typer.Option("--quick", help="Smaller sizes, fewer repeats.")] = False,
    threads: Annotated[int, typer.Option(min=1, help="Of torch.")] = os.cpu_count() or 1,
) -> None:
    chosen = [name.strip() for name in only.split(",") if name.strip()] or list(PARTS)
    for name in chosen:
        if name not in PARTS:
            raise ConfigError(f"unknown part {name!r} in --only: choose among {', '.join(PARTS)}")
    from daep_ray.study.session import prepare_environment

    prepare_environment(None)  # Ray reads it when it is imported
    import torch

    torch.set_num_threads(threads)
    parts, rows = _parts(), []
    with tempfile.TemporaryDirectory(prefix="daep-throughput-") as scratch:
        for name in chosen:
            print(f"{name} ...", flush=True)
            rows += parts[name](Path(scratch), quick)
            torch.set_num_threads(threads)  # a training sets its own
    shown = [(r.part, r.what, r.value, r.unit, r.verdict) for r in rows]
    print(columns(("part", "what", "measured", "unit", "bar"), shown))
    figures = [
        {"part": r.part, "what": r.what, "value": float(f"{r.value:.4g}"), "unit": r.unit}
        for r in rows
    ]
    print(json.dumps({"threads": threads, "quick": quick, "rows": figures}))


def _parts() -> dict[str, Callable[[Path, bool], list[Any]]]:
    from benchmark import data, models, whole

    functions = (
        models.step_rows,
        models.sampling_rows,
        models.scaling_rows,
        data.stream_rows,
        data.packing_rows,
        data.memory_rows,
        whole.training_rows,
        whole.overhead_rows,
        whole.help_rows,
    )
    return dict(zip(PARTS, functions, strict=True))


if __name__ == "__main__":
    sys.exit(run_app(app))
