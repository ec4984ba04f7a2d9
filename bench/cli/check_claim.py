"""What utilization a claimed training implies under each convention, where that stands among published runs, and
whether physics allows it.

python -m bench check-claim --model phi-2 --tokens 1.4T --hardware a100-sxm4-80gb --gpus 96 --days 14
python -m bench check-claim --model llama-3-8b --tokens 15T --seq-len 8192 --hardware h100-sxm5-80gb --gpus 16000 --days 81h
"""

from __future__ import annotations

import argparse

from bench.cli import arguments, output
from estimators.cost.layout import MAX_DEVICES
from estimators.counting.estimate import count_params
from estimators.counting.flop_by_tool import decoder_of
from estimators.spec import Workload
from estimators.training.at_utilization import training_flop
from estimators.training.claim import check_claim
from reports.views.training.claim import claim_tables
from reports.views.training.study import Study


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `check-claim`."""
    arguments.add_model(parser)
    claim = parser.add_argument_group("the claim")
    claim.add_argument("--tokens", type=arguments.count("tokens"), required=True, metavar="NUM", help="tokens trained on, such as 1.4T")
    claim.add_argument("--hardware", required=True, metavar="ID", help="the device: python -m bench list hardware")
    claim.add_argument("--gpus", type=arguments.count("gpus", maximum=MAX_DEVICES), required=True, metavar="NUM", help="number of devices")
    claim.add_argument("--days", type=arguments.duration("days"), required=True, metavar="TIME", help="wall time, such as 14 or 36h")
    details = parser.add_argument_group("details of the run")
    arguments.add_sequence(details)
    arguments.add_dtype(details)
    details.add_argument("--recompute", choices=("none", "full"), default="none", help="whether it recomputed activations; none by default")
    output.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Judge; 1 where physics forbids it."""
    model, entry = arguments.load_model(args)
    hardware = arguments.load_hardware(args.hardware)
    decoder_of(model)  # the last table is every tool's, and those count no other model
    seq_len = arguments.sequence_length(model, args.seq_len)
    claim = check_claim(
        model,
        tokens=args.tokens,
        seq_len=seq_len,
        hardware=hardware,
        num_devices=args.gpus,
        wall_s=args.days,
        dtype=args.dtype,
        recompute=args.recompute,
    )
    study = Study(
        model=model,
        params=count_params(model.ops(Workload(phase="train", seq_len=seq_len))),
        params_text=entry.published_params_text if entry else "",
        item="token",
        tokens=args.tokens,
        seq_len=seq_len,
        seq_len_given=args.seq_len is not None,
        dtype=args.dtype,
        convention="full",
        training_flop=training_flop(model, args.tokens, seq_len),
        hardware=hardware,
        num_devices=args.gpus,
    )
    output.emit(arguments.with_all_facts(claim_tables(claim, study), model=model.name), args)
    return 0 if claim.possible else 1
