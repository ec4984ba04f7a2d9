"""Pages of runs and comparisons: pictures of what the gallery's records lack, thousands of samples, and where the roofs lie by hand."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from bench.cli.main import main
from bench.records.draft import write
from bench.records.estimated import Estimated, PartsOfStep, PredictedStep
from bench.records.record import Measurement, Phase
from bench.statistics.comparison import compare
from bench.statistics.noise_floor import NoiseFloor
from bench.statistics.rates import MAIN_PHASE
from reports.pages.comparing import comparing_pictures
from reports.pages.running import running_pictures
from reports.roofline import Roof, roofline
from reports.table import Table
from reports.views.records.distributions import distributions_table, ratios_table
from reports.views.records.engineer import around
from tests.support.changed_records import A100
from tests.support.pictured import axes_not_said, figure_of, points_not_held, words_not_held
from tests.support.tiny_models import record

pytest.importorskip("matplotlib")

LOCAL = PredictedStep(
    phase="train_step",
    seconds_s=0.8,
    general_seconds_s=0.9,
    general_extrapolated_fraction=0.5,
    parts_s=PartsOfStep(matmul=0.3, attention=0.1, memory=0.2, optimizer=0.1, host=0.1),
    num_ops=100,
    basis_fraction={"exact": 1.0},
    weakest=(),
    calibrated_utc="2026-01-01T00:00:00+00:00",
    profiled_s={"matmul": 0.25},
)


def trained(samples_s: tuple[float, ...] = (1.0, 1.1), warmup_s: tuple[float, ...] = (1.5,), **fields: object) -> Measurement:
    made = record("train", hardware=A100, **fields)
    phase = Phase(name="train_step", samples_s=samples_s, warmup_s=warmup_s, items_per_sample=8)
    return dataclasses.replace(made, phases=(phase,), estimate=made.estimate | Estimated(local=LOCAL))


def tables_of(made: Measurement) -> list[Table]:
    beside = around([made], one=True)
    return [*beside.tables, *beside.data]


def test_a_roof_is_bandwidth_up_to_its_ridge_and_the_peak_beyond() -> None:
    """100 FLOP/s over 20 bytes/s is a ridge at 5 FLOP per byte: 20 x 1 before it, 100 after it."""
    assert Roof(name="a", flop_per_s=100.0, bytes_per_s=20.0).corners(1.0, 50.0) == [(1.0, 20.0), (5.0, 100.0), (50.0, 100.0)]
    assert Roof(name="a", flop_per_s=100.0, bytes_per_s=20.0).corners(6.0, 50.0) == [(6.0, 100.0), (50.0, 100.0)]


def test_classes_have_the_time_that_was_profiled_else_the_predicted_one_and_their_flop_are_the_steps() -> None:
    made = trained()
    found = roofline(made)
    assert not isinstance(found, str)
    points = {point.name: point for point in found.points}
    assert [(points[name].seconds_s, points[name].tag) for name in ("matmul", "attention")] == [(0.25, "measured"), (0.1, "estimated")]
    assert points["matmul"].flop + points["attention"].flop == points["the step"].flop == made.estimate.phases["train_step"].flop.full
    assert [roof.name for roof in found.roofs] == ["measured", "datasheet"]


def test_a_record_whose_count_its_configuration_does_not_give_has_no_roofline() -> None:
    made = trained()
    other = made.request.replaced(batch=(made.request.batch or 1) + 1)
    assert "does not give" in str(roofline(dataclasses.replace(made, request=other)))
    assert roofline(dataclasses.replace(made, request=made.request.replaced(config=None))) == "the record has no configuration"


def test_every_picture_of_a_run_shows_its_table_alone_roofs_of_the_datasheet_too() -> None:
    tables = tables_of(trained())
    pictures = running_pictures(tables)
    assert [picture.table for picture in pictures] == ["waterfall", "samples", "roofline", "step_memory"]
    for picture in pictures:
        figure, table = figure_of(picture, tables), picture.table_in(tables)
        assert points_not_held(figure, table) == [], picture.title
        assert words_not_held(figure, table) == [], picture.title
        assert axes_not_said(figure, table) == [], picture.title


def test_what_to_fix_first_is_the_part_that_takes_most_beside_the_bound() -> None:
    (line,), (first, *_) = around([trained()], one=True).lines, tables_of(trained())
    shares = [abs(float(row["seconds_s"])) for row in first.rows]  # type: ignore[arg-type]
    assert first.key == "fix_first"
    assert shares == sorted(shares, reverse=True)
    assert str(first.rows[0]["part"]) in line
    assert str(first.rows[0]["advice"]) in line


def test_thousands_of_samples_make_no_large_page(tmp_path: Path) -> None:
    made = trained(tuple(1 + (number * 7919 % 1000) / 5000 for number in range(20_000)))
    write(made, tmp_path / "record.json")
    assert main(["report", str(tmp_path / "record.json"), "--output", str(tmp_path / "page.html")]) in (0, 1)
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert page.count("<svg") == 4
    assert len(page.encode()) < 400_000


def test_a_comparison_shows_both_sides_with_the_noise_floor() -> None:
    a, b = ([trained(tuple(scale * (1 + number % 7 / 100) for number in range(70)))] for scale in (1.0, 1.1))
    floor = NoiseFloor(fraction=0.02, detectable_fraction=0.03, rounds=5, machine="here", run_id="floor")
    compared = compare(a, b, main_phase=MAIN_PHASE, floor=floor)
    tables = [distributions_table(compared, a, b, scale=None, across=()), ratios_table(compared)]
    assert [len([row for row in tables[0].rows if row["side"] == side]) for side in "AB"] == [70, 70]
    assert tables[1].rows[0]["ratio"] == pytest.approx(1.1)
    pictures = comparing_pictures(tables)
    assert [picture.table for picture in pictures] == ["distributions", "ratios"]
    for picture in pictures:
        figure, table = figure_of(picture, tables), picture.table_in(tables)
        assert points_not_held(figure, table) == [], picture.title
        assert words_not_held(figure, table) == [], picture.title
        assert axes_not_said(figure, table) == [], picture.title
        assert "noise floor: 2.0 %" in picture.svg(tables)


def test_a_noise_floor_of_a_busy_machine_leaves_the_samples_their_room() -> None:
    a, b = ([trained(tuple(scale * (1 + number % 7 / 100) for number in range(70)))] for scale in (1.0, 1.1))
    floor = NoiseFloor(fraction=1600.0, detectable_fraction=4000.0, rounds=5, machine="here", run_id="floor")
    compared = compare(a, b, main_phase=MAIN_PHASE, floor=floor)
    samples, ratios = distributions_table(compared, a, b, scale=None, across=()), ratios_table(compared)
    of_samples, of_ratios = comparing_pictures([samples, ratios])
    axes = figure_of(of_samples, [samples]).axes[0]
    assert axes.get_xlim()[1] < 1.5
    figure = figure_of(of_ratios, [ratios])
    assert axes_not_said(figure, ratios) == []
    assert len(figure.axes[0].get_xticks()) <= 7


def test_json_holds_every_sample_that_the_picture_shows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(trained(), tmp_path / "record.json")
    assert main(["report", str(tmp_path / "record.json"), "--json"]) in (0, 1)
    shown = capsys.readouterr().out
    assert re.findall(r'"samples": \{', shown) == ['"samples": {']
    assert '"warmup": true' in shown
