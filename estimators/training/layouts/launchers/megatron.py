"""Megatron-LM: the flags of pretrain_gpt.py, one a line.

Source: megatron/training/arguments.py and the parallelism guide of Megatron-Core 0.13.
"""

from __future__ import annotations

import shlex
from typing import Any

from estimators.cost.layout import Layout
from estimators.errors import BadValueError
from estimators.training.layouts.launchers.keys import (
    BELOW_16_BITS,
    NOT_PRICED,
    OFFLOADED,
    OPEN,
    OWN_STAGES,
    PRECISIONS,
    Keys,
    Refused,
    Said,
    optimizers_named,
    whole_number,
)
from estimators.training.layouts.launchers.setup import Setup, stage_sizes

COMMAND = "torchrun ... pretrain_gpt.py $(grep -v '^#' FILE) ..."
PLAIN = {
    "--tensor-model-parallel-size": "tp",
    "--pipeline-model-parallel-size": "pp",
    "--num-virtual-stages-per-pipeline-rank": "vp",
    "--context-parallel-size": "cp",
    "--expert-model-parallel-size": "ep",
    "--micro-batch-size": "micro_batch",
    "--global-batch-size": "global_batch",
}
SHARDING = {"no_shard": 0, "optim": 1, "optim_grads": 2, "optim_grads_params": 3}
"""Strategies of Megatron-FSDP, by the ZeRO stage that they are."""


KEYS = Keys(
    read=frozenset(
        (
            *PLAIN,
            "--num-layers-per-virtual-pipeline-stage",
            "--pipeline-model-parallel-layout",
            "--sequence-parallel",
            "--recompute-granularity",
            "--recompute-activations",
            "--use-distributed-optimizer",
            "--use-megatron-fsdp",
            "--use-torch-fsdp2",
            "--data-parallel-sharding-strategy",
            "--seq-length",
            "--bf16",
            "--fp16",
            "--fp8-format",
            "--fp4-format",
            "--optimizer",
        )
    ),
    harmless=frozenset(
        (
            # what --model says
            "--num-layers",
            "--hidden-size",
            "--ffn-hidden-size",
            "--num-attention-heads",
            "--group-query-attention",
            "--num-query-groups",
            "--kv-channels",
            "--max-position-embeddings",
            "--position-embedding-type",
            "--rotary-*",
            "--use-rotary-position-embeddings",
            "--rope-*",
            "--use-rope-scaling",
            "--no-position-embedding",
            "--normalization",
            "--norm-epsilon",
            "--apply-layernorm-1p",
            "--swiglu",
            "--squared-relu",
            "--disable-bias-linear",
            "--add-qkv-bias",
            "--untie-embeddings-and-output-weights",
            "--qk-layernorm",
            "--attention-dropout",
            "--hidden-dropout",
            "--make-vocab-size-divisible-by",
            "--window-size",
            "--window-attn-skip-freq",
            "--multi-latent-attention",
            "--q-lora-rank",
            "--kv-lora-rank",
            "--qk-*",
            "--v-head-dim",
            "--num-experts",
            "--moe-ffn-hidden-size",
            "--moe-layer-freq",
            "--moe-router-*",
            "--moe-aux-loss-coeff",
            "--moe-z-loss-coeff",
            "--moe-shared-expert-intermediate-size",
            "--moe-token-dispatcher-type",
            "--moe-grouped-gemm",
            "--moe-permute-fusion",
            "--moe-per-layer-logging",
            "--mtp-*",
            "--transformer-impl",
            "--spec",
            "--use-mcore-models",
            "--use-flash-attn",
            "--attention-backend",
            "--no-masked-softmax-fusion",
            "--attention-softmax-in-fp32",
            "--cross-entropy-*",
            "--init-method-std",
            "--no-*-fusion",
            "--no-load-*",
            "--no-save-*",
            # what is learned, on what, and what is written
            "--train-*",
            "--lr*",
            "--min-lr",
            "--weight-decay*",
            "--start-weight-decay",
            "--end-weight-decay",
            "--adam-*",
            "--sgd-momentum",
            "--clip-grad",
            "--override-opt_param-scheduler",
            "--use-checkpoint-opt_param-scheduler",
            "--loss-scale*",
            "--initial-loss-scale",
            "--min-loss-scale",
            "--hysteresis",
            "--seed",
            "--split",
            "--data-*",
            "--mock-data",
            "--dataloader-type",
            "--num-workers",
            "--tokenizer-*",
            "--vocab-*",
            "--merge-file",
            "--eval-*",
            "--exit-*",
            "--save*",
            "--load*",
            "--ckpt-*",
            "--async-save",
            "--dist-ckpt-*",
            "--use-dist-ckpt",
            "--auto-detect-ckpt-format",
            "--log-*",
            "--timing-log-*",
            "--tensorboard-*",
            "--wandb-*",
            "--profile*",
            "--distributed-backend",
            "--distributed-timeout-minutes",
            "--local-rank",
            "--manual-gc*",
            "--fp8-amax-*",
            "--fp8-margin",
            "--fp8-recipe",
            "--fp8-interval",
            "--accumulate-allreduce-grads-in-fp32",
            # what the software is priced with
            "--overlap-grad-reduce",
            "--overlap-param-gather*",
            "--tp-comm-overlap*",
            "--overlap-p2p-communication*",
            "--no-gradient-accumulation-fusion",
            "--recompute-method",
            "--cp-comm-type",
        )
    ),
    refused={
        "--cpu-offloading*": Refused(why="activations in host memory are not priced; take it out of the file"),
        "--optimizer-cpu-offload": Refused(why=OFFLOADED),
        "--optimizer-offload-fraction": Refused(why=OFFLOADED, unless=("0", "0.0")),
        "--use-precision-aware-optimizer": Refused(why="fp32 optimizer state is priced; take it out of the file"),
        "--grad-reduce-in-bf16": Refused(why="fp32 gradients are priced; take it out of the file"),
        "--main-*-dtype": Refused(why="fp32 is priced; take it out of the file", unless=("fp32",)),
        "--exp-avg*-dtype": Refused(why="fp32 is priced; take it out of the file", unless=("fp32",)),
        "--recompute-num-layers": Refused(why="a checkpoint of every layer is priced; give 1", unless=("1",)),
        "--rampup-batch-size": Refused(why="a batch of one size is priced; take it out of the file", unless=()),
        "--decoder-first-pipeline-num-layers": Refused(why=OWN_STAGES, unless=()),
        "--decoder-last-pipeline-num-layers": Refused(why=OWN_STAGES, unless=()),
        "--account-for-*-in-pipeline-split": Refused(why=OWN_STAGES, unless=()),
        "--expert-tensor-parallel-size": Refused(why="experts are priced whole on each rank; give 1", unless=("1",)),
        "--moe-expert-capacity-factor": Refused(why="every token is priced with all of its experts; take it out of the file", unless=()),
        "--num-distributed-optimizer-instances": Refused(why=NOT_PRICED, unless=("1",)),
        "--hierarchical-context-parallel-sizes": Refused(why=NOT_PRICED, unless=()),
        "--moe-layer-recompute": Refused(why="recompute none, selective or full is priced; take it out of the file", unless=()),
        "--variable-seq-lengths": Refused(why="sequences of one length are priced; take it out of the file", unless=()),
    },
    usual={"--recompute-modules": ("what the software's selective recomputation is", "core_attn")},
)


def body(layout: Layout, setup: Setup) -> str:
    """The flags."""
    lines = [f"{flag} {getattr(layout, name)}" for flag, name in PLAIN.items() if name != "vp"]
    if layout.pp > 1 and setup.layers % (layout.pp * layout.vp):
        lines.append(f"--pipeline-model-parallel-layout {_stages(setup.layers, layout.pp * layout.vp)}")
    elif layout.vp > 1:
        lines.append(f"--num-virtual-stages-per-pipeline-rank {layout.vp}")
    lines += ["--expert-tensor-parallel-size 1"] * (layout.ep > 1) + ["--sequence-parallel"] * layout.sequence_parallel
    lines += [f"--seq-length {setup.seq_len}", *_precision(setup.dtype)]
    lines += ["--use-distributed-optimizer"] * (layout.zero >= 1)
    if layout.zero >= 2:
        strategy = next(name for name, stage in SHARDING.items() if stage == layout.zero)
        lines += ["--use-megatron-fsdp", f"--data-parallel-sharding-strategy {strategy}"]
        lines += ["--no-gradient-accumulation-fusion", "--ckpt-format fsdp_dtensor"]
    if layout.full:
        lines += ["--recompute-granularity full", "--recompute-method uniform", "--recompute-num-layers 1"]
    lines += ["--recompute-granularity selective"] * layout.selective
    return "\n".join(lines)


def _precision(dtype: str) -> list[str]:
    if dtype in BELOW_16_BITS:
        return ["--bf16", "--fp8-format hybrid" if dtype in ("fp8", "mxfp8") else "--fp4-format e2m1"]
    return [f"--{dtype}"] if dtype in ("fp16", "bf16") else []


def _stages(layers: int, stages: int) -> str:
    """E for the embedding, t for a layer, L for the loss. No quotes: what $(grep ...) puts in is split and not read again.

    >>> _stages(5, 2)
    'Ett|tttL'
    """
    return "E" + "|".join("t" * size for size in stage_sizes(layers, stages)) + "L"


def values(text: str) -> dict[str, Any]:
    """What the flags say; one without a value says true. `--flag=value` is `--flag value`."""
    words = [part for word in shlex.split(text.replace("\\\n", " "), comments=True) for part in _parts(word)]
    found: dict[str, Any] = {}
    flag = ""
    for word in words:
        if word.startswith("--"):
            flag = word
            found[flag] = "true"
        elif flag:
            found[flag] = word if found[flag] == "true" else f"{found[flag]} {word}"
    return found


def _parts(word: str) -> list[str]:
    return word.split("=", 1) if word.startswith("--") else [word]


def fields(text: str) -> dict[str, Any]:
    """What the flags say of a layout.

    Raises:
        BadValueError: a value that is not a number, or layers that are recomputed in part.
    """
    found = values(text)
    layout: dict[str, Any] = {name: whole_number(found, flag) for flag, name in PLAIN.items() if flag in found}
    layout |= _chunks(found, layout.get("pp", 1))
    layout["sequence_parallel"] = "--sequence-parallel" in found
    layout["recompute"] = found.get("--recompute-granularity", "selective" if "--recompute-activations" in found else "none")
    if layout["recompute"] == "full" and (found.get("--recompute-method", "uniform") != "uniform"):
        raise BadValueError("--recompute-method block recomputes some layers; all or none are priced: give uniform")
    layout["zero"] = 1 if "--use-distributed-optimizer" in found else 0
    if "--use-torch-fsdp2" in found:
        layout["zero"] = 3
    if "--use-megatron-fsdp" in found:
        strategy = found.get("--data-parallel-sharding-strategy", "no_shard")
        if strategy not in SHARDING:
            raise BadValueError(f"--data-parallel-sharding-strategy is {strategy[:40]!r}; expected one of: {', '.join(SHARDING)}")
        layout["zero"] = SHARDING[strategy]
    return layout


def _chunks(found: dict[str, Any], pp: int) -> dict[str, int]:
    """Chunks of layers per device: spelt out, or by the layers of each where the file says how many there are."""
    if stages := found.get("--pipeline-model-parallel-layout"):
        return {"vp": (stages.count("|") + 1) // pp if "*" not in stages else OPEN}
    each, layers = (whole_number(found, flag) for flag in ("--num-layers-per-virtual-pipeline-stage", "--num-layers"))
    if not each:
        return {}
    return {"vp": layers // (each * pp) if layers else OPEN}


def said(text: str) -> Said:
    """What the flags say beside a layout."""
    found = values(text)
    kind = next((kind for kind in ("bf16", "fp16") if f"--{kind}" in found), "")
    below = "--fp8-format" in found or "--fp4-format" in found
    name = found.get("--optimizer")
    return Said(
        dtypes=BELOW_16_BITS if below else PRECISIONS.get(kind, ()),
        seq_len=whole_number(found, "--seq-length"),
        optimizers=() if name is None else optimizers_named("--optimizer", str(name)),
    )


def can_run(lanes: Any) -> Any:
    """Layouts that it runs: ZeRO-2 and 3 without a pipeline, one schedule, no hybrid sharding."""
    return ((lanes.zero <= 1) | (lanes.pp == 1)) & (lanes.shard == 0) & ~lanes.zero_bubble
