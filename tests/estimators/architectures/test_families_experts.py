"""Mixtures of experts: published models against torch on the meta device, `==`, and rows by hand."""

from __future__ import annotations

import dataclasses

import pytest

from bench.backend.counting import meta
from estimators.architectures import FAMILIES
from estimators.architectures.decoder import Decoder
from estimators.architectures.feed_forward import Experts, FeedForward
from estimators.architectures.from_config import model_from_config
from estimators.counting.conventions import surplus_flop
from estimators.counting.estimate import count_active_params, count_params, estimate
from estimators.counting.rules_of_thumb import rules
from estimators.facts.registry import model_entry, model_ids
from estimators.spec import Case, Workload
from tests.support.drawn_decoders import (
    Config,
    agree,
    as_published,
    by_name,
    check_published,
    check_steps,
)
from tests.support.latent_attention_models import DEEPSEEK_V3
from tests.support.refused_configs import refused

MODULES = {"experts", "expert_variants", "deepseek", "sparse_latent", "compressed"}
HERE = {model_type for model_type, where in FAMILIES.items() if where.split(".")[0] in MODULES}
SHIPPED = [name for name in model_ids() if model_entry(name).config["model_type"] in HERE]


def shallow(config: Config, layers: int = 4) -> Config:
    """The same model with its first layers alone; every kind of layer is among them."""
    depth = "n_layers" if "n_layers" in config else "num_hidden_layers"
    few = min(layers, config[depth])
    short = {key: value[:few] if key == "layer_types" else value for key, value in config.items()} | {depth: few}
    return short | ({"hc_sinkhorn_iters": 1} if "hc_sinkhorn_iters" in config else {})  # which are no products


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
    check_published(name, shallow(dict(model_entry(name).config)), STEPS)


def test_a_count_that_was_not_published_is_noticed() -> None:
    assert as_published(51_570_323_328, "51.6B")
    assert not as_published(51_540_000_000, "51.6B")
    assert not as_published(671_026_404_351, "671,026,404,352")


@pytest.mark.slow
@pytest.mark.parametrize("name", SHIPPED)
def test_published_models_count_like_torch_at_full_depth(name: str) -> None:
    check_steps(name, model_entry(name).config, (STEPS[0], STEPS[2], STEPS[3]))


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
    assert active("dbrx-132b") == pytest.approx(36e9, abs=0.5e9)
    assert active("llama-4-scout") == pytest.approx(17e9, abs=0.5e9)


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("dots.llm1", "14B"),
        ("granite-4.0-h-small", "9B"),
        ("granite-4.0-h-tiny", "1B"),
        ("k-exaone-236b-a23b", "23B"),
        ("kimi-k2", "32B"),
        ("lfm2-8b-a1b", "1.5B"),
        ("minimax-m2", "10B"),
        ("nemotron-3-nano-30b-a3b", "3.5B"),
    ],
)
def test_active_parameters_of_recent_mixtures_are_the_published_ones(name: str, published: str) -> None:
    """Cards and documentation, see each model's source; MiniMax leaves the embedding out."""
    assert as_published(active(name, without_embedding=name == "minimax-m2"), published)


def test_longcat_flash_has_the_published_parameters_and_both_ends_of_those_that_a_token_uses() -> None:
    """LongCat-Flash's report: 560B, of which a token uses 18.6B to 31.3B; the class holds more, see NOT_SHIPPED of the drawn ones.

    Sizes are those of transformers' configuration, which names the checkpoint; at the lower end all 12 choices compute nothing.
    """
    ops = model_from_config({"model_type": "longcat_flash"}, "longcat").ops(Workload())
    most = count_active_params(ops) - 131072 * 6144
    assert as_published(most, "31.3B")
    assert as_published(most - 28 * 12 * (3 * 6144 * 2048), "18.6B")
    assert as_published(count_params(ops) - 28 * 256 * (2 * 6144 * 2048), "560B")


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


def test_llama_4_needs_one_routed_expert_a_token_and_transformers_runs_all_sixteen() -> None:
    """8 tokens, D 5,120, F 8,192, one of 16 experts: the other 15 are surplus, forward and backward, and are not in `flop`."""
    model = model_from_config(shallow(dict(model_entry("llama-4-scout").config)), "llama 4")
    step = Workload(phase="train", seq_len=8)
    down = by_name(model.ops(step))["layer.0.mlp.experts.down"]
    assert (down.flop, down.backward_flop) == (2 * 8 * 8192 * 5120, 2 * 2 * 8 * 8192 * 5120)
    assert (down.surplus_flop, surplus_flop((down,), step)) == (15 * down.flop, down.count * 15 * (down.flop + down.backward_flop))
    assert down.masked_flop == 0


def test_both_counts_of_llama_4_come_from_one_table() -> None:
    """torch counts what transformers runs. Left out of the table, the surplus would be noticed."""
    config = shallow(dict(model_entry("llama-4-scout").config))
    model, module = model_from_config(config, "llama 4"), meta.meta_language_model(config)
    agree(model, module, STEPS[0])
    assert isinstance(model, Decoder)
    block = model.blocks[0]
    chosen = dataclasses.replace(block.parts[1][1], runs_all=False)  # type: ignore[type-var]
    rest = tuple(dataclasses.replace(b, parts=(b.parts[0], ("mlp", chosen))) for b in model.blocks)
    with pytest.raises(AssertionError):
        agree(dataclasses.replace(model, blocks=rest), module, STEPS[0])


def test_a_chunk_hides_what_lies_before_it() -> None:
    """Chunks of 4, 6 cached: token 6 is the third of its chunk and sees 3 keys; transformers multiplies the last 3 and its own."""
    fields = {"num_hidden_layers": 1, "hidden_size": 8, "num_attention_heads": 1, "num_key_value_heads": 1, "head_dim": 8}
    model = model_from_config(fields | {"model_type": "llama4_text", "attention_chunk_size": 4}, "chunked")
    scores = by_name(model.ops(Workload(phase="decode", context_len=6)))["layer.attention.scores"]
    assert (scores.flop, scores.flop - scores.masked_flop) == (2 * 4 * 8, 2 * 3 * 8)
    assert scores.cache_bytes == 3 * 16 * 2


@pytest.mark.parametrize("name", ["mixtral-8x7b", "deepseek-v3", "llama-4-scout", "gpt-oss-20b"])
def test_rules_of_thumb_name_the_experts_that_a_token_is_not_routed_to(name: str) -> None:
    model = model_from_config(model_entry(name).config, name)
    for rule in rules(model, Workload(phase="train", seq_len=64)):
        assert rule.unexplained_flop == 0
        assert any(part.startswith("experts that a token is not routed to") for part, _ in rule.difference)


def test_one_expert_more_per_token_is_noticed() -> None:
    config = shallow(dict(model_entry("olmoe-1b-7b").config))
    model, module = model_from_config(config, "olmoe"), meta.meta_language_model(config)
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
DBRX: Config = {"model_type": "dbrx", "d_model": 32, "n_heads": 4, "n_layers": 2}
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
        (DBRX | {"ffn_config": {"moe_top_k": 5}}, "ffn_config: moe_top_k is '5'; expected at most as many as moe_num_experts, which is 4"),
        (DBRX | {"ffn_config": {"hidden_size": 64}}, "ffn_config: hidden_size is '64'; expected d_model, which is 32"),
        (DBRX | {"attn_config": {"kv_n_heads": 3}}, "n_heads 4 is not a multiple of attn_config.kv_n_heads 3"),
        (DBRX | {"tie_word_embeddings": True}, "tie_word_embeddings is 'True'; expected false"),
        (DBRX | {"attn_config": [8]}, r"attn_config is '\[8\]'; expected an object"),
        (LLAMA_4 | {"attention_chunk_size": None}, "attention_chunk_size is 'None'"),
        (LLAMA_4 | {"no_rope_layers": [1]}, "no_rope_layers is"),
        (LLAMA_4 | {"layer_types": ["full_attention"]}, "layer_types is .* a list of 2 words"),
    ],
)
def test_a_field_that_makes_no_sense_is_named_in_one_line(config: Config, match: str) -> None:
    refused(config, match)


@pytest.mark.parametrize("name", ["mixtral-8x7b", "olmoe-1b-7b", "deepseek-v2-lite"])
def test_fvcore_agrees_though_it_shares_no_code_with_torchs_counter(name: str) -> None:
    config = shallow(dict(model_entry(name).config), 2)
    model, module = model_from_config(config, name), meta.meta_language_model(config)
    for step in (STEPS[1], STEPS[2], STEPS[4]):
        assert meta.fvcore_model_count(module, step).value == estimate(Case(model=model, workload=step)).forward_flop
