"""torchtitan: the TOML of a job, as its configuration tables stood in 2025.

Source: torchtitan/config/job_config.py, tests/integration_tests/base_config.toml.
"""

from __future__ import annotations

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
    flat,
    optimizers_named,
    whole_number,
)
from estimators.training.layouts.launchers.setup import Setup

COMMAND = "CONFIG_FILE=FILE ./run_train.sh"
SCHEDULES = {("1f1b", False): "1F1B", ("1f1b", True): "Interleaved1F1B", ("zero-bubble", False): "ZBVZeroBubble"}
READ_SCHEDULES = {name: schedule for (schedule, _), name in SCHEDULES.items()} | {"InterleavedZeroBubble": "zero-bubble"}
DEGREES = {"tp": "tensor", "cp": "context", "ep": "expert", "pp": "pipeline"}

KEYS = Keys(
    read=frozenset(
        (
            "training.local_batch_size",
            "training.global_batch_size",
            "training.seq_len",
            "training.mixed_precision_param",
            "model.converters",
            "optimizer.name",
            "activation_checkpoint.mode",
            "parallelism.data_parallel_replicate_degree",
            "parallelism.data_parallel_shard_degree",
            "parallelism.fsdp_reshard_after_forward",
            "parallelism.pipeline_parallel_schedule",
            "parallelism.pipeline_parallel_microbatch_size",
            *(f"parallelism.{word}_parallel_degree" for word in DEGREES.values()),
        )
    ),
    harmless=frozenset(
        (
            "job.*",
            "profiling.*",
            "metrics.*",
            "checkpoint.*",
            "comm.*",
            "debug.*",
            "memory_estimation.*",
            "validation.*",
            "experimental.*",
            "lr_scheduler.*",
            "optimizer.lr",
            "optimizer.eps",
            "optimizer.beta*",
            "optimizer.weight_decay",
            "optimizer.implementation",
            "model.name",
            "model.flavor",
            "model.tokenizer_path",
            "model.hf_assets_path",
            "model.print_after_conversion",
            "training.dataset*",
            "training.steps",
            "training.max_norm",
            "training.seed",
            "training.deterministic",
            "training.gc_*",
            "training.debug_*",
            "parallelism.context_parallel_rotate_method",
            "parallelism.expert_parallel_comm_backend",
            "parallelism.pipeline_parallel_layers_per_stage",  # vp, which is asked for, says it
            "activation_checkpoint.selective_ac_option",  # what `selective` costs is the software's
            "activation_checkpoint.early_stop",
            "activation_checkpoint.preserve_rng_state",
            "activation_checkpoint.determinism_check",
            "activation_checkpoint.debug",
            "quantize.*",  # how products of 8 bits are scaled, where `converters` asks for them
            "float8.*",
            "mx.*",
            "compile.components",
            "compile.backend",
            "fault_tolerance.*_group*",
        )
    ),
    refused={
        "training.enable_cpu_offload": Refused(why=OFFLOADED),
        "training.batch_size": Refused(why="its name is local_batch_size since 2025; give that", unless=()),
        "parallelism.pipeline_parallel_first_stage_less_layers": Refused(why=OWN_STAGES),
        "parallelism.pipeline_parallel_last_stage_less_layers": Refused(why=OWN_STAGES),
        "parallelism.pipeline_parallel_split_points": Refused(why=OWN_STAGES, unless=("[]", "")),
        "parallelism.module_fqns_per_model_part": Refused(why=OWN_STAGES, unless=("[]", "none", "")),
        "parallelism.pipeline_parallel_schedule_csv": Refused(why="a schedule of one's own is not priced; take it out of the file"),
        "parallelism.disable_loss_parallel": Refused(why="logits are priced as shared out; take it out of the file"),
        "parallelism.expert_tensor_parallel_degree": Refused(why="experts are priced whole on each rank; give 1", unless=("1",)),
        "optimizer.early_step_in_backward": Refused(why=NOT_PRICED),
        "fault_tolerance.enable": Refused(why=NOT_PRICED),
        "activation_checkpoint.memory_budget": Refused(
            why="recompute none, selective or full is priced; give one as mode", unless=("0.5",)
        ),
    },
    usual={
        "training.dtype": ("float32",),
        "training.mixed_precision_reduce": ("float32",),
        "training.compile": ("not compiled", "false"),
        "compile.enable": ("not compiled", "false"),
        "parallelism.enable_async_tensor_parallel": ("what the software does", "false"),
        "parallelism.enable_compiled_autograd": ("not compiled", "false"),
    },
)


def body(layout: Layout, setup: Setup) -> str:
    """The tables."""
    shard = (layout.shard or layout.dp) if layout.zero >= 2 else 1
    passes = layout.num_micro_batches if layout.pp > 1 else 1
    lines = [
        "[training]",
        f"local_batch_size = {layout.micro_batch * passes}",
        f"global_batch_size = {layout.global_batch}",
        f"seq_len = {setup.seq_len}",
        "",
        "[parallelism]",
        f"data_parallel_replicate_degree = {layout.dp // shard}",
        f"data_parallel_shard_degree = {shard}",
        f'fsdp_reshard_after_forward = "{"always" if layout.zero >= 3 else "never"}"',
        f"tensor_parallel_degree = {layout.tp}",
        f"context_parallel_degree = {layout.cp}",
        f"expert_parallel_degree = {layout.ep}",
        f"pipeline_parallel_degree = {layout.pp}",
    ]
    if layout.pp > 1:
        chunks = layout.pp * layout.vp
        schedule = SCHEDULES.get((layout.schedule, layout.vp > 1), "InterleavedZeroBubble")
        lines += [f'pipeline_parallel_schedule = "{schedule}"', f"pipeline_parallel_microbatch_size = {layout.micro_batch}"]
        lines += [f"pipeline_parallel_layers_per_stage = {-(-setup.layers // chunks)}"]
        lines += ["pipeline_parallel_first_stage_less_layers = 0", "pipeline_parallel_last_stage_less_layers = 0"]
    return "\n".join([*lines, "", "[activation_checkpoint]", f'mode = "{layout.recompute}"'])


def values(text: str) -> dict[str, Any]:
    """What the file says, by dotted name."""
    import tomllib  # deferred: only a file that is read back needs it

    return flat(tomllib.loads(text))


def fields(text: str) -> dict[str, Any]:
    """What the tables say of a layout. Raises BadValueError."""
    found = values(text)

    def number(key: str, default: int) -> int:
        said = found.get(key, default)
        return -1 if said == -1 else whole_number({key: said}, key) or default

    layout: dict[str, Any] = {name: number(f"parallelism.{word}_parallel_degree", 1) for name, word in DEGREES.items()}
    layout["sequence_parallel"] = layout["tp"] > 1
    layout["recompute"] = found.get("activation_checkpoint.mode", "selective")
    schedule = str(found.get("parallelism.pipeline_parallel_schedule", "1F1B"))
    if schedule not in READ_SCHEDULES:
        raise BadValueError(f"pipeline_parallel_schedule is {schedule[:40]!r}; expected one of: {', '.join(READ_SCHEDULES)}")
    layout["schedule"] = READ_SCHEDULES[schedule]
    if schedule.startswith("Interleaved"):
        layout["vp"] = OPEN  # its layers per stage say it only of a model whose layers are known
    replicas, shard = number("parallelism.data_parallel_replicate_degree", 1), number("parallelism.data_parallel_shard_degree", -1)
    reshard = found.get("parallelism.fsdp_reshard_after_forward", "default")
    layout["zero"] = 0 if shard == 1 else 2 if reshard == "never" or (reshard == "default" and layout["pp"] > 1) else 3
    if shard > 0:
        layout |= {"dp": replicas * shard, "shard": shard if replicas > 1 and shard > 1 else 0}
    local = whole_number(found, "training.local_batch_size")
    if local is not None:
        layout["micro_batch"] = number("parallelism.pipeline_parallel_microbatch_size", 1) if layout["pp"] > 1 else local
    if number("training.global_batch_size", -1) > 0:
        layout["global_batch"] = number("training.global_batch_size", -1)
    return layout


def said(text: str) -> Said:
    """What the tables say beside a layout."""
    found = values(text)
    eight = any(word in str(found.get("model.converters", "")) for word in ("float8", "mx"))
    words = {"bfloat16": "bf16", "float16": "fp16", "float32": "fp32"}
    word = words.get(str(found.get("training.mixed_precision_param", "")), "")
    name = found.get("optimizer.name")
    return Said(
        dtypes=BELOW_16_BITS if eight else PRECISIONS.get(word, ()),
        seq_len=whole_number(found, "training.seq_len"),
        optimizers=() if name is None else optimizers_named("optimizer.name", str(name)),
    )


def can_run(lanes: Any) -> Any:
    """Layouts that it runs: fully sharded, or plain replicas and nothing else; no ZeRO-1."""
    plain = (lanes.zero == 0) & (lanes.tp == 1) & (lanes.pp == 1) & (lanes.cp == 1) & (lanes.ep == 1)
    one_device = lanes.dp * lanes.cp == 1
    return (plain | (lanes.zero >= 2) | one_device) & (lanes.sequence_parallel | (lanes.tp == 1))
