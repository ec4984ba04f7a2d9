"""Layouts as launchers' files: read back as they were, under the keys that each launcher itself reads."""

from __future__ import annotations

import json
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from estimators.cost.layout import Layout
from estimators.errors import BadValueError, UnavailableError
from estimators.training.layouts.emit import LAUNCHERS, emit, from_file, from_text
from estimators.training.layouts.global_batch import Batch
from estimators.training.layouts.launchers.setup import Setup, stage_sizes
from estimators.training.layouts.planned import plan
from estimators.training.layouts.restriction import Restriction
from tests.support.planner_jobs import job

SETUP = Setup(seq_len=8192, layers=126, dtype="bf16", devices_per_node=8)


@st.composite
def layouts(draw: st.DrawFn) -> Layout:
    """Any layout at all, also those that no launcher runs."""
    dp, micro, passes = (draw(st.sampled_from((1, 2, 8, 96))) for _ in range(3))
    ways = {name: draw(st.sampled_from((1, 2, 7, 16))) for name in ("tp", "pp", "vp", "cp", "ep")}
    return Layout(
        dp=dp,
        micro_batch=micro,
        global_batch=dp * micro * passes,
        zero=draw(st.integers(0, 3)),
        shard=draw(st.sampled_from((0, 1, dp))),
        sequence_parallel=draw(st.booleans()),
        recompute=draw(st.sampled_from(("none", "selective", "full"))),
        schedule=draw(st.sampled_from(("1f1b", "zero-bubble"))),
        **ways,
    )


@pytest.mark.parametrize("name", LAUNCHERS)
@given(layout=layouts())
def test_any_layout_is_read_back_as_it_was(name: str, layout: Layout) -> None:
    read = from_text(emit(layout, name, SETUP))
    assert read.layout == layout
    assert read.notes == ()


@pytest.mark.parametrize("name", LAUNCHERS)
def test_a_planned_layout_that_the_launcher_runs_is_priced_the_same_after_reading(name: str, tmp_path: Path) -> None:
    one = job("llama-2-7b", seq_len=4096)
    found = plan(one, 64, restriction=Restriction(launcher=name))
    path = tmp_path / "run"
    path.write_text(emit(found.best.layout, name, Setup(seq_len=4096, layers=32, dtype="bf16", devices_per_node=8)))
    read = from_file(str(path)).layout
    assert one.predict(read).step_time_s == found.best.prediction.step_time_s


def test_accelerate_itself_reads_what_is_written(tmp_path: Path) -> None:
    from accelerate.commands.config.config_args import load_config_from_file

    layout = Layout(tp=2, cp=2, dp=4, zero=3, shard=2, micro_batch=2, global_batch=16, recompute="full")
    path = tmp_path / "accelerate.yaml"
    path.write_text(emit(layout, "accelerate", SETUP))
    config = load_config_from_file(str(path))  # refuses keys that it does not know
    assert config.num_processes == 16
    assert config.num_machines == 2
    assert config.mixed_precision == "bf16"
    assert config.fsdp_config["fsdp_version"] == 2
    assert config.fsdp_config["fsdp_reshard_after_forward"] is True
    assert config.fsdp_config["fsdp_activation_checkpointing"] is True
    assert config.parallelism_config == {
        "parallelism_config_cp_size": 2,
        "parallelism_config_dp_replicate_size": 2,
        "parallelism_config_dp_shard_size": 2,
        "parallelism_config_tp_size": 2,
    }


def test_accelerate_gets_as_many_copies_of_the_model_as_shards_leave() -> None:
    # accelerate's ParallelismConfig: dp_replicate_size x dp_shard_size are the data-parallel ranks
    config = yaml.safe_load(emit(Layout(dp=32, shard=8, zero=3, global_batch=32), "accelerate", SETUP))["parallelism_config"]
    assert (config["parallelism_config_dp_replicate_size"], config["parallelism_config_dp_shard_size"]) == (4, 8)


def test_accelerate_is_told_of_plain_replicas_without_fsdp() -> None:
    config = yaml.safe_load(emit(Layout(dp=8, zero=0, global_batch=8), "accelerate", SETUP))
    assert config["distributed_type"] == "MULTI_GPU"
    assert "fsdp_config" not in config
    assert yaml.safe_load(emit(Layout(zero=0), "accelerate", SETUP))["distributed_type"] == "NO"


def test_deepspeeds_batch_sizes_multiply() -> None:
    """DeepSpeed refuses a train_batch_size that is not micro-batch x accumulation x data-parallel ranks."""
    layout = Layout(tp=4, dp=16, zero=2, micro_batch=2, global_batch=128)
    config = json.loads(emit(layout, "deepspeed", SETUP))
    sizes = (config["train_micro_batch_size_per_gpu"], config["gradient_accumulation_steps"], 16)
    assert config["train_batch_size"] == sizes[0] * sizes[1] * sizes[2] == 128
    assert config["zero_optimization"]["stage"] == 2
    assert config["tensor_parallel"] == {"autotp_size": 4}
    assert config["bf16"] == {"enabled": True}
    assert "sixnd" not in config


def test_torchtitan_gets_its_own_tables() -> None:
    """The sections and keys of torchtitan's tests/integration_tests/base_config.toml, and pipeline keys of its job_config.py."""
    layout = Layout(tp=8, pp=16, dp=128, zero=2, micro_batch=1, global_batch=2048, sequence_parallel=True, recompute="selective")
    config = tomllib.loads(emit(layout, "torchtitan", SETUP))
    assert config["training"] == {"local_batch_size": 16, "global_batch_size": 2048, "seq_len": 8192}
    assert config["activation_checkpoint"] == {"mode": "selective"}
    assert config["parallelism"] == {
        "data_parallel_replicate_degree": 1,
        "data_parallel_shard_degree": 128,
        "fsdp_reshard_after_forward": "never",
        "tensor_parallel_degree": 8,
        "context_parallel_degree": 1,
        "expert_parallel_degree": 1,
        "pipeline_parallel_degree": 16,
        "pipeline_parallel_schedule": "1F1B",
        "pipeline_parallel_microbatch_size": 1,
        "pipeline_parallel_layers_per_stage": 8,
        "pipeline_parallel_first_stage_less_layers": 0,
        "pipeline_parallel_last_stage_less_layers": 0,
    }


def test_megatrons_flags_spell_uneven_stages_out() -> None:
    layout = Layout(tp=8, pp=16, dp=128, micro_batch=1, global_batch=2048, sequence_parallel=True, recompute="full")
    words = shlex.split(emit(layout, "megatron", SETUP), comments=True)
    stages = words[words.index("--pipeline-model-parallel-layout") + 1]
    assert stages.startswith("E")
    assert stages.endswith("L")
    assert [part.count("t") for part in stages.split("|")] == [7, *[8] * 14, 7]
    for flag in ("--sequence-parallel", "--use-distributed-optimizer", "--bf16", "--recompute-granularity", "--recompute-method"):
        assert flag in words
    assert words[words.index("--recompute-num-layers") + 1] == "1"


def test_megatrons_stages_that_somebody_spelt_out_are_chunks_of_the_pipeline() -> None:
    flags = "--pipeline-model-parallel-size 2 --micro-batch-size 1 --global-batch-size 8 --pipeline-model-parallel-layout "
    assert [from_text(flags + stages, num_devices=8).layout.vp for stages in ("'Ett|tttL'", "'Et|t|t|ttL'")] == [1, 2]


def test_megatrons_even_chunks_need_no_spelling_out() -> None:
    text = emit(Layout(pp=2, vp=3, global_batch=4), "megatron", SETUP)
    assert "--num-virtual-stages-per-pipeline-rank 3" in text
    assert "--pipeline-model-parallel-layout" not in text


@pytest.mark.parametrize(("layers", "stages"), [(126, 16), (61, 16), (94, 8), (96, 8), (7, 7)])
def test_stages_hold_all_layers_as_evenly_as_they_go(layers: int, stages: int) -> None:
    sizes = stage_sizes(layers, stages)
    assert sum(sizes) == layers
    assert len(sizes) == stages
    assert max(sizes) - min(sizes) <= 1


def test_a_file_that_somebody_else_wrote_is_read() -> None:
    """accelerate's examples/torch_native_parallelism/configs/tp_hsdp.yaml."""
    text = (
        "compute_environment: LOCAL_MACHINE\ndistributed_type: FSDP\nfsdp_config:\n  fsdp_activation_checkpointing: false\n"
        "  fsdp_reshard_after_forward: true\n  fsdp_version: 2\nmixed_precision: bf16\nnum_machines: 1\nnum_processes: 8\n"
        "parallelism_config:\n  parallelism_config_cp_size: 1\n  parallelism_config_dp_replicate_size: 2\n"
        "  parallelism_config_dp_shard_size: 2\n  parallelism_config_tp_size: 2\n"
    )
    found = from_text(text + "# sixnd: micro_batch=2\n", global_batch=32).layout
    assert found == Layout(tp=2, dp=4, zero=3, shard=2, micro_batch=2, global_batch=32)


def test_megatrons_flags_leave_the_replicas_to_the_number_of_gpus() -> None:
    text = "--tensor-model-parallel-size 8 \\\n --pipeline-model-parallel-size 16 \\\n --micro-batch-size 1 --global-batch-size 1536\n"
    assert from_text(text, num_devices=1024).layout == Layout(tp=8, pp=16, dp=8, zero=0, micro_batch=1, global_batch=1536)
    with pytest.raises(BadValueError, match="says nothing of dp; give --gpus"):
        from_text(text)
    with pytest.raises(BadValueError, match="is 128 and does not divide 1,000 GPUs; nearest: 1,024"):
        from_text(text, num_devices=1000)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("hello\n", "this is not a launcher's file; expected one of: accelerate, deepspeed, torchtitan, megatron"),
        ("", "this is not a launcher's file"),
        ('{"train_batch_size": ', "this deepspeed file cannot be read"),
        ("[]", "this is not a launcher's file"),
        ("[parallelism]\ntensor_parallel_degree = two\n", "this torchtitan file cannot be read"),
        ("--tensor-model-parallel-size two\n", "--tensor-model-parallel-size is 'two'; expected a whole number"),
        ("distributed_type: FSDP\nnum_processes: many\n", "num_processes is 'many'; expected a whole number"),
        ("# sixnd: colour=red\n--tensor-model-parallel-size 2\n", "'colour' is not a part of a layout"),
        ('{"zero_optimization": {"stage": 9}, "train_batch_size": 1}', "says nothing of"),
        ('{"train_batch_size": 8, "train_micro_batch_size_per_gpu": 0, "gradient_accumulation_steps": 1}', "says nothing of dp"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_in_one_line(text: str, said: str) -> None:
    with pytest.raises(BadValueError, match=said):
        from_text(text)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match=r"cannot read .*nothing\.toml'"):
        from_file(str(tmp_path / "nothing.toml"))
    (tmp_path / "large").write_text("x" * (10**6 + 1))
    with pytest.raises(BadValueError, match="more than 1,000,000 bytes"):
        from_file(str(tmp_path / "large"))


def test_an_unknown_launcher_is_refused() -> None:
    with pytest.raises(BadValueError, match="launcher 'slurm' is unknown; expected one of: accelerate"):
        emit(Layout(), "slurm", SETUP)


RUN: dict[str, Any] = {
    "accelerate": lambda x: x.pp == 1 and x.ep == 1 and not x.sequence_parallel and (x.zero != 1 or x.dp * x.cp == 1),
    "deepspeed": lambda x: x.pp == x.cp == x.ep == 1 and (x.tp == 1 or x.zero <= 2) and not x.sequence_parallel,
    "torchtitan": lambda x: (x.zero != 1 or x.dp * x.cp == 1) and x.sequence_parallel == (x.tp > 1),
    "megatron": lambda x: x.zero <= 1 or x.pp == 1,
}
"""What the launchers' own documentation rules out, said once more as a predicate."""


@pytest.mark.parametrize("name", LAUNCHERS)
def test_only_what_the_launcher_runs_is_planned_for_it(name: str) -> None:
    found = plan(job("llama-2-7b", seq_len=4096), 64, restriction=Restriction(launcher=name), num_options=20)
    assert all(RUN[name](option.layout) for option in found.options)
    unrestricted = plan(job("llama-2-7b", seq_len=4096), 64)
    assert unrestricted.num_legal > found.num_legal > 0
    assert found.best.prediction.step_time_s >= unrestricted.best.prediction.step_time_s


def test_a_launcher_that_runs_none_of_the_legal_layouts_says_so() -> None:
    """A global batch of one sequence on 16 devices needs a model cut 16 ways: a sequence of 2,048 is not cut, tensors are 8 ways at most,
    and this launcher has no stages."""
    with pytest.raises(
        BadValueError, match=r"accelerate runs none of the .* legal layouts of llama-2-7b on 16 GPUs; take another launcher"
    ):
        plan(job("llama-2-7b", seq_len=2048), 16, Batch(sequences=1), Restriction(launcher="accelerate"))
