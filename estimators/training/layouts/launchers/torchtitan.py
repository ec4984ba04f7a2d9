"""torchtitan: the TOML of a job, as its configuration tables stood in 2025.

Source: torchtitan/config/job_config.py, tests/integration_tests/base_config.toml.
"""

from __future__ import annotations

from typing import Any

from estimators.cost.layout import Layout
from estimators.training.layouts.launchers.setup import Setup

COMMAND = "CONFIG_FILE=FILE ./run_train.sh"
SCHEDULES = {("1f1b", False): "1F1B", ("1f1b", True): "Interleaved1F1B", ("zero-bubble", False): "ZBVZeroBubble"}


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


def fields(text: str) -> dict[str, Any]:
    """What the tables say of a layout."""
    import tomllib  # deferred: only a file that is read back needs it

    config = tomllib.loads(text)
    parallelism, training = config.get("parallelism", {}), config.get("training", {})
    degrees = {"tp": "tensor", "cp": "context", "ep": "expert", "pp": "pipeline"}
    layout: dict[str, Any] = {name: int(parallelism.get(f"{word}_parallel_degree", 1)) for name, word in degrees.items()}
    layout["sequence_parallel"] = layout["tp"] > 1
    layout["recompute"] = config.get("activation_checkpoint", {}).get("mode", "selective")
    schedule = str(parallelism.get("pipeline_parallel_schedule", "1F1B"))
    layout["schedule"] = "zero-bubble" if "ZeroBubble" in schedule or schedule.startswith("ZBV") else "1f1b"
    replicas, shard = int(parallelism.get("data_parallel_replicate_degree", 1)), int(parallelism.get("data_parallel_shard_degree", -1))
    reshard = parallelism.get("fsdp_reshard_after_forward", "default")
    layout["zero"] = 0 if shard == 1 else 2 if reshard == "never" or (reshard == "default" and layout["pp"] > 1) else 3
    if shard > 0:
        layout |= {"dp": replicas * shard, "shard": shard if replicas > 1 and shard > 1 else 0}
    local = training.get("local_batch_size")
    if local is not None:
        layout["micro_batch"] = int(parallelism.get("pipeline_parallel_microbatch_size", 1)) if layout["pp"] > 1 else int(local)
    if int(training.get("global_batch_size", -1)) > 0:
        layout["global_batch"] = int(training["global_batch_size"])
    return layout


def can_run(lanes: Any) -> Any:
    """Layouts that it runs: fully sharded, or plain replicas and nothing else; no ZeRO-1."""
    plain = (lanes.zero == 0) & (lanes.tp == 1) & (lanes.pp == 1) & (lanes.cp == 1) & (lanes.ep == 1)
    one_device = lanes.dp * lanes.cp == 1
    return (plain | (lanes.zero >= 2) | one_device) & (lanes.sequence_parallel | (lanes.tp == 1))
