"""Counting a configuration that has no op table: built on meta by transformers, counted there by torch's dispatcher."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from bench.backend.config_fields import first_integer
from bench.backend.counting.built_class import build, parse
from bench.backend.counting.does_not_run import DOES_NOT_RUN, raise_if_ours
from bench.backend.counting.made_inputs import made_inputs, why_not
from bench.backend.counting.meta import torch_count
from bench.backend.counting.module import NetworkCount, count
from estimators.errors import BadConfigError, BadValueError
from estimators.spec import Workload

EXPERTS = ("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts")
PER_TOKEN = ("num_experts_per_tok", "moe_topk", "moe_k", "moe_top_k", "top_k_experts")
"""What configurations call their experts, and how many of them a token is routed to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CountedConfig:
    """What was counted of a configuration.

    Attributes:
        built_as: the class of transformers that was built.
        params: tied ones once.
        params_by_module: qualified module name to parameters of its own and below.
        network: FLOP by module and operator, forward and backward; None with `flop_reason`, where its forward does not run on meta.
        decode_flop: of one token after `seq_len` cached ones; None with `decode_reason`.
        left_out: what the configuration has beside its language part and was not counted; empty for nothing.
        surplus_flop: of the forward pass counted, those of experts that a token is not routed to, where transformers runs all of them.
    """

    built_as: str
    params: int
    params_by_module: Mapping[str, int]
    network: NetworkCount | None
    flop_reason: str
    decode_flop: int | None
    decode_reason: str
    left_out: str = ""
    surplus_flop: int = 0


def count_config(config: Mapping[str, Any], *, batch: int, seq_len: int, source_len: int | None = None) -> CountedConfig:
    """Parameters and FLOP of a configuration that transformers knows and the op table does not.

    Args:
        config: the parsed config.json; code of its own (auto_map) is never executed.
        batch: sequences, images or clips.
        seq_len: tokens per sequence, where the model takes tokens.
        source_len: tokens of the encoder's input, for an encoder-decoder of tokens; None for as many as the decoder's.

    Raises:
        BadConfigError: transformers does not know the type, or cannot build it.
        BadValueError: it has no encoder beside a decoder for `source_len`.
    """
    parsed, named, left_out = parse(config)
    model = build(parsed, named)
    network, flop_reason = _count(model, batch, seq_len, source_len)
    decode_flop, reason = None, "the model has no cache that tokens are added to"
    if type(model).__name__.endswith("ForCausalLM"):
        try:
            decode_flop, reason = torch_count(model, Workload(phase="decode", batch=batch, context_len=seq_len)).forward_flop, ""
        except DOES_NOT_RUN as error:
            raise_if_ours(error)
            reason = f"its decode step does not run on meta: {why_not(error)}"
    by_module = {name: sum(p.numel() for p in part.parameters()) for name, part in model.named_modules()}
    return CountedConfig(
        built_as=type(model).__name__,
        params=by_module[""],
        params_by_module=by_module,
        network=network,
        flop_reason=flop_reason,
        decode_flop=decode_flop,
        decode_reason=reason,
        left_out=left_out,
        surplus_flop=_surplus_flop(model, network, batch * seq_len) if network else 0,
    )


def _count(model: nn.Module, batch: int, seq_len: int, source_len: int | None) -> tuple[NetworkCount | None, str]:
    """What was counted, or why nothing was. Raises BadValueError for a source that it does not read."""
    try:
        inputs = made_inputs(model, batch, seq_len, source_len)
    except BadConfigError as error:
        return None, str(error)
    try:
        return count(model, inputs, fvcore=False, hides_nothing=True), ""
    except BadValueError as error:
        return None, why_not(error.__cause__ or error)


def experts_of(model: Any) -> tuple[int, int]:
    """How many experts a layer has, and how many of them a token is routed to, as the configuration says; 0 and 0 for none."""
    if not hasattr(model.config, "get_text_config"):  # a configuration of diffusers
        return 0, 0
    config = model.config.get_text_config()
    num = first_integer(config, *EXPERTS)
    return num, first_integer(config, *PER_TOKEN) or num


def _surplus_flop(model: nn.Module, network: NetworkCount, num_tokens: int) -> int:
    """Forward FLOP of unchosen experts: of each bank of them that multiplied every token by every expert."""
    num, chosen = experts_of(model)
    surplus = 0
    for name, part in model.named_modules():
        banks = [p.numel() for p in part.parameters(recurse=False) if p.dim() == 3 and p.shape[0] == num]
        everywhere = 2 * num_tokens * sum(banks)
        if banks and network.by_module[name][1] >= everywhere:
            surplus += everywhere * (num - chosen) // num
    return surplus
