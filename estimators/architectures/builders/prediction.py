"""Layers beside a decoder that predict further tokens: how many a configuration names, and what they are made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from estimators.architectures.block import Block
from estimators.architectures.decoder import Decoder
from estimators.architectures.prediction import PredictionLayers, in_words
from estimators.frozen import replace

if TYPE_CHECKING:
    from estimators.architectures.fields import Fields

PREDICTION_KEYS = ("num_nextn_predict_layers", "num_mtp_layers", "mtp_num_hidden_layers", "num_mtp_modules")
"""What configurations call the number of these layers: DeepSeek's and most others', transformers', Qwen's, MiniMax's."""


def with_prediction(f: Fields, model: Decoder, layer: Block, *, default: int = 0) -> Decoder:
    """A decoder with the layers that its configuration names beside it.

    Args:
        layer: what one of them runs behind the join; its count is not read.
        default: how many there are where the configuration does not say.
    """
    named = f.integer(*PREDICTION_KEYS, default=default, minimum=0) if default else f.optional_integer(*PREDICTION_KEYS, minimum=0)
    return replace(model, prediction=PredictionLayers(block=replace(layer, count=named))) if named else model


def uncounted_prediction(config: Mapping[str, Any]) -> str:
    """What to say of such layers where what they are made of is not known; empty where neither a configuration nor a part of it names any.

    >>> uncounted_prediction({"text_config": {"num_nextn_predict_layers": 1}})
    '1 multi-token prediction layer (num_nextn_predict_layers), whose make the configuration does not say'
    """
    for part in (config, *(value for value in config.values() if isinstance(value, Mapping))):
        key, count = next(((key, part[key]) for key in PREDICTION_KEYS if part.get(key) is not None), ("", 0))
        if isinstance(count, int) and not isinstance(count, bool) and count > 0 and part.get("use_mtp") is not False:
            return f"{in_words(count)} ({key}), whose make the configuration does not say"
    return ""
