"""`show` and `list`: the op table against independent counts, and the names that other verbs take."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest

from bench.cli.list import FORMATS, KINDS
from bench.cli.main import main
from bench.records.request import ALL_TASKS
from bench.runs.suites import SUITES
from estimators.architectures.from_config import model_from_config
from estimators.counting.conventions import CONVENTIONS, op_flop, step_flop
from estimators.facts.registry import hardware_ids, model_entry, model_ids
from estimators.spec import PHASES, Workload
from estimators.training.at_utilization import COUNTED_AS
from reports.render import RENDERERS
from tests.support.published_digits import half_a_unit_or_a_cut_digit


@pytest.fixture
def shown(capsys: pytest.CaptureFixture[str]) -> Any:
    def run(*words: str) -> Any:
        assert main([*words, "--format", "json"]) == 0
        return json.loads(capsys.readouterr().out)

    return run


# torch.utils.flop_counter on meta, transformers: sequences of 512 tokens, and one token after 512 cached.
COUNTED = [
    ("gpt2", 124_439_808, 136_160_477_184, 265_975_296),
    ("phi-2", 2_779_683_840, 2_797_097_451_520, 5_463_408_640),
    ("llama-2-7b", 6_738_415_616, 6_903_086_186_496, 13_483_114_496),
    ("llama-3-8b", 8_030_261_248, 7_822_209_187_840, 15_278_276_608),
    ("gpt-3", 174_604_259_328, 179_990_213_689_344, 351_548_104_704),
]


@pytest.mark.parametrize(("model", "params", "forward", "decode"), COUNTED)
def test_show_says_what_torch_counts(model: str, params: int, forward: int, decode: int, shown: Any) -> None:
    body = shown("show", "--model", model, "--seq-len", "512", "--context-len", "512")
    assert body["params"] == params
    assert body["forward_flop"] == forward
    assert body["training_flop"] == 3 * forward
    assert body["decode_flop"] == decode


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("convention", CONVENTIONS)
def test_the_rows_add_up_to_the_total_of_the_convention(phase: str, convention: str, shown: Any) -> None:
    body = shown("show", "--model", "mistral-7b", "--phase", phase, "--convention", convention, "--batch", "2", "--seq-len", "6000")
    *ops, total = body["rows"]
    assert total["op"] == "total"
    for column in ("params", "flop", "forward_flop", "weight_bytes", "cache_bytes", "activation_bytes"):
        assert total[column] == sum(op[column] for op in ops)
    (by_convention,) = [row for row in body["conventions"]["rows"] if row["step"] == phase]
    assert total["flop"] == by_convention[f"{convention}_flop"]
    assert sum(op["flop_fraction"] for op in ops) == pytest.approx(1)


@pytest.mark.parametrize("model", ["gpt2", "mlp", "llama-3-8b"])
@pytest.mark.parametrize("recompute", ["none", "full"])
@pytest.mark.parametrize("phase", ["train", "forward"])
def test_flop_of_single_operations_sum_to_the_step(model: str, recompute: Any, phase: Any) -> None:
    entry = model_entry(model)
    built = model_from_config(entry.config, entry.id, entry.source)
    workload = Workload(phase=phase, batch=3, seq_len=1 if model == "mlp" else 7, recompute=recompute)
    ops = built.ops(workload)
    assert {name: sum(op_flop(op, workload, name) for op in ops) for name in CONVENTIONS} == step_flop(ops, workload)


def test_parameters_by_component_add_up_with_and_without_embeddings(shown: Any) -> None:
    # GPT-2: (50,257 + 1,024) rows of 768 are looked up.
    body = shown("show", "--model", "gpt2")
    rows = {row["component"]: row["params"] for row in body["parameters"]["rows"]}
    assert rows["embedding"] == 51_281 * 768 == body["embedding_params"]
    assert rows["without embeddings"] == rows["total"] - rows["embedding"] == 85_056_000
    assert sum(body["params_by_component"].values()) == body["params"] == 124_439_808


def test_a_configuration_file_is_shown_like_the_model_it_describes(tmp_path: Any, shown: Any) -> None:
    (tmp_path / "config.json").write_text(json.dumps(dict(model_entry("phi-2").config)))
    assert shown("show", "--config", str(tmp_path))["rows"] == shown("show", "--model", "phi-2")["rows"]


def test_the_cache_column_is_there_for_machines_and_hidden_where_it_is_empty(capsys: pytest.CaptureFixture[str], shown: Any) -> None:
    assert {row["cache_bytes"] for row in shown("show", "--model", "gpt2")["rows"]} == {0}
    main(["show", "--model", "gpt2", "-v"])
    assert "cache " not in capsys.readouterr().out.split("Figures are")[0]
    main(["show", "--model", "gpt2", "--phase", "decode", "-v"])
    assert "cache " in capsys.readouterr().out.split("Figures are")[0]


class TestList:
    def names(self, what: str, key: str, capsys: pytest.CaptureFixture[str]) -> list[str]:
        assert main(["list", what, "--format", "csv"]) == 0
        return [row[key] for row in csv.DictReader(io.StringIO(capsys.readouterr().out))]

    def test_every_name_that_can_be_given_is_listed(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert sorted(self.names("models", "model", capsys)) == sorted(model_ids())
        assert self.names("hardware", "hardware", capsys) == list(hardware_ids())
        assert self.names("tasks", "task", capsys) == list(ALL_TASKS)
        assert self.names("suites", "suite", capsys) == list(SUITES)
        assert self.names("conventions", "convention", capsys) == list(COUNTED_AS)
        assert self.names("formats", "format", capsys) == list(RENDERERS) == list(FORMATS)

    def test_parameters_are_close_to_what_is_published(self, capsys: pytest.CaptureFixture[str]) -> None:
        for name, params in zip(self.names("models", "model", capsys), self.names("models", "params", capsys), strict=True):
            entry = model_entry(name)
            assert abs(int(params) - entry.published_params) <= half_a_unit_or_a_cut_digit(entry.published_params_text)

    def test_match_keeps_names_that_contain_it(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["list", "hardware", "--match", "A100-SXM", "--format", "csv"]) == 0
        rows = capsys.readouterr().out.splitlines()
        assert len(rows) == 3
        assert all(row.startswith("a100-sxm") for row in rows[1:])

    @pytest.mark.parametrize(
        ("what", "text", "found"),
        [
            ("models", "llama3.2", ["llama-3.2-1b", "llama-3.2-3b", "llama-3.2-11b-vision", "llama-3.2-90b-vision"]),
            ("models", "Llama 3.2", ["llama-3.2-1b", "llama-3.2-3b", "llama-3.2-11b-vision", "llama-3.2-90b-vision"]),
            ("models", "deepseek-r1:70b", ["llama-3.1-70b"]),
            ("hardware", "RTX4090", ["rtx-4090-24gb"]),
        ],
    )
    def test_match_passes_over_case_blanks_and_punctuation_and_knows_other_names(
        self, what: str, text: str, found: list[str], shown: Any
    ) -> None:
        answer = shown("list", what, "--match", text)
        assert [next(iter(row.values())) for row in answer["rows"]] == found
        assert answer["title"].startswith(f"{len(found)} of ")

    def test_a_peak_that_is_not_published_is_empty_and_not_0(self, shown: Any) -> None:
        (device,) = shown("list", "hardware", "--match", "p100-sxm2-16gb")["rows"]
        assert device["bf16_flop_per_s"] is None

    @pytest.mark.parametrize("what", KINDS)
    @pytest.mark.parametrize("style", RENDERERS)
    def test_every_list_in_every_format(self, what: str, style: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["list", what, "--format", style]) == 0
        assert len(capsys.readouterr().out) > 50


@pytest.mark.parametrize(("model", "published"), [("deepseek-v3", "37"), ("qwen3-30b-a3b", "3.3"), ("mixtral-8x7b", "12.9")])
def test_the_first_line_says_how_many_parameters_a_token_uses(model: str, published: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Billions as the cards of DeepSeek-V3 and Qwen3-30B-A3B and the Mixtral paper print them, with the embedding, cut or rounded."""
    assert main(["show", model, "-q"]) == 0
    line = capsys.readouterr().out.splitlines()[0]
    active = int(line.removesuffix(" of them active").split()[-1].replace(",", ""))
    digits = len(published.partition(".")[2])
    assert abs(active / 1e9 - float(published)) < 10**-digits


def test_it_is_not_said_where_a_token_uses_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "phi-2", "-q"]) == 0
    assert "active" not in capsys.readouterr().out
