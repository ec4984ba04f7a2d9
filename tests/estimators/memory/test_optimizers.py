"""Bytes that optimizers keep are counted by stepping small models where the package is installed, and stated by the table elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from estimators.errors import UnknownNameError
from estimators.memory.optimizers import OPTIMIZERS, TrainedTensor, optimizer

STEP_COUNT_BYTES = 4
ROWS, COLUMNS = 512, 1024


def stepped(make: Callable[[Any], torch.optim.Optimizer], dtype: torch.dtype = torch.float32) -> int:
    """Bytes of the state of one matrix, one small vector and the first step, without the numbers of steps."""
    model = nn.Linear(COLUMNS, ROWS, bias=True).to(dtype)
    chosen = make(model.parameters())
    model(torch.randn(4, COLUMNS, dtype=dtype)).sum().backward()
    chosen.step()
    tensors = {
        each.untyped_storage().data_ptr(): each.untyped_storage().nbytes()
        for state in chosen.state.values()
        for name, each in state.items()
        if torch.is_tensor(each) and not name.startswith("qmap") and each.dim() > 0
    }
    return sum(tensors.values())


def said(name: str, size: int = 4) -> int:
    kept = optimizer(name)
    tensors = [TrainedTensor(rows=ROWS, columns=COLUMNS, size=size, is_linear=True), TrainedTensor(rows=ROWS, size=size)]
    return sum(kept.state_bytes(tensor) for tensor in tensors)


TORCH: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "adamw_torch": torch.optim.AdamW,
    "adamw_torch_fused": lambda parameters: torch.optim.AdamW(parameters, fused=True),
    "sgd": lambda parameters: torch.optim.SGD(parameters, lr=0.1),
    "adagrad": torch.optim.Adagrad,
    "rmsprop": torch.optim.RMSprop,
}


@pytest.mark.parametrize(("dtype", "size"), [(torch.float32, 4), (torch.bfloat16, 2)])
@pytest.mark.parametrize("name", TORCH)
def test_torchs_optimizers_keep_what_the_table_says(name: str, dtype: torch.dtype, size: int) -> None:
    assert stepped(TORCH[name], dtype) == said(name, size)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_transformers_adafactor_keeps_rows_and_columns_in_fp32(dtype: torch.dtype) -> None:
    from transformers.optimization import Adafactor

    made = stepped(lambda parameters: Adafactor(parameters, lr=1e-3, scale_parameter=False, relative_step=False), dtype)
    assert made == said("adafactor", torch.finfo(dtype).bits // 8) == 4 * (ROWS + COLUMNS) + 4 * ROWS


BNB = {
    "adamw_8bit": "AdamW8bit",
    "paged_adamw_32bit": "AdamW32bit",
    "lion_8bit": "Lion8bit",
    "lion_32bit": "Lion32bit",
    "rmsprop_bnb_8bit": "RMSprop8bit",
    "ademamix_8bit": "AdEMAMix8bit",
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", BNB)
def test_bitsandbytes_keeps_what_the_table_says(name: str, dtype: torch.dtype) -> None:
    """8 bits with an fp32 scale per 256; the vector of 512 in fp32, as every tensor below 4,096 elements."""
    package = pytest.importorskip("bitsandbytes")
    made = getattr(package.optim, BNB[name])
    assert stepped(lambda parameters: made(parameters, lr=1e-3), dtype) == said(name, torch.finfo(dtype).bits // 8)


@pytest.mark.parametrize(
    ("name", "bytes_per_element"),
    [
        ("adamw_torch_8bit", 2 + 8 / 256),
        ("adamw_torch_4bit", 1 + 8 / 128),
        ("adamw_bnb_8bit", 2 + 8 / 256),
        ("paged_adamw_8bit", 2 + 8 / 256),
        ("ademamix_8bit", 3 + 12 / 256),
        ("ademamix", 12),
        ("lion_8bit", 1 + 4 / 256),
        ("schedule_free_adamw", 8),
        ("schedule_free_sgd", 4),
        ("lomo", 0),
        ("muon", 4),
    ],
)
def test_the_state_of_a_matrix_is_as_measured(name: str, bytes_per_element: float) -> None:
    """By stepping with torchao 0.18, bitsandbytes 0.50.2, schedulefree and lomo-optim."""
    matrix = TrainedTensor(rows=ROWS, columns=COLUMNS, is_linear=True)
    assert optimizer(name).state_bytes(matrix) == bytes_per_element * matrix.params


def test_a_table_of_an_embedding_stays_in_fp32_under_the_trainer() -> None:
    table = TrainedTensor(rows=ROWS, columns=COLUMNS, size=2, is_table=True)
    assert optimizer("adamw_8bit").state_bytes(table) == 8 * table.params


def test_galore_projects_moments_to_a_rank_and_keeps_the_projection() -> None:
    """Moments of 8·r·max(m, n) as measured: 1,057,088 B of 512 x 1,024 and 1,024 x 256 at r = 64, norms and biases of 2 x 512 beside."""
    shapes = [TrainedTensor(rows=512, columns=1024, is_linear=True), TrainedTensor(rows=1024, columns=256, is_linear=True)]
    state = sum(optimizer("galore_adamw").state_bytes(each, rank=64) for each in shapes)
    assert state == 8 * 64 * (1024 + 1024) + 4 * 64 * (512 + 256)


def test_transformers_names_are_all_there() -> None:
    from transformers.training_args import OptimizerNames

    assert {each.value for each in OptimizerNames} == set(OPTIMIZERS) - {"muon"}
    assert len(OPTIMIZERS) - 1 == 41


def test_an_unknown_optimizer_is_one_line_with_what_is_near() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'adamw_8bit'"):
        optimizer("adamw_8bits")
