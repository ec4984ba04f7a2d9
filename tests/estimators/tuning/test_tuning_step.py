"""A step of fine-tuning: its FLOP are those of the op tables, and each term follows its mechanism."""

from __future__ import annotations

from typing import Any

import pytest

from estimators.architectures.adapters import trained
from estimators.errors import BadValueError
from estimators.facts.registry import hardware
from estimators.frozen import replace
from estimators.method import FULL, TrainingMethod
from estimators.spec import Workload
from estimators.training.step import TUNING_PARTS
from estimators.tuning.job import Offload, TuningJob
from estimators.tuning.recipes import recipe
from estimators.tuning.software import LOSS_BYTES, optimizer_kind
from estimators.tuning.step import TuningStep, layout_of, tuning_step
from estimators.validation.model import shipped_model

LORA = TrainingMethod(rank=16, targets=("all-linear",))
QLORA = TrainingMethod(rank=16, targets=("all-linear",), base_format="nf4")


def job(name: str = "llama-3.2-1b", *, framework: str = "trl", **fields: Any) -> TuningJob:
    made = {"model": shipped_model(name), "method": LORA, "seq_len": 512} | fields
    return TuningJob(recipe=recipe(framework), **made)


def step(device: str = "a100-sxm4-80gb", **fields: Any) -> TuningStep:
    return tuning_step(job(**fields), hardware(device))


def counted(model: Any, seq_len: int) -> tuple[int, int]:
    """FLOP of one row forward and backward, summed over the op table."""
    ops = model.ops(Workload(phase="train", batch=1, seq_len=seq_len))
    return sum(op.count * op.flop for op in ops), sum(op.count * op.backward_flop for op in ops)


@pytest.mark.parametrize("method", [FULL, LORA, QLORA, TrainingMethod(rank=4)], ids=["full", "lora", "qlora", "queries and values"])
@pytest.mark.parametrize(
    ("objective", "reference", "rows", "passes"),
    [("sft", "none", 1, 0), ("dpo", "adapters-off", 2, 1), ("dpo", "precomputed", 2, 0), ("orpo", "none", 2, 0), ("kto", "copy", 1, 1)],
)
def test_flop_are_those_of_the_op_tables(method: TrainingMethod, objective: Any, reference: Any, rows: int, passes: int) -> None:
    """A pair is two rows; a reference that runs is one forward pass of the base for each."""
    found = step(method=method, objective=objective, reference=reference, micro_batch=3, accumulation=5)
    base = shipped_model("llama-3.2-1b")
    forward, backward = counted(trained(base, method), 512)
    assert found.flop == 3 * 5 * rows * (forward + backward + passes * counted(base, 512)[0])


def test_parts_sum_and_none_is_negative() -> None:
    found = step(objective="dpo", reference="copy", method=FULL)
    assert tuple(found.ledger.parts) == tuple(TUNING_PARTS)
    assert sum(found.ledger.parts.values()) == found.step_time_s
    assert min(found.ledger.parts.values()) >= 0


def test_dequantisation_hangs_on_weights_and_passes_and_not_on_tokens() -> None:
    """Twice the tokens, the same seconds; twice the micro-batches, or a pass more for checkpointing, so much more of them."""
    one = step(method=QLORA).ledger.parts["dequantise"]
    assert one > 0
    assert step(method=QLORA, seq_len=1024).ledger.parts["dequantise"] == pytest.approx(one)
    assert step(method=QLORA, micro_batch=4).ledger.parts["dequantise"] == pytest.approx(one)
    assert step(method=QLORA, accumulation=2).ledger.parts["dequantise"] == pytest.approx(2 * one)
    assert step(method=QLORA, checkpointing="full").ledger.parts["dequantise"] == pytest.approx(1.5 * one)
    assert step(method=LORA).ledger.parts["dequantise"] == 0


def test_dequantisation_scales_with_the_bandwidth_of_the_device() -> None:
    """2,039 GB/s against 1,555."""
    large, small = (step(name, method=QLORA).ledger.parts["dequantise"] for name in ("a100-sxm4-80gb", "a100-sxm4-40gb"))
    rates = [hardware(name).memory_bytes_per_s for name in ("a100-sxm4-80gb", "a100-sxm4-40gb")]
    assert small / large == pytest.approx(rates[0] / rates[1])


def test_short_rows_cost_launches_which_no_fewer_tokens_take_away() -> None:
    """A floor: at one sequence of 16 tokens or of 32 the host's issuing is what a step of a small model takes."""
    short, shorter = step(seq_len=32), step(seq_len=16)
    assert short.ledger.parts["launch"] > 0.4 * short.step_time_s
    assert shorter.step_time_s == pytest.approx(short.step_time_s, rel=0.05)


def test_adapters_add_launches_and_traffic_and_16_bit_ones_less_of_it() -> None:
    fp32, compute = step(framework="transformers", seq_len=2048), step(framework="torchtune", seq_len=2048)
    assert fp32.ledger.parts["adapters"] > compute.ledger.parts["adapters"] > 0
    assert step(method=FULL).ledger.parts["adapters"] == 0
    two, seven = step(method=TrainingMethod(rank=16), seq_len=16), step(method=LORA, seq_len=16)
    assert seven.ledger.parts["launch"] > 1.25 * two.ledger.parts["launch"]  # 7 adapters of 6 operations beside 60, or 2


def test_adapters_read_and_write_what_their_matrices_do() -> None:
    """Llama 2 7B: four matrices of 4,096 x 4,096, two of 4,096 x 11,008 and one of 11,008 x 4,096 in each of 32 layers."""
    work = step(model=shipped_model("llama-2-7b")).work
    assert work.adapters == 7 * 32
    assert work.adapter_inputs == 32 * (6 * 4096 + 11008)
    assert work.adapter_outputs == 32 * (5 * 4096 + 2 * 11008)
    assert step(method=FULL).work.adapters == 0


def test_a_reference_takes_less_than_the_update_and_adapters_switched_off_what_a_copy_takes() -> None:
    off, copy, none = (step(objective="dpo", reference=word, seq_len=2048) for word in ("adapters-off", "copy", "none"))
    assert off.ledger.parts["reference"] == pytest.approx(copy.ledger.parts["reference"])
    assert 0.2 < off.ledger.parts["reference"] / none.step_time_s < 0.5
    assert off.step_time_s == pytest.approx(none.step_time_s + off.ledger.parts["reference"])


def test_packed_samples_that_do_not_see_each_other_attend_to_less() -> None:
    whole = tuning_step(job(seq_len=8192), hardware("a100-sxm4-80gb"))
    apart = tuning_step(job(seq_len=8192), hardware("a100-sxm4-80gb"), square_share=0.1)
    assert apart.ledger.parts["attention"] == pytest.approx(0.1 * whole.ledger.parts["attention"], rel=1e-6)
    assert apart.ledger.parts["matmul"] == whole.ledger.parts["matmul"]


def test_sharing_out_takes_no_less_time_than_one_device_and_accumulation_is_linear() -> None:
    alone = step(framework="torchtune", micro_batch=2)
    for way in ("ddp", "zero-2", "zero-3", "fsdp"):
        assert step(framework="torchtune", micro_batch=2, sharding=way, num_gpus=4).step_time_s >= alone.step_time_s
    once, twice = step(accumulation=1), step(accumulation=2)
    per_step = once.ledger.parts["optimizer"] + once.ledger.parts["step"]
    assert twice.step_time_s - per_step == pytest.approx(2 * (once.step_time_s - per_step), rel=1e-6)
    assert layout_of(job(sharding="device-map", num_gpus=2)).num_devices == 1  # one works, the other waits


def test_an_optimizer_on_the_host_keeps_the_devices_waiting() -> None:
    held, moved = step(method=FULL), step(method=FULL, offload=Offload(optimizer=True))
    assert moved.ledger.parts["optimizer"] == 0
    assert moved.ledger.parts["offload"] > 5 * held.ledger.parts["optimizer"]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("adamw_torch_fused", "adamw"),
        ("paged_adamw_8bit", "adamw-8bit"),
        ("adafactor", "adafactor"),
        ("sgd", "sgd"),
        ("lion_32bit", "sgd-momentum"),
    ],
)
def test_an_optimizer_of_transformers_moves_as_one_of_the_step_model(name: str, kind: str) -> None:
    assert optimizer_kind(name) == kind


def test_every_loss_has_its_bytes_and_a_fused_one_fewer() -> None:
    assert set(LOSS_BYTES) == set(TuningJob.__post_init__.__globals__["CHOICES"]["loss"].__args__)
    assert step(loss="liger-fused").step_time_s < step(loss="plain").step_time_s


def test_what_has_no_step_is_refused() -> None:
    with pytest.raises(BadValueError, match="inference trains nothing"):
        step(objective="inference", method=FULL)
    with pytest.raises(BadValueError, match="no step of it is predicted"):
        tuning_step(job("mamba-130m", method=FULL), hardware("a100-sxm4-80gb"))
    with pytest.raises(BadValueError, match="t4-16gb has no published dense peak for bf16"):
        step("t4-16gb")
    assert tuning_step(replace(job(), weights_dtype="fp16"), hardware("t4-16gb")).step_time_s > 0
