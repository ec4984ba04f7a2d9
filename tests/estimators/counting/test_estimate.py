"""Laws of the estimate, and worked numbers."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from estimators.architectures.attention_rows import visible_pairs
from estimators.architectures.decoder import Decoder
from estimators.architectures.from_config import model_from_config
from estimators.counting.conventions import convention, unskippable_flop
from estimators.counting.estimate import estimate
from estimators.errors import BadValueError, UnknownNameError
from estimators.facts.registry import hardware, hardware_ids, model_entry
from estimators.inference.generation import generation
from estimators.spec import Case, Workload
from estimators.validation.model import shipped_model
from tests.support.decoder_strategy import decoders


def flop(model: Decoder, workload: Workload) -> int:
    return estimate(Case(model=model, workload=workload)).forward_flop


@given(decoders(), st.integers(1, 7), st.integers(1, 40))
def test_flop_is_linear_in_batch(model: Decoder, batch: int, seq_len: int) -> None:
    for phase in ("train", "forward", "prefill"):
        one = estimate(Case(model=model, workload=Workload(phase=phase, seq_len=seq_len)))
        many = estimate(Case(model=model, workload=Workload(phase=phase, batch=batch, seq_len=seq_len)))
        assert many.flop == {name: batch * value for name, value in one.flop.items()}
        assert many.params == one.params


@given(decoders(), st.integers(1, 30))
@settings(max_examples=50)
def test_decoding_tokens_one_at_a_time_costs_what_no_causal_kernel_may_skip(model: Decoder, seq_len: int) -> None:
    """Token by token, each query meets exactly the keys that a causal (and windowed) mask lets through."""
    whole = Workload(phase="forward", seq_len=seq_len)
    steps = sum(flop(model, Workload(phase="decode", context_len=i)) for i in range(seq_len))
    assert steps == unskippable_flop(model.ops(whole), whole)


@given(st.integers(1, 40), st.integers(0, 40), st.none() | st.integers(1, 50))
def test_visible_pairs_are_what_a_mask_written_out_holds(seq_len: int, context_len: int, window: int | None) -> None:
    seen = sum(
        1
        for query in range(context_len, context_len + seq_len)
        for key in range(context_len + seq_len)
        if key <= query and (window is None or query - key < window)
    )
    assert visible_pairs(Workload(seq_len=seq_len, context_len=context_len), window) == seen


@given(decoders(), st.integers(1, 30))
def test_conventions_are_ordered_and_no_kernel_skips_more_than_the_mask_allows(model: Decoder, seq_len: int) -> None:
    workload = Workload(phase="train", seq_len=seq_len, recompute="full")
    said = estimate(Case(model=model, workload=workload))
    assert said.flop["causal"] <= said.flop["full"] < said.flop["hardware"]
    assert said.min_flop <= said.flop["full"]
    assert said.flop["full"] == said.forward_flop + said.backward_flop
    assert said.backward_flop == 2 * said.forward_flop


@given(decoders())
def test_components_sum_to_the_parameters(model: Decoder) -> None:
    said = estimate(Case(model=model, workload=Workload(seq_len=4)))
    assert sum(said.params_by_component.values()) == said.params


def test_causal_counts_half_of_the_attention_square() -> None:
    """GPT-3, 2,048 tokens: full less half of 4·L·N·H·T² forward, three times that in training."""
    entry = model_entry("gpt-3")
    said = estimate(Case(model=model_from_config(entry.config, "gpt-3"), workload=Workload(phase="train", seq_len=2048)))
    assert said.flop["full"] - said.flop["causal"] == 3 * 2 * 96 * 12288 * 2048 * 2048


def test_flash_style_reference_values_of_single_steps() -> None:
    """Matmul FLOP at 512 tokens and of a decode step after 512, from closed forms: 2·weights·T + 4·L·D·T·S."""
    for name, forward, decode in (
        ("gpt2", 136_160_477_184, 265_975_296),
        ("phi-2", 2_797_097_451_520, 5_463_408_640),
        ("llama-3-8b", 7_822_209_187_840, 15_278_276_608),
        ("llama-3.1-405b", 415_602_510_397_440, 811_731_910_656),
        ("gpt-3", 179_990_213_689_344, 351_548_104_704),
    ):
        model = model_from_config(model_entry(name).config, name)
        assert isinstance(model, Decoder)
        assert flop(model, Workload(phase="forward", seq_len=512)) == forward
        assert flop(model, Workload(phase="decode", context_len=512)) == decode


def test_the_decode_bound_of_llama_2_on_an_a100_is_its_weights_over_the_bandwidth() -> None:
    """Llama 2 7B after 512 tokens: 13.2 GB of weights without the embedding table and 0.27 GB of cache, over 2,039 GB/s."""
    a100, llama = hardware("a100-sxm4-80gb"), model_from_config(model_entry("llama-2-7b").config, "llama-2-7b")
    said = estimate(Case(model=llama, workload=Workload(phase="decode", context_len=512), hardware=a100))
    weights_bytes = 2 * (6_738_415_616 - 32_000 * 4096 + 4096)
    cache_bytes = 2 * 2 * 32 * 4096 * 513
    assert said.min_bytes == weights_bytes + cache_bytes
    assert said.step_time_bound_s == pytest.approx((weights_bytes + cache_bytes) / 2039e9)
    assert said.bound_by == "bandwidth"


@pytest.mark.parametrize("field", ["peak_flop_per_s", "memory_bytes_per_s"])
def test_a_faster_device_never_has_a_slower_bound(field: str) -> None:
    import dataclasses

    device, model = hardware("a100-sxm4-80gb"), model_from_config(model_entry("phi-2").config, "phi-2")
    faster = (
        dataclasses.replace(device, peak_flop_per_s={"bf16": 2 * device.peak("bf16")})
        if field == "peak_flop_per_s"
        else dataclasses.replace(device, memory_bytes_per_s=2 * device.memory_bytes_per_s)
    )
    for workload in (
        Workload(phase="decode", context_len=100),
        Workload(phase="prefill", seq_len=512),
        Workload(phase="train", seq_len=512),
    ):
        before, after = (estimate(Case(model=model, workload=workload, hardware=h)).step_time_bound_s for h in (device, faster))
        assert before is not None
        assert after is not None
        assert after <= before


def test_a_device_without_a_peak_for_the_dtype_has_no_bound_and_no_fallback() -> None:
    t4 = next(h for h in map(hardware, hardware_ids()) if "fp8" not in h.peak_flop_per_s)
    case = Case(model=model_from_config(model_entry("gpt2").config, "gpt2"), workload=Workload(dtype="fp8"), hardware=t4)
    with pytest.raises(BadValueError, match="has no published dense peak for fp8; it has one for"):
        estimate(case)


def test_training_state_is_sixteen_bytes_a_parameter_and_two_for_the_autocast_copy() -> None:
    """fp32 weights 4, gradients 4, two AdamW moments 8; bf16 copies 2."""
    model = model_from_config(model_entry("phi-2").config, "phi-2")
    said = estimate(Case(model=model, workload=Workload(phase="train", seq_len=8))).memory_bytes
    assert said["weights"] + said["gradients"] + said["optimizer"] == 16 * 2_779_683_840
    assert said["low_precision_copies"] == 2 * 2_779_683_840


def test_the_kv_cache_of_640_tokens_has_the_published_size() -> None:
    """Llama 2 7B, batch 1: 2 · 2 bytes · 32 layers · 4,096 · 640 tokens = 335,544,320 bytes."""
    model = model_from_config(model_entry("llama-2-7b").config, "llama-2-7b")
    said = generation(model, prompt_tokens=512, new_tokens=129, dtype="bf16")
    assert said.peak_memory_bytes["kv_cache"] == 335_544_320


def test_a_generation_is_its_prefill_and_its_single_steps() -> None:
    model = model_from_config(model_entry("phi-2").config, "phi-2")
    whole = generation(model, prompt_tokens=10, new_tokens=40, beams=5)
    assert whole.rows == 5
    assert len(whole.decode) == 39
    by_hand = flop(model, Workload(phase="prefill", batch=5, seq_len=10)) + sum(
        flop(model, Workload(phase="decode", batch=5, context_len=10 + i)) for i in range(39)
    )
    assert whole.flop["full"] == by_hand
    with pytest.raises(BadValueError, match="expected whole numbers from 1"):
        generation(model, prompt_tokens=0, new_tokens=1)


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"phase": "dream"}, "phase 'dream' is unknown"),
        ({"batch": 0}, "batch 0"),
        ({"phase": "decode", "seq_len": 2}, "a decode step has one token"),
        ({"dtype": "bf17"}, "dtype 'bf17' is unknown"),
    ],
)
def test_a_workload_that_makes_no_sense_is_refused(fields: dict[str, object], match: str) -> None:
    with pytest.raises(BadValueError, match=match):
        Workload(**fields)  # type: ignore[arg-type]


def test_an_unknown_convention_is_answered_with_its_near_misses() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'causal'"):
        convention("casual")


@pytest.mark.parametrize(
    ("dtype", "bits"),
    # OCP MX specification 1.0, table 1: 8 bits of scale for 32 elements; NVFP4: 8 bits for 16 (arXiv 2509.25149, section 2).
    [("fp8", 8), ("mxfp8", 8 + 8 / 32), ("mxfp4", 4 + 8 / 32), ("nvfp4", 4 + 8 / 16)],
)
def test_weights_of_few_bits_are_held_with_the_scales_of_their_blocks(dtype: str, bits: float) -> None:
    llama = shipped_model("llama-3-8b")
    held = estimate(Case(model=llama, workload=Workload(phase="decode", context_len=1, dtype=dtype))).memory_bytes["weights"]
    assert held == 8_030_261_248 * bits / 8
