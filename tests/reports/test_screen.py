"""One screen: nothing passes the width or the height, nothing is lost unsaid."""

import pytest

from estimators.printable import num_columns
from reports.screen import HEIGHT, MIN_ROWS, Screen, columns_kept, screen_lines
from reports.table import Column, Table

WIDTHS = (60, 80, 100, 140)
LONG = "owner/" + "very-long-model-name-that-nobody-can-type" * 4
"""A name that is wider than any terminal."""

WIDE = "深度学习模型训练成本" * 8
"""The same in characters that take two columns."""


def table(name: str = "h100", *, num_rows: int = 4) -> Table:
    return Table(
        title="A title that is not shown",
        conditions=["a condition that is not shown"],
        columns=[
            Column(key="device", header="device"),
            Column(key="energy_j", header="energy", align="right"),
            Column(key="days", header="days", align="right"),
            Column(key="usd", header="cost", align="right"),
            Column(key="source", header="source", raw=True),
            *(Column(key=f"extra_{i}", header=f"another figure {i}", align="right") for i in range(6)),
        ],
        rows=[{"device": f"{name}-{i}", "energy_j": 1.5, "days": i, "usd": 1000 + i, "source": "s"} for i in range(num_rows)],
        notes=["a note that is not shown"],
    )


KEPT = ("device", "days", "usd", "energy_j", *(f"extra_{i}" for i in range(6)))


def lines(screen: Screen, width: int) -> list[str]:
    return [line for line, _ in screen_lines(screen, width, num_tables=3)]


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", ["h100", LONG, WIDE])
def test_nothing_passes_the_width_and_no_name_is_cut(width: int, name: str) -> None:
    screen = Screen(
        answer=f"Training {name} takes 4.76 days",
        lead=[f"Plan with {name} days."],
        table=columns_kept(table(name), *KEPT),
        doubts=[f"Doubt {name}."],
        notes=[f"{name} is {name}."],
        more=[f"--explain ({name})"],
    )
    shown = [line for line, _ in screen_lines(screen, width, num_tables=3, height=1000)]
    assert max(map(num_columns, shown)) <= width
    whole = "".join(part.strip() for part in shown).replace(" ", "")
    assert whole.count(name.replace(" ", "")) == 6 + len(table().rows)


def test_the_first_line_is_the_answer_and_the_last_says_what_more_there_is() -> None:
    screen = Screen(
        answer="4.76 days", lead=["Plan with 7 days."], table=columns_kept(table(), "device"), notes=["n"], more=["--explain (how)"]
    )
    shown = lines(screen, 100)
    assert shown[:3] == ["4.76 days", "Plan with 7 days.", ""]
    assert shown[-2:] == ["n", "more: --explain (how), -v (everything, 3 tables), --format json"]


def test_columns_give_way_the_least_important_first_and_it_is_said() -> None:
    screen = Screen(answer="a", table=columns_kept(table(), *KEPT))
    assert "hidden" not in "\n".join(lines(screen, 140))
    narrower = lines(screen, 100)
    assert " ".join(narrower[2].split()) == ("device energy days cost another figure 0 another figure 1 another figure 2 another figure 3")
    assert "2 columns hidden (another figure 4, another figure 5): a wider terminal or -v" in narrower


def test_columns_that_never_give_way_become_records() -> None:
    wide = columns_kept(table("x" * 70), "device", "days", "usd", always=3)
    shown = lines(Screen(answer="a", table=wide), 60)
    assert shown[2:6] == ["x" * 58, "  " + "x" * 12 + "-0", "  days  0", "  cost  1000"]


def test_rows_that_do_not_fit_are_counted() -> None:
    shown = lines(Screen(answer="a", table=columns_kept(table(num_rows=100), *KEPT), notes=["n"]), 100)
    assert len(shown) == HEIGHT
    rows = [line for line in shown if line.startswith("h100-")]
    assert f"{100 - len(rows)} more rows: -v" in shown


def test_a_few_rows_stay_however_much_is_said_around_them() -> None:
    shown = lines(Screen(answer="a", table=columns_kept(table(num_rows=9), "device"), notes=["n"] * 40), 100)
    assert [line for line in shown if line.startswith("h100-")] == ["h100-0", "h100-1", "h100-2"]
    assert MIN_ROWS == 3
    assert "6 more rows: -v" in shown


def test_what_was_asked_for_is_shown_whole_below_the_answer() -> None:
    shown = lines(Screen(answer="a", table=columns_kept(table(), "device"), asked=[table(num_rows=50)]), 100)
    assert sum(line.startswith("h100-") for line in shown) == 54
    assert shown.index("A title that is not shown") > 5
    assert shown[-1].startswith("more: ")


def test_what_failed_is_marked_and_a_control_character_acts_nowhere() -> None:
    screen = Screen(answer="does not fit\x1b[2J", doubts=["too large"], notes=["n"], failed=True)
    assert screen_lines(screen, 100, num_tables=1) == [
        ("does not fit\\x1b[2J", "doubt"),
        ("", ""),
        ("too large", "doubt"),
        ("n", ""),
        ("more: -v (everything), --format json", ""),
    ]
