"""Measured steps: what a row says is what is predicted, nothing is dropped silently, and the score is what it claims."""

from __future__ import annotations

from pathlib import Path

import pytest

from estimators.cost.efficiency import efficiency_file
from estimators.errors import BadValueError
from estimators.frozen import replace
from estimators.validation.case import MeasuredStep, measured_step
from estimators.validation.groups import group_of
from estimators.validation.score import Scored, quantile, score, scored
from estimators.validation.table import MEMORY_COLUMNS, SINGLE_NODE_COLUMNS, LeftOutError, Record, read_table, shipped
from tools.fit_constants import CHECKED


@pytest.fixture(scope="module")
def records() -> dict[str, Record]:
    return {record.text("id"): record for path in shipped().values() for record in read_table(path)}


@pytest.fixture(scope="module")
def rows(records: dict[str, Record]) -> list[Scored]:
    return [scored(record) for record in records.values()]


def test_a_row_of_the_megatron_paper_is_the_paper_s(records: dict[str, Record]) -> None:
    """Narayanan et al. 2021, table 1: 1T parameters, 128 layers of 25,600, 3,072 GPUs, tp 8, pp 64, batch 3,072, 163 TFLOP/s each."""
    step = measured_step(records["T0226"])
    assert (step.layout.tp, step.layout.pp, step.layout.dp, step.layout.num_micro_batches) == (8, 64, 6, 512)
    assert (step.layout.recompute, step.stack.id, step.cluster, step.hardware.id) == ("full", "megatron-2021", "selene", "a100-sxm4-80gb")
    assert step.work.params == pytest.approx(1008e9, rel=0.002)
    flop = 96 * 3072 * 2048 * 128 * 25600**2 * (1 + 2048 / (6 * 25600) + 51200 / (16 * 128 * 25600))
    assert step.measured_step_time_s == pytest.approx(flop / (3072 * 163e12), rel=1e-3)


def test_the_head_is_run_three_times_where_layers_are_run_four_times(records: dict[str, Record]) -> None:
    """Table 1's smallest model, where the head is 7 % of a step: 24 layers of 2,304, batch 512, 32 GPUs at 137 TFLOP/s each."""
    flop = 96 * 512 * 2048 * 24 * 2304**2 * (1 + 2048 / (6 * 2304) + 51200 / (16 * 24 * 2304))
    assert measured_step(records["T0217"]).measured_step_time_s == pytest.approx(flop / (32 * 137e12), rel=1e-4)


def test_an_error_is_predicted_over_measured_less_one(records: dict[str, Record]) -> None:
    step = replace(measured_step(records["T0001"]), measured_step_time_s=2.0)
    assert Scored(id="x", step=step, predicted_s=3.0).error == pytest.approx(0.5)


def test_a_time_follows_from_tokens_per_second(records: dict[str, Record]) -> None:
    """llm-foundry's MPT-70b on 512 H100: 4,096 sequences of 2,048 tokens at 1,007 tokens/s/GPU."""
    step = measured_step(records["T0001"])
    assert step.measured_step_time_s == pytest.approx(4096 * 2048 / (1007 * 512))
    assert (step.layout.zero, step.layout.dp, step.layout.micro_batch, step.layout.recompute) == (3, 512, 8, "full")


def test_a_mixture_of_experts_is_the_model_that_ships(records: dict[str, Record]) -> None:
    step = measured_step(records["T0935"])
    assert (step.work.experts, step.work.experts_per_token, step.layout.ep, step.layout.vp) == (128, 8, 32, 4)
    assert step.work.params == pytest.approx(235.1e9, rel=0.001)


def test_adapters_train_little_and_quantised_weights_are_unpacked(records: dict[str, Record]) -> None:
    step = next(s for r in records.values() if (s := _step(r)) and "[Q-LoRA]" in s.model_name)
    assert step.kind == "lora"
    assert step.work.trained_params < 0.05 * step.work.params
    assert step.stack.dequantise_bytes > 0


def _step(record: Record) -> MeasuredStep | None:
    try:
        return measured_step(record)
    except LeftOutError:
        return None


def test_every_row_is_predicted_or_has_a_reason(rows: list[Scored]) -> None:
    assert len(rows) == 848 + 46 + 695 + 22
    for row in rows:
        assert bool(row.predicted_s) is not bool(row.skipped_reason), row.id


def test_no_headline_row_was_seen_by_its_constants(rows: list[Scored]) -> None:
    fits = efficiency_file()["without"]
    counted = [row.step for row in rows if row.counts and row.step]
    assert {step.source for step in counted} - set(CHECKED) == set(fits)
    assert all(row.predicted_s != row.fitted_s for row in rows if row.counts and row.step and row.step.source in fits)


def test_software_that_no_fit_has_seen_is_met_by_its_priors(rows: list[Scored]) -> None:
    """PyTorch's FSDP2 (torchtitan, fms-fsdp) and MaxText on TPU: 10 % in the median, 25 % at the 90th percentile, dense models alone.

    torchao's two on MI300X, where no step was ever measured, are predicted a third too fast.
    """
    unseen = [row for row in rows if row.counts and row.step and row.step.source in CHECKED and row.step.work.experts == 1]
    pytorch = [row for row in unseen if row.step and row.step.source in ("torchtitan", "fms-fsdp")]
    tpu = [row for row in unseen if row.step and row.step.hardware.id.startswith("tpu")]
    for group in (pytorch, tpu):
        found = score(group)
        assert found is not None
        assert found.rows >= 15
        assert found.median <= 0.1
        assert found.p90 <= 0.25


def test_the_accuracy_on_left_out_sources_is_what_is_promised(rows: list[Scored]) -> None:
    """The marks: 8 % pooled, 9 % with every source weighing the same, 25 % at the 90th percentile, 70 to 90 % coverage."""
    headline = [row for row in rows if row.counts]
    pooled, equal = score(headline), score(headline, by_source=True)
    assert pooled is not None
    assert equal is not None
    assert pooled.rows > 1100
    assert pooled.median <= 0.08
    assert pooled.p90 <= 0.25
    assert equal.median <= 0.09
    assert 0.7 <= equal.coverage <= 0.9


def test_vtrains_own_steps_are_predicted_better_than_published_regressions_without_having_seen_any(rows: list[Scored]) -> None:
    """vTrain, which profiles the machine it predicts, reports 14.73 % mean error on several nodes and 8.37 % on one (arXiv 2312.12391); a
    nine-coefficient regression on the same rows 12.4 % and 15.1 % where it may interpolate. Here no vTrain row was seen."""
    vtrain = [row for row in rows if row.counts and row.step and row.step.source == "vtrain"]
    single = [abs(row.error or 0) for row in vtrain if row.id.startswith("S")]
    several = [abs(row.error or 0) for row in vtrain if row.id.startswith("T")]
    assert sum(single) / len(single) < 0.151
    assert sum(several) / len(several) < 0.124


def test_a_table_of_one_s_own_is_read_by_its_columns(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text(",".join(SINGLE_NODE_COLUMNS) + "\nmine,8,32,4,1024,16,24,1024,2,2,2,220\n", encoding="utf-8")
    (row,) = [scored(record) for record in read_table(str(path))]
    assert row.measured_s == pytest.approx(0.22)
    assert row.error is not None


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("mine,8,32,4,1024,16,24,1024,2,2,2,fast", "iteration_time_ms is 'fast'; expected a number from 0"),
        ("mine,8,32,4,1024,16,24,1024,2,2,2,nan", "iteration_time_ms is 'nan'; expected a number from 0"),
        ("mine,8,32,4,1024,16,24,1024,2,2,2,1e300", "iteration_time_ms is '1e300'; expected a number from 0"),
        ("mine,8,32,4,1024,16,2.5,1024,2,2,2,220", "layers is '2.5'; expected a whole number from 1"),
        ("mine,,32,4,1024,16,24,1024,2,2,2,220", "num_gpus is ''; expected a whole number from 1"),
        ("mine,8,32,4,,16,24,1024,2,2,2,220", "hidden is ''; expected a whole number from 1"),
        ("mine,8,32,4,1024,16,99999999999,1024,2,2,2,220", "gpt2: n_layer is '99999999999'"),
        ("mine,8,32,4,1024,16,24,1024,3,2,2,220", "tp x pp x cp = 6 does not divide the 8 devices"),
        ("mine,8,32,4,1024,16,24,1024,2,2,2", "11 cells; expected 12, as in the header"),
        ('mine,8,32,4,1024,16,24,1024,2,2,2,220,"' + "x" * 200_000 + '"', "no line of CSV"),
    ],
)
def test_a_row_that_cannot_be_read_is_skipped_with_its_reason_and_the_next_is_scored(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "mine.csv"
    good = "good,8,32,4,1024,16,24,1024,2,2,2,220"
    path.write_text(f"{','.join(SINGLE_NODE_COLUMNS)}\n{line}\n{good}\n", encoding="utf-8")
    bad, fine = [scored(record) for record in read_table(str(path))]
    assert message in bad.skipped_reason
    assert "\n" not in bad.skipped_reason
    assert bad.line == 2
    assert fine.error is not None


def test_a_file_that_is_no_table_is_refused_in_one_line(tmp_path: Path) -> None:
    empty, other, binary = tmp_path / "empty.csv", tmp_path / "other.csv", tmp_path / "binary.csv"
    empty.write_text("", encoding="utf-8")
    other.write_text("a,b\n1,2\n", encoding="utf-8")
    binary.write_bytes(b"\xff\xfe\x00\x01")
    for path, message in (
        (empty, "is empty"),
        (other, "lacks the columns"),
        (binary, "is no CSV text"),
        (tmp_path / "no.csv", "cannot read"),
    ):
        with pytest.raises(BadValueError, match=message):
            read_table(str(path))


def test_unknown_devices_and_models_are_skipped_by_name(tmp_path: Path) -> None:
    path = tmp_path / "unknown.csv"
    path.write_text(
        ",".join(MEMORY_COLUMNS)
        + "\nM,llama-3-70b,12,no-such-gpu,8,1,1,8,1,1,1,4096,1,4,bf16,none,843,66"
        + "\nN,no-such-model,12,b200-sxm-180gb,8,1,1,8,1,1,1,4096,1,4,bf16,none,843,66"
        + "\nP,llama-3-70b,12,b200-sxm-180gb,8,1,1,8,1,1,1,4096,1,4,mxfp6,none,843,66\n",
        encoding="utf-8",
    )
    device, model, precision = [scored(record).skipped_reason for record in read_table(str(path))]
    assert device.startswith("unknown GPU 'no-such-gpu'")
    assert model.startswith("unknown model 'no-such-model'")
    assert precision.startswith("precision 'mxfp6' is unknown; expected one of: nvfp4, mxfp4, mxfp8, fp8, bf16")


def test_quantiles_weigh() -> None:
    assert quantile([3.0, 1.0, 2.0], [1.0, 1.0, 1.0], 0.5) == 2.0
    assert quantile([1.0, 2.0], [9.0, 1.0], 0.9) == 1.0


def test_an_unknown_group_is_taken_as_it_stands() -> None:
    assert (group_of("my cluster").stack, group_of("my cluster").apart) == ("", "")
