"""What is measured and looked up fits one screen: 30 lines at 100 columns, nothing wider than the terminal, all of it with -v."""

from __future__ import annotations

import dataclasses
import re
import shlex

import pytest

from bench.cli import output
from bench.cli.list import KINDS
from bench.cli.main import main
from bench.records.asked import Asked
from bench.records.learning import Learning
from bench.records.record import Measurement, read
from estimators.printable import num_columns
from reports.checks.crosscheck import crosscheck, failed
from reports.screen import HEIGHT, Screen
from reports.views.records.calibration import CheckedStep, calibration_tables, check_tables
from reports.views.records.calibration_screen import calibration_screen, check_screen
from reports.views.records.measured import tables as run_tables
from reports.views.records.records_screen import run_screen, selftest_screen
from reports.views.records.selftest import tables as selftest_tables
from tests.support import calibrations
from tests.support.changed_records import with_count
from tests.support.checkout import ROOT
from tests.support.screens import WIDTHS, Emitted, demand_one_screen
from tests.support.selftest_records import selftest_record

SUITE = ROOT / "results" / "cpu-amd-epyc" / "suite"
PHI_2 = min(SUITE.glob("*phi-2-generate*.json"))
LINREG = min(SUITE.glob("*linreg-1d*.json"))

ANSWERS = {
    "show phi-2": "Operations of phi-2: 12.22 TFLOP forward, 2,779,683,840 parameters",
    "show deepseek-v3 --phase decode": "parameters",
    "show gpt2 --convention all": "gpt2",
    "show resnet-50": "parameters",
    "show mlp": "parameters",
    f"report {SUITE}": "records: ",
    f"report {PHI_2}": "phi-2: whole generation in 15.3 s (measured)",
    f"report {LINREG}": "linreg-1d: training step in",
    f"compare {SUITE} {SUITE}": "AMBIGUOUS: ",
    "doctor": "A measurement here",
    "validate --rows estimators/facts/data/measured/memory.csv": "Predicted step times are off by",
}
"""A command -> what the first line of its answer says."""


@pytest.mark.parametrize("words", ANSWERS)
def test_an_answer_is_one_screen_at_any_width(words: str, emitted: Emitted) -> None:
    assert main(shlex.split(words)) in (0, 1)
    ((tables, screen),) = emitted
    assert screen is not None
    demand_one_screen(screen, len(tables), answer=re.escape(ANSWERS[words]))


@pytest.mark.parametrize("kind", ["", *KINDS])
def test_a_list_is_one_screen_in_a_terminal_and_whole_in_a_pipe(
    kind: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for width in WIDTHS:
        monkeypatch.setenv("COLUMNS", str(width))
        assert main(["list", *kind.split()]) == 0
        printed = capsys.readouterr().out.splitlines()
        assert max(map(num_columns, printed)) <= width
        assert not any("more rows: -v" in line for line in printed)
    monkeypatch.setattr(output.terminal, "is_one", lambda stream: True)
    monkeypatch.setenv("COLUMNS", "100")
    assert main(["list", *kind.split()]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert len(shown) <= HEIGHT
    assert any("more row" in line for line in shown) or kind not in ("models", "hardware")


@pytest.mark.parametrize("words", [["show", "gpt2"], ["report", str(PHI_2)], ["report", str(SUITE)], ["list", "hardware"], ["doctor"]])
def test_with_v_every_table_is_there(
    words: list[str],
    capsys: pytest.CaptureFixture[str],
    emitted: Emitted,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    main(words)
    ((tables, screen),) = emitted
    monkeypatch.undo()
    main([*words, "-v"])
    whole = capsys.readouterr().out
    for table in tables:
        assert table.title[:30] in whole
        for column in table.shown:
            assert column.header.split()[0] in whole if column.header else True
    assert "-v (everything" not in whole
    main([*words, "-q"])
    assert screen is not None
    assert len(capsys.readouterr().out.splitlines()) == 1


class TestARun:
    """On the record of phi-2 that the repository holds: 24 checks hold, and its weights were random."""

    @pytest.fixture
    def record(self) -> Measurement:
        return read(PHI_2)

    def test_says_where_the_time_went_and_that_its_checks_hold(self, record: Measurement) -> None:
        screen = run_screen(record, run_tables(record))
        assert screen.table is not None
        assert screen.table.title == "Where the time went"
        assert "24 checks hold" in screen.notes
        assert screen.doubts == [f"{finding.code}: {finding.text}" for finding in record.warnings]
        assert not screen.failed

    def test_of_random_weights_says_how_to_get_a_real_text(self, record: Measurement) -> None:
        lines = run_screen(record, run_tables(record)).notes
        assert any(
            "noise; the time is real" in line and "hf download microsoft/phi-2" in line and "--weights FOLDER" in line for line in lines
        )

    def test_of_real_weights_shows_what_was_written(self, record: Measurement) -> None:
        learned = record.learning | Learning(output_text="colourless green ideas")
        asked = Asked(**{**record.request.stated(), "weights_label": "weights of microsoft/phi-2"})
        written = dataclasses.replace(record, learning=learned, request=asked)
        screen = run_screen(written, run_tables(written))
        assert screen.notes[-1] == "It wrote: 'colourless green ideas'"
        demand_one_screen(screen)

    def test_whose_check_fails_shows_it_in_full(self, record: Measurement) -> None:
        broken = with_count(record, 0, value=1)
        bad = failed(crosscheck(broken))
        assert bad
        screen = run_screen(broken, run_tables(broken))
        assert screen.failed
        for check in bad:
            assert any(line.startswith(f"FAILED phi-2, {check.metric}: expected ") for line in screen.doubts)
        assert any(f"{len(bad)} FAILED" in note for note in screen.notes)
        demand_one_screen(screen)


def test_a_selftest_is_one_screen() -> None:
    record = selftest_record()
    screen = selftest_screen(record, selftest_tables(record))
    assert screen.answer.startswith("Self-test: differences from")
    demand_one_screen(screen)


@pytest.mark.parametrize("made", [calibrations.whole, calibrations.of_an_h100])
def test_a_calibration_is_one_screen(made: object) -> None:
    tables = calibration_tables(made())  # type: ignore[operator]
    screen = calibration_screen(tables)
    assert screen.answer.startswith("Calibrated: ")
    demand_one_screen(screen, len(tables))


def test_a_check_of_a_calibration_is_one_screen_and_fails_without_an_error() -> None:
    rows = [CheckedStep(name=f"model-{number}, training step", prediction=None, record=None, reason="no memory") for number in range(12)]
    screen = check_screen(check_tables(rows, 0.1))
    assert screen.answer.startswith("Median error –")
    assert screen.failed
    demand_one_screen(screen)


def test_a_screen_that_is_too_long_would_be_found() -> None:
    with pytest.raises(AssertionError):
        demand_one_screen(Screen(answer="long", lead=[f"line {number}" for number in range(HEIGHT)]))
