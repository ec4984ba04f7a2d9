"""State-space models and their hybrids: random and published configurations against torch on the meta device, `==`."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_families_dense import Config, agree, family, flags, own_heads, shapes
from test_families_experts import as_published, by_name, routed
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from bench.backend import count
from estimators.architectures import FAMILIES
from estimators.architectures.decoder import Decoder
from estimators.architectures.mamba2 import Mamba2
from estimators.architectures.state_space import Mamba
from estimators.conventions import unskippable_flop
from estimators.errors import BadConfigError
from estimators.estimate import count_params, estimate
from estimators.hf_config import model_from_config
from estimators.registry import model_entry, model_ids
from estimators.rules import rules
from estimators.spec import Case, Workload

HERE = {model_type for model_type, where in FAMILIES.items() if where.split(".")[0] == "state_space"}
SHIPPED = [name for name in model_ids() if model_entry(name).config["model_type"] in HERE]

taps, states = st.integers(2, 5), st.integers(2, 9)


@st.composite
def mamba2(draw: st.DrawFn) -> Config:
    """Heads that are twice as wide as the model together, in groups."""
    groups, width = draw(st.integers(1, 3)), 4 * draw(st.integers(1, 4))
    fields = {"num_heads": 2 * groups, "n_groups": groups, "head_dim": width, "hidden_size": groups * width, "expand": 2}
    fields |= {"num_hidden_layers": draw(st.integers(1, 3)), "state_size": draw(states), "chunk_size": draw(st.integers(2, 9))}
    optional = {"conv_kernel": taps, "use_bias": flags, "use_conv_bias": flags, "tie_word_embeddings": flags}
    return fields | draw(st.fixed_dictionaries({}, optional=optional | {"vocab_size": st.integers(20, 200)}))


@st.composite
def beside(draw: st.DrawFn, configs: st.SearchStrategy[Config], inner: str) -> Config:
    """A configuration with the fields of a Mamba 2 mixer, whose channels are `inner` or, in Bamba, expand times the width."""
    config = draw(configs)
    groups = draw(st.integers(1, 2))
    heads = 2 * groups
    head_width = draw(st.integers(2, 9))
    channels = {inner: heads * head_width} if inner else {"mamba_expand": 2}
    if not inner:
        config["hidden_size"] = config["num_attention_heads"] * 8
        config["attn_layer_indices"] = [draw(st.integers(0, config["num_hidden_layers"] - 1)), 7]
        heads = groups * next(n for n in (3, 2, 1) if 2 * config["hidden_size"] % (n * groups) == 0)
    optional = {"mamba_d_conv": taps, "mamba_chunk_size": st.integers(2, 9), "mamba_conv_bias": flags, "mamba_proj_bias": flags}
    return (
        config
        | channels
        | {"mamba_n_heads": heads, "mamba_n_groups": groups, "mamba_d_state": draw(states)}
        | draw(st.fixed_dictionaries({}, optional=optional))
    )


@st.composite
def periods(draw: st.DrawFn, configs: st.SearchStrategy[Config]) -> Config:
    """Which of Jamba's layers attend, one at least, and which have experts."""
    config, attention, experts = draw(configs), draw(st.integers(1, 3)), draw(st.integers(1, 2))
    first = draw(st.integers(0, min(attention, config["num_hidden_layers"]) - 1))
    offsets = {"attn_layer_offset": first, "expert_layer_offset": draw(st.integers(0, experts - 1))}
    return config | {"attn_layer_period": attention, "expert_layer_period": experts} | offsets


@st.composite
def delta(draw: st.DrawFn, configs: st.SearchStrategy[Config]) -> Config:
    """Heads of Qwen3-Next's linear attention, and a layer of the usual one at least: transformers' cache asks it for its length."""
    config, keys = draw(configs), draw(st.integers(1, 3))
    heads = {"linear_num_key_heads": keys, "linear_num_value_heads": keys * draw(st.integers(1, 2))}
    widths = {"linear_key_head_dim": draw(st.integers(2, 9)), "linear_value_head_dim": draw(st.integers(2, 9))}
    interval = {"full_attention_interval": draw(st.integers(1, config["num_hidden_layers"]))}
    optional = {"linear_conv_kernel_dim": taps}
    return config | heads | widths | interval | draw(st.fixed_dictionaries({}, optional=optional))


width = {"intermediate_size": st.integers(8, 40)}
STATE_SPACE: dict[str, st.SearchStrategy[Config]] = {
    "mamba": st.fixed_dictionaries(
        {"hidden_size": st.integers(4, 40), "num_hidden_layers": st.integers(1, 3)},
        optional={
            "state_size": states,
            "expand": st.integers(1, 3),
            "conv_kernel": taps,
            "time_step_rank": st.just("auto") | st.integers(1, 5),
            "use_bias": flags,
            "use_conv_bias": flags,
            "tie_word_embeddings": flags,
            "vocab_size": st.integers(20, 200),
        },
    ),
    "mamba2": mamba2(),
    "jamba": periods(
        routed(
            family(
                shapes(),
                {"mamba_d_state": 3},
                **width,
                mamba_d_conv=taps,
                mamba_expand=st.integers(1, 3),
                mamba_dt_rank=st.just("auto") | st.integers(1, 5),
                mamba_conv_bias=flags,
                mamba_proj_bias=flags,
            ),
            num="num_experts",
        )
    ),
    "bamba": beside(family(shapes(), **width, attention_bias=flags, mlp_bias=flags), ""),
    "falcon_h1": beside(
        family(own_heads(), **width, attention_bias=flags, mlp_bias=flags, projectors_bias=flags, mamba_rms_norm=flags), "mamba_d_ssm"
    ),
    "qwen3_next": delta(
        routed(
            family(
                own_heads(),
                **width,
                moe_intermediate_size=st.integers(4, 24),
                shared_expert_intermediate_size=st.integers(4, 24),
                decoder_sparse_step=st.integers(1, 2),
                attention_bias=flags,
            ),
            num="num_experts",
        )
    ),
}


@st.composite
def steps(draw: st.DrawFn) -> Workload:
    """A step; one in four reaches over the first chunk of 64 tokens, and some sequences are shorter than a filter."""
    phase, batch = draw(st.sampled_from(["train", "prefill", "decode"])), draw(st.integers(1, 3))
    length = draw(st.one_of(st.integers(1, 6), st.integers(7, 30), st.sampled_from([64, 70])))
    if phase == "decode":
        return Workload(phase="decode", batch=batch, context_len=draw(st.integers(0, 12)))
    return Workload(phase=phase, batch=batch, seq_len=length)  # type: ignore[arg-type]


def check_random_configurations(model_type: str, examples: int) -> None:
    @settings(max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(STATE_SPACE[model_type], steps())
    def check(fields: Config, workload: Workload) -> None:
        config = fields | {"model_type": model_type}
        agree(model_from_config(config, model_type), count.meta_language_model(config), workload)

    check()


@pytest.mark.parametrize("model_type", STATE_SPACE)
def test_random_configurations_of_every_state_space_family_count_like_torch(model_type: str) -> None:
    check_random_configurations(model_type, 20)


@pytest.mark.slow
@pytest.mark.parametrize("model_type", STATE_SPACE)
def test_many_random_configurations_of_every_state_space_family_count_like_torch(model_type: str) -> None:
    check_random_configurations(model_type, 100)


def test_no_state_space_family_is_without_a_test_and_a_published_model() -> None:
    assert STATE_SPACE.keys() == HERE
    assert {model_entry(name).config["model_type"] for name in SHIPPED} == HERE


@pytest.mark.parametrize("model_type", STATE_SPACE)
def test_a_missing_field_takes_the_default_of_transformers_class(model_type: str) -> None:
    config = {"model_type": model_type} | ({"mamba_d_ssm": 8192} if model_type == "falcon_h1" else {})
    assert count_params(model_from_config(config, model_type).ops(Workload())) == count.params_of(count.meta_language_model(config))


STEPS = (
    Workload(phase="train", batch=2, seq_len=9),
    Workload(phase="prefill", batch=3, seq_len=5),
    Workload(phase="decode", batch=2, context_len=4),
    Workload(phase="decode", batch=3, context_len=20),
)


def shallow(config: Config) -> Config:
    """The same model with so many layers that every kind is among them: Bamba's tenth attends first."""
    layers = {"bamba": 10, "jamba": 6}.get(config["model_type"], 4)
    return config | {"num_hidden_layers": layers}


@pytest.mark.parametrize("name", SHIPPED)
def test_a_published_model_has_the_published_parameters_and_counts_like_torch(name: str) -> None:
    entry = model_entry(name)
    params = count_params(model_from_config(entry.config, name).ops(Workload()))
    assert params == count.params_of(count.meta_language_model(entry.config))
    assert as_published(params, entry.published_params_text)
    config = shallow(dict(entry.config))
    model, module = model_from_config(config, name), count.meta_language_model(config)
    for workload in STEPS:
        agree(model, module, workload)


@pytest.mark.slow
@pytest.mark.parametrize("name", SHIPPED)
def test_published_models_count_like_torch_at_full_depth(name: str) -> None:
    config = model_entry(name).config
    model, module = model_from_config(config, name), count.meta_language_model(config)
    for workload in STEPS[:3]:
        agree(model, module, workload)


def test_mamba_130m_by_hand() -> None:
    """64 tokens, D 768, E 1,536, state 16, rank 48: 24 layers of products and a filter over 67 positions, and a tied head."""
    layer = 64 * (768 * 3072 + 1536 * 80 + 48 * 1536 + 1536 * 16 + 1536 * 768) + 67 * 1536 * 4
    assert 2 * (24 * layer + 64 * 768 * 50280) == 16_513_597_440
    step = estimate(Case(model=model_from_config(model_entry("mamba-130m").config, "mamba"), workload=Workload(seq_len=64)))
    assert (step.params, step.forward_flop) == (129_135_360, 16_513_597_440)


def test_a_mamba_layer_by_hand() -> None:
    """5 tokens, D 4, E 8, state 3, rank 2, filter 4: the filter runs on 5 + 3 positions, the state is read once per token."""
    mixer = Mamba(inner=8, state=3, rank=2, taps=4)
    rows = by_name(mixer.ops(Workload(seq_len=5), 4, "mixer", 1))
    assert {name.removeprefix("mixer."): op.flop for name, op in rows.items() if op.flop} == {
        "in": 2 * 5 * 4 * 16,
        "conv": 2 * (5 + 3) * 8 * 4,
        "x": 2 * 5 * 8 * (2 + 2 * 3),
        "dt": 2 * 5 * 2 * 8,
        "scan": 2 * 5 * 8 * 3,
        "out": 2 * 5 * 8 * 4,
    }
    assert sum(op.params for op in rows.values()) == 4 * 16 + (8 * 4 + 8) + 8 * 8 + (2 * 8 + 8) + (8 * 3 + 8) + 8 * 4


def test_a_decode_step_moves_a_state_whose_size_no_context_changes() -> None:
    """Mamba 130M, per layer and sequence: 1,536 channels times a filter of 4 and a state of 16, in bf16."""
    model = model_from_config(model_entry("mamba-130m").config, "mamba")
    for context_len in (1, 1000, 10**6):
        step = estimate(Case(model=model, workload=Workload(phase="decode", batch=3, context_len=context_len)))
        assert step.memory_bytes["kv_cache"] == 24 * 3 * 1536 * (4 + 16) * 2
    weights = sum(op.count * op.weight_bytes for op in model.ops(Workload(phase="decode", batch=3, context_len=9)))
    assert step.min_bytes == weights + step.memory_bytes["kv_cache"]


def test_mamba_2_keeps_a_state_per_head() -> None:
    """Mamba 2 2.7B: a filter of 4 on 5,120 + 2·128 channels, a state of 128 on 5,120."""
    model = model_from_config(model_entry("mamba2-2.7b").config, "mamba2")
    for workload in (Workload(phase="prefill", seq_len=700), Workload(phase="decode", context_len=700)):
        step = estimate(Case(model=model, workload=workload))
        assert step.memory_bytes["kv_cache"] == 64 * (4 * (5120 + 2 * 128) + 128 * 5120) * 2


def test_a_chunk_of_mamba_2_by_hand() -> None:
    """2 heads of 3, state 4, chunks of 5, 7 tokens: two chunks, the second padded; three states are carried."""
    rows = by_name(Mamba2(heads=2, head_width=3, state=4, groups=1, taps=4, chunk=5).ops(Workload(seq_len=7), 3, "m", 1))
    assert {name: rows[f"m.{name}"].flop for name in ("scores", "context", "states", "carry", "output")} == {
        "scores": 2 * 2 * 2 * (5 * 5 * 4),
        "context": 2 * 2 * 2 * (5 * 5 * 3),
        "states": 2 * 2 * 2 * (5 * 4 * 3),
        "carry": 2 * 2 * (3 * 3 * 4 * 3),
        "output": 2 * 2 * 2 * (5 * 4 * 3),
    }


@given(st.sampled_from(sorted(HERE)), st.data(), st.integers(1, 12))
@settings(max_examples=60, deadline=None)
def test_what_no_kernel_may_skip_is_no_more_than_decoding_token_by_token(model_type: str, data: st.DataObject, seq_len: int) -> None:
    """Decoding is one way to run the sequence, so that no lower bound may be above it."""
    model = model_from_config(data.draw(STATE_SPACE[model_type]) | {"model_type": model_type}, "drawn")
    whole = Workload(phase="forward", seq_len=seq_len)
    steps = (Workload(phase="decode", context_len=i) for i in range(seq_len))
    assert unskippable_flop(model.ops(whole), whole) <= sum(estimate(Case(model=model, workload=step)).forward_flop for step in steps)


# ---- torch's counter


def counted_backward(counter: FlopCounterMode, net: nn.Module, x: torch.Tensor) -> tuple[int, int]:
    with counter:
        out = net(x)
    forward = counter.get_total_flops()
    with counter:
        out.sum().backward()
    return forward, counter.get_total_flops()


def test_a_grouped_convolutions_backward_is_mended() -> None:
    """6 channels, depthwise, filter 4, padded by 3 on both sides: 9 tokens give 12 positions, each 4 multiply-adds a channel.

    Forward 2·12·6·4 FLOP. The input's gradient puts every output position back through 4 taps, the weight's gradient
    multiplies every tap with 12 positions: each as many again. torch 2.13 by itself counts another figure.
    """
    net = nn.Conv1d(6, 6, 4, groups=6, padding=3, device="meta")
    x = torch.zeros(1, 6, 9, device="meta", requires_grad=True)
    by_hand = 2 * 12 * 6 * 4
    assert counted_backward(count.flop_counter(), net, x) == (by_hand, 2 * by_hand)
    forward, unmended = counted_backward(FlopCounterMode(display=False), net, x)
    assert forward == by_hand
    assert unmended != 2 * by_hand


def test_without_the_mended_formula_mamba_would_not_agree() -> None:
    """The twin: torch's own counter is far above the op table's backward of Mamba."""
    config = shallow(dict(model_entry("mamba-130m").config))
    module, ids = count.meta_language_model(config), torch.zeros(1, 64, dtype=torch.long, device="meta")
    step = estimate(Case(model=model_from_config(config, "mamba"), workload=Workload(phase="train", seq_len=64)))
    counter = FlopCounterMode(display=False)
    with counter:
        logits = module(input_ids=ids).logits
    assert counter.get_total_flops() == step.forward_flop
    with counter:
        logits.sum().backward()
    assert counter.get_total_flops() > 1.2 * step.backward_flop


# ---- rules of thumb, twins, hostile configurations


@pytest.mark.parametrize("name", SHIPPED)
def test_rules_of_thumb_name_the_scans(name: str) -> None:
    model = model_from_config(model_entry(name).config, name)
    for rule in rules(model, Workload(phase="train", seq_len=128)):
        assert rule.unexplained_flop == 0
        assert any(part.startswith("scans of a state") for part, _ in rule.difference)


def test_the_closed_formulas_of_dense_models_are_not_applied_to_hybrids() -> None:
    model = model_from_config(model_entry("falcon-h1-0.5b").config, "falcon")
    assert {rule.name for rule in rules(model, Workload(phase="train", seq_len=8))}.isdisjoint({"PaLM", "Chinchilla"})


def test_one_state_more_is_noticed() -> None:
    config = shallow(dict(model_entry("mamba-130m").config))
    model, module = model_from_config(config, "mamba"), count.meta_language_model(config)
    agree(model, module, STEPS[1])
    assert isinstance(model, Decoder)
    block = model.blocks[0]
    larger = dataclasses.replace(block.parts[0][1], state=17)  # type: ignore[type-var]
    with pytest.raises(AssertionError):
        agree(dataclasses.replace(model, blocks=(dataclasses.replace(block, parts=(("mixer", larger),)),)), module, STEPS[1])


JAMBA: Config = {"model_type": "jamba", "hidden_size": 32, "num_attention_heads": 4, "num_key_value_heads": 2, "num_hidden_layers": 4}
NEXT: Config = {**JAMBA, "model_type": "qwen3_next"}


@pytest.mark.parametrize(
    ("config", "match"),
    [
        ({"model_type": "mamba", "state_size": 0}, "state_size is '0'"),
        ({"model_type": "mamba", "time_step_rank": "half"}, "time_step_rank is 'half'"),
        ({"model_type": "mamba", "conv_kernel": -4}, "conv_kernel is '-4'"),
        ({"model_type": "mamba2", "num_heads": 80}, "num_heads is '80'; expected num_heads times head_dim to be .* 8,192"),
        ({"model_type": "mamba2", "n_groups": 3}, "num_heads 128 is not a multiple of n_groups 3"),
        (JAMBA | {"attn_layer_offset": 8}, "attn_layer_offset is '8'; expected less than attn_layer_period, which is 8"),
        (JAMBA | {"expert_layer_offset": 2}, "expert_layer_offset is '2'"),
        (JAMBA | {"num_experts": 1}, "num_experts_per_tok is '2'"),
        ({"model_type": "bamba", "mamba_n_heads": 100}, "the mixer's width 8192 is not a multiple of mamba_n_heads 100"),
        ({"model_type": "bamba", "mamba_d_head": 63}, "mamba_d_head is '63'; expected 64: 8,192 channels of 128 mamba_n_heads"),
        ({"model_type": "bamba", "attn_layer_indices": [-1]}, r"attn_layer_indices is '\[-1\]'; expected a list of layer indices"),
        ({"model_type": "falcon_h1", "mamba_d_ssm": 0}, "mamba_d_ssm is '0'"),
        (NEXT | {"layer_types": ["sliding_attention"] * 4}, "layer_types is .* full_attention or linear_attention"),
        (NEXT | {"linear_num_value_heads": 15}, "linear_num_value_heads 15 is not a multiple of linear_num_key_heads 16"),
        (NEXT | {"full_attention_interval": 0}, "full_attention_interval is '0'"),
    ],
)
def test_a_field_that_makes_no_sense_is_named_in_one_line(config: Config, match: str) -> None:
    with pytest.raises(BadConfigError, match=match) as caught:
        model_from_config(config, "hostile")
    assert "\n" not in str(caught.value)
