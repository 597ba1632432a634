"""The laws again, of the same tests, over daep's switches away from their defaults."""

from typing import Any

import pytest
import torch

from daep_ray.nn.config import ModelConfig
from daep_ray.objectives import Objective, build_objective
from daep_ray.objectives.daep import DaepConfig
from daep_ray.settings import override
from tests.objectives.conftest import Names, layouts_of, model_of
from tests.objectives.test_laws import (  # noqa: F401
    test_1_a_code_depends_on_its_sample_alone,
    test_1_a_code_ignores_the_order_of_measurements,
    test_1_a_reconstruction_does_not_depend_on_packing,
    test_2_every_parameter_gets_a_gradient,
    test_3_a_reconstruction_depends_on_code_and_metadata,
    test_3_a_reconstruction_depends_on_data_through_the_code_alone,
    test_4_missing_metadata_and_absent_sequences_hold_nothing,
    test_6_an_empty_batch_has_no_weight_and_gives_every_parameter_a_gradient,
    test_6_losses_of_parts_add_up,
    test_12_inputs_are_not_modified,
)

Case = tuple[str, str, Names, dict[str, Any], dict[str, Any]]
ERRORS = {"error_weighting": "object"}
ADALN = {"decoder.time": "adaln", "decoder.is_shared": True, "encoder.is_shared": True}
SWITCHED: dict[str, Case] = {
    "errors": ("daep", "two_stage", ("m",), {"tokenizer.reads_error": True}, ERRORS),
    "errors of objects": (
        "daep",
        "single_stage",
        ("m",),
        {},
        {"error_weighting": "point", "average": "objects"},
    ),
    "dropped codes": ("daep", "single_stage", ("m",), {}, {"code_drop": 0.5}),
    "adaln, shared, two stages": ("daep", "two_stage", ("m",), ADALN, {}),
    "adaln, shared, one stage": ("daep", "single_stage", ("m",), ADALN, {}),
    "one matrix": ("daep", "two_stage", ("m",), {"tokenizer.has_mlp": False}, {}),
    "all, several modalities": (
        "daep",
        "two_stage",
        ("m", "n"),
        {**ADALN, "tokenizer.reads_error": True},
        {**ERRORS, "code_drop": 0.5, "weighting": "min_snr", "schedule": "cosine"},
    ),
}


@pytest.fixture(params=SWITCHED.values(), ids=list(SWITCHED))
def case(request: pytest.FixtureRequest) -> Case:
    return request.param


@pytest.fixture
def objective(case: Case) -> Objective:
    _, stages, names, of_model, settings = case
    torch.manual_seed(0)
    model: ModelConfig = override(model_of(stages), of_model)
    return build_objective(DaepConfig(**settings), model, layouts_of(names))
