"""Optimiser, rate and running average: what happens to the weights at a step."""

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn

from daep_ray.config import AdamWConfig, MuonConfig, OptimisationConfig
from daep_ray.objectives.base import Objective


class Optimiser:
    """One or two torch optimisers behind one step and one rate."""

    def __init__(self, objective: nn.Module, config: OptimisationConfig):
        self.config = config
        self.parts = _build(objective, config.optimizer)
        self.peaks = [[g["lr"] for g in part.param_groups] for part in self.parts]
        self.parameters = [p for p in objective.parameters() if p.requires_grad]

    def rate(self, progress: float) -> float:
        """Factor on the peak rate at `progress`, the fraction of the budget seen, in [0, 1]."""
        rate = self.config.rate
        warm = min(1.0, progress / rate.warmup) if rate.warmup > 0 else 1.0
        if rate.kind == "constant":
            return warm
        past = max(0.0, (progress - rate.warmup) / (1.0 - rate.warmup))
        cosine = 0.5 * (1.0 + math.cos(math.pi * min(1.0, past)))
        return warm * (rate.final + (1.0 - rate.final) * cosine)

    def step(self, progress: float) -> Tensor:
        """Clip, update, clear; returns the gradient's norm () before clipping."""
        factor = self.rate(progress)
        limit = self.config.clip_norm or math.inf
        norm = nn.utils.clip_grad_norm_(self.parameters, limit, foreach=True)
        for part, peaks in zip(self.parts, self.peaks, strict=True):
            for group, peak in zip(part.param_groups, peaks, strict=True):
                group["lr"] = peak * factor
            part.step()
            part.zero_grad(set_to_none=True)
        return norm

    def state(self) -> dict[str, Any]:
        return {"parts": [part.state_dict() for part in self.parts]}

    def load(self, state: dict[str, Any]) -> None:
        for part, saved in zip(self.parts, state["parts"], strict=True):
            part.load_state_dict(saved)


def _build(objective: nn.Module, config: MuonConfig | AdamWConfig) -> list[torch.optim.Optimizer]:
    parameters = [p for p in objective.parameters() if p.requires_grad]
    if isinstance(config, AdamWConfig):
        return [
            torch.optim.AdamW(
                parameters, lr=config.rate, weight_decay=config.weight_decay, foreach=True
            )
        ]
    # Muon orthogonalises a matrix that maps activations; embeddings and learnt tokens are tables
    # of vectors, and a map from or to a single number has no second direction to orthogonalise
    tables = {
        id(p) for m in objective.modules() if isinstance(m, nn.Embedding) for p in m.parameters()
    }
    linear = {id(m.weight) for m in objective.modules() if isinstance(m, nn.Linear)}
    hidden = [p for p in parameters if id(p) in linear - tables and min(p.shape) > 1]
    chosen = {id(p) for p in hidden}
    rest = [p for p in parameters if id(p) not in chosen]
    muon = torch.optim.Muon(
        hidden,
        lr=config.rate,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
        adjust_lr_fn="match_rms_adamw",
    )
    adamw = torch.optim.AdamW(
        rest, lr=config.adamw_rate, weight_decay=config.weight_decay, foreach=True
    )
    return [muon, adamw]


class RunningAverage:
    """Exponential moving average of the weights (EMA), with a warm-up.

    The decay at step n is min(decay, (1 + n) / (10 + n)), so that a short training does not
    average over its random beginning.
    """

    def __init__(self, objective: Objective, decay: float):
        self.decay = decay
        self.objective = copy.deepcopy(objective).eval().requires_grad_(False)
        # state_dict shares memory with the live tensors: collected once, current for ever
        self._averaged = _floating(self.objective)
        self._current = _floating(objective)

    def update(self, num_steps: int) -> None:
        """Move towards the weights that the objective has after `num_steps` steps."""
        decay = min(self.decay, (1 + num_steps) / (10 + num_steps))
        torch._foreach_lerp_(self._averaged, self._current, 1.0 - decay)


def _floating(module: nn.Module) -> list[Tensor]:
    return [t for t in module.state_dict().values() if t.is_floating_point()]
