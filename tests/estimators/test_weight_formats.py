"""Bytes of stored weights are what packages allocate and what checkpoints' indices print, to the byte."""

from __future__ import annotations

import pytest

from estimators.architectures.adapters import is_quantised, stored_in
from estimators.errors import BadValueError
from estimators.spec import Workload
from estimators.validation.model import shipped_model
from estimators.weight_formats import FORMATS, WEIGHT_FORMATS, StoredMatrix, stored_matrix, weight_format


def stored(name: str) -> StoredMatrix:
    matrix = stored_matrix(name)
    assert matrix is not None
    return matrix


@pytest.mark.parametrize(
    ("name", "shape", "num_bytes"),
    [
        ("nf4", (4096, 4096), 8_388_608 + 1_048_576 + 64),
        ("nf4-double", (4096, 4096), 8_388_608 + 262_144 + 4_096 + 1_024 + 4 + 64),
        ("nf4", (100, 37), 1_850 + 58 * 4 + 64),
        ("int8", (4096, 14336), 4096 * 14336 + 4 * 4096),
        ("gptq", (4096, 11008), 4096 * 11008 // 2 + 86 * 4096 * 2 + 86 * 4096 // 2 + 4 * 11008),
        ("awq", (4096, 11008), 4096 * 11008 // 2 + 86 * 4096 * 5 // 2),
        ("gptq-8-128", (4096, 4096), 4096 * 4096 + 32 * 4096 * 3 + 4 * 4096),
        ("fp8-tiles", (7168, 18432), 7168 * 18432 + 4 * 56 * 144),
        ("fp8-tiles", (130, 100), 13_000 + 4 * 2),
        ("fp8", (4096, 4096), 4096 * 4096 + 4),
        ("mxfp4", (5760, 2880), 5760 * 2880 // 2 + 5760 * 2880 // 32),
    ],
)
def test_a_matrix_has_the_bytes_of_its_format(name: str, shape: tuple[int, int], num_bytes: int) -> None:
    """bitsandbytes 0.50.2 as allocated; GPTQ, AWQ, fp8 and MXFP4 by their packing."""
    assert stored(name).num_bytes(*shape) == num_bytes


def test_twice_the_block_has_half_the_scales() -> None:
    """bitsandbytes 0.50.2, blocksize 128 of a 4,096 x 4,096 matrix."""
    nf4 = FORMATS["nf4"]
    wide = StoredMatrix(bits=4, block=128, scale_bytes=4, matrix_bytes=64)
    assert wide.num_bytes(4096, 4096) - 8_388_608 - 64 == (nf4.num_bytes(4096, 4096) - 8_388_608 - 64) // 2 == 524_288


@pytest.mark.parametrize(
    ("name", "total", "expert_params"),
    [("gpt-oss-20b", 13_761_264_768, 19_110_297_600), ("gpt-oss-120b", 65_248_815_744, 114_661_785_600)],
)
def test_gpt_oss_has_the_bytes_that_its_index_prints(name: str, total: int, expert_params: int) -> None:
    """total_size of model.safetensors.index.json: 4.25 bits a weight of experts, all else in bf16."""
    w = Workload(phase="train")
    table = stored_in(shipped_model(name).ops(w), "mxfp4", w)
    matrices = sum(
        op.count * op.params // (op.mnk[1] * op.mnk[2]) * op.mnk[1] * op.mnk[2] for op in table if is_quantised(op, "mxfp4") and op.mnk
    )
    assert sum(op.count * (op.stored_bytes if op.stored_bytes is not None else 2 * op.params) for op in table) == total
    assert matrices == expert_params


@pytest.mark.parametrize(("name", "gigabytes"), [("gptq-4-128", 3.90), ("gptq-4-64", 4.02), ("gptq-4-32", 4.28), ("gptq-8-128", 7.16)])
def test_llama_2_7b_by_gptq_has_the_size_of_its_files(name: str, gigabytes: float) -> None:
    """TheBloke/Llama-2-7B-GPTQ's card, printed to 0.01 GB."""
    w = Workload(phase="forward")
    table = stored_in(shipped_model("llama-2-7b").ops(w), weight_format(name), w)
    total = sum(op.count * (op.stored_bytes if op.stored_bytes is not None else 2 * op.params) for op in table)
    assert total / 1e9 == pytest.approx(gigabytes, abs=0.011)


@pytest.mark.parametrize(
    ("said", "name"),
    [("nf4-dq", "nf4-double"), ("int4-gptq-g128", "gptq"), ("GPTQ-8-64", "gptq-8-64"), ("int8-gptq", "gptq-8-128"), ("bf16", "16-bit")],
)
def test_formats_are_read_as_people_write_them(said: str, name: str) -> None:
    assert weight_format(said) == name
    assert weight_format(name) == name


def test_every_name_is_its_own_and_an_unknown_one_is_refused() -> None:
    assert [weight_format(name) for name in WEIGHT_FORMATS] == list(WEIGHT_FORMATS)
    with pytest.raises(BadValueError, match="weights stored as 'nf3' are unknown; expected one of: 16-bit, nf4"):
        weight_format("nf3")
