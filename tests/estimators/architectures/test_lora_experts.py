"""Adapters on mixtures of experts: which matrices peft reaches, what it trains of them, and what they cost."""

from __future__ import annotations

import pytest

from estimators.architectures.adapters import with_adapters
from estimators.architectures.decoder import Decoder
from estimators.architectures.from_config import model_from_config
from estimators.cost.layout import Layout
from estimators.counting.conventions import step_flop
from estimators.counting.estimate import count_active_params, count_trainable_params, estimate
from estimators.counting.rules_of_thumb import rules
from estimators.errors import BadValueError
from estimators.facts.registry import model_entry, model_ids
from estimators.memory.device import memory_of
from estimators.spec import Case, Workload
from estimators.training.sequence_cost import sequence_cost_of
from estimators.validation.model import shipped_model
from tests.support.fine_tuned import MIXTRAL, NEXT, Config

PEFT_ALL_LINEAR = {
    "dbrx-132b": 20_981_760,
    "deepseek-v2-lite": 358_994_944,
    "deepseek-v3.2": 7_668_928_512,
    "deepseek-v3": 7_645_254_656,
    "dots.llm1": 2_451_236_864,
    "ernie-4.5-21b-a3b": 433_146_880,
    "gemma-4-26b-a4b": 19_998_720,
    "glm-4.5-air": 1_815_963_648,
    "glm-4.7-flash": 673_752_064,
    "glm-5": 8_945_071_104,
    "gpt-oss-20b": 7_962_624,
    "granite-3.0-1b-a400m": 2_752_512,
    "granite-4.0-h-tiny": 11_840_512,
    "hunyuan-a13b": 921_731_072,
    "jamba-v0.1": 38_123_520,
    "k-exaone-236b-a23b": 2_797_598_720,
    "kimi-linear-48b-a3b": 20_866_048,
    "lfm2-8b-a1b": 5_701_632,
    "llama-4-scout": 59_781_120,
    "minimax-m2": 4_320_485_376,
    "mixtral-8x7b": 359_665_664,
    "nemotron-3-nano-30b-a3b": 13_855_744,
    "olmoe-1b-7b": 189_284_352,
    "phi-3.5-moe": 15_736_832,
    "qwen1.5-moe-a2.7b": 15_925_632,
    "qwen3-30b-a3b": 996_507_648,
    "qwen3.5-35b-a3b": 22_477_440,
    "qwen3-next-80b-a3b": 3_443_233_536,
}
"""Trainable parameters of LoraConfig(r=16, target_modules="all-linear"), by peft 0.21.2 on transformers 5.24, on the meta device.

Nemotron-H's is that of its class under another model_type: under its own peft reaches no out_proj beside a kernel, and refuses."""


def trained_params(model: Decoder, rank: int, targets: tuple[str, ...]) -> int:
    return count_trainable_params(with_adapters(model, rank, targets).ops(Workload()))


@pytest.mark.parametrize("name", PEFT_ALL_LINEAR)
def test_adapters_on_all_linear_layers_of_a_mixture_are_those_of_peft(name: str) -> None:
    assert trained_params(shipped_model(name), 16, ("all-linear",)) == PEFT_ALL_LINEAR[name]


def test_no_type_with_experts_is_without_pefts_figure() -> None:
    def routed(name: str) -> bool:
        return any(op.component == "experts" for op in shipped_model(name).ops(Workload()))

    mixtures = {model_entry(name).config["model_type"] for name in model_ids() if routed(name)}
    assert mixtures == {model_entry(name).config["model_type"] for name in PEFT_ALL_LINEAR} | {"deepseek_v4"}


def test_an_adapter_that_peft_cannot_add_to_a_group_of_heads_is_refused() -> None:
    """peft 0.21.2 puts 73,339,904 parameters on all linear layers of DeepSeek-V4-Flash, and its forward pass fails beside o_a_proj."""
    model = shipped_model("deepseek-v4-flash")
    for targets in (("all-linear",), ("q_b_proj", "o_a_proj")):
        with pytest.raises(BadValueError, match="an adapter beside o_a_proj of deepseek-v4-flash: peft makes it for all groups"):
            with_adapters(model, 16, targets)
    rest = ("q_a_proj", "q_b_proj", "kv_proj", "gate_proj", "up_proj", "down_proj", "weights_proj", "o_b_proj")
    assert trained_params(model, 16, rest) == 73_339_904 - 43 * 16 * (4096 + 8 * 1024)


PEFT_NAMED = {
    ("qwen3-30b-a3b", ("gate",)): 1_671_168,
    ("qwen3-30b-a3b", ("gate_proj", "up_proj", "down_proj")): 981_467_136,
    ("qwen3-30b-a3b", ("down_proj",)): 276_824_064,
    ("mixtral-8x7b", ("w1", "w3")): 268_435_456,
    ("mixtral-8x7b", ("w2", "q_proj")): 79_691_776,
    ("deepseek-v2-lite", ("down_proj",)): 92_012_544,
    ("qwen1.5-moe-a2.7b", ("gate_proj", "shared_expert_gate")): 3_735_936,
    ("llama-4-scout", ("router", "down_proj")): 14_168_064,
}
"""The same of target_modules by name. Names that experts had are theirs alone: DeepSeek's dense and shared layers have no adapter."""


@pytest.mark.parametrize(("name", "targets"), PEFT_NAMED)
def test_names_reach_what_peft_reaches_by_them(name: str, targets: tuple[str, ...]) -> None:
    assert trained_params(shipped_model(name), 16, targets) == PEFT_NAMED[name, targets]


SMALL = model_from_config(MIXTRAL, "small")
"""3 layers, D 32, F 48, 2 of 4 experts."""


def test_words_of_the_op_table_reach_experts_too() -> None:
    gate_up, down, router = (3 * n for n in (4 * 2 * 5 * (32 + 2 * 48), 4 * 5 * (48 + 32), 5 * (32 + 4)))
    assert trained_params(SMALL, 5, ("experts",)) == gate_up + down
    assert trained_params(SMALL, 5, ("gate", "up", "down")) == router + gate_up + down
    assert trained_params(SMALL, 5, ("gate_up",)) == gate_up
    assert trained_params(SMALL, 5, ("router",)) == router


def test_experts_that_never_had_names_of_their_own_have_one_rank() -> None:
    """gpt-oss: target_parameters of peft, (in + out) · rank for each of 32 experts of 24 layers: D and F 2,880."""
    assert trained_params(shipped_model("gpt-oss-20b"), 16, ("experts",)) == 24 * 32 * 16 * (2880 + 2 * 2880 + 2880 + 2880)


def test_half_of_one_matrix_is_refused_as_peft_refuses_it() -> None:
    with pytest.raises(BadValueError, match="target 'w1' without 'w3': the experts' two are one matrix"):
        with_adapters(SMALL, 5, ("w1", "w2"))


@pytest.mark.parametrize(("config", "target"), [(MIXTRAL, "gate_proj"), (NEXT, "w1"), ({**MIXTRAL, "model_type": "llama"}, "experts")])
def test_what_a_model_does_not_have_is_refused(config: Config, target: str) -> None:
    with pytest.raises(BadValueError, match=f"has no linear layer '{target}'; expected all-linear or some of: "):
        with_adapters(model_from_config(config, "small"), 5, (target,))


def test_a_token_meets_the_adapters_of_its_experts_alone() -> None:
    """6 tokens, rank 5, 3 layers: of 2 experts D·2r, 2r·2F, F·r and r·D; forward, its two gradients, and the frozen matrices' one."""
    step = Workload(phase="train", batch=2, seq_len=3)
    tuned = with_adapters(SMALL, 5, ("experts",))
    adapters = [op for op in tuned.ops(step) if op.component == "adapter"]
    per_token = 2 * (32 * 10 + 10 * 2 * 48 + 48 * 5 + 5 * 32)
    assert sum(op.count * op.flop for op in adapters) == 3 * 2 * 6 * per_token
    assert count_active_params(adapters) == 3 * per_token
    assert sum(op.count * op.params for op in adapters) == 3 * 2 * per_token  # all four experts'
    first = next(op for op in adapters if op.name.endswith("gate_up.adapter_a"))
    assert first.weight_bytes == 2 * 2 * 32 * 10


@pytest.mark.parametrize("name", ["mixtral-8x7b", "deepseek-v2-lite", "qwen3-next-80b-a3b"])
def test_counts_step_times_and_rules_agree_on_adapters_of_experts(name: str) -> None:
    model, step = with_adapters(shipped_model(name), 16, ("all-linear",)), Workload(phase="train", seq_len=64)
    cost, counted = sequence_cost_of(model, 64), estimate(Case(model=model, workload=step))
    assert (cost.params, cost.trained_params) == (counted.params, PEFT_ALL_LINEAR[name])
    assert all(rule.unexplained_flop == 0 for rule in rules(model, step))
    if name != "qwen3-next-80b-a3b":  # whose scans have no step time
        assert cost.forward_flop(causal=False) + cost.backward_flop(causal=False) == step_flop(model.ops(step), step)["full"]


def test_memory_holds_the_optimizer_of_every_expert_whoever_is_chosen() -> None:
    """AdamW's 8 bytes for each of peft's 996,507,648; over 8 devices of experts, the experts' part is shared out."""
    model = with_adapters(shipped_model("qwen3-30b-a3b"), 16, ("all-linear",))
    one, eight = (memory_of(model, 512, Layout(global_batch=8, dp=n, ep=n)).parts["optimizer"] for n in (1, 8))
    assert one == pytest.approx(8 * 996_507_648, rel=1e-9)
    assert eight < one / 4
