"""The step of a served model against hand-worked sums, and the laws that any step obeys."""

from __future__ import annotations

import numpy as np
import pytest

from estimators.cost.array_math import Lane
from estimators.errors import BadValueError
from estimators.facts.registry import hardware
from estimators.frozen import replace
from estimators.serving.constants import ENGINE_CONSTANTS, FIRST_TOKEN_CONSTANTS, SHARED_CONSTANTS, constants_file
from estimators.serving.deployment import Deployment, Speculation
from estimators.serving.engines import engine, engines
from estimators.serving.step import PARTS, StepTime, step_law
from estimators.serving.step_batch import StepBatch
from estimators.validation.model import shipped_model


def deployed(model: str = "llama-3-8b", device: str = "h100-sxm5-80gb", **given: object) -> Deployment:
    """A deployment by names."""
    plain: dict[str, object] = {"engine": engine("vllm")}
    return Deployment(model=shipped_model(model), hardware=hardware(device), **(plain | given))  # type: ignore[arg-type]


def step(d: Deployment, **batch: Lane) -> StepTime:
    """One step."""
    return step_law(d).time(StepBatch(**batch))


def test_a_lone_decode_step_is_bound_by_its_weights_and_cache() -> None:
    """Llama 3 8B: 8,030,261,248 parameters less the table of 128,256 x 4,096, and 2 x 8 x 128 x 32 elements of a key, two bytes each."""
    weights = (8_030_261_248 - 128_256 * 4_096) * 2
    cache = 1_001 * 131_072
    assert step(deployed(), decoding=1, context_tokens=1_000).bound_s == pytest.approx((weights + cache) / 3.35e12, rel=1e-9)


def test_latents_are_on_every_rank_and_heads_are_shared_out_until_there_are_copies() -> None:
    """DeepSeek-V3 keeps 61 x 576 elements of a token whatever the ranks; Llama 3 8B has 8 heads of keys for 16 ranks."""
    for tp, heads in ((1, 1), (2, 2), (8, 8), (16, 8)):
        (cache,) = step_law(deployed(tp=tp)).caches
        assert cache.least_read_s == pytest.approx(131_072 / heads / 3.35e12)
        (latents,) = step_law(deployed("deepseek-v3", "h200-sxm-141gb", tp=tp, weights="fp8-tiles")).caches
        assert latents.least_read_s == pytest.approx(61 * 576 * 2 / 4.8e12)


def test_a_text_has_no_cache_in_layers_that_attend_to_images() -> None:
    """Llama 3.2 11B Vision: 32 layers keep 2 x 8 x 128 elements of a token, as Llama 3 8B's, and 8 keep of images alone."""
    (seen,), (text,) = (step_law(deployed(name)).caches for name in ("llama-3.2-11b-vision", "llama-3-8b"))
    assert seen.least_read_s == text.least_read_s == pytest.approx(131_072 / 3.35e12)


def test_decode_reads_the_keys_projections_of_repeated_heads_on_every_rank() -> None:
    """Llama 3 8B on 32 ranks: every matrix but those of the one head of keys and values a 32nd, 2 bytes each, and 65 whole norms."""
    layer = (2 * 4096 * 4096 + 3 * 4096 * 14336) / 32 + 2 * 128 * 4096
    read = 2 * (32 * layer + 128256 * 4096 / 32 + 65 * 4096)
    assert step_law(deployed(device="b200-sxm-180gb", tp=32)).least_read_s == pytest.approx(read / 7.7e12, rel=1e-12)


def test_latents_are_absorbed_and_not_expanded_anew_at_every_step() -> None:
    """DeepSeek-V3 beside 65,536 cached tokens: expanding them would be 61 x 2 x 65,536 x 512 x 128 x 256 FLOP a sequence."""
    law = step_law(deployed("deepseek-v3", "h200-sxm-141gb", tp=8, weights="fp8-tiles"))
    expanding_flop = 61 * 2 * 65_536 * 512 * 128 * (128 + 128) / 8
    found = law.time(StepBatch(decoding=1, context_tokens=65_535))
    assert found.cache_s + found.weights_s < expanding_flop / 989.4e12
    assert found.bandwidth_bound_s - law.time(StepBatch(decoding=1, context_tokens=0)).bandwidth_bound_s == pytest.approx(
        61 * 576 * 2 * 65_535 / 4.8e12
    )


def test_a_window_ends_what_a_step_reads() -> None:
    """gpt-oss: every other of 36 layers sees 128 tokens; 2 x 8 x 64 elements of a key."""
    law = step_law(deployed("gpt-oss-120b", weights="mxfp4"))
    far, near = (law.time(StepBatch(decoding=1, context_tokens=tokens)).bandwidth_bound_s for tokens in (9_999, 127))
    assert far - near == pytest.approx(18 * (10_000 - 128) * 2_048 / 3.35e12)


@pytest.mark.parametrize("tokens", [1, 2, 16, 1_000])
def test_experts_are_read_as_often_as_some_token_is_sent_there(tokens: int) -> None:
    """Even routing of k of n experts meets n(1 - (1 - k/n)^t) of them; where some are more popular, fewer. Mixtral: 2 of 8."""
    law = step_law(deployed("mixtral-8x7b", tp=2))
    (kind,) = law.experts
    met = {}
    for shape in (1e7, 1.0):
        routed = replace(law, popularity=shape, experts=(replace(kind, spread=(6 / 8) ** (-1 / shape) - 1, token_s=0.0),))
        met[shape] = routed.time(StepBatch(decoding=tokens)).experts_s / kind.read_s
    assert met[1e7] == pytest.approx(1 - (1 - 2 / 8) ** tokens, rel=1e-5)
    assert met[1.0] == pytest.approx(1 - 1 / (1 + tokens / 3))
    assert law.experts[0].spread == pytest.approx((6 / 8) ** (-1 / law.popularity) - 1)


def test_experts_in_four_bits_take_their_bytes_and_all_else_sixteen() -> None:
    """gpt-oss-120b: 36 layers of 128 experts with 3 x 2,880² weights in 4 bits and a scale byte for 32 each, biases in 16."""
    law = step_law(deployed("gpt-oss-120b", weights="mxfp4"))
    matrices = 36 * 128 * 3 * 2_880**2
    biases = 36 * 128 * 3 * 2_880 * 2
    (kind,) = law.experts
    assert kind.least_read_s * 128 / 4 == pytest.approx((matrices * (1 / 2 + 1 / 32) + biases) / 3.35e12)


def test_a_prompt_is_bound_by_its_arithmetic() -> None:
    """4,096 tokens of Llama 3 8B: two FLOP a matrix weight, the head once, and 4 x 32 x 128 x 32 a pair, half of the square."""
    matrices = 8_030_261_248 - 2 * 128_256 * 4_096
    flop = 2 * matrices * 4_096 + 2 * 128_256 * 4_096 + 4 * 32 * 128 * 32 * 4_096 * 2_048
    found = step(deployed(), prompt_tokens=4_096, prompt_context=2_048, prompts=1)
    assert found.bound_by == "compute"
    assert found.bound_s == pytest.approx(flop / 989.4e12, rel=1e-4)  # norms have no FLOP, and are counted as weights


BATCHES = [
    StepBatch(decoding=1, context_tokens=10),
    StepBatch(decoding=64, context_tokens=3_000),
    StepBatch(prompt_tokens=2_048, prompt_context=1_024, prompts=1),
    StepBatch(decoding=200, context_tokens=700, prompt_tokens=4_000, prompt_context=900, prompts=3),
]
DEPLOYED = [
    deployed(),
    deployed(tp=8, pp=2),
    deployed("deepseek-v3", "h200-sxm-141gb", tp=1, dp=8, ep=8, weights="fp8-tiles", kv="fp8"),
    deployed("gpt-oss-120b", "b200-sxm-180gb", tp=2, ep=2, weights="mxfp4"),
    deployed("mixtral-8x7b", "a100-sxm4-80gb", tp=2, weights="awq", engine=engine("vllm-2023")),
    deployed("llama-3-70b", "l40s-48gb", tp=8, speculation=Speculation(draft_tokens=3, accepted_len=2.3)),
    deployed("falcon-h1-7b"),
]


@pytest.mark.parametrize("d", DEPLOYED)
@pytest.mark.parametrize("batch", BATCHES)
def test_parts_sum_to_the_step_and_the_bound_is_below(d: Deployment, batch: StepBatch) -> None:
    found = step_law(d).time(batch)
    assert found.total_s == pytest.approx(sum(found.parts.values()))
    assert min(found.parts.values()) >= -1e-12
    assert set(found.parts) == set(PARTS)
    assert 0 < found.bound_s < found.total_s


@pytest.mark.parametrize("d", DEPLOYED)
def test_many_steps_side_by_side_are_those_one_by_one(d: Deployment) -> None:
    law = step_law(d)
    lanes = StepBatch(**{name: np.array([float(getattr(batch, name)) for batch in BATCHES]) for name in StepBatch._fields})  # type: ignore[attr-defined]
    found = law.time(lanes)
    assert found.total_s == pytest.approx([law.time(batch).total_s for batch in BATCHES])
    assert found.bound_s == pytest.approx([law.time(batch).bound_s for batch in BATCHES])


FASTER = {
    "memory_bytes_per_s": lambda device: replace(device, memory_bytes_per_s=2 * device.memory_bytes_per_s),
    "link_bytes_per_s": lambda device: replace(device, link_bytes_per_s=2 * (device.link_bytes_per_s or 32e9)),
}


@pytest.mark.parametrize("d", DEPLOYED)
@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("what", FASTER)
def test_more_bandwidth_never_hurts(d: Deployment, batch: StepBatch, what: str) -> None:
    faster = replace(d, hardware=FASTER[what](d.hardware))
    assert step_law(faster).time(batch).total_s <= step_law(d).time(batch).total_s * (1 + 1e-9)


@pytest.mark.parametrize("d", DEPLOYED)
@pytest.mark.parametrize("what", ["decoding", "context_tokens", "prompt_tokens", "prompt_context"])
def test_more_work_never_takes_less_time(d: Deployment, what: str) -> None:
    law = step_law(d)
    for batch in BATCHES:
        more = replace(batch, **{what: 1.5 * getattr(batch, what)})
        assert law.time(more).total_s >= law.time(batch).total_s * (1 - 1e-9)


@pytest.mark.parametrize("batch", BATCHES)
def test_more_groups_of_attention_never_hurt_where_experts_are_shared_out_over_them(batch: StepBatch) -> None:
    given = {"tp": 1, "weights": "fp8-tiles", "kv": "fp8"}
    few, many = (step(deployed("deepseek-v3", "gb200-186gb", dp=dp, ep=dp, **given), **batch_fields(batch)) for dp in (8, 16))
    assert many.total_s - many.collectives_s <= few.total_s - few.collectives_s


def batch_fields(batch: StepBatch) -> dict[str, Lane]:
    """Its fields by name."""
    return {name: getattr(batch, name) for name in StepBatch._fields}  # type: ignore[attr-defined]


def test_a_draft_is_verified_in_the_same_step_and_its_layers_cost() -> None:
    plain = step(deployed(), decoding=8, context_tokens=500)
    drafted = step(deployed(speculation=Speculation(draft_tokens=3, accepted_len=2)), decoding=8, context_tokens=500)
    assert plain.drafts_s == 0 < drafted.drafts_s
    assert plain.total_s < drafted.total_s < 2 * plain.total_s
    large = [
        step(deployed(speculation=s), decoding=2_000, context_tokens=500).weights_s
        for s in (None, Speculation(draft_tokens=3, accepted_len=2))
    ]
    assert large[1] > 3.5 * large[0]


def test_engines_without_graphs_wait_for_their_layers() -> None:
    eager = step(deployed(engine=engine("transformers")), decoding=1)
    assert eager.floor_s > 0.01
    assert step(deployed(), decoding=1).floor_s < 1e-6


@pytest.mark.parametrize(
    ("d", "said"),
    [
        (deployed(tp=3), "3 ranks of tensor parallelism do not divide the 32 heads"),
        (deployed(pp=64), "64 pipeline stages of llama-3-8b, which has 32 layers"),
        (deployed("mixtral-8x7b", pp=2, ep=2), "experts over 2 devices, of which each stage has 1"),
        (deployed("bert-base-uncased"), "is no decoder-only language model"),
        (deployed(kv="int3"), "a cache of 'int3' is unknown; expected one of"),
        (deployed(weights="int3"), "weights stored as 'int3' are unknown"),
        (deployed("mlp"), "is no decoder-only language model"),
    ],
)
def test_what_cannot_be_cut_or_held_is_refused(d: Deployment, said: str) -> None:
    with pytest.raises(BadValueError, match=said):
        step_law(d)


def test_every_engine_has_its_constants_and_every_constant_its_source() -> None:
    constants = constants_file()["constants"]
    of_engines = {f"{name}.{constant}" for name in engines() for constant in (*ENGINE_CONSTANTS, *FIRST_TOKEN_CONSTANTS)}
    owners = {name.partition(".")[0] for name in set(constants) - of_engines if "." in name}
    assert {name for name in constants if name.partition(".")[0] in engines()} == of_engines
    assert owners == {"practice", "held", "reading"}
    assert {name for name in constants if "." not in name} == {*SHARED_CONSTANTS, "first_wave"}
    for constant in constants.values():
        assert constant["source"]
        assert constant["unit"]
        assert constant["prior"] > 0
        assert constant["spread"] > 0
