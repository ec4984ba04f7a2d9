"""The waterfall: its parts sum to the step, the rest is named, and one sentence says what to do."""

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.records.estimated import Estimated, PartsOfStep, PredictedStep
from bench.records.record import Finding, Measurement, Phase
from estimators.facts.causes import causes
from reports.views.records.calibration import check_tables, predicted_tables
from reports.views.records.waterfall import sentence, waterfall_table, waterfall_tables
from reports.waterfall import UNEXPLAINED, waterfall
from tests.support import tiny_models
from tests.support.calibrations import whole
from tests.support.changed_records import extrapolated


def record(task: str = "prefill", *, parts: dict[str, float] | None = None, **changes: Any) -> Measurement:
    """A record of steps of one second, predicted from a calibration in the given parts."""
    made = tiny_models.record(task)
    predicted = {"matmul": 0.3, "attention": 0.1, "memory": 0.2, "optimizer": 0.0, "host": 0.25} | (parts or {})
    local = PredictedStep(
        phase={"train": "train_step"}.get(task, task),
        seconds_s=math.fsum(predicted.values()),
        general_seconds_s=2 * math.fsum(predicted.values()),
        general_extrapolated_fraction=0.5,
        parts_s=PartsOfStep(**predicted),
        num_ops=100,
        basis_fraction={"exact": 0.9, "extrapolated": 0.1},
        weakest=("mm(...)",),
        calibrated_utc="2026-01-01T00:00:00+00:00",
    )
    return dataclasses.replace(made, estimate=made.estimate | Estimated(local=local), **changes)


def by_name(made: Measurement) -> dict[str, Any]:
    found = waterfall(made)
    assert found is not None
    return {part.name: part for part in found.parts}


@pytest.mark.parametrize("task", ["prefill", "decode", "train"])
def test_the_parts_sum_to_the_step(task: str) -> None:
    found = waterfall(record(task))
    assert found is not None
    assert found.whole_s == pytest.approx(1.0)
    assert math.fsum(part.seconds_s or 0 for part in found.parts) == pytest.approx(found.whole_s)


def test_the_bound_is_not_counted_twice() -> None:
    parts = by_name(record())
    bound = parts["physics bound"].seconds_s
    assert 0 < bound < 0.3
    assert parts["matrix products, above the bound"].seconds_s == pytest.approx(0.3 - bound)
    assert parts[UNEXPLAINED].seconds_s == pytest.approx(1 - 0.85)


def test_a_bound_above_the_step_is_cut_to_it() -> None:
    made = record(parts={"matmul": 3.0})
    phases = {name: phase.replaced(bound_s=5.0) for name, phase in made.estimate.phases.items()}
    parts = by_name(dataclasses.replace(made, estimate=made.estimate | Estimated(phases=phases)))
    assert parts["physics bound"].seconds_s == pytest.approx(1.0)
    assert parts["physics bound"].reason.endswith("cut to what its operators take")


def test_a_step_that_beats_its_prediction_leaves_a_negative_rest_that_is_said() -> None:
    made = record(parts={"memory": 0.9})
    found = waterfall(made)
    assert found is not None
    assert by_name(made)[UNEXPLAINED].seconds_s == pytest.approx(-0.55)
    assert "more than the step took" not in sentence(found)  # memory is still the largest
    assert "more than the step took" in sentence(waterfall(record(parts={"memory": 0.5, "host": 0.5, "attention": 0.7, "matmul": 0.9})))  # type: ignore[arg-type]


def test_the_largest_part_gets_the_advice() -> None:
    host = waterfall(record(parts={"host": 0.4}))
    assert host is not None
    assert host.largest.name == "launches and host"
    assert "--compile" in sentence(host)


def test_a_faster_dtype_is_advised_only_where_there_is_one() -> None:
    slow = record()
    parts = {dtype: by_name(dataclasses.replace(slow, request=slow.request.replaced(dtype=dtype))) for dtype in ("fp32", "bf16")}
    name = "matrix products, above the bound"
    what = {(dtype, part): getattr(found[part].advice, "what", "") for dtype, found in parts.items() for part in (name, "attention")}
    assert ("--dtype bf16" in what["fp32", name], "--dtype bf16" in what["bf16", name]) == (True, False)
    assert "--dtype" not in what["fp32", "attention"]


def test_a_part_that_diagnose_suspects_is_settled_as_there() -> None:
    advice = {name: part.advice for name, part in by_name(record()).items()}
    assert advice["physics bound"] is None
    for part, cause in {"throttling": "throttling", "data wait": "data_loader_suspected", UNEXPLAINED: "noisy_machine"}.items():
        found = advice[part]
        assert found is not None
        assert (found.id, found.check) == (cause, causes()[cause].check)


def test_what_the_record_speaks_for_is_suspected_of_the_rest_as_diagnose_names_it() -> None:
    held = Finding(code="Throttled", text="the clock was held down in 40 % of the samples", advice="cool it")
    shared = Finding(code="CpuShared", text="other programs took 30 % of this machine's processors during the window")
    made = with_rates_after(record(warnings=(held, shared)), matmul=1.0, bandwidth=0.6)
    found = waterfall(made)
    assert found is not None
    assert [each.id for each in found.suspects] == ["throttling", "noisy_machine"]
    assert [each.check for each in found.suspects] == [causes()[each.id].check for each in found.suspects]
    assert found.suspects[1].evidence == f"{shared.text}; after the run, against before it: its bandwidth rate -40.0 %"
    assert by_name(made)[UNEXPLAINED].advice == found.suspects[0]
    assert any("throttling (the clock was held down in 40 %" in note for note in waterfall_table(made).notes)
    plain = waterfall(record(warnings=(Finding(code="ShapesVary", text="the steps differ in size"),)))
    assert plain is not None
    assert [(each.id, each.evidence) for each in plain.suspects] == [("noisy_machine", "")]


def test_the_wait_for_data_is_an_epoch_beyond_its_steps() -> None:
    made = record("train")
    epoch = Phase(name="epoch", samples_s=(15.0,), items_per_sample=10 * made.phases[-1].items_per_sample)
    with_epoch = dataclasses.replace(made, phases=(epoch, *made.phases))
    assert by_name(with_epoch)["data wait"].seconds_s == pytest.approx(0.5)
    found = waterfall(with_epoch)
    assert found is not None
    assert (found.whole_s, found.tag) == (pytest.approx(1.5), "derived")
    assert by_name(with_epoch)["data wait"].tag == "derived"


def test_a_throttled_window_is_a_part_and_an_unread_clock_is_unavailable() -> None:
    unread = by_name(record())["throttling"]
    assert (unread.seconds_s, unread.tag) == (None, "unavailable")
    assert unread.reason
    clean = by_name(record(power={"throttled_fraction": 0.0}))["throttling"]
    assert (clean.seconds_s, clean.tag) == (0.0, "measured")
    held = by_name(record(power={"throttled_fraction": 0.5, "mean_sm_clock_hz": 9e8, "max_sm_clock_hz": 1.2e9}))["throttling"]
    assert held.seconds_s == pytest.approx(0.25)
    unknown = by_name(record(power={"throttled_fraction": 0.5}))["throttling"]
    assert unknown.seconds_s is None
    assert "50 %" in unknown.reason


def test_a_record_without_a_prediction_has_no_waterfall_and_says_what_to_do() -> None:
    table = waterfall_table(tiny_models.record("prefill"))
    assert not table.rows
    assert "--waterfall" in table.notes[0]


def test_the_table_ends_at_the_measured_step_and_names_what_was_extrapolated() -> None:
    table = waterfall_table(record())
    assert (table.rows[-1]["part"], table.rows[-1]["tag"]) == ("the step", "measured")
    assert table.rows[-2]["part"] == UNEXPLAINED
    assert table.rows[-2]["reached_s"] == pytest.approx(table.rows[-1]["seconds_s"])
    assert any("10.0 %" in note and "mm(...)" in note for note in table.notes)


def test_a_run_with_a_calibration_holds_its_waterfall_and_one_without_does_not(
    measured: Callable[..., Measurement], tmp_path: Path, quick: None
) -> None:
    from bench.runs.measure import measure

    predicted_s: list[float] = []
    made = measure(
        tiny_models.asked("gpt2", "prefill", batch=1, seq_len=8, steps=3, dtype="fp32", device="cpu"),
        hub_id=None,
        out=tmp_path,
        say=lambda _: None,
        calibration=whole(),
        on_prediction=lambda prediction: predicted_s.append(prediction.own.seconds_s),
    )
    found = waterfall(made)
    assert found is not None
    assert predicted_s == [made.estimate.local.seconds_s]
    assert math.fsum(part.seconds_s or 0 for part in found.parts) == pytest.approx(found.whole_s)
    assert any(part.profiled_s for part in found.parts)
    assert {"matmul after", "bandwidth after"} <= {ceiling.kind for ceiling in made.ceilings}
    assert waterfall(measured("gpt2", "prefill", batch=1, seq_len=8, steps=3, dtype="fp32", device="cpu")) is None


def test_slices_are_explained_at_the_full_depth() -> None:
    made = record()
    line = extrapolated(phase="prefill", value_s=2.0, per_layer_s=0.5)
    sliced = dataclasses.replace(made, phases=(), extrapolation=line)
    found = waterfall(sliced)
    assert found is not None
    assert (found.whole_s, found.tag) == (2.0, "extrapolated")
    assert math.fsum(part.seconds_s or 0 for part in found.parts) == pytest.approx(2.0)


def with_rates_after(made: Measurement, **factors: float) -> Measurement:
    after = [dataclasses.replace(c, kind=f"{c.kind} after", value=c.value * factors[c.kind]) for c in made.ceilings if c.kind in factors]
    return dataclasses.replace(made, ceilings=(*made.ceilings, *after))


@pytest.mark.parametrize(
    ("matmul", "bandwidth", "said"),
    [
        (1.05, 0.92, "its matmul rate +5.0 %, its bandwidth rate -8.0 %: the machine stayed as it was"),
        (1.0, 0.6, "its matmul rate +0.0 %, its bandwidth rate -40.0 %: the machine itself changed"),
    ],
)
def test_a_machine_that_changed_while_it_ran_is_said(matmul: float, bandwidth: float, said: str) -> None:
    made = with_rates_after(record(), matmul=matmul, bandwidth=bandwidth)
    assert any(said in note for note in waterfall_table(made).notes)
    (table,) = predicted_tables([made, record()])
    assert [row["drift_fraction"] for row in table.rows] == [pytest.approx(bandwidth - 1), None]
    assert not any("After the run" in note for note in waterfall_table(record()).notes)


class TestPredictions:
    """Predicted beside measured, over records: steps of one second, predicted as 0.85 s, 0.9 s and 1.3 s."""

    RECORDS = (record("prefill"), record("decode", parts={"host": 0.3}), record("train", parts={"host": 0.7}))

    def test_errors_are_predicted_over_measured_and_the_median_is_that_of_their_sizes(self) -> None:
        (table,) = predicted_tables(self.RECORDS)
        assert [row["error_fraction"] for row in table.rows] == pytest.approx([-0.15, -0.1, 0.3])
        assert [row["workload"].rpartition(", ")[2] for row in table.rows] == ["prefill", "decode", "train_step"]  # type: ignore[union-attr]
        assert table.facts["median_error_fraction"] == pytest.approx(0.15)
        assert table.facts["general_median_error_fraction"] == pytest.approx(0.8)
        assert table.notes[0] == "Median error 15.0 %; from the grid alone 80.0 %."

    def test_a_mark_stands_beside_the_median(self) -> None:
        (table,) = check_tables([], 0.1)
        assert table.notes[0].startswith("Median error – (mark: at most 10.0 %)")

    def test_records_without_a_prediction_are_no_rows_of_it(self) -> None:
        assert predicted_tables([tiny_models.record("prefill")]) == []
        *waterfalls, predictions = waterfall_tables([*self.RECORDS, tiny_models.record("prefill")])
        assert len(waterfalls) == len(predictions.rows) == 3
