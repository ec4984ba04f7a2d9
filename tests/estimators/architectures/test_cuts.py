"""How parallelism divides the rows of an op table: as transformers' own plans do, and never by omission."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from functools import partial
from typing import Any

import pytest
import transformers

from estimators.architectures.adapter_names import TARGETS
from estimators.architectures.decoder import Decoder
from estimators.architectures.from_config import model_from_config
from estimators.architectures.rows import elementwise, linear, norm
from estimators.facts.registry import model_entry, model_ids
from estimators.frozen import replace
from estimators.spec import Model, Op, Workload

PLANS = {
    "llama-3-8b": "LlamaConfig",
    "qwen2.5-72b": "Qwen2Config",
    "qwen3-8b": "Qwen3Config",
    "mistral-7b": "MistralConfig",
    "mixtral-8x7b": "MixtralConfig",
    "deepseek-v3": "DeepseekV3Config",
    "gemma-2-9b": "Gemma2Config",
    "olmo-2-7b": "Olmo2Config",
    "phi-2": "PhiConfig",
    "phi-3-mini": "Phi3Config",
    "glm-4-9b-0414": "Glm4Config",
    "command-r-plus": "CohereConfig",
    "pythia-6.9b": "GPTNeoXConfig",
}
"""A shipped model, and the class of transformers whose plan says how matrices of its family are divided."""

COPIED = {"linear", "index_query", "index_key", "index_weights"} | {"layer_gate", "layer_up", "residual_down", "residual_up"}
COPIED |= {"own_down", "own_up"}
"""Roles of matrices that every rank holds whole."""
OUTPUTS_FIRST = {"columns": "rows", "expert_columns": "expert_rows"}


def shipped(name: str) -> Model:
    entry = model_entry(name)
    return model_from_config(entry.config, entry.id, entry.source)


@pytest.mark.parametrize("name", PLANS)
def test_matrices_are_divided_as_transformers_divides_them(name: str) -> None:
    plan: dict[str, str] = getattr(transformers, PLANS[name]).base_model_tp_plan
    planned = {}
    for module, how in plan.items():
        last = module.rpartition(".")[2]
        if last in TARGETS and ("colwise" in how or "rowwise" in how):
            planned["experts" in module.split("."), TARGETS[last]] = "columns" if "colwise" in how else "rows"
    ours = {(op.component == "experts", str(op.role)): op.cut.removeprefix("expert_") for op in shipped(name).ops(Workload()) if op.mnk}
    assert planned
    assert {key: ours.get(key) for key in planned} == planned


def undivided_parts(ops: Iterable[Op]) -> list[str]:
    """Parts of layers that are not divided outputs first and inputs last, so that one sum over the ranks closes each.

    Source: Shoeybi et al. 2019 (arXiv 1909.08053), section 3: no exchange between the two.
    """
    cuts: dict[str, list[str]] = defaultdict(list)
    for op in ops:
        # what leads to experts behind a latent and back is on every rank, as their router is; what chooses or compresses keys; and what
        # is as narrow as a learned residual or a vector of each layer's own
        copied = op.role in COPIED or op.part.endswith((".compressor", ".indexer"))
        if op.kind == "matmul" and op.component in ("attention", "mlp", "experts") and not copied:
            cuts[op.part].append(op.cut)
    divided = {part: [cut for cut in found if cut != "whole"] for part, found in cuts.items()}
    return [part for part, found in divided.items() if len(found) < 2 or {OUTPUTS_FIRST.get(cut) for cut in found[:-1]} != {found[-1]}]


@pytest.mark.parametrize("name", [name for name in model_ids() if isinstance(shipped(name), Decoder)])
def test_every_part_of_a_shipped_decoder_is_divided(name: str) -> None:
    assert undivided_parts(shipped(name).ops(Workload())) == []


@pytest.mark.parametrize(("role", "part"), [("query_key_value", "attention"), ("output", "attention"), ("up", "mlp"), ("down", "mlp")])
def test_a_part_with_a_matrix_that_is_whole_would_be_found(role: str, part: str) -> None:
    ops = [replace(op, cut="whole") if op.role == role else op for op in shipped("gpt2").ops(Workload())]
    assert undivided_parts(ops) == [f"layer.{part}"]


def test_a_row_that_does_not_say_how_it_is_divided_is_refused() -> None:
    row: Any = Op
    with pytest.raises(TypeError, match="cut"):
        row(name="layer.mlp.up", component="mlp", kind="matmul", part="layer.mlp", role="up")
    for row in (partial(linear, d_in=8, d_out=8, component="mlp"), partial(norm, width=8, bias=False), partial(elementwise, width=8)):
        with pytest.raises(TypeError, match="cut"):
            row(Workload(), "layer.mlp", "up")
