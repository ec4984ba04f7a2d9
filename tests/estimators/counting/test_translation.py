"""A run read by two tools: the factors, the parts, and what the machine must have done at least."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from estimators.architectures.adapters import with_adapters
from estimators.architectures.from_config import model_from_config
from estimators.counting.translate import least, read, translate
from estimators.errors import BadValueError
from estimators.facts.registry import hardware
from estimators.facts.tool_conventions import tool, tools
from tests.support.tool_models import DEEPSEEK_V3, gpt, registered

H100 = hardware("h100-sxm5-80gb")


class TestTranslation:
    @given(data=st.data(), utilization=st.floats(0.01, 1), seq_len=st.integers(1, 4096))
    @settings(deadline=None)
    def test_the_factors_make_up_the_figure_and_the_parts_the_factor(self, data: st.DataObject, utilization: float, seq_len: int) -> None:
        names = st.sampled_from(sorted(tools()))
        model, first, second = registered("llama-2-7b"), tool(data.draw(names)), tool(data.draw(names))
        given_ = read(first, model, seq_len=seq_len, utilization=utilization, hardware=H100)
        one = translate(given_, second, model, hardware=H100)
        assert one.translated.utilization == pytest.approx(utilization * one.flop_ratio * one.peak_ratio)
        assert sum(flop for _, flop in one.parts) == one.translated.flop.flop - one.given.flop.flop
        back = translate(one.translated, first, model, hardware=H100).translated
        assert back.utilization == pytest.approx(utilization)
        assert back.tokens_per_s == pytest.approx(given_.tokens_per_s)

    def test_140_teraflop_of_2021_are_105_without_recomputation(self) -> None:
        # Narayanan et al. 2021, equation 3: 96 and V/16 with recomputation, 72 and V/12 without; 3.229e23 over 4.302e23 FLOP.
        model = registered("gpt-3")
        seen = read(tool("megatron-2021"), model, seq_len=2048, flop_per_s=140e12, recompute="full")
        assert translate(seen, tool("megatron-2022"), model, recompute="full").translated.flop_per_s == pytest.approx(105.1e12, rel=1e-3)

    def test_without_a_device_only_the_flop_ratio_is_known(self) -> None:
        model = registered("llama-2-7b")
        seen = read(tool("llm-foundry"), model, seq_len=4096, utilization=0.5)
        one = translate(seen, tool("nanogpt"), model)
        assert (seen.peak, seen.flop_per_s, seen.tokens_per_s, one.peak_ratio) == (None, None, None, 1.0)
        rate = read(tool("llm-foundry"), model, seq_len=4096, flop_per_s=5e14)
        assert (rate.utilization, least(rate, model)) == (None, None)

    def test_the_least_that_a_machine_did_is_below_every_honest_count(self) -> None:
        model = registered("llama-2-7b")
        seen = read(tool("causal"), model, seq_len=4096, utilization=0.5, hardware=H100)
        at_least = least(seen, model, hardware=H100)
        assert at_least is not None
        # T·(T+1)/2 pairs where causal counts T²/2: a hair above it. Frozen weights need two of three products.
        assert at_least.training == pytest.approx(0.5, rel=1e-4)
        assert at_least.frozen == pytest.approx(0.5 * 2 / 3, rel=0.05)
        tuned = least(seen, with_adapters(model, rank=8), hardware=H100)
        assert tuned is not None
        assert at_least.frozen * 0.98 < tuned.training < at_least.frozen * 1.02

    @pytest.mark.parametrize("figures", [{}, {"utilization": 0.5, "flop_per_s": 1e12}])
    def test_exactly_one_figure_is_translated(self, figures: dict[str, float]) -> None:
        with pytest.raises(BadValueError, match="a translation needs one figure"):
            read(tool("palm"), gpt(), seq_len=64, **figures)


def test_deepseeks_two_rates_translate_into_each_other() -> None:
    # Zhao et al. 2025, table 4: 385 TFLOP/s and 38.94 % causal are 432 TFLOP/s and 43.73 % with the whole square.
    model, device = model_from_config(DEEPSEEK_V3, "v3"), hardware("h800-sxm5-80gb")
    causal = read(tool("deepseek"), model, seq_len=4096, flop_per_s=385e12, hardware=device)
    assert causal.utilization == pytest.approx(0.3894, abs=5e-4)
    whole = translate(causal, tool("full"), model, hardware=device).translated
    assert whole.flop_per_s == pytest.approx(432e12, rel=2e-3)
    assert whole.utilization == pytest.approx(0.4373, abs=1e-3)
