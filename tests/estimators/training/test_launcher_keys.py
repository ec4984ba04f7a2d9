"""Every key of a launcher's file is understood, harmless, refused by name, or named in a note; none is dropped in silence."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from bench.cli.main import main
from estimators.cost.layout import Layout
from estimators.errors import BadValueError, UnavailableError
from estimators.training.layouts.emit import LAUNCHERS, LauncherFile, from_file, from_text
from estimators.training.layouts.launchers.keys import Keys, Refused

D1: dict[str, Any] = {
    "train_batch_size": 64,
    "train_micro_batch_size_per_gpu": 1,
    "gradient_accumulation_steps": 8,
    "bf16": {"enabled": True},
    "zero_optimization": {"stage": 3},
}
ACCELERATE = "# sixnd: micro_batch=1\nnum_machines: {machines}\nnum_processes: {processes}\nmixed_precision: bf16\n"
FSDP = ACCELERATE.format(machines=1, processes=8) + "distributed_type: FSDP\nfsdp_config:\n"
DEEPSPEED = ACCELERATE.format(machines=1, processes=8) + "distributed_type: DEEPSPEED\ndeepspeed_config:\n"
TITAN = (
    "[training]\nlocal_batch_size = 1\nglobal_batch_size = 8\n{training}\n[parallelism]\ndata_parallel_shard_degree = 8\n{parallelism}\n"
)
MEGATRON = "--tensor-model-parallel-size 2 --micro-batch-size 1 --global-batch-size 16 "


def deepspeed(**changes: Any) -> str:
    zero = D1["zero_optimization"] | changes.pop("zero", {})
    return json.dumps(D1 | {"zero_optimization": zero} | changes)


def read(text: str) -> LauncherFile:
    return from_text(text, num_devices=8, global_batch=8)


OFFLOADED = [
    deepspeed(zero={"offload_param": {"device": "cpu"}, "offload_optimizer": {"device": "cpu"}}),
    deepspeed(zero={"offload_optimizer": {"device": "nvme", "nvme_path": "/nvme"}}),
    deepspeed(zero={"offload_param": {"device": "CPU"}}),
    deepspeed(zero={"cpu_offload": True}),
    FSDP + "  fsdp_sharding_strategy: FULL_SHARD\n  fsdp_offload_params: true\n",
    FSDP + "  fsdp_offload_params: True\n",
    DEEPSPEED + "  zero_stage: 3\n  offload_param_device: cpu\n",
    DEEPSPEED + "  zero_stage: 2\n  offload_optimizer_device: nvme\n",
    TITAN.format(training="enable_cpu_offload = true", parallelism=""),
    MEGATRON + "--optimizer-cpu-offload",
]


@pytest.mark.parametrize("text", OFFLOADED)
def test_offload_to_host_memory_is_refused_by_name(text: str) -> None:
    with pytest.raises(BadValueError, match=r"offload.*: states in host memory are not priced.*; take it out of the file") as refused:
        read(text)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "text",
    [
        deepspeed(zero={"offload_param": {"device": "none", "pin_memory": True}, "offload_optimizer": None, "cpu_offload": False}),
        FSDP + "  fsdp_offload_params: false\n",
        DEEPSPEED + "  zero_stage: 3\n  offload_param_device: none\n  offload_optimizer_device: 'none'\n",
        TITAN.format(training="enable_cpu_offload = false", parallelism=""),
    ],
)
def test_an_offload_that_is_turned_off_is_none(text: str) -> None:
    assert read(text).notes == ()


def test_accelerates_deepspeed_settings_are_read() -> None:
    text = DEEPSPEED + "  gradient_accumulation_steps: 8\n  zero_stage: 3\n"
    assert from_text(text).layout == Layout(dp=8, zero=3, micro_batch=1, global_batch=64)


@pytest.mark.parametrize(
    "text",
    [
        ACCELERATE.format(machines=1, processes=8)
        + "distributed_type: DEEPSPEED\ndeepspeed_config: {zero_stage: 3, offload_param_device: none}\n",
        json.dumps(
            {"distributed_type": "DEEPSPEED", "num_processes": 8, "deepspeed_config": {"zero_stage": 3}, "sixnd": {"micro_batch": 1}}
        ),
    ],
)
def test_a_table_in_braces_and_a_file_in_json_are_read(text: str) -> None:
    assert read(text).layout == Layout(dp=8, zero=3, micro_batch=1, global_batch=8)


def test_degrees_beside_plain_replicas_are_read() -> None:
    text = (
        ACCELERATE.format(machines=1, processes=8) + "distributed_type: MULTI_GPU\nparallelism_config:\n  parallelism_config_tp_size: 2\n"
    )
    assert read(text).layout == Layout(tp=2, dp=4, zero=0, micro_batch=1, global_batch=8)
    assert read(text + "  parallelism_config_dp_shard_size: 4\n").layout == Layout(tp=2, dp=4, zero=3, micro_batch=1, global_batch=8)


def test_a_stage_that_is_left_out_is_accelerates_own() -> None:
    from accelerate.utils import DeepSpeedPlugin

    assert DeepSpeedPlugin.__dataclass_fields__["zero_stage"].default is None  # taken of the environment, else 2
    assert read(DEEPSPEED + "  gradient_accumulation_steps: 8\n").layout.zero == 2


def test_accelerate_may_refer_to_a_deepspeed_configuration(tmp_path: Path) -> None:
    (tmp_path / "ds.json").write_text(deepspeed(zero={"mystery": 1}))
    path = tmp_path / "accelerate.yaml"
    path.write_text(DEEPSPEED.replace("# sixnd: micro_batch=1\n", "") + "  deepspeed_config_file: ds.json\n")
    found = from_file(str(path))
    assert found.layout == Layout(dp=8, zero=3, micro_batch=1, global_batch=64)
    assert found.notes == ("not known, and not heeded, of the deepspeed file: zero_optimization.mystery",)
    (tmp_path / "ds.json").write_text(OFFLOADED[0])
    with pytest.raises(BadValueError, match=r"the deepspeed file has zero_optimization\.offload_param\.device = cpu"):
        from_file(str(path))
    (tmp_path / "ds.json").unlink()
    with pytest.raises(UnavailableError, match=r"cannot read .*ds\.json"):
        from_file(str(path))


@pytest.mark.parametrize(
    ("strategy", "zero", "shard"),
    [
        ("fsdp_sharding_strategy: FULL_SHARD", 3, 0),
        ("fsdp_sharding_strategy: 1", 3, 0),
        ("fsdp_sharding_strategy: SHARD_GRAD_OP", 2, 0),
        ("fsdp_sharding_strategy: 2", 2, 0),
        ("fsdp_sharding_strategy: NO_SHARD", 0, 0),
        ("fsdp_sharding_strategy: HYBRID_SHARD", 3, 8),
        ("fsdp_reshard_after_forward: SHARD_GRAD_OP", 2, 0),
        ("fsdp_reshard_after_forward: true", 3, 0),
        ("fsdp_reshard_after_forward: false", 2, 0),
        ("fsdp_version: 1", 3, 0),
    ],
)
def test_fsdps_strategies_are_the_stages_that_they_are(strategy: str, zero: int, shard: int) -> None:
    """FSDP 1's five strategies in the order of accelerate's FSDP_SHARDING_STRATEGY, FSDP 2's flag; a hybrid shards within a node."""
    from accelerate.utils.constants import FSDP_SHARDING_STRATEGY

    assert FSDP_SHARDING_STRATEGY == ["FULL_SHARD", "SHARD_GRAD_OP", "NO_SHARD", "HYBRID_SHARD", "HYBRID_SHARD_ZERO2"]
    text = ACCELERATE.format(machines=2, processes=16) + f"distributed_type: FSDP\nfsdp_config:\n  {strategy}\n"
    assert from_text(text, global_batch=16).layout == Layout(dp=16, zero=zero, shard=shard, micro_batch=1, global_batch=16)


def test_accelerates_megatron_settings_are_read() -> None:
    text = ACCELERATE.format(machines=1, processes=8) + (
        "distributed_type: MEGATRON_LM\nmegatron_lm_config:\n  megatron_lm_tp_degree: 2\n  megatron_lm_pp_degree: 2\n"
        "  megatron_lm_num_micro_batches: 4\n  megatron_lm_sequence_parallelism: true\n  megatron_lm_recompute_activations: true\n"
        "  megatron_lm_use_distributed_optimizer: true\n  megatron_lm_gradient_clipping: 1.0\n"
    )
    found = from_text(text)
    assert found.notes == ()
    assert found.layout == Layout(tp=2, pp=2, dp=2, zero=1, micro_batch=1, global_batch=8, sequence_parallel=True, recompute="selective")


REFUSED = [
    (deepspeed(zero={"zero_quantized_weights": True}), "zero_quantized_weights = true: that is not priced"),
    (deepspeed(activation_checkpointing={"cpu_checkpointing": True}), "activations in host memory are not priced"),
    (deepspeed(curriculum_learning={"enabled": True}), "sequences of one length"),
    (deepspeed(amp={"enabled": True}), "bf16 or fp16 are priced"),
    (deepspeed(zero={"stage": "three"}), "stage is 'three'; expected a whole number"),
    (deepspeed(optimizer={"type": "Lion"}), "optimizer.type is 'Lion', which is not priced; expected one of: adamw"),
    (deepspeed(train_batch_size=63), "a batch of 63 sequences|says nothing of dp"),
    (ACCELERATE.format(machines=1, processes=8) + "distributed_type: XLA\n", "distributed_type is 'XLA'; expected one of"),
    (DEEPSPEED + "  zero_stage: 3\nparallelism_config:\n  parallelism_config_tp_size: 2\n", "parallelism_config_tp_size beside"),
    (FSDP + "  fsdp_auto_wrap_policy: NO_WRAP\n", "gathered at once"),
    (FSDP + "  fsdp_sharding_strategy: HYBRID_SHARD_ZERO2\n", "expected one of: FULL_SHARD"),
    (FSDP + "use_cpu: true\n", "training on CPUs is not priced"),
    (FSDP + "fsdp_version 2\n", "expected KEY: VALUE"),
    (TITAN.format(training="", parallelism="disable_loss_parallel = true"), "logits are priced as shared out"),
    (TITAN.format(training="", parallelism='pipeline_parallel_schedule = "GPipe"'), "pipeline_parallel_schedule is 'GPipe'"),
    (TITAN.format(training="batch_size = 2", parallelism=""), "its name is local_batch_size"),
    (
        TITAN.format(training="", parallelism='pipeline_parallel_degree = 2\npipeline_parallel_schedule = "Interleaved1F1B"'),
        "says nothing of vp; add the line # sixnd: vp=2 to it",
    ),
    (MEGATRON + "--recompute-granularity full --recompute-method block", "recomputes some layers"),
    (MEGATRON + "--recompute-granularity full --recompute-method uniform --recompute-num-layers 4", "a checkpoint of every layer"),
    (MEGATRON + "--cpu-offloading --cpu-offloading-num-layers 3", "activations in host memory"),
    (MEGATRON + "--decoder-first-pipeline-num-layers 3", "stages of the same number of layers"),
    (MEGATRON + "--rampup-batch-size 16 16 1000", "a batch of one size"),
    (MEGATRON + "--num-layers-per-virtual-pipeline-stage 4", "says nothing of vp"),
    (MEGATRON + "--use-megatron-fsdp --data-parallel-sharding-strategy some", "expected one of: no_shard"),
]


@pytest.mark.parametrize(("text", "said"), REFUSED)
def test_what_would_change_the_answer_and_is_not_priced_is_refused_by_name(text: str, said: str) -> None:
    with pytest.raises(BadValueError, match=said):
        read(text)


NOTED = [
    (deepspeed(mystery={"depth": 3}), "not known, and not heeded, of the deepspeed file: mystery.depth"),
    (deepspeed(zero={"stage3_max_live_parameters": 1e8}), "stage3_max_live_parameters = 100000000; priced is: 1000000000"),
    (FSDP + "  fsdp_mystery: 3\nmystery: true\n", "of the accelerate file: fsdp_config.fsdp_mystery, mystery"),
    (FSDP + "dynamo_config:\n  dynamo_backend: INDUCTOR\n", "dynamo_backend = inductor; priced is: not compiled"),
    (TITAN.format(training="mystery = 3", parallelism=""), "of the torchtitan file: training.mystery"),
    (TITAN.format(training="", parallelism="") + "[compile]\nenable = true\n", "compile.enable = true; priced is: not compiled"),
    (MEGATRON + "--mystery 3 --swiglu", "of the megatron file: --mystery"),
]


@pytest.mark.parametrize(("text", "note"), NOTED)
def test_what_cannot_be_judged_is_named_in_a_note(text: str, note: str) -> None:
    (found,) = read(text).notes
    assert note in found


def test_a_note_reaches_the_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "ds.json").write_text(deepspeed(mystery=1))
    common = f"--model llama-3-8b --hardware a100-sxm4-80gb --tokens 1B --seq-len 4096 --gpus 8 --from {tmp_path / 'ds.json'}"
    for words in (f"estimate {common}", f"plan {common} --global-batch 64seq"):
        assert main(shlex.split(words)) == 0
        assert "not known, and not heeded, of the deepspeed file: mystery" in capsys.readouterr().out


def test_what_common_templates_say_needs_no_note() -> None:
    """The keys of transformers' own ZeRO-3 template (docs, deepspeed), of accelerate's questionnaire and of Megatron-LM's llama example."""
    zero = {"overlap_comm": True, "contiguous_gradients": True, "sub_group_size": 1e9, "reduce_bucket_size": "auto"}
    zero |= {"stage3_prefetch_bucket_size": "auto", "stage3_param_persistence_threshold": "auto", "stage3_max_live_parameters": 1e9}
    zero |= {"stage3_max_reuse_distance": 1e9, "stage3_gather_16bit_weights_on_model_save": True}
    fp16 = {"enabled": "auto", "loss_scale": 0, "loss_scale_window": 1000, "initial_scale_power": 16, "hysteresis": 2, "min_loss_scale": 1}
    more = {"optimizer": {"type": "AdamW", "params": {"lr": "auto", "betas": "auto"}}, "gradient_clipping": "auto"}
    more |= {"scheduler": {"type": "WarmupLR", "params": {"warmup_num_steps": "auto"}}, "steps_per_print": 2000, "fp16": fp16}
    assert read(deepspeed(zero=zero, wall_clock_breakdown=False, **more)).notes == ()
    questionnaire = FSDP + (
        "  fsdp_auto_wrap_policy: TRANSFORMER_BASED_WRAP\n  fsdp_backward_prefetch: BACKWARD_PRE\n  fsdp_cpu_ram_efficient_loading: true\n"
        "  fsdp_forward_prefetch: false\n  fsdp_sharding_strategy: FULL_SHARD\n  fsdp_state_dict_type: SHARDED_STATE_DICT\n"
        "  fsdp_sync_module_states: true\n  fsdp_transformer_layer_cls_to_wrap: LlamaDecoderLayer\n  fsdp_use_orig_params: true\n"
        "compute_environment: LOCAL_MACHINE\ndebug: false\ndowncast_bf16: 'no'\nmachine_rank: 0\nmain_training_function: main\n"
        "rdzv_backend: static\nsame_network: true\ntpu_env: []\ntpu_use_cluster: false\ntpu_use_sudo: false\nuse_cpu: false\n"
    )
    assert read(questionnaire).notes == ()
    flags = "--swiglu --bf16 --lr 3e-4 --train-iters 10 --use-distributed-optimizer --overlap-grad-reduce --num-layers 32 --seq-length 8192"
    assert read(MEGATRON + flags).notes == ()


def test_what_is_left_to_the_script_has_a_way_out_that_works() -> None:
    auto = D1 | dict.fromkeys(("train_batch_size", "train_micro_batch_size_per_gpu", "gradient_accumulation_steps"), "auto")
    ways = r'micro_batch, global_batch \("auto" is for the script to fill in\); give --global-batch, and add "sixnd": {"micro_batch": 2}'
    with pytest.raises(BadValueError, match=ways):
        from_text(json.dumps(auto), num_devices=8)
    with pytest.raises(BadValueError, match=r"says nothing of dp, micro_batch, global_batch.*; give --gpus and --global-batch, and add"):
        from_text(json.dumps(auto))
    found = from_text(json.dumps(auto | {"sixnd": {"micro_batch": 2}}), num_devices=8, global_batch=64)
    assert found.layout == Layout(dp=8, zero=3, micro_batch=2, global_batch=64)
    steps = from_text(json.dumps(auto | {"gradient_accumulation_steps": 4}), num_devices=8, global_batch=64)
    assert steps.layout.micro_batch == 2


@pytest.mark.parametrize(
    ("text", "asked", "said"),
    [
        (deepspeed(), {"dtype": "fp16"}, "the deepspeed file computes in bf16, --dtype was fp16; give --dtype bf16"),
        (deepspeed(bf16={"enabled": False}, fp16={"enabled": False}), {}, "computes in fp32, --dtype was bf16; give --dtype fp32"),
        (
            deepspeed(optimizer={"type": "AdamW"}),
            {"optimizer": "sgd"},
            "has the optimizer adamw, --optimizer was sgd; give --optimizer adamw",
        ),
        (FSDP.replace("bf16", "'no'") + "  fsdp_version: 2\n", {}, "the accelerate file computes in fp32"),
        (FSDP.replace("bf16", "fp8") + "  fsdp_version: 2\n", {}, "the accelerate file computes in fp8, --dtype was bf16"),
        (MEGATRON + "--seq-length 8192", {}, "has sequences of 8,192 tokens, --seq-len was 4,096; give --seq-len 8192"),
        (MEGATRON + "--bf16 --fp8-format hybrid", {}, "the megatron file computes in fp8"),
        (TITAN.format(training="seq_len = 2048", parallelism=""), {}, "has sequences of 2,048 tokens"),
        (TITAN.format(training="", parallelism="") + '[model]\nconverters = ["float8"]\n', {}, "the torchtitan file computes in fp8"),
    ],
)
def test_another_run_than_the_one_that_is_asked_about_is_refused(text: str, asked: dict[str, str], said: str) -> None:
    with pytest.raises(BadValueError, match=said):
        read(text).demand(**({"dtype": "bf16", "seq_len": 4096, "optimizer": "adamw"} | asked))  # type: ignore[arg-type]


def test_the_run_that_is_asked_about_is_taken() -> None:
    for text in (deepspeed(), MEGATRON + "--seq-length 4096 --bf16 --optimizer adam", FSDP + "  fsdp_version: 2\n"):
        read(text).demand(dtype="bf16", seq_len=4096, optimizer="adamw")
    read(deepspeed()).demand(dtype="fp8", seq_len=4096, optimizer="adamw")  # its bf16 is that of all but the products


@pytest.mark.parametrize("name", LAUNCHERS)
def test_no_key_has_two_meanings(name: str) -> None:
    keys: Keys = LAUNCHERS[name].KEYS
    for one, other in ((keys.read, keys.harmless), (keys.read, keys.usual), (keys.harmless, keys.refused), (keys.harmless, keys.usual)):
        assert not set(one) & set(other)


def test_every_known_key_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "launcher-keys", "--match", "offload", "--format", "json"]) == 0
    rows = {(row["launcher"], row["key"]): row["meaning"] for row in json.loads(capsys.readouterr().out)["rows"]}
    assert rows["deepspeed", "zero_optimization.offload_*.device"] == "refused"
    assert rows["accelerate", "fsdp_config.fsdp_offload_params"] == "refused"
    for name, module in LAUNCHERS.items():
        keys: Keys = module.KEYS
        assert {key for key, _, _ in keys.meanings()} == {*keys.read, *keys.harmless, *keys.refused, *keys.usual}, name


def test_a_key_that_is_dropped_would_be_found() -> None:
    keys = Keys(read=frozenset({"stage"}), harmless=frozenset({"seed"}), refused={"offload.*": Refused(why="no")})
    assert keys.judge("some", {"stage": 3, "seed": 1, "offload.device": "none"}) == ()
    assert keys.judge("some", {"stage": 3, "new": 1}) == ("not known, and not heeded, of the some file: new",)
    with pytest.raises(BadValueError, match=r"the some file has offload\.device = cpu: no"):
        keys.judge("some", {"offload.device": "cpu"})
