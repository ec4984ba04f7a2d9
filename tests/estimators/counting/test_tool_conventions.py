"""How other tools count: held to their closed formulas, to each other, and to the peaks that they divide by."""

from __future__ import annotations

import re
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from estimators.architectures.adapters import with_adapters
from estimators.architectures.from_config import model_from_config
from estimators.counting import formulas
from estimators.counting.conventions import step_flop
from estimators.counting.estimate import count_params
from estimators.counting.flop_by_tool import (
    ATTENTION,
    HEAD,
    ONE_HOT,
    PREDICTION,
    RECOMPUTED,
    ROUTER,
    SOFTMAX,
    count,
    training_flop_per_token,
)
from estimators.errors import BadValueError, UnknownNameError
from estimators.facts import data
from estimators.facts.registry import hardware, model_entry
from estimators.facts.tool_conventions import PEAK_COLUMNS, TOOL_COLUMNS, peak_of, tool, tool_from, tools
from estimators.spec import Workload
from estimators.training.at_utilization import training_flop
from reports.render import render
from reports.views.counting.all_conventions import all_conventions_table
from tests.support.tool_models import DEEPSEEK_V3, GEMMA_7B, QWEN3_30B, gpt, registered, without_biases

A100, H100 = hardware("a100-sxm4-80gb"), hardware("h100-sxm5-80gb")


class TestClosedFormulas:
    @given(
        layers=st.integers(1, 96),
        heads=st.integers(1, 16),
        width=st.integers(1, 64),
        vocab=st.integers(1, 300_000),
        seq_len=st.integers(1, 4096),
    )
    @settings(deadline=None)
    def test_a_gpt_costs_what_the_papers_formulas_say(self, layers: int, heads: int, width: int, vocab: int, seq_len: int) -> None:
        inner = heads * width
        model = gpt(layers=layers, width=inner, vocab=vocab, positions=seq_len, heads=heads)
        params = count_params(model.ops(Workload()))
        for name, again in (("megatron-2021", True), ("megatron-2022", False), ("nemo-24.07", False)):
            expected = formulas.megatron_training_flop(
                num_sequences=1, seq_len=seq_len, layers=layers, width=inner, vocab=vocab, recompute=again
            )
            assert count(tool(name), model, seq_len).flop == expected
        palm = formulas.palm_training_flop(params, layers, heads, width, seq_len, seq_len)
        assert count(tool("palm"), model, seq_len).flop == count(tool("llm-foundry"), model, seq_len).flop == palm
        chinchilla = formulas.chinchilla_forward_flop(
            layers=layers, width=inner, heads=heads, key_width=width, ffn_width=4 * inner, vocab=vocab, seq_len=seq_len
        )
        assert count(tool("chinchilla"), model, seq_len).flop == 3 * chinchilla
        assert count(tool("gpt-3"), model, seq_len).flop == formulas.six_nd(params, seq_len)
        # llm.c: 6·N + 6·L·C·T. DeepSeek LLM: 72·L·d² + 12·L·d·T.
        assert count(tool("llm.c"), model, seq_len).flop == (6 * params + 6 * layers * inner * seq_len) * seq_len
        assert count(tool("deepseek-llm"), model, seq_len).flop == (72 * layers * inner**2 + 12 * layers * inner * seq_len) * seq_len

    def test_gpt_3s_training_is_table_d1(self) -> None:
        # Brown et al. 2020, table D.1: 3.14e23 FLOP for 300B tokens.
        assert f"{training_flop_per_token(tool('gpt-3'), registered('gpt-3'), 2048) * 300e9:.3g}" == "3.14e+23"

    def test_kaplans_n_leaves_out_embeddings_and_head(self) -> None:
        # Kaplan et al. 2020 (arXiv 2001.08361), equation 2.1: 2·d·L·(2·d_attn + d_ff) weights; and the 25 gains of the norms.
        params = 2 * 768 * 12 * (2 * 768 + 3072) + 25 * 768
        assert count(tool("kaplan"), without_biases(), 1024).flop == formulas.six_nd(params, 1024)

    def test_8nd_is_what_bigscience_printed(self) -> None:
        # experiments/tr3m-1B3.md: N = 1.3e9, 512 sequences of 2,048 in 29 s on 8 V100 are 47.0 TFLOP/s.
        per_param = count(tool("8nd"), gpt(), 1024).flop / count(tool("gpt-3"), gpt(), 1024).flop * 6
        assert per_param * 1.3e9 * 512 * 2048 / 29 / 8 == pytest.approx(47.0e12, rel=1e-3)

    @pytest.mark.parametrize(("seq_len", "window"), [(8192, 4096), (4096, 4096), (2048, 4096), (8192, 1)])
    def test_windows_are_counted_by_those_who_count_them(self, seq_len: int, window: int) -> None:
        # nanochat: 12·h·q·min(window, T) per layer; MaxText half of that; PaLM and Megatron know no window.
        config = dict(model_entry("mistral-7b").config) | {"sliding_window": window}
        model, square = model_from_config(config, "windowed"), 12 * 32 * 4096 * seq_len
        expected = {
            "nanochat": square * min(window, seq_len),
            "maxtext": square * min(window, seq_len) // 2,
            "palm": square * seq_len,
            "megatron": square * seq_len // 2,
        }
        assert {name: count(tool(name), model, seq_len).parts[ATTENTION] for name in expected} == expected

    @given(seq_len=st.integers(1, 600), window=st.integers(1, 700))
    @settings(deadline=None)
    def test_any_window_is_found_again_in_the_op_table(self, seq_len: int, window: int) -> None:
        config = dict(model_entry("mistral-7b").config) | {"sliding_window": window, "num_hidden_layers": 1}
        counted = count(tool("nanochat"), model_from_config(config, "windowed"), seq_len).parts[ATTENTION]
        assert counted == 12 * 4096 * seq_len * min(window, seq_len)

    def test_attention_as_wide_as_the_model_differs_where_heads_are_wider(self) -> None:
        # Gemma 7B: D = 3,072, heads 4,096 wide together. llm-foundry counts 12·L·D·T, PaLM 12·L·H·Q·T.
        model = model_from_config(GEMMA_7B, "gemma")
        parts = {name: count(tool(name), model, 2048).parts[ATTENTION] for name in ("llm-foundry", "palm")}
        assert parts == {"llm-foundry": 12 * 28 * 3072 * 2048**2, "palm": 12 * 28 * 4096 * 2048**2}


class TestOurOwnConventions:
    @pytest.mark.parametrize("name", ["gpt2", "phi-2", "llama-3-8b", "mistral-7b", "gpt-3-13b", "gemma-2-9b"])
    def test_they_are_the_ones_that_every_other_table_uses(self, name: str) -> None:
        model, seq_len = registered(name), 1000
        workload = Workload(phase="train", seq_len=seq_len, recompute="full")
        assert {own: count(tool(own), model, seq_len, "full").flop for own in ("full", "causal", "hardware")} == step_flop(
            model.ops(workload), workload
        )
        assert count(tool("6nd"), model, seq_len).flop == training_flop(model, seq_len, seq_len)["6nd"]

    def test_recomputation_counts_where_it_is_used_or_always(self) -> None:
        model = registered("llama-2-7b")
        for name, expected in (("hardware", False), ("alpa", False), ("megatron-2021", True), ("full", False)):
            assert (RECOMPUTED in count(tool(name), model, 512).parts) is expected
        assert RECOMPUTED in count(tool("alpa"), model, 512, "full").parts
        assert RECOMPUTED not in count(tool("megatron"), model, 512, "full").parts
        mfu, hfu = (count(tool(name), model, 512, "full").flop for name in ("llm-foundry", "llm-foundry-hfu"))
        assert 3 * hfu == 4 * mfu

    def test_parts_say_what_is_counted(self) -> None:
        moe = model_from_config(QWEN3_30B, "moe")
        assert ROUTER in count(tool("maxtext"), moe, 64).parts
        assert ROUTER not in count(tool("megatron"), moe, 64).parts
        assert PREDICTION in count(tool("megatron"), model_from_config(DEEPSEEK_V3, "v3"), 64).parts
        assert PREDICTION not in count(tool("deepseek"), model_from_config(DEEPSEEK_V3, "v3"), 64).parts
        assert {ONE_HOT, SOFTMAX} <= count(tool("chinchilla"), gpt(), 64).parts.keys()
        # torchtitan drops every embedding, and with it a tied head; a head of its own stays.
        assert HEAD not in count(tool("torchtitan"), gpt(), 64).parts
        assert HEAD in count(tool("torchtitan"), registered("llama-2-7b"), 64).parts

    def test_a_fine_tuned_model_is_counted_as_if_all_of_it_were_trained(self) -> None:
        model = registered("llama-2-7b")
        assert count(tool("torchtitan"), with_adapters(model, rank=8), 512) == count(tool("torchtitan"), model, 512)

    @pytest.mark.parametrize("name", ["mlp", "linreg-7d"])
    def test_a_model_that_is_no_decoder_is_refused(self, name: str) -> None:
        with pytest.raises(BadValueError, match=f"{name} is not a decoder-only language model; the tools' conventions are for those alone"):
            count(tool("palm"), registered(name), 1)


class TestPeaks:
    def test_a_tool_divides_by_its_own_peak_where_it_names_one(self) -> None:
        assert peak_of(tool("llm-foundry"), H100, "bf16").flop_per_s == 989.5e12
        assert peak_of(tool("llm-foundry"), H100, "fp8").flop_per_s == 1979e12
        assert peak_of(tool("torchtitan"), H100, "bf16").flop_per_s == 989e12
        assert peak_of(tool("megatron-2021"), A100, "fp16").flop_per_s == 312e12

    def test_nanogpt_takes_every_device_for_an_a100(self) -> None:
        assert peak_of(tool("nanogpt"), H100, "bf16").flop_per_s == peak_of(tool("nanogpt"), A100, "bf16").flop_per_s == 312e12

    def test_one_that_names_none_is_given_the_data_sheets_and_says_so(self) -> None:
        peak = peak_of(tool("chinchilla"), H100, "bf16")
        assert (peak.flop_per_s, peak.own) == (H100.peak("bf16"), False)

    def test_a_dtype_that_nobody_has_a_peak_for_is_refused(self) -> None:
        with pytest.raises(BadValueError, match="a100-sxm4-80gb has no published dense peak for fp8"):
            peak_of(tool("palm"), A100, "fp8")

    @pytest.mark.parametrize(("teraflop", "percent"), [(137, 44), (138, 44), (135, 43), (140, 45), (148, 47), (163, 52)])
    def test_megatrons_shares_of_peak_are_those_of_table_1(self, teraflop: int, percent: int) -> None:
        # Narayanan et al. 2021, table 1: achieved TFLOP/s per GPU and percentage of theoretical peak.
        assert round(100 * teraflop * 1e12 / peak_of(tool("megatron-2021"), A100, "fp16").flop_per_s) == percent

    def test_every_peak_is_of_a_known_tool_and_device(self) -> None:
        for row in data.read_rows(data.file("tool_peaks.csv"), PEAK_COLUMNS):
            assert row.text("tool") in tools()
            assert all(device == "*" or hardware(device) for device in row.texts("hardware_ids"))
            assert row.text("url").startswith("https://")

    def test_no_tools_peak_is_a_sparse_one(self) -> None:
        for row in data.read_rows(data.file("tool_peaks.csv"), PEAK_COLUMNS):
            for device in row.texts("hardware_ids"):
                for dtype in row.texts("dtypes") if device != "*" else ():
                    assert row.number("peak_flop_per_s") == pytest.approx(hardware(device).peak(dtype), rel=0.11)


class TestTheTable:
    def test_names_and_aliases_lead_to_one_tool_each(self) -> None:
        names = [*tools(), *(alias for one in tools().values() for alias in one.aliases)]
        assert [name for name, times in Counter(names).items() if times > 1] == []
        assert all(name == name.casefold() for name in names)
        assert (tool("Megatron-LM").id, tool("MEGATRON").id, tool("nemo").id) == ("megatron", "megatron", "nemo-24.07")

    def test_the_tools_that_people_ask_about_are_there(self) -> None:
        asked = "llm-foundry palm nanogpt torchtitan megatron-2021 megatron nemo-24.07 megatron-bridge maxtext flash-attention deepseek"
        assert {*asked.split(), "chinchilla", "gpt-3", "llm.c", "nanochat", "alpa", "nanotron"} <= tools().keys()

    def test_every_row_but_our_own_says_where_it_was_read(self) -> None:
        for one in list(tools().values())[4:]:
            assert one.source.url.startswith("https://")
            assert one.source.title
        assert len({one.name for one in tools().values()}) == len(tools())

    def test_an_unknown_tool_is_answered_with_its_near_misses(self) -> None:
        with pytest.raises(UnknownNameError, match=r"unknown convention 'torchtitam'; did you mean 'torchtitan'\?"):
            tool("torchtitam")

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"weights": "some"}, "weights is 'some'; expected one of: products, layer products"),
            ({"attention": ""}, "attention is ''; expected one of: none, full"),
            (
                {"recompute": "never", "recompute_scope": "layers"},
                "recompute_scope is 'layers'; expected layers or everything; empty where",
            ),
            (
                {"recompute": "always", "recompute_scope": "layers", "weights": "all parameters"},
                "weights is 'all parameters'; expected products",
            ),
            ({"extras": "softmaxx"}, "extras is 'softmaxx'; expected of: one-hot embedding"),
            ({"router": "perhaps"}, "router is 'perhaps'; expected one of: counted, left out"),
        ],
    )
    def test_a_bad_row_is_refused_with_its_place(self, change: dict[str, str], message: str) -> None:
        good = {
            **dict.fromkeys(TOOL_COLUMNS, ""),
            "id": "x",
            "name": "X",
            "weights": "products",
            "attention": "full",
            "attention_width": "heads",
            "router": "counted",
            "prediction": "left out",
            "recompute": "never",
            "years": "2025-",
            "source": "a source",
        }
        assert tool_from(data.Row(data.file("tool_conventions.csv"), 2, good)).id == "x"
        with pytest.raises(BadValueError, match=re.escape(f"tool_conventions.csv, line 2: {message}")):
            tool_from(data.Row(data.file("tool_conventions.csv"), 2, good | change))


def test_all_conventions_stand_side_by_side_with_what_each_includes() -> None:
    model = model_from_config(QWEN3_30B, "moe")
    table = all_conventions_table("moe", [count(one, model, 4096, "full") for one in tools().values()], conditions=[])
    rows = {row["convention"]: row for row in table.rows}
    assert rows.keys() == tools().keys()
    assert rows["full"]["flop_ratio"] == 1
    expected = {
        "weights": "matrix products",
        "attention": "half the square",
        "head": "counted",
        "router": "left out",
        "recompute": "left out",
    }
    assert expected.items() <= rows["megatron"].items()
    assert {"embeddings": "counted", "router": "counted", "recompute": "counted"}.items() <= rows["llm-foundry-hfu"].items()
    parts = [column.key for column in table.columns if column.key.endswith("_flop")]
    for row in table.rows:
        assert row["flop"] == sum(int(str(row[part])) for part in parts)
        assert row["loss"] == "left out"
    assert "router" in render([table], "text")
    dense = all_conventions_table("gpt", [count(one, gpt(), 64) for one in tools().values()], conditions=[])
    assert all(row["router"] is None for row in dense.rows)
    assert any("tied" in note for note in dense.notes)
    assert not any("tied" in note for note in table.notes)
