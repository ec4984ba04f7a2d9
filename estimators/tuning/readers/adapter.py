"""adapter_config.json, as peft writes it beside adapters.

Source: peft 0.21, tuners/lora/config.py; utils/constants.py for what is adapted where nothing is said.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from estimators.errors import BadValueError
from estimators.training.layouts.launchers.keys import NOT_PRICED, Keys, Refused
from estimators.tuning.readers.rules import Format, Rule, count, names, number, one_word, saved_modules, switch, text, whole
from estimators.tuning.settings import Value

RULES: dict[str, Rule] = {
    "peft_type": one_word("method", {"lora": "lora"}),
    "base_model_name_or_path": text("model"),
    "r": count("lora_rank"),
    "target_modules": names("lora_targets", all_of_them=("all-linear",)),
    "lora_dropout": number("lora_dropout", maximum=0.99),
    "modules_to_save": saved_modules(),
    "use_dora": switch({"dora": True}),
}

HARMLESS = (
    *("alpha_pattern*", "arrow_config*", "auto_mapping*", "corda_config*", "ensure_weight_tying", "eva_config*", "exclude_modules"),
    *("fan_in_fan_out", "inference_mode", "init_lora_weights", "layers_pattern", "loftq_config*", "lora_alpha", "lora_ga_config*"),
    *("megatron_*", "peft_version", "qalora_group_size", "revision", "runtime_config*", "task_type", "use_rslora", "kasa_config*"),
    *("monteclora_config*", "velora_config*", "alora_invocation_tokens", "use_bdlora*"),
)

REFUSED = {
    "trainable_token_indices": Refused(why=NOT_PRICED),
    "layers_to_transform": Refused(why="adapters in every layer are priced; take it out"),
    "layer_replication": Refused(why=NOT_PRICED),
    "target_parameters": Refused(why="adapters of matrices are priced; take it out"),
    "bias": Refused(why="biases that are trained are not priced", unless=("none", "null")),
    "lora_bias": Refused(why="biases that are trained are not priced"),
    "use_qalora": Refused(why=NOT_PRICED),
}


def also(values: Mapping[str, Any]) -> dict[str, dict[str, Value | None]]:
    """Ranks of single matrices, of which one is priced for all: the largest.

    Raises:
        BadValueError: a rank that is no whole number from 1.
    """
    patterns = {key: whole(key, value) for key, value in values.items() if key.startswith("rank_pattern.")}
    if not patterns:
        return {}
    key = max(patterns, key=lambda name: patterns[name])
    if min(patterns.values()) < 1:
        raise BadValueError(f"{key} is {patterns[key]}; expected whole numbers from 1")
    return {key: {"lora_rank": patterns[key]}} if patterns[key] > whole("r", values.get("r", 8)) else {}


FORMAT = Format(
    name="adapter_config.json",
    rules=RULES,
    keys=Keys(read=frozenset(RULES), harmless=frozenset(HARMLESS), refused=REFUSED, usual={"rank_pattern.*": ("the largest for all",)}),
    also=also,
    usual={"": {"lora_rank": (8, "r")}},
)
