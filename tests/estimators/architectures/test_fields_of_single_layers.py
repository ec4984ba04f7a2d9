"""Fields that a configuration states layer by layer, as transformers writes them."""

from __future__ import annotations

import json

from transformers import CONFIG_MAPPING

from bench.backend.counting.meta import meta_model, params_of
from estimators.architectures.from_config import model_from_config
from estimators.counting.estimate import count_params
from estimators.spec import Workload


def test_layers_written_with_a_nought_before_their_number_are_those_layers() -> None:
    """Twelve layers of Gemma 4, of which "05" and "11" have heads of 64: a nought was read as another layer, whose heads were narrow."""
    small = {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 16,
        "vocab_size": 64,
    }
    small |= {"num_hidden_layers": 12, "global_head_dim": 64, "vocab_size_per_layer_input": 64}
    written = json.loads(CONFIG_MAPPING["gemma4_text"](**small).to_json_string(use_diff=False))
    assert list(written["per_layer_config"]) == ["05", "11"]
    config = written | {"architectures": ["Gemma4ForCausalLM"]}
    assert count_params(model_from_config(config, "gemma4").ops(Workload())) == params_of(meta_model(config))
