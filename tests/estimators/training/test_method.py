"""How a model is trained is one noun: counts, memory and step time take it, and agree on what it means."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from estimators.architectures.adapters import trained
from estimators.cost.layout import Layout
from estimators.counting.estimate import estimate
from estimators.errors import BadValueError
from estimators.facts.registry import hardware
from estimators.frozen import replace
from estimators.memory.device import memory_of
from estimators.method import FULL, TrainingMethod
from estimators.spec import Case, Workload
from estimators.training.layouts.fine_tuning import tuning_job
from estimators.training.layouts.job import Job
from estimators.training.sequence_cost import sequence_cost_of
from estimators.tuning.memory import memory_of_job
from estimators.validation.model import shipped_model

MIB = 2**20
MODELS = ("gpt2", "llama-2-7b", "llama-3-8b", "gemma-2-9b", "mixtral-8x7b", "phi-2", "deepseek-v2-lite")
ADAPTERS = TrainingMethod(rank=8)
METHODS = st.one_of(
    st.just(FULL),
    st.builds(TrainingMethod, rank=st.sampled_from((1, 8, 64)), targets=st.sampled_from(((), ("all-linear",)))),
    st.builds(TrainingMethod, rank=st.just(16), base_format=st.sampled_from(("nf4", "nf4-double"))),
    st.builds(TrainingMethod, frozen_layers=st.integers(0, 12)),
)


def job(method: TrainingMethod, **changes: str) -> Job:
    return Job(model=shipped_model("llama-2-7b"), hardware=hardware("a100-sxm4-80gb"), seq_len=512, method=method, **changes)


@given(name=st.sampled_from(MODELS), method=METHODS, seq_len=st.sampled_from((1, 128, 1024)))
@settings(max_examples=60, deadline=None)
def test_a_predicted_step_has_the_operations_that_are_counted(name: str, method: TrainingMethod, seq_len: int) -> None:
    model, w = shipped_model(name), Workload(phase="train", seq_len=seq_len)
    counted = estimate(Case(model=model, workload=w, method=method))
    cost = sequence_cost_of(trained(model, method), seq_len)
    assert (cost.params, cost.trained_params) == (counted.params, counted.trainable_params)
    assert cost.forward_flop(causal=False) + cost.backward_flop(causal=False) == counted.flop["full"]


def test_quantised_weights_are_not_trained_without_adapters() -> None:
    with pytest.raises(BadValueError, match="weights stored as nf4 are not trained; give a rank"):
        trained(shipped_model("gpt2"), TrainingMethod(base_format="nf4"))


def test_one_method_is_the_same_to_counts_memory_and_step_time() -> None:
    """Llama 2 7B, rank 8 on queries and values: 4,194,304 trained, as peft prints; 8 bytes of AdamW's state each."""
    one, layout = job(ADAPTERS), Layout(global_batch=4)
    assert estimate(Case(model=one.model, workload=Workload(phase="train"), method=ADAPTERS)).trainable_params == 4_194_304
    assert one.predict(layout).work.trained_params == one.model_memory.work.trained_params == 4_194_304
    cut = job(ADAPTERS, stack_id="megatron-core")
    for found in (memory_of_job(tuning_job(one, layout)).fullest.parts, memory_of(cut.trained, 512, layout).parts):
        assert found["optimizer"] == 8 * 4_194_304
    assert one.memory_bytes(layout) == memory_of_job(tuning_job(one, layout)).allocated_bytes
    assert cut.memory_bytes(layout) == memory_of(cut.trained, 512, layout).total_bytes


def test_adapters_cost_less_than_all_of_a_model_in_time_in_memory_and_in_the_count() -> None:
    layout = Layout(global_batch=4)
    whole, adapted = job(FULL).predict(layout), job(ADAPTERS).predict(layout)
    assert adapted.step_time_s < whole.step_time_s
    assert job(ADAPTERS).memory_bytes(layout) < job(FULL).memory_bytes(layout) / 3
    assert 0.6 < adapted.model_flop() / whole.model_flop() < 0.7  # no product for the gradient of a frozen matrix: two of three


def test_the_utilization_of_adapters_counts_no_work_that_nobody_does() -> None:
    """A prediction once counted three products per matrix, whatever was frozen."""
    adapted = job(ADAPTERS).predict(Layout(global_batch=4))
    counted = estimate(Case(model=job(FULL).model, workload=Workload(phase="train", seq_len=512), method=ADAPTERS))
    assert adapted.model_flop() == 4 * counted.flop["full"]


@pytest.mark.parametrize(("name", "codes_mib", "scales_mib"), [("mistral-7b", 3328, 416.013671875), ("qwen2-7b", 3111.5, 388.949462890625)])
def test_quantised_matrices_have_the_bytes_that_bitsandbytes_allocates(name: str, codes_mib: float, scales_mib: float) -> None:
    """NF4 without double quantisation: half a byte per weight, an fp32 scale per 64, 64 bytes per matrix; biases and the rest in 16 bits.

    Source: bitsandbytes, quantize_4bit (version 0.50): allocations of both models loaded in 4 bits.
    """
    model = shipped_model(name)
    adapted = trained(model, TrainingMethod(rank=16, base_format="nf4"))
    rows = [op for op in adapted.ops(Workload()) if op.stored_bytes is not None and op.mnk]
    biases = sum(2 * op.count * (op.params - op.mnk[1] * op.mnk[2]) for op in rows if op.mnk)
    assert sum(op.count * (op.stored_bytes or 0) for op in rows) - biases == (codes_mib + scales_mib) * MIB


def test_a_quantised_base_is_held_in_its_bytes_by_every_answer() -> None:
    model, layout = shipped_model("llama-2-7b"), Layout(global_batch=1)
    plain, quantised = TrainingMethod(rank=8), TrainingMethod(rank=8, base_format="nf4")
    linear = 6_476_005_376  # 32 layers of 4·4,096² and 3·4,096·11,008, seven matrices each
    saved = 2 * linear - (linear // 2 + 4 * linear // 64 + 32 * 7 * 64)
    by_method = [estimate(Case(model=model, workload=Workload(phase="train"), method=method)).memory_bytes for method in (plain, quantised)]
    norms = 32 * 2 * 4096 * 2  # peft's prepare_model_for_kbit_training makes them fp32
    assert by_method[0]["weights"] - by_method[1]["weights"] == saved - norms
    weights = [memory_of(trained(model, method), 512, layout).parts["weights"] for method in (plain, quantised)]
    assert weights[0] - weights[1] == pytest.approx(saved, rel=1e-12)


def test_adapters_over_4_bit_weights_need_software_that_holds_them() -> None:
    quantised = TrainingMethod(rank=8, base_format="nf4")
    for stack_id in ("", "transformers", "transformers-qlora"):
        assert job(quantised, stack_id=stack_id).predict(Layout()).ledger.parts["dequantise"] > 0
    with pytest.raises(BadValueError, match="software megatron-core trains nothing over 4-bit weights; expected one of: transformers, "):
        job(quantised, stack_id="megatron-core")
    with pytest.raises(BadValueError, match="software transformers-qlora trains adapters over 4-bit weights, but llama-2-7b has none"):
        job(FULL, stack_id="transformers-qlora")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"rank": -1}, "an adapter of rank -1; expected a whole number from 1"),
        ({"rank": 8, "frozen_layers": 2}, "adapters and frozen layers exclude each other"),
        ({"targets": ("q_proj",)}, "targets q_proj need adapters; give a rank"),
        ({"rank": 8, "base_format": "nf3"}, "weights stored as 'nf3' are unknown; expected one of: 16-bit, nf4, nf4-double"),
    ],
)
def test_what_is_no_method_is_refused_in_one_line(fields: dict[str, object], said: str) -> None:
    with pytest.raises(BadValueError, match=said):
        replace(FULL, **fields)
