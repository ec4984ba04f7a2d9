"""The independent routes of counting: they agree to the integer, and a wrong op table is found."""

from __future__ import annotations

import dataclasses
import types
from typing import Any

import pytest
import torch
from transformers import Trainer

from bench.backend.counting import meta
from bench.backend.counting.crosscheck_counts import FVCORE, OP_TABLE, TORCH, TRAINER, dense_counts, language_counts
from bench.backend.on_meta import mended
from bench.records.proof import Proof
from bench.records.record import Count
from bench.records.request import LANGUAGE, Request
from bench.runs.decide import decide
from bench.workloads.article.networks import build
from bench.workloads.language.run import LanguageRun
from estimators.architectures.decoder import Decoder
from estimators.architectures.from_config import model_from_config
from estimators.facts.registry import model_entry
from estimators.spec import Workload
from reports.checks.crosscheck import failed
from reports.checks.work import counts
from tests.support.tiny_models import CONFIGS, config, decided, record


def run_and_model(family: str, task: str) -> tuple[LanguageRun, Decoder]:
    run = decided(family, task, batch=2, seq_len=20, new_tokens=7 if task in ("generate", "decode") else None)
    model = model_from_config(run.config, run.model)
    assert isinstance(model, Decoder)
    return run, model


def by_route(rows: list[Count], quantity: str) -> dict[str, int | float | None]:
    return {row.route: row.value for row in rows if row.quantity == quantity}


@pytest.mark.parametrize("task", LANGUAGE)
@pytest.mark.parametrize("family", CONFIGS)
def test_op_table_torch_and_fvcore_agree_in_every_task_of_every_family(family: str, task: str) -> None:
    run, model = run_and_model(family, task)
    rows = language_counts(run, model)
    checks = list(counts(dataclasses.replace(record("train"), counts=tuple(rows), proof=Proof())))
    assert [check.ok for check in checks] == [True] * len(checks)
    steps = {"train": 1, "prefill": 1, "decode": 3, "generate": 3}[task]  # of decode the first and the last step beside the prefill
    assert sum(row.route == FVCORE for row in rows) == steps
    assert sum(row.route == TORCH for row in rows) == steps + 1 + (task == "train")  # parameters, and backward where there is one


def test_a_forward_pass_of_gpt2_is_the_closed_form() -> None:
    """Per layer 24·B·T·D² for the four linear layers of width D, 3D and 4D, 4·B·T²·D for scores and context; the head 2·B·T·D·V.

    Source: Narayanan et al. 2021 (arXiv 2104.04473), appendix.
    """
    run, model = run_and_model("gpt2", "train")
    b, t, d, layers, v = 2, 20, 32, 4, 128
    forward = layers * (24 * b * t * d * d + 4 * b * t * t * d) + 2 * b * t * d * v
    rows = language_counts(run, model)
    assert by_route(rows, "forward_flop") == {OP_TABLE: forward, TORCH: forward, FVCORE: forward}
    assert by_route(rows, "backward_flop") == {OP_TABLE: 2 * forward, TORCH: 2 * forward}


def decoder(changed: dict[str, Any]) -> Decoder:
    model = model_from_config(changed, "changed")
    assert isinstance(model, Decoder)
    return model


@pytest.mark.parametrize(
    ("task", "wrong"),
    [
        ("train", {"intermediate_size": 65}),
        ("prefill", {"vocab_size": 127}),
        ("decode", {"num_hidden_layers": 3}),
        ("generate", {"hidden_size": 36}),
    ],
)
def test_an_op_table_that_is_wrong_in_one_size_is_found(task: str, wrong: dict[str, int]) -> None:
    run, _ = run_and_model("phi", task)
    rows = language_counts(run, decoder(run.config | wrong))
    found = {check.metric for check in failed(tuple(counts(dataclasses.replace(record("train"), counts=tuple(rows)))))}
    assert "params, torch meta" in found
    assert any("fvcore x2" in metric for metric in found)


def test_an_attention_that_is_wrong_is_found_though_it_has_no_parameters() -> None:
    run, _ = run_and_model("mistral", "train")
    rows = language_counts(run, decoder(run.config | {"sliding_window": None}))
    # a prefill of 20 tokens without a cache multiplies the whole square, window or not: only decode shows the window
    assert not failed(tuple(counts(dataclasses.replace(record("train"), counts=tuple(rows), proof=Proof()))))
    run, _ = run_and_model("mistral", "decode")
    rows = language_counts(run, decoder(run.config | {"sliding_window": None}))
    found = {check.metric for check in failed(tuple(counts(dataclasses.replace(record("train"), counts=tuple(rows), proof=Proof()))))}
    assert found == {f"decode_flop, context {context}, {route}" for context in (20, 25) for route in (TORCH, FVCORE)}


def test_the_trainer_rule_is_what_transformers_own_trainer_says() -> None:
    run, model = run_and_model("llama", "train")
    module = meta.meta_language_model(run.config)
    ids = torch.zeros(2, 20, dtype=torch.long, device="meta")
    expected = Trainer.floating_point_ops(types.SimpleNamespace(model=module), {"input_ids": ids})  # type: ignore[arg-type]
    assert by_route(language_counts(run, model), "training_flop")[TRAINER] == expected


def test_a_model_that_fvcore_cannot_trace_is_counted_by_the_other_routes(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("Only tuples, lists and Variables are supported as JIT inputs/outputs")

    monkeypatch.setattr(meta, "fvcore_count", refuse)
    run, model = run_and_model("phi", "prefill")
    rows = language_counts(run, model)
    (by_fvcore,) = (row for row in rows if row.route == FVCORE)
    assert (by_fvcore.value, by_fvcore.tag) == (None, "unavailable")
    assert by_fvcore.reason == "fvcore cannot trace it: RuntimeError"
    verdicts = {c.metric: c.ok for c in counts(dataclasses.replace(record("train"), counts=tuple(rows), proof=Proof()))}
    assert verdicts == {"params, torch meta": True, "prefill_flop, torch meta": True, "prefill_flop, fvcore x2": None}


def test_fvcore_names_the_operators_that_it_does_not_see() -> None:
    counted = meta.fvcore_model_count(meta.meta_language_model(config("gpt2")), Workload(phase="forward", batch=1, seq_len=4))
    assert "softmax" in counted.unseen
    assert not {"addmm", "matmul", "linear", "bmm"} & set(counted.unseen)


def test_counting_175_billion_parameters_allocates_none_of_them() -> None:
    module = meta.meta_language_model(model_entry("gpt-3-175b").config)
    assert meta.params_of(module) == 174_604_259_328  # Brown et al. 2020 with vocabulary 50,257 and 2,048 positions
    assert all(tensor.is_meta for tensor in (*module.parameters(), *module.buffers()))


def test_a_dense_network_is_counted_by_every_route() -> None:
    """7-100-100-1: parameters 7·100+100 + 100·100+100 + 100+1; forward 2·B·(700 + 10,000 + 100); no input gradient for the first layer."""
    entry = model_entry("mlp")
    run = decide(Request(model="mlp", config=dict(entry.config), task="train", batch=64, device="cpu"))
    rows = dense_counts(run, model_from_config(entry.config, entry.id), build)
    forward = 2 * 64 * 10_800
    assert by_route(rows, "params") == {OP_TABLE: 11_001, TORCH: 11_001}
    assert by_route(rows, "forward_flop") == {OP_TABLE: forward, TORCH: forward, FVCORE: forward}
    assert by_route(rows, "backward_flop") == dict.fromkeys((OP_TABLE, TORCH), 2 * forward - 2 * 64 * 700)


class TinyRotaryEmbedding(torch.nn.Module):
    """Forms its angles as transformers 5.17 does: frequencies times positions, a product whose inner dimension is 1."""

    def forward(self, frequencies: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        return frequencies[None, :, None] @ positions[:, None, :]


def test_angles_of_positions_are_no_matrix_product_and_stay_the_same_numbers() -> None:
    frequencies, positions = torch.rand(4), torch.arange(12.0).view(2, 6)
    plain, changed = TinyRotaryEmbedding(), mended(torch.nn.Sequential(TinyRotaryEmbedding()))[0]  # type: ignore[index]
    with meta.flop_counter() as before:
        expected = plain(frequencies, positions)
    with meta.flop_counter() as after:
        assert torch.equal(changed(frequencies, positions), expected)
        torch.rand(3, 5) @ torch.rand(5, 2)  # what is no outer product, and what is outside, counts as ever
        torch.rand(2, 3, 1) @ torch.rand(2, 1, 4)
    assert before.get_total_flops() == 2 * 2 * 4 * 6
    assert after.get_total_flops() == 2 * 3 * 5 * 2 + 2 * 2 * 3 * 4
