"""The laws once more, over the switches of the other objectives, and of wirings of the model."""

from typing import Any

import pytest
import torch

from daep_ray.diffusion.samplers import UniPCConfig
from daep_ray.nn.config import ModelConfig
from daep_ray.objectives import OBJECTIVES, Objective, build_objective
from daep_ray.settings import override
from tests.objectives.conftest import Names, informed, layouts_of, model_of
from tests.objectives.test_laws import (  # noqa: F401
    Make,
    Pick,
    reconstruct,
    test_1_a_code_depends_on_its_sample_alone,
    test_1_a_code_ignores_the_order_of_measurements,
    test_1_a_reconstruction_does_not_depend_on_packing,
    test_3_a_reconstruction_depends_on_data_through_the_code_alone,
    test_4_missing_metadata_and_absent_sequences_hold_nothing,
    test_6_an_empty_batch_has_no_weight_and_gives_every_parameter_a_gradient,
    test_6_losses_of_parts_add_up,
    test_9_a_state_dict_holds_all,
    test_12_inputs_are_not_modified,
)
from tests.objectives.test_laws import (
    test_2_every_parameter_gets_a_gradient as every_parameter_gets_a_gradient,
)

Case = tuple[str, str, Names, dict[str, Any], dict[str, Any]]
ONE: Names = ("m",)
TWO: Names = ("m", "n")
LAPLACE = {"likelihood": "laplace", "posterior": "laplace", "reduction": "mean"}
SWITCHED: dict[str, Case] = {
    "published wiring": (
        "daep",
        "two_stage",
        ONE,
        {"decoder.reads_noisy": False, "decoder.is_chained": False},
        {"prediction": "x0", "zero_terminal": True},
    ),
    "no chain": ("daep", "two_stage", ONE, {"decoder.is_chained": False}, {}),
    "points, drops per sample": (
        "daep",
        "two_stage",
        TWO,
        {"mixer.context_mixes": False},
        {"modality_weight": "points", "drop_per": "sample", "modality_drop": 0.5},
    ),
    "vae": ("vae", "two_stage", ONE, {}, LAPLACE),
    "maep, all, bernoulli": (
        "maep",
        "two_stage",
        ONE,
        {"decoder.reads_noisy": False},
        {"loss_on": "all", "counting": "bernoulli", "average": "objects"},
    ),
    "maep, nothing shown": ("maep", "single_stage", ONE, {}, {"context": "nothing"}),
    "mmvae, pooled": ("mmvae", "two_stage", TWO, {}, {**LAPLACE, "bound": "pooled"}),
    "mmvae, one draw": (
        "mmvae",
        "two_stage",
        TWO,
        {},
        {"num_draws": 1, "point_weight": {"n": 16.0}},
    ),
    "contrastive": (
        "contrastive",
        "two_stage",
        TWO,
        {},
        {"learns_temperature": True, "projection": (), "match": {}},
    ),
    "prior of a vae": (
        "prior",
        "two_stage",
        ONE,
        {},
        {"parent_objective": {"kind": "vae"}, "width": 16, "classes": ("a", "b")},
    ),
    "prior of an mmvae": (
        "prior",
        "two_stage",
        TWO,
        {},
        {"parent_objective": {"kind": "mmvae"}, "width": 16, "weighting": "min_snr"},
    ),
}
UNREAD = {"published wiring", "no chain"}  # layers that never learn: test_published_code


@pytest.fixture(params=SWITCHED.values(), ids=list(SWITCHED))
def case(request: pytest.FixtureRequest) -> Case:
    return request.param


@pytest.fixture
def objective(case: Case) -> Objective:
    kind, stages, names, of_model, settings = case
    torch.manual_seed(0)
    model: ModelConfig = override(model_of(stages), of_model)
    config = OBJECTIVES[kind](**settings)
    return informed(build_objective(config, model, layouts_of(names)), names)


def test_2_every_parameter_gets_a_gradient(
    objective: Objective, case: Case, make_batch: Make
) -> None:
    if any(case is SWITCHED[name] for name in UNREAD):
        pytest.skip("its unread layers never learn, which is the point (test_published_code)")
    if case is SWITCHED["prior of a vae"]:
        pytest.skip("its classes are asked for by batches with labels (test_objectives_prior)")
    every_parameter_gets_a_gradient(objective, make_batch)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_unipc_does_not_depend_on_packing(
    objective: Objective, order: int, make_batch: Make, pick: Pick
) -> None:
    batch, sampler = make_batch([5, 9, 3]), UniPCConfig(num_steps=4, order=order)
    whole = reconstruct(objective, batch, sampler)
    alone = [reconstruct(objective, pick(batch, [b]), sampler) for b in range(3)]
    joined = {m: torch.cat([part[m] for part in alone], dim=1) for m in whole}
    torch.testing.assert_close(joined, whole, rtol=1e-4, atol=1e-5)
