"""Mixtures of experts and latent attention: random and published configurations against torch on the meta device, `==`."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_families_dense import Config, agree, family, flags, own_heads, shapes, sliding, steps, windows

from bench.backend import count
from estimators.architectures import FAMILIES
from estimators.architectures.decoder import Decoder
from estimators.architectures.feed_forward import Experts, FeedForward
from estimators.errors import BadConfigError
from estimators.estimate import count_active_params, count_params, estimate
from estimators.hf_config import model_from_config
from estimators.registry import model_entry, model_ids
from estimators.rules import rules
from estimators.spec import Case, Op, Workload
from estimators.units import parse_count

MODULES = {"experts", "expert_variants", "deepseek"}
HERE = {model_type for model_type, where in FAMILIES.items() if where.split(".")[0] in MODULES}
SHIPPED = [name for name in model_ids() if model_entry(name).config["model_type"] in HERE]

DEEPSEEK_V3: Config = {
    "model_type": "deepseek_v3",
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "vocab_size": 100,
    "q_lora_rank": 12,
    "kv_lora_rank": 8,
    "qk_nope_head_dim": 6,
    "qk_rope_head_dim": 4,
    "v_head_dim": 10,
    "moe_intermediate_size": 20,
    "n_routed_experts": 8,
    "num_experts_per_tok": 2,
    "n_group": 4,
    "topk_group": 2,
    "first_k_dense_replace": 1,
    "num_nextn_predict_layers": 2,
}


@st.composite
def routed(
    draw: st.DrawFn,
    configs: st.SearchStrategy[Config],
    num: str = "num_local_experts",
    per_token: str = "num_experts_per_tok",
    multiple: int = 1,
    fixed: int = 0,
) -> Config:
    """A configuration with experts, of which no more are chosen than there are."""
    experts = multiple * draw(st.integers(2, 4))
    return draw(configs) | {num: experts, per_token: fixed or draw(st.integers(1, experts))}


@st.composite
def latent(draw: st.DrawFn, layers: st.SearchStrategy[int], **optional: st.SearchStrategy[Any]) -> Config:
    """A configuration with latent attention, experts in groups, dense first layers; DeepSeek V2 turns pairs, so widths are even."""
    heads = draw(st.integers(1, 4))
    always = {
        "hidden_size": heads * draw(st.integers(2, 12)),
        "num_attention_heads": heads,
        "num_key_value_heads": heads,
        "num_hidden_layers": draw(layers),
        "q_lora_rank": draw(st.none() | st.integers(1, 20)),
        "vocab_size": draw(st.integers(20, 200)),
        "first_k_dense_replace": draw(st.integers(0, 3)),
        "n_routed_experts": 4 * draw(st.integers(1, 3)),
        "num_experts_per_tok": draw(st.integers(1, 4)),
        "kv_lora_rank": 2 * draw(st.integers(1, 8)),
        "qk_rope_head_dim": 2 * draw(st.integers(1, 4)),
    }
    sizes = {key: st.integers(1, 12).map(lambda n: 2 * n) for key in ("qk_nope_head_dim", "v_head_dim", "intermediate_size")}
    sizes |= {"moe_intermediate_size": st.integers(1, 24)}
    shared = {"n_shared_experts": st.integers(1, 3), "attention_bias": flags, "tie_word_embeddings": flags}
    return always | draw(st.fixed_dictionaries({}, optional=sizes | shared | optional))


width, small = {"intermediate_size": st.integers(8, 40)}, st.integers(4, 24)
layer_lists = st.lists(st.integers(0, 3), max_size=2, unique=True)
chunked = st.fixed_dictionaries({}, optional={"no_rope_layer_interval": st.integers(1, 3), "interleave_moe_layer_step": st.integers(1, 2)})

EXPERTS: dict[str, st.SearchStrategy[Config]] = {
    "mixtral": routed(family(own_heads(), **width, sliding_window=st.none() | windows)),
    "qwen2_moe": routed(
        sliding(
            family(
                shapes(),
                {"use_sliding_window": True},
                **width,
                sliding_window=windows,
                max_window_layers=st.integers(0, 3),
                moe_intermediate_size=small,
                shared_expert_intermediate_size=small,
                decoder_sparse_step=st.integers(1, 2),
                mlp_only_layers=layer_lists,
                qkv_bias=flags,
            )
        ),
        num="num_experts",
    ),
    "qwen3_moe": routed(
        family(
            own_heads(),
            **width,
            use_sliding_window=flags,
            sliding_window=windows,
            moe_intermediate_size=small,
            decoder_sparse_step=st.integers(1, 2),
            mlp_only_layers=layer_lists,
            attention_bias=flags,
        ),
        num="num_experts",
    ),
    "olmoe": routed(family(shapes(), {"pad_token_id": 0}, **width, attention_bias=flags), num="num_experts"),
    "gpt_oss": routed(sliding(family(own_heads(), **width, sliding_window=windows, attention_bias=flags))),
    "deepseek_v2": latent(st.integers(1, 3), mlp_bias=flags),
    "deepseek_v3": latent(st.integers(1, 3), num_nextn_predict_layers=st.integers(0, 2)).flatmap(
        lambda config: st.sampled_from([(1, 1), (2, 1), (2, 2)]).map(lambda g: config | {"n_group": g[0], "topk_group": g[1]})
    ),
    "granitemoe": routed(family(shapes(), {"pad_token_id": 0}, **width, attention_bias=flags)),
    "phimoe": routed(family(own_heads(), **width, sliding_window=st.none() | windows, attention_bias=flags, lm_head_bias=flags), fixed=2),
    "glm4_moe": routed(
        family(
            own_heads(),
            {"pad_token_id": 0},
            **width,
            moe_intermediate_size=small,
            n_shared_experts=st.integers(1, 2),
            first_k_dense_replace=st.integers(0, 3),
            attention_bias=flags,
            use_qk_norm=flags,
        ),
        num="n_routed_experts",
    ),
    "ernie4_5_moe": routed(
        family(
            own_heads(),
            {"pad_token_id": 0},
            **width,
            moe_intermediate_size=small,
            moe_num_shared_experts=st.integers(0, 2),
            moe_layer_start_index=st.integers(0, 2),
            moe_layer_end_index=st.sampled_from([-1, 1]),
            moe_layer_interval=st.integers(1, 2),
            use_bias=flags,
        ),
        num="moe_num_experts",
        per_token="moe_k",
    ),
    "hunyuan_v1_moe": routed(
        family(shapes(), {"head_dim": 8, "pad_token_id": 0}, **width, attention_bias=flags), num="num_experts", per_token="moe_topk"
    ),
    "llama4_text": routed(
        st.tuples(
            family(
                shapes(),
                {"head_dim": 16, "attention_chunk_size": 12},
                **width,
                intermediate_size_mlp=st.integers(8, 40),
                use_qk_norm=flags,
                attention_bias=flags,
            ),
            chunked,
        ).map(lambda drawn: drawn[0] | drawn[1])
    ),
}


def check_random_configurations(model_type: str, examples: int) -> None:
    @settings(max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(EXPERTS[model_type], steps())
    def check(fields: Config, workload: Workload) -> None:
        config = fields | {"model_type": model_type}
        agree(model_from_config(config, model_type), count.meta_language_model(config), workload)

    check()


@pytest.mark.parametrize("model_type", EXPERTS)
def test_random_configurations_of_every_family_with_experts_count_like_torch(model_type: str) -> None:
    check_random_configurations(model_type, 10)


@pytest.mark.slow
@pytest.mark.parametrize("model_type", EXPERTS)
def test_many_random_configurations_of_every_family_with_experts_count_like_torch(model_type: str) -> None:
    check_random_configurations(model_type, 80)


def test_no_family_with_experts_is_without_a_test_and_a_published_model() -> None:
    assert EXPERTS.keys() == HERE
    assert {model_entry(name).config["model_type"] for name in SHIPPED} == HERE


CANNOT_DO_WITHOUT = {"deepseek_v2": {"num_experts_per_tok": 6}, "glm4_moe": {"head_dim": 128}, "hunyuan_v1_moe": {"head_dim": 128}}
"""What transformers' own model of the class needs though its configuration says None, or says what does not divide."""


@pytest.mark.parametrize("model_type", EXPERTS)
def test_a_missing_field_takes_the_default_of_transformers_class(model_type: str) -> None:
    config = {"model_type": model_type} | CANNOT_DO_WITHOUT.get(model_type, {})
    assert count_params(model_from_config(config, model_type).ops(Workload())) == count.params_of(count.meta_language_model(config))


def shallow(config: Config, layers: int = 4) -> Config:
    """The same model with its first layers alone; every kind of layer is among them."""
    few = min(layers, config["num_hidden_layers"])
    return {key: value[:few] if key == "layer_types" else value for key, value in config.items()} | {"num_hidden_layers": few}


STEPS = (
    Workload(phase="train", batch=2, seq_len=11),
    Workload(phase="forward", batch=1, seq_len=7),
    Workload(phase="prefill", batch=3, seq_len=5),
    Workload(phase="decode", batch=2, context_len=3),
    Workload(phase="decode", batch=3, context_len=150),
)


@pytest.mark.parametrize("name", SHIPPED)
def test_a_published_model_has_the_published_parameters_and_counts_like_torch(name: str) -> None:
    """Parameters of the whole model; FLOP of its first layers in every phase (a window of 128 is passed by the last step)."""
    entry = model_entry(name)
    params = count_params(model_from_config(entry.config, name).ops(Workload()))
    assert params == count.params_of(count.meta_language_model(entry.config))
    assert as_published(params, entry.published_params_text)
    config = shallow(dict(entry.config))
    model, module = model_from_config(config, name), count.meta_language_model(config)
    for workload in STEPS:
        agree(model, module, workload)


def as_published(params: int, text: str) -> bool:
    """Exactly, where the digits were published, else to the last digit that was."""
    digits, unit = text[:-1], text[-1]
    if unit.isdigit():
        return params == parse_count(text, "published")
    places = len(digits.partition(".")[2])
    return f"{params / parse_count('1' + unit, 'unit'):.{places}f}" == digits


def test_a_count_that_was_not_published_is_noticed() -> None:
    assert as_published(51_570_323_328, "51.6B")
    assert not as_published(51_540_000_000, "51.6B")
    assert not as_published(671_026_404_351, "671,026,404,352")


@pytest.mark.slow
@pytest.mark.parametrize("name", SHIPPED)
def test_published_models_count_like_torch_at_full_depth(name: str) -> None:
    config = model_entry(name).config
    model, module = model_from_config(config, name), count.meta_language_model(config)
    for workload in (STEPS[0], STEPS[2], STEPS[3]):
        agree(model, module, workload)


def active(name: str, *, without_embedding: bool = False) -> int:
    ops = model_from_config(model_entry(name).config, name).ops(Workload())
    lookups = sum(op.count * op.params for op in ops if op.kind == "lookup") if without_embedding else 0
    return count_active_params(ops) - lookups


def test_active_parameters_are_those_of_the_papers() -> None:
    """Mixtral 8x7B by hand: six of eight experts are idle. gpt-oss: model card, table 1, embedding left out. The others: cards."""
    assert active("mixtral-8x7b") == 46_702_792_704 - 32 * 6 * (3 * 4096 * 14336) == 12_879_925_248
    assert active("deepseek-v3") == pytest.approx(37.55e9, abs=0.005e9)
    assert active("gpt-oss-120b", without_embedding=True) == pytest.approx(5.13e9, abs=0.005e9)
    assert active("gpt-oss-20b", without_embedding=True) == pytest.approx(3.61e9, abs=0.005e9)
    assert active("mixtral-8x22b") == pytest.approx(39e9, abs=0.5e9)
    assert active("qwen3-30b-a3b") == pytest.approx(3.3e9, abs=0.06e9)
    assert active("qwen3-235b-a22b") == pytest.approx(22e9, abs=0.5e9)
    assert active("olmoe-1b-7b") == pytest.approx(1.3e9, abs=0.05e9)
    assert active("deepseek-v2") == pytest.approx(21e9, abs=0.5e9)
    assert active("qwen1.5-moe-a2.7b") == pytest.approx(2.7e9, abs=0.05e9)
    assert active("llama-4-scout") == pytest.approx(17e9, abs=0.5e9)


def by_name(ops: tuple[Op, ...] | list[Op]) -> dict[str, Op]:
    return {op.name: op for op in ops}


def test_routed_and_always_on_experts_by_hand() -> None:
    """3 tokens, D 4; 5 experts of F 6, 2 per token; a shared one of F 7 behind a gate. Three matrices each, 2 FLOP per weight."""
    experts = Experts(num=5, per_token=2, width=6, shared=FeedForward(width=7, gated=True), shared_gate=True)
    rows = by_name(experts.ops(Workload(seq_len=3), 4, "mlp", 1))
    assert rows["mlp.router"].flop == 2 * 3 * 4 * 5
    assert rows["mlp.experts.gate_up"].flop + rows["mlp.experts.down"].flop == 3 * 2 * (2 * 3 * 4 * 6)
    assert sum(rows[f"mlp.shared.{name}"].flop for name in ("gate", "up", "down")) == 3 * (2 * 3 * 4 * 7)
    assert rows["mlp.shared_gate"].flop == 2 * 3 * 4
    assert sum(op.params for op in rows.values()) == 4 * 5 + 5 * 3 * 4 * 6 + 3 * 4 * 7 + 4
    assert count_active_params(tuple(rows.values())) == 4 * 5 + 2 * 3 * 4 * 6 + 3 * 4 * 7 + 4


# ---- latent attention: two code paths, and the layers beside the decoder


def deepseek_v3() -> Decoder:
    model = model_from_config(model_entry("deepseek-v3").config, "deepseek-v3")
    assert isinstance(model, Decoder)
    return model


def test_deepseeks_decode_costs_13_times_more_as_transformers_runs_it() -> None:
    """At context 512: torch's counter on meta has 1,123,784,736,768; absorbed, by a hand formula, 8.20e10."""
    model, step = deepseek_v3(), Workload(phase="decode", context_len=512)
    as_built, absorbed = (estimate(Case(model=path, workload=step)) for path in model.code_paths.values())
    assert [name.rpartition("as ")[2] for name in model.code_paths] == ["transformers runs it", "serving engines run it"]
    assert as_built.forward_flop == estimate(Case(model=model, workload=step)).forward_flop == 1_123_784_736_768
    assert absorbed.forward_flop == pytest.approx(8.20e10, rel=5e-4)
    assert as_built.params == absorbed.params == 671_026_404_352
    assert as_built.min_bytes == absorbed.min_bytes


def test_absorbed_attention_by_hand() -> None:
    """One token after 9, 2 heads, latent 8, positions 4, keys 6 + 4, values 10: scores on 8 + 4, context on 8, expansion once."""
    model = model_from_config(DEEPSEEK_V3 | {"num_attention_heads": 2, "num_key_value_heads": 2}, "small")
    assert isinstance(model, Decoder)
    absorbed = list(model.code_paths.values())[1]
    rows = by_name(absorbed.ops(Workload(phase="decode", context_len=9)))
    assert rows["layer.0.attention.scores"].flop == 2 * 2 * 10 * (8 + 4)
    assert rows["layer.0.attention.context"].flop == 2 * 2 * 10 * 8
    assert rows["layer.0.attention.kv_up"].flop == 2 * 8 * 2 * (6 + 10)
    assert rows["layer.0.attention.scores"].cache_bytes == 10 * (8 + 4) * 2


@given(latent(st.integers(1, 3)), st.integers(1, 60), st.integers(1, 3))
@settings(max_examples=60, deadline=None)
def test_what_no_kernel_may_skip_is_no_more_than_either_code_path_costs(config: Config, context_len: int, batch: int) -> None:
    model = model_from_config(config | {"model_type": "deepseek_v2"}, "drawn")
    assert isinstance(model, Decoder)
    step = Workload(phase="decode", batch=batch, context_len=context_len)
    as_built, absorbed = (estimate(Case(model=path, workload=step)) for path in model.code_paths.values())
    assert max(as_built.min_flop, absorbed.min_flop) <= min(as_built.forward_flop, absorbed.forward_flop)
    training = Workload(phase="train", batch=batch, seq_len=context_len)
    assert len({estimate(Case(model=path, workload=training)).flop["full"] for path in model.code_paths.values()}) == 1


def test_a_model_without_a_choice_has_no_code_paths() -> None:
    model = model_from_config(model_entry("mixtral-8x7b").config, "mixtral")
    assert isinstance(model, Decoder)
    assert model.code_paths == {}


def test_layers_that_predict_further_tokens_count_like_transformers_own() -> None:
    from transformers.cache_utils import MtpCache
    from transformers.modeling_layers import MtpModel

    module, model = count.meta_language_model(DEEPSEEK_V3), model_from_config(DEEPSEEK_V3, "small")
    assert isinstance(model, Decoder)
    assert model.prediction is not None
    with torch.device("meta"):
        beside = MtpModel(module, 2).eval()
    step = Workload(phase="forward", batch=2, seq_len=6)
    rows = model.prediction.ops(step, model.width, model.vocab)
    assert count_params(rows) == count.params_of(beside.layers)
    hidden, ids = torch.zeros(2, 6, model.width, device="meta"), torch.zeros(2, 6, dtype=torch.long, device="meta")
    positions, cache = torch.arange(6, device="meta")[None], MtpCache(config=module.config.get_mtp_config())
    with count.flop_counter() as counter:
        for i in range(2):
            hidden = beside.forward_layer(i, hidden, positions, cache, input_ids=ids)
            beside._project_to_logits(hidden)
    assert sum(op.count * op.flop for op in rows) == counter.get_total_flops()


def test_they_are_no_part_of_the_decoder() -> None:
    with_them = model_from_config(DEEPSEEK_V3, "with")
    without = model_from_config(DEEPSEEK_V3 | {"num_nextn_predict_layers": 0}, "without")
    assert isinstance(without, Decoder)
    assert without.prediction is None
    assert with_them.ops(Workload(phase="train", seq_len=8)) == without.ops(Workload(phase="train", seq_len=8))


# huggingface.co/api/models/<id>, safetensors: DeepSeek-V3 holds 3,918,786,560 bf16 and 680,571,043,840 fp8 weights (its fp32 are
# scales and biases of the choice of experts); GLM-4.5-Air 110,468,824,832 in all, 46 x 128 of which are such biases.
@pytest.mark.parametrize(
    ("name", "in_the_files"), [("deepseek-v3", 3_918_786_560 + 680_571_043_840), ("glm-4.5-air", 110_468_824_832 - 46 * 128)]
)
def test_decoder_and_prediction_layer_are_what_the_checkpoint_holds(name: str, in_the_files: int) -> None:
    """With the copies of embedding and head that the prediction layer has in the files."""
    model = model_from_config(model_entry(name).config, name)
    assert isinstance(model, Decoder)
    assert model.prediction is not None
    beside = count_params(model.prediction.ops(Workload(), model.width, model.vocab))
    assert count_params(model.ops(Workload())) + beside + 2 * model.vocab * model.width == in_the_files


# ---- Llama 4


def test_llama_4_runs_every_expert_on_every_token_and_an_engine_only_the_chosen() -> None:
    """16 experts, one per token: the routed matrices cost 16 times more as transformers runs them, and an engine skips 15 of them."""
    model = model_from_config(shallow(dict(model_entry("llama-4-scout").config)), "llama 4")
    assert isinstance(model, Decoder)
    step = Workload(phase="forward", seq_len=8)
    everything, chosen = (by_name(path.ops(step))["layer.0.mlp.experts.down"] for path in model.code_paths.values())
    assert everything.flop == 16 * chosen.flop
    assert everything.flop - everything.masked_flop == chosen.flop
    assert everything.params == chosen.params
    assert everything.active_params == chosen.active_params


def test_a_chunk_hides_what_lies_before_it() -> None:
    """Chunks of 4, 6 cached: token 6 is the third of its chunk and sees 3 keys; transformers multiplies the last 3 and its own."""
    fields = {"num_hidden_layers": 1, "hidden_size": 8, "num_attention_heads": 1, "num_key_value_heads": 1, "head_dim": 8}
    model = model_from_config(fields | {"model_type": "llama4_text", "attention_chunk_size": 4}, "chunked")
    scores = by_name(model.ops(Workload(phase="decode", context_len=6)))["layer.attention.scores"]
    assert (scores.flop, scores.flop - scores.masked_flop) == (2 * 4 * 8, 2 * 3 * 8)
    assert scores.cache_bytes == 3 * 16 * 2


# ---- rules of thumb, twins, hostile configurations


@pytest.mark.parametrize("name", ["mixtral-8x7b", "deepseek-v3", "llama-4-scout", "gpt-oss-20b"])
def test_rules_of_thumb_name_the_experts_that_a_token_is_not_routed_to(name: str) -> None:
    model = model_from_config(model_entry(name).config, name)
    for rule in rules(model, Workload(phase="train", seq_len=64)):
        assert rule.unexplained_flop == 0
        assert any(part.startswith("experts that a token is not routed to") for part, _ in rule.difference)


def test_one_expert_more_per_token_is_noticed() -> None:
    config = shallow(dict(model_entry("olmoe-1b-7b").config))
    model, module = model_from_config(config, "olmoe"), count.meta_language_model(config)
    agree(model, module, STEPS[0])
    assert isinstance(model, Decoder)
    block = model.blocks[0]
    more = dataclasses.replace(block.parts[1][1], per_token=9)  # type: ignore[type-var]
    wrong = dataclasses.replace(model, blocks=(dataclasses.replace(block, parts=(block.parts[0], ("mlp", more))),))
    with pytest.raises(AssertionError):
        agree(wrong, module, STEPS[0])


MIXTRAL: Config = {
    "model_type": "mixtral",
    "hidden_size": 32,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "num_hidden_layers": 2,
}
QWEN: Config = {**MIXTRAL, "model_type": "qwen2_moe"}
LLAMA_4: Config = {**MIXTRAL, "model_type": "llama4_text"}


@pytest.mark.parametrize(
    ("config", "match"),
    [
        (MIXTRAL | {"num_experts_per_tok": 9}, "num_experts_per_tok is '9'; expected at most as many as num_local_experts, which is 8"),
        (MIXTRAL | {"num_local_experts": 0}, "num_local_experts is '0'"),
        (MIXTRAL | {"sliding_window": 0}, "sliding_window is '0'"),
        (MIXTRAL | {"num_key_value_heads": 3}, "not a multiple of num_key_value_heads 3"),
        (QWEN | {"mlp_only_layers": "all"}, "mlp_only_layers is 'all'; expected a list of layer indices"),
        (QWEN | {"decoder_sparse_step": 0}, "decoder_sparse_step is '0'"),
        (QWEN | {"num_hidden_layers": 10**6}, "at most 10,000 layers where they differ"),
        (QWEN | {"layer_types": ["sliding_attention"] * 2}, "sliding_window is 'None'"),
        ({"model_type": "gpt_oss", "sliding_window": None}, "sliding_window is 'None'; expected a whole number from 1"),
        ({"model_type": "deepseek_v2"}, "num_experts_per_tok is missing"),
        (DEEPSEEK_V3 | {"num_key_value_heads": 2}, "num_key_value_heads is '2'; expected num_attention_heads, which is 4"),
        (DEEPSEEK_V3 | {"n_group": 3}, "n_routed_experts 8 is not a multiple of n_group 3"),
        (DEEPSEEK_V3 | {"n_group": 8}, "n_group is '8'; expected groups of two or more of the n_routed_experts, which are 8"),
        (DEEPSEEK_V3 | {"topk_group": 5}, "topk_group is '5'; expected at most n_group, which is 4"),
        (DEEPSEEK_V3 | {"qk_rope_head_dim": 3}, "qk_rope_head_dim is '3'; expected an even number"),
        (DEEPSEEK_V3 | {"num_experts_per_tok": 9}, "num_experts_per_tok is '9'; expected at most as many as n_routed_experts"),
        ({"model_type": "phimoe", "num_experts_per_tok": 3}, "num_experts_per_tok is '3'; expected 2"),
        ({"model_type": "hunyuan_v1_moe", "num_experts": 4, "moe_topk": [1] * 31}, "moe_topk is"),
        ({"model_type": "hunyuan_v1_moe", "num_experts": 4, "moe_topk": [5] * 32}, "moe_topk is .* from 1 to num_experts, which is 4"),
        (LLAMA_4 | {"attention_chunk_size": None}, "attention_chunk_size is 'None'"),
        (LLAMA_4 | {"no_rope_layers": [1]}, "no_rope_layers is"),
        (LLAMA_4 | {"layer_types": ["full_attention"]}, "layer_types is .* a list of 2 words"),
    ],
)
def test_a_field_that_makes_no_sense_is_named_in_one_line(config: Config, match: str) -> None:
    with pytest.raises(BadConfigError, match=match) as caught:
        model_from_config(config, "hostile")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["mixtral-8x7b", "olmoe-1b-7b", "deepseek-v2-lite"])
def test_fvcore_agrees_though_it_shares_no_code_with_torchs_counter(name: str) -> None:
    config = shallow(dict(model_entry(name).config), 2)
    model, module = model_from_config(config, name), count.meta_language_model(config)
    for step in (STEPS[1], STEPS[2], STEPS[4]):
        assert count.fvcore_model_count(module, step).value == estimate(Case(model=model, workload=step)).forward_flop
