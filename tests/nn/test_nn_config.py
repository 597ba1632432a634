"""Model settings: what is refused, in one sentence, and what overrides can reach."""

import pytest

from daep_ray.errors import ConfigError
from daep_ray.nn.config import ModelConfig, SingleStageDecoderConfig, TokenizerConfig
from daep_ray.nn.tokenizer import Tokenizer
from daep_ray.settings import override
from daep_ray.stream.batch import Layout


@pytest.mark.parametrize(
    ("path", "value", "word"),
    [
        ("bottleneck.length", 0, "bottleneck.length"),
        ("bottleneck.width", -1, "bottleneck.width"),
        ("width", 130, "multiple of num_heads"),
        ("encoder.num_layer", 2, "num_layers"),
        ("decoder.kind", "third_stage", "kind"),
    ],
)
def test_a_bad_setting_is_refused_in_one_sentence(path: str, value: object, word: str) -> None:
    with pytest.raises(ConfigError, match=word) as caught:
        override(ModelConfig(), {path: value})
    assert "\n" not in str(caught.value)


def test_an_override_changes_the_kind_and_its_settings() -> None:
    changed = override(ModelConfig(), {"decoder.num_layers": 2, "decoder.kind": "single_stage"})
    assert changed.decoder == SingleStageDecoderConfig(num_layers=2)
    assert ModelConfig.parse(changed.model_dump(mode="json")) == changed


def test_as_many_position_scales_as_positions() -> None:
    config = TokenizerConfig(position_scale=(30.0, 10.0))
    Tokenizer(config, 8, Layout("image", num_positions=2))
    with pytest.raises(ConfigError, match="2 entries, but spectrum has 1"):
        Tokenizer(config, 8, Layout("spectrum", num_positions=1))
