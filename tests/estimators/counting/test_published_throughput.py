"""Published throughput, and what papers and tools print of their own counts, recomputed from the op table."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from typing import Any

import pytest

from estimators.architectures.from_config import model_from_config
from estimators.counting.estimate import count_params
from estimators.counting.flop_by_tool import count, training_flop_per_token
from estimators.counting.translate import observe
from estimators.errors import BadValueError
from estimators.facts import data
from estimators.facts.published_throughput import ROW_COLUMNS, PublishedThroughput, Residual, read_throughput, residuals, throughput_from
from estimators.facts.registry import hardware
from estimators.facts.tool_conventions import tool
from estimators.spec import Workload
from reports.render import render
from tests.support.checkout import ROOT
from tests.support.tool_models import (
    DEEPSEEK_V2,
    DEEPSEEK_V2_LITE,
    DEEPSEEK_V3,
    GEMMA_2B,
    GEMMA_7B,
    QWEN3_30B,
    QWEN3_235B,
    palm_540b,
    registered,
    without_biases,
)
from tools.residuals_page import tables

SOUND = [row for row in read_throughput() if not row.fault]
FIGURES = [one for row in SOUND for one in residuals(row)]
A100 = hardware("a100-sxm4-80gb")


def label(one: Residual) -> str:
    row = one.row
    return f"{row.tool}-{row.name}-{row.seq_len}-{row.hardware_id}-{row.num_devices}-{one.quantity}".replace(" ", "_")


class TestPublishedFigures:
    @pytest.mark.parametrize("one", [one for one in FIGURES if one.row.tool == "llm-foundry"], ids=label)
    def test_llm_foundry_is_met_within_a_hundredth_of_a_point(self, one: Residual) -> None:
        # scripts/train/benchmarking/README.md prints two decimals of a percent, and the throughput cut to a whole token.
        assert one.points is not None
        assert abs(one.points) < 1e-4

    @pytest.mark.parametrize("one", [one for one in FIGURES if one.row.tool != "llm-foundry"], ids=label)
    def test_every_other_published_figure_is_met_within_two_percent(self, one: Residual) -> None:
        assert abs(one.relative) < 0.02

    def test_llm_foundrys_models_have_its_parameters_to_the_last_digit(self) -> None:
        # n_params of its logs; those MPT had learned positions and biases, unlike the released ones.
        rows = [row for row in SOUND if row.params]
        assert len(rows) == 156
        assert [row.name for row in rows if count_params(row.model().ops(Workload())) != row.params] == []

    def test_nearly_all_are_met_as_closely_as_they_are_printed(self) -> None:
        close = [one for one in FIGURES if abs(one.relative) < 2e-3]
        assert len(close) > 0.95 * len(FIGURES)

    def test_there_are_many_of_each_tool(self) -> None:
        rows = Counter(row.tool for row in SOUND)
        assert rows["llm-foundry"] == 156
        assert rows["megatron-2021"] > 70
        assert rows["megatron-bridge"] > 45
        assert rows["nemo-24.07"] > 10

    def test_a_row_of_another_convention_would_be_found(self) -> None:
        row = next(row for row in SOUND if row.tool == "megatron-bridge")
        wrong = dataclasses.replace(row, tool="megatron-2022")
        assert abs(residuals(row)[0].relative) < 0.01 < abs(residuals(wrong)[0].relative)

    def test_a_peak_with_sparsity_would_be_found(self) -> None:
        row = next(row for row in SOUND if row.tool == "llm-foundry" and row.hardware_id == "h100-sxm5-80gb" and row.dtype == "bf16")
        assert row.reported_mfu is not None
        assert (
            abs(row.utilization("llm-foundry") - row.reported_mfu) < 1e-4 < abs(row.flop_per_s("llm-foundry") / 1979e12 - row.reported_mfu)
        )

    def test_rows_left_out_say_why_by_name(self) -> None:
        left_out = [row for row in read_throughput() if row.fault]
        assert {row.name for row in left_out} >= {"GPT 181B", "GPT 195B", "LLAMA3_70B"}
        assert all(len(row.fault) > 40 for row in left_out)
        # The three that contradict themselves do so by more than any sound row; the others were completed by fitting.
        contradicting = [row for row in left_out if "fitting" not in row.fault]
        assert len(contradicting) == 4
        assert all(abs(residuals(row)[0].relative) > 0.02 for row in contradicting)


def test_nanogpts_notebook_is_met_to_the_flop() -> None:
    # transformer_sizing.ipynb: 124,337,664 parameters; 874,944,921,600 FLOP per sequence, 875,062,886,400 by PaLM's formula.
    model = without_biases()
    assert count_params(model.ops(Workload(phase="train", seq_len=1024))) == 124_337_664
    assert count(tool("nanogpt-notebook"), model, 1024).flop == 874_944_921_600
    assert count(tool("nanogpt"), model, 1024).flop == 875_062_886_400


def test_palms_utilisation_is_the_papers_with_and_without_attention() -> None:
    # Chowdhery et al. 2022, table 3 and section 4.1: 238.3K tokens/s on 6,144 TPU v4 are 46.2 %, 45.7 % without attention.
    model, device = palm_540b(), hardware("tpu-v4")
    assert count_params(model.ops(Workload())) == pytest.approx(540.35e9, abs=1e7)
    for name, printed in (("palm", 0.462), ("gpt-3", 0.457)):
        seen = observe(tool(name), model, seq_len=2048, tokens_per_s=238_300 / 6144, hardware=device)
        assert seen.utilization == pytest.approx(printed, abs=5e-4)


# AI-Hypercomputer/maxtext: TFLOP of a step as its tests print them. Pull request 644 (12 sequences of 2,048), 1304 (4 of 256),
# 1988 (4 of 8,192 and of 129,024, before and after halving the square), 2979 (all digits).
MAXTEXT = [
    ("llama-2-7b", 12, 2048, "maxtext-2024", "1053.4"),
    ("llama-2-13b", 12, 2048, "maxtext-2024", "2018.7"),
    ("mistral-7b", 12, 2048, "maxtext-2024", "1127.6"),
    ("llama-2-70b", 12, 2048, "maxtext-2024", "10528.0"),
    (GEMMA_7B, 12, 2048, "maxtext-2024", "1328.2"),
    (GEMMA_2B, 12, 2048, "maxtext-2024", "391.8"),
    ("llama-2-7b", 4, 256, "maxtext-2024", "41.00620025856"),
    ("llama-2-7b", 4, 8192, "maxtext-2024", "1721.22"),
    ("llama-2-7b", 4, 8192, "maxtext", "1510.11"),
    ("llama-2-7b", 4, 129_024, "maxtext-2024", "125194.40"),
    ("llama-2-7b", 4, 129_024, "maxtext", "72826.86"),
    (DEEPSEEK_V2_LITE, 4, 8192, "maxtext-2024", "704.60"),
    (DEEPSEEK_V2_LITE, 4, 8192, "maxtext", "593.272422531072"),
    (DEEPSEEK_V2_LITE, 4, 129_024, "maxtext", "35206.36"),
]


@pytest.mark.parametrize(("model", "batch", "seq_len", "name", "printed"), MAXTEXT)
def test_maxtexts_counts_are_met_to_the_last_digit(model: str | dict[str, Any], batch: int, seq_len: int, name: str, printed: str) -> None:
    built = registered(model) if isinstance(model, str) else model_from_config(model, "model")
    tera_flop = batch * count(tool(name), built, seq_len).flop / 1e12
    assert f"{tera_flop:.{len(printed.split('.')[1])}f}" == printed


def test_deepseeks_cost_per_token_is_the_papers() -> None:
    # Zhao et al. 2025, table 2: 250 and 155 GFLOP per token of training at sequences of 4,096.
    assert f"{training_flop_per_token(tool('deepseek'), model_from_config(DEEPSEEK_V3, 'v3'), 4096) / 1e9:.0f}" == "250"
    assert f"{training_flop_per_token(tool('deepseek'), model_from_config(DEEPSEEK_V2, 'v2'), 4096) / 1e9:.0f}" == "155"


# NVIDIA-NeMo/Megatron-Bridge docs/performance-summary-archive.md: TFLOP/s over tokens/s of the releases 25.09 to 26.08.
@pytest.mark.parametrize(
    ("config", "tokens_per_s", "flop_per_s"),
    [
        (DEEPSEEK_V3, 6288, 1635e12),  # with a prediction layer, GB300, 26.08
        (DEEPSEEK_V3, 4612, 1199e12),  # GB300, 26.02
        (DEEPSEEK_V3 | {"num_nextn_predict_layers": 0}, 3848, 961e12),  # without, GB300, 25.11
        (QWEN3_235B, 8816, 1306e12),  # GB300, 26.08
        (QWEN3_235B, 1633, 242e12),  # H100, 26.02
        (QWEN3_30B, 31_470, 724e12),  # GB300, 26.04
        (QWEN3_30B, 26_859, 618e12),  # B200, 26.04
    ],
)
def test_megatron_bridges_mixtures_of_experts_are_met_to_rounding(config: dict[str, Any], tokens_per_s: int, flop_per_s: float) -> None:
    ours = training_flop_per_token(tool("megatron-bridge"), model_from_config(config, "moe"), 4096) * tokens_per_s
    assert ours == pytest.approx(flop_per_s, rel=2e-3)


class TestRows:
    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"layers": ""}, "layers is ''; expected a positive whole number"),
            ({"reported_flop_per_s": ""}, "reported_mfu is ''; expected a figure to compare with"),
            ({"dtype": "fp2"}, "dtype is 'fp2'; expected one of: bf16, fp16, fp8, fp4"),
            ({"recompute": "some"}, "recompute is 'some'; expected one of: none, full"),
            ({"wall_s": "0"}, "wall_s is '0'; expected a positive number"),
        ],
    )
    def test_a_bad_published_row_is_refused_with_its_place(self, change: dict[str, str], message: str) -> None:
        good = {
            **dict.fromkeys(ROW_COLUMNS, ""),
            "name": "GPT",
            "tool": "palm",
            "layers": "2",
            "width": "8",
            "vocab": "16",
            "seq_len": "4",
            "hardware_id": A100.id,
            "dtype": "bf16",
            "recompute": "none",
            "num_devices": "1",
            "tokens": "8",
            "wall_s": "1",
            "reported_flop_per_s": "1e12",
            "source": "a source",
            "url": "https://example.org",
        }
        assert isinstance(throughput_from(data.Row(data.file("published_throughput.csv"), 2, good)), PublishedThroughput)
        with pytest.raises(BadValueError, match=re.escape(f"published_throughput.csv, line 2: {message}")):
            throughput_from(data.Row(data.file("published_throughput.csv"), 2, good | change))

    def test_every_published_row_names_a_device_and_a_source(self) -> None:
        for row in read_throughput():
            assert hardware(row.hardware_id).id == row.hardware_id
            assert row.source.url.startswith("https://")


def block(command: str) -> str:
    """What stands in docs/translate.md as the output of a command."""
    page = (ROOT / "docs" / "translate.md").read_text(encoding="utf-8")
    return page.split(f"<!-- output of: {command} -->\n")[1].split("<!-- end of output -->")[0]


def test_the_residuals_on_the_page_are_those_of_today() -> None:
    assert block("python -m tools.residuals_page") == f"\n{render(tables(), 'md')}\n\n"


def test_the_page_would_be_stale_with_one_row_less(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tools.residuals_page.read_throughput", lambda: read_throughput()[1:])
    assert block("python -m tools.residuals_page") != f"\n{render(tables(), 'md')}\n\n"
