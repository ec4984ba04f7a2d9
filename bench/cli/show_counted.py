"""`show` for a configuration whose model type or class has no op table: instantiated on meta by transformers and counted there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from estimators.architectures.from_config import is_of_diffusers, read_config
from estimators.units import format_flop
from reports.table import Table
from reports.views.counting.counted_network import network_tables, params_tables


def counted_tables(path: str, *, batch: int, seq_len: int, source_len: int | None) -> list[Table]:
    """What was counted, by module and by operator.

    Of a class without an op table, with another head than a language model's, say, the whole class is counted.

    Args:
        path: of a config.json, or of the folder that holds it.

    Raises:
        BadConfigError: transformers does not know the type either, or cannot build it.
    """
    from bench.backend.counting.hf_config import count_config

    config = read_config(path)
    if is_of_diffusers(config):
        return _of_diffusers(path, config)
    counted = count_config(config, batch=batch, seq_len=seq_len, source_len=source_len)
    network = counted.network
    facts = {
        "model": path,
        "model_type": str(config.get("model_type")),
        "built_as": counted.built_as,
        "tag": "counted",
        "params": counted.params,
        "active_params": None,
        "forward_flop": network and network.forward_flop,
        "training_flop": network.forward_flop + network.backward_flop if network and network.backward_flop is not None else None,
        "decode_flop": counted.decode_flop,
        "left_out": counted.left_out,
        "surplus_flop": counted.surplus_flop,
        "unseen_operators": [unseen.name for unseen in network.unseen] if network else [],
    }
    tokens = f"{seq_len} tokens" if source_len is None else f"{seq_len} tokens, {source_len} of a source"
    conditions = [
        f"counted: {counted.built_as} of transformers on {network.counted_on if network else 'meta'}, batch {batch}, {tokens} where it "
        "takes tokens",
        "FLOP counted full: every matrix product and convolution, the whole attention square; by torch.utils.flop_counter, mended",
    ]
    if counted.left_out:
        conditions.append(f"left out: {counted.left_out}")
    if "quantization_config" in config:
        conditions.append("quantization_config: not looked at; parameters and FLOP are those of whole matrices")
    if network is None:
        return params_tables(facts, conditions, by_module=counted.params_by_module, flop_reason=counted.flop_reason)
    if counted.surplus_flop:
        needed = network.forward_flop - counted.surplus_flop
        conditions.append(
            f"counted as transformers runs it: every expert on every token. The forward pass needs {format_flop(needed)}, "
            f"with the experts that a token is routed to alone, of the {format_flop(network.forward_flop)} counted"
        )
    unseen = [(u.name, u.num_calls, u.output_share_fraction) for u in network.unseen]
    return network_tables(
        facts,
        conditions,
        by_module=network.by_module,
        by_operator=network.by_operator,
        unseen=unseen,
        decode_reason=counted.decode_reason,
        backward_reason=network.backward_reason,
    )


def _of_diffusers(path: str, config: Mapping[str, Any]) -> list[Table]:
    """Parameters of a class of diffusers that no table could be traced of, and why none could."""
    from bench.backend.counting.diffusers_class import build, why_not_run

    model = build(config)
    by_module = {name: sum(p.numel() for p in part.parameters()) for name, part in model.named_modules()}
    built_as = type(model).__name__
    facts = {"model": path, "built_as": built_as, "tag": "counted", "params": by_module[""], "forward_flop": None, "training_flop": None}
    conditions = [f"counted: {built_as} of diffusers on meta"]
    return params_tables(facts, conditions, by_module=by_module, flop_reason=why_not_run(model))
