"""Traces of torch's profiler: the fixture by hand, own time by hand, hostile files."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from estimators.diagnosis.answer import diagnose
from estimators.diagnosis.question import question_of
from estimators.diagnosis.traces import trace as reading
from estimators.diagnosis.traces.names import class_of_kernel, class_of_operator
from estimators.diagnosis.traces.observe import observed_in_trace
from estimators.diagnosis.traces.parts import PREDICTED
from estimators.diagnosis.traces.trace import Trace, read_trace
from estimators.errors import BadValueError, UnavailableError
from estimators.training.step import PARTS

Event = Mapping[str, Any]

LOADER = "enumerate(DataLoader)#_SingleProcessDataLoaderIter.__next__"


FIXTURE = Path(__file__).parent / "trace.json"
"""The same step as OF_ONE_GPU in a file, which docs/diagnose.md shows."""


def event(name: str, ts: float, dur: float, cat: str = "cpu_op", tid: int = 1) -> Event:
    return {"ph": "X", "cat": cat, "name": name, "pid": 1, "tid": tid, "ts": ts, "dur": dur}


STEP = event("ProfilerStep#3", 0, 100_000, "user_annotation")
OF_ONE_GPU = (
    STEP,
    event(LOADER, 0, 25_000, "user_annotation"),
    event("nvjet_tst_128x256", 25_000, 60_000, "kernel", 7),
    event("ncclDevKernel_AllReduce_Sum_bf16_RING_LL", 75_000, 20_000, "kernel", 20),
)
"""A step of 100 ms: 25 ms of waiting for data, then products from 25 to 85 and a reduction from 75 to 95 ms beside them."""

HEAD: Mapping[str, Any] = {
    "deviceProperties": [{"id": 0, "name": "NVIDIA H100 80GB HBM3", "numSms": 132}],
    "distributedInfo": {"backend": "nccl", "rank": 0, "world_size": 8},
}


def text_of(events: Sequence[Any], head: Mapping[str, Any] = HEAD) -> str:
    return json.dumps({**head, "traceEvents": list(events)})


def written(tmp_path: Path, events: Sequence[Any], head: Mapping[str, Any] = HEAD) -> str:
    path = tmp_path / "trace.json"
    path.write_text(text_of(events, head), encoding="utf-8")
    return str(path)


def of(tmp_path: Path, events: Sequence[Any]) -> Trace:
    return read_trace(written(tmp_path, events))


@pytest.mark.parametrize("packed", [False, True], ids=["json", "json.gz"])
def test_the_step_of_one_gpu_is_busy_for_70_ms_of_100(packed: bool, tmp_path: Path) -> None:
    """Busy 25 to 95 ms: 70 %. Idle 30 %, of which the loader has 25. Communication 20 ms, half of it beside products."""
    path = tmp_path / "trace"
    text = text_of(OF_ONE_GPU).encode()
    path.write_bytes(gzip.compress(text) if packed else text)
    found = read_trace(str(path))
    assert found == read_trace(str(FIXTURE))
    shares = (found.busy_s, found.idle_s, found.loader_s, found.waiting_s, found.communication_s, found.exposed_s)
    assert [round(each / found.window_s, 12) for each in shares] == [0.7, 0.3, 0.25, 0.25, 0.2, 0.1]
    assert (found.device, found.world_size, found.steps_s, found.is_cut) == ("NVIDIA H100 80GB HBM3", 8, (0.1,), False)
    observed = observed_in_trace(str(path))
    assert {name: round(share, 12) for name, share in observed.shares.items()} == {
        "loader": 0.25,
        "exposed communication": 0.1,
        "idle": 0.05,
    }
    assert sum(observed.step_parts_s.values()) == pytest.approx(0.1, rel=1e-12)
    answer = diagnose(question_of(observed))
    assert (answer.verdict, answer.cause_ids[:2]) == ("SLOW", ("data_loader_suspected", "network_or_layout"))
    assert answer.question.hardware is not None
    assert answer.question.hardware.id == "h100-sxm5-80gb"


def test_kernels_beside_one_another_are_busy_once_and_copies_are_busy_too(tmp_path: Path) -> None:
    """Two streams from 0 to 40 and 20 to 60 ms, a copy from 50 to 70: 70 ms busy; the copy has 10 alone."""
    kernels = [
        event("ampere_bf16_s16816gemm", 0, 40_000, "kernel", 7),
        event("void at::native::vectorized_elementwise_kernel<4>", 20_000, 40_000, "kernel", 8),
        event("Memcpy HtoD", 50_000, 20_000, "gpu_memcpy", 9),
    ]
    found = of(tmp_path, [STEP, *kernels])
    assert found.busy_s == pytest.approx(0.07)
    assert found.alone_s == pytest.approx({"matmul": 0.04, "elementwise": 0.02, "copy": 0.01})


def test_a_loader_that_the_gpu_works_beside_holds_up_nothing(tmp_path: Path) -> None:
    found = of(tmp_path, [STEP, event(LOADER, 0, 25_000, "user_annotation"), event("gemm", 0, 90_000, "kernel")])
    assert (found.loader_s, found.waiting_s) == pytest.approx((0.025, 0.0))


def test_time_outside_whole_steps_counts_for_nothing_and_late_kernels_are_said(tmp_path: Path) -> None:
    found = of(tmp_path, [STEP, event("gemm", -50_000, 60_000, "kernel"), event("gemm", 90_000, 40_000, "kernel")])
    assert (found.busy_s, found.after_s) == pytest.approx((0.02, 0.03))


def test_kernels_of_the_optimizers_step_are_the_optimizers(tmp_path: Path) -> None:
    """As an optimizer with products, such as Muon, has them: by the GPU's own mark of the step, 60 to 90 ms."""
    mark = event("Optimizer.step#Muon.step", 60_000, 30_000, "gpu_user_annotation")
    found = of(tmp_path, [STEP, event("gemm", 0, 80_000, "kernel"), mark])
    assert found.alone_s == pytest.approx({"matmul": 0.06, "optimizer": 0.02})


def test_an_operators_own_time_is_what_it_does_not_call(tmp_path: Path) -> None:
    """linear 0 to 50 calls addmm 10 to 40; a softmax from 60 to 70; a gelu on another thread from 60 to 80 ms."""
    calls = [
        event("aten::addmm", 10_000, 30_000),
        event("MyFunctionBackward", 0, 50_000),
        event("aten::_softmax", 60_000, 10_000),
        event("aten::gelu", 60_000, 20_000, tid=2),
    ]
    found = of(tmp_path, [STEP, *calls])
    assert found.alone_s == pytest.approx({"matmul": 0.03, "host": 0.02, "unfused attention": 0.01, "elementwise": 0.01})
    assert found.busy_s == pytest.approx(0.07)


def test_operators_that_load_data_are_loading(tmp_path: Path) -> None:
    found = of(
        tmp_path,
        [STEP, event(LOADER, 0, 40_000, "user_annotation"), event("aten::stack", 10_000, 20_000), event("aten::mm", 40_000, 50_000)],
    )
    assert (found.busy_s, found.waiting_s) == pytest.approx((0.05, 0.04))


def test_without_marked_steps_the_shares_are_of_all_that_was_recorded_and_that_is_said(tmp_path: Path) -> None:
    observed = observed_in_trace(written(tmp_path, [event("gemm", 0, 30_000, "kernel"), event("gemm", 60_000, 40_000, "kernel")]))
    assert observed.figures == ()
    assert observed.shares == pytest.approx({"idle": 0.3})
    assert "schedule" in observed.missing[0].flag


def test_a_step_that_waits_for_nothing_is_not_called_slow(tmp_path: Path) -> None:
    answer = diagnose(question_of(observed_in_trace(written(tmp_path, [STEP, event("gemm", 0, 99_000, "kernel")]))))
    assert (answer.verdict, answer.cause_ids) == ("UNKNOWN", ())


def test_a_compressed_trace_that_is_cut_says_so_and_what_is_in_it_counts(tmp_path: Path) -> None:
    path = tmp_path / "cut.json.gz"
    many = [*OF_ONE_GPU, *(event(f"other{number}", 100_000 + number, 0, "kernel") for number in range(20_000))]
    whole = gzip.compress(text_of(many).encode())
    path.write_bytes(whole[: len(whole) // 2])
    observed = observed_in_trace(str(path))
    assert observed.shares["loader"] == pytest.approx(0.25)
    assert any("ends before its end" in note for note in observed.notes)


HOSTILE: Sequence[Any] = (
    None,
    7,
    "text",
    [],
    {"ph": "X"},
    {"ph": "X", "name": 3, "ts": 0, "dur": 5},
    {"ph": "X", "cat": "kernel", "name": "nan", "ts": float("nan"), "dur": 5},
    {"ph": "X", "cat": "kernel", "name": "inf", "ts": 0, "dur": float("inf")},
    {"ph": "X", "cat": "kernel", "name": "before", "ts": 0, "dur": -5},
    {"ph": "X", "cat": "kernel", "name": "words", "ts": "0,5", "dur": "1.0.0"},
    {"ph": "X", "cat": "kernel", "name": "true", "ts": True, "dur": True},
)


def test_events_that_are_none_are_passed_by_and_counted(tmp_path: Path) -> None:
    observed = observed_in_trace(written(tmp_path, [*HOSTILE, *OF_ONE_GPU]))
    assert [(each.what, each.number) for each in observed.skipped] == [("broken events", len(HOSTILE))]
    assert observed.shares["loader"] == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("text", "error", "said"),
    [
        ('{"traceEvents": []}', BadValueError, "has no traceEvents"),
        ('{"traceEvents": 5}', UnavailableError, "no step, kernel or operator with a time"),
        ('{"log_history": []}', BadValueError, "has no traceEvents"),
        ("[1, 2]", BadValueError, "has no traceEvents"),
        ("", BadValueError, "has no traceEvents"),
        ("\x00\xff", BadValueError, "has no traceEvents"),
        ('{"deviceProperties": "' + "x" * 3_000_000, BadValueError, "has no traceEvents"),
        ("[" * 100_000, BadValueError, "has no traceEvents"),
    ],
)
def test_what_is_no_trace_is_said_in_one_line(text: str, error: type[Exception], said: str, tmp_path: Path) -> None:
    path = tmp_path / "trace.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(error, match=said) as raised:
        read_trace(str(path))
    assert "\n" not in str(raised.value)


def test_a_trace_of_more_than_can_be_kept_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MAX_EVENTS", 10)
    with pytest.raises(BadValueError, match="record fewer steps"):
        of(tmp_path, [event("gemm", number, 1, "kernel") for number in range(20)])


def test_every_part_of_a_predicted_step_stands_for_one_part_of_a_trace() -> None:
    held = [part for parts in PREDICTED.values() for part in parts]
    assert sorted(held) == sorted(PARTS)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("void flash::flash_fwd_kernel<Flash_fwd_kernel_traits<128>>", "attention"),
        ("fmha_cutlassF_bf16_aligned_64x128_rf_sm80", "attention"),
        ("void cutlass::Kernel2<cutlass_80_tensorop_bf16_s16816gemm>", "matmul"),
        ("void at::native::(anonymous namespace)::cunn_SoftMaxForward<8, float, LogSoftMaxForwardEpilogue>", "elementwise"),
        ("void (anonymous namespace)::softmax_warp_forward<float, float, float, 9, false, false>", "unfused attention"),
        ("void at::native::multi_tensor_apply_kernel<FusedAdamMathFunctor>", "optimizer"),
        ("triton_poi_fused_mul_silu_3", "elementwise"),
    ],
)
def test_kernels_have_their_class_by_name(name: str, kind: str) -> None:
    """Names as PyTorch and its libraries give them; from memory, unchecked on a GPU."""
    assert class_of_kernel(name) == kind


def test_operators_have_their_class_by_name() -> None:
    names = ("aten::scaled_dot_product_attention", "aten::_scaled_dot_product_flash_attention_for_cpu", "aten::baddbmm", "gloo:all_reduce")
    assert [class_of_operator(name) for name in names] == ["attention", "attention", "unfused attention", "communication"]
    assert class_of_operator("aten::_log_softmax") == "elementwise"
