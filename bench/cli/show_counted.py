"""`show` for a configuration whose model type or class has no op table: instantiated on meta by transformers and counted there."""

from __future__ import annotations

import argparse

from bench.cli import output
from estimators.architectures.from_config import read_config
from estimators.errors import BadValueError
from reports.views.counting.counted_network import network_tables

DEFAULT_SEQ_LEN = 512


def show_counted(args: argparse.Namespace) -> int:
    """Count and show. Only --config leads here: every model of the registry has an op table.

    Of a class without an op table, with another head than a language model's, say, the whole class is counted.

    Raises:
        BadValueError: an option that needs an op table.
        BadConfigError: transformers does not know the type either, or cannot build or run it.
    """
    if args.phase != "forward" or args.convention != "full":
        raise BadValueError("what has no op table is counted in all phases under `full`; leave --phase and --convention out")
    from bench.backend.counting.hf_config import count_config

    config = read_config(args.config)
    seq_len = args.seq_len or DEFAULT_SEQ_LEN
    counted = count_config(config, batch=args.batch, seq_len=seq_len, source_len=args.source_len)
    network = counted.network
    facts = {
        "model": args.config,
        "model_type": str(config.get("model_type")),
        "built_as": counted.built_as,
        "tag": "counted",
        "params": network.params,
        "active_params": None,
        "forward_flop": network.forward_flop,
        "training_flop": None if network.backward_flop is None else network.forward_flop + network.backward_flop,
        "decode_flop": counted.decode_flop,
        "left_out": counted.left_out,
        "unseen_operators": [unseen.name for unseen in network.unseen],
    }
    tokens = f"{seq_len} tokens" if args.source_len is None else f"{seq_len} tokens, {args.source_len} of a source"
    conditions = [
        f"counted: {counted.built_as} of transformers on {network.counted_on}, batch {args.batch}, {tokens} where it takes tokens",
        "FLOP counted full: every matrix product and convolution, the whole attention square; by torch.utils.flop_counter, mended",
    ]
    if counted.left_out:
        conditions.append(f"left out: {counted.left_out}")
    unseen = [(u.name, u.num_calls, u.output_share_fraction) for u in network.unseen]
    output.emit(
        network_tables(
            facts,
            conditions,
            by_module=network.by_module,
            by_operator=network.by_operator,
            unseen=unseen,
            decode_reason=counted.decode_reason,
            backward_reason=network.backward_reason,
        ),
        args,
    )
    return 0
