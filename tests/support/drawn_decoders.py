"""Random configurations and steps of decoders, and what each is held to: torch on the meta device, `==`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from bench.backend.counting import meta
from estimators.architectures.from_config import model_from_config
from estimators.counting.estimate import count_params, estimate
from estimators.counting.rules_of_thumb import rules
from estimators.facts.registry import model_entry
from estimators.parsing import parse_count
from estimators.spec import Case, Model, Op, Workload

Config = dict[str, Any]
flags, windows = st.booleans(), st.integers(2, 24)


@st.composite
def shapes(
    draw: st.DrawFn,
    *,
    width: str = "hidden_size",
    layers: str = "num_hidden_layers",
    heads: str = "num_attention_heads",
    kv_heads: str = "num_key_value_heads",
    head_width: str = "",
    multiple: int = 1,
) -> Config:
    """Widths, heads and layers that fit together; a head of its own width where the family has a field for it."""
    groups = draw(st.integers(1, 3))
    n = groups * draw(st.integers(1, 3)) * multiple
    h = draw(st.sampled_from([8, 16, 32]))
    own = bool(head_width) and draw(flags)
    return {
        width: n * (draw(st.sampled_from([4, 12, 20])) if own else h),
        heads: n,
        layers: draw(st.integers(1, 3)),
        **({kv_heads: groups * multiple} if kv_heads else {}),
        **({head_width: h} if own else {}),
    }


def family(shape: st.SearchStrategy[Config], always: Config | None = None, **optional: st.SearchStrategy[Any]) -> st.SearchStrategy[Config]:
    """Configurations of a shape, with fields that are always there and fields that may be left to their defaults."""
    sizes = {"vocab_size": st.integers(20, 200), "tie_word_embeddings": flags}
    return st.tuples(shape, st.fixed_dictionaries({}, optional=sizes | optional)).map(lambda drawn: drawn[0] | (always or {}) | drawn[1])


@st.composite
def layered(draw: st.DrawFn, configs: st.SearchStrategy[Config], key: str, kinds: list[Any], layers: str = "num_hidden_layers") -> Config:
    """The same with a list that says of each layer what it is, or without it."""
    config = draw(configs)
    of_each = st.lists(st.sampled_from(kinds), min_size=config[layers], max_size=config[layers])
    return config | draw(st.fixed_dictionaries({}, optional={key: of_each}))


own_heads = partial(shapes, head_width="head_dim")
sliding = partial(layered, key="layer_types", kinds=["full_attention", "sliding_attention"])


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
def steps(draw: st.DrawFn) -> Workload:
    phase, batch, length = draw(st.sampled_from(["train", "prefill", "decode"])), draw(st.integers(1, 3)), draw(st.integers(1, 40))
    if phase == "decode":
        return Workload(phase="decode", batch=batch, context_len=length)
    return Workload(phase=phase, batch=batch, seq_len=length)


def agree(model: Model, module: nn.Module, workload: Workload, params: int | None = None) -> None:
    """Parameters, forward and backward FLOP of the op table are torch's; every rule's parts add up to its difference."""
    expected, counted = estimate(Case(model=model, workload=workload)), meta.torch_count(module, workload)
    assert expected.params == (counted.params if params is None else params)
    assert expected.forward_flop == counted.forward_flop
    assert expected.backward_flop == (counted.backward_flop or 0)
    for rule in rules(model, workload):
        assert rule.unexplained_flop == 0, (rule.name, rule.difference)


def check_random_configurations(
    model_type: str, configs: st.SearchStrategy[Config], examples: int, workloads: st.SearchStrategy[Workload] | None = None
) -> None:
    """Draw configurations of a family and steps; demand that the op table counts like torch."""

    @settings(max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(configs, steps() if workloads is None else workloads)
    def check(fields: Config, workload: Workload) -> None:
        config = fields | {"model_type": model_type}
        agree(model_from_config(config, model_type), meta.meta_language_model(config), workload)

    check()


def check_published(name: str, config: Config, workloads: tuple[Workload, ...]) -> None:
    """The whole model has torch's and the published parameters; `config`, the same with few layers, costs what torch counts."""
    entry = model_entry(name)
    params = count_params(model_from_config(entry.config, name).ops(Workload()))
    assert params == meta.params_of(meta.meta_language_model(entry.config))
    assert as_published(params, entry.published_params_text)
    check_steps(name, config, workloads)


def check_steps(name: str, config: Mapping[str, Any], workloads: tuple[Workload, ...]) -> None:
    """Every step of the configuration costs what torch counts."""
    model, module = model_from_config(config, name), meta.meta_language_model(config)
    for workload in workloads:
        agree(model, module, workload)


def as_published(params: int, text: str) -> bool:
    """Exactly, where the digits were published, else to the last digit that was, rounded or cut there."""
    digits, unit = text[:-1], text[-1]
    if unit.isdigit():
        return params == parse_count(text, "published")
    places = len(digits.partition(".")[2])
    said, least = params / parse_count("1" + unit, "unit"), float(digits)
    return f"{said:.{places}f}" == digits or 0 <= said - least < 10**-places


def by_name(ops: tuple[Op, ...] | list[Op]) -> dict[str, Op]:
    return {op.name: op for op in ops}
