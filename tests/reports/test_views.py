"""Tables and their renderings: raw values for machines, readable ones for people, nothing lost on the way."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estimators.facts.percentile import peers
from estimators.facts.prices import Price, price_range
from estimators.facts.registry import hardware, prices
from estimators.spec import Source
from reports.render import RENDERERS, render
from reports.table import Column, Table

MEMORY = Table(
    title="Memory of a model",
    conditions=("batch 1", "bf16"),
    columns=(
        Column(key="part", header="part"),
        Column(key="memory_bytes", header="memory", format=lambda v: f"{v / 2**30:.1f} GiB", align="right"),
        Column(key="source", header="source", raw=True),
    ),
    rows=({"part": "weights", "memory_bytes": 2**31, "source": "op table"}, {"part": "cache", "memory_bytes": None}),
    notes=("One note.",),
    facts={"params": 10**30},
    key="memory",
)
RULES = Table(
    title="Rules",
    columns=(Column(key="rule", header="rule", once=True), Column(key="part", header="part"), Column(key="memory_bytes", header="memory")),
    rows=({"rule": "a", "part": "x"}, {"rule": "a", "part": "y"}, {"rule": "b", "part": "z"}),
    key="rules",
)


def rows_of_csv(rendered: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(rendered)))


class TestText:
    def test_the_whole_table(self) -> None:
        assert render([MEMORY], "text") == (
            "Memory of a model\n  batch 1\n  bf16\n\npart      memory\n-------  -------\nweights  2.0 GiB\ncache          –\n\nOne note."
        )

    def test_a_repeated_value_is_printed_once(self) -> None:
        lines = render([RULES], "text").splitlines()
        assert [line.split()[0] for line in lines[-3:]] == ["a", "y", "b"]

    @pytest.mark.parametrize("width", [60, 80, 100, 140])
    def test_long_cells_wrap_at_the_width(self, width: int) -> None:
        long = replace(RULES, rows=[{"rule": "word " * 30, "part": "another " * 30}], notes=["note " * 60], conditions=["condition " * 40])
        lines = long.text(width).splitlines()
        assert max(map(len, lines)) <= width
        assert " ".join(lines).count("word") == 30
        assert " ".join(lines).count("another") == 30

    def test_without_a_width_nothing_wraps(self) -> None:
        assert "word " * 29 + "word" in replace(RULES, rows=[{"rule": ("word " * 30).strip(), "part": "x"}]).text()

    def test_a_word_longer_than_the_column_stays_whole(self) -> None:
        address = "https://example.org/" + "x" * 200
        assert address in replace(RULES, rows=[{"rule": address, "part": "some words beside it"}]).text(60)

    def test_wide_characters_take_two_columns(self) -> None:
        lines = replace(RULES, rows=[{"rule": "深度学习是", "part": "x"}, {"rule": "abcdefghij", "part": "y"}]).text().splitlines()
        assert lines[-2].index("x") + 5 == lines[-1].index("y")

    @given(st.lists(st.tuples(st.text("ab c", max_size=60), st.integers(0, 10**12)), min_size=1, max_size=5), st.integers(40, 140))
    def test_columns_line_up_at_any_width(self, cells: list[tuple[str, int]], width: int) -> None:
        columns = (Column(key="word", header="word"), Column(key="number", header="number", format=str, align="right"))
        table = Table(title="t", columns=columns, rows=[{"word": word, "number": number} for word, number in cells])
        lines = table.text(width).splitlines()[2:]
        edge = len(lines[1])
        assert all(len(line) <= edge for line in lines)
        numbers = [line for line in lines[2:] if line and line[-1].isdigit()]
        assert [int(line.split()[-1]) for line in numbers] == [number for _, number in cells]
        assert all(len(line) == edge for line in numbers)


class TestMachines:
    def test_json_has_facts_on_top_raw_values_and_null_for_missing(self) -> None:
        body = json.loads(render([MEMORY], "json"))
        assert body["params"] == 10**30
        assert body["rows"][0] == {"part": "weights", "memory_bytes": 2**31, "source": "op table"}
        assert body["rows"][1]["memory_bytes"] is None
        assert body["conditions"] == ["batch 1", "bf16"]

    def test_later_tables_stand_under_their_key(self) -> None:
        body = json.loads(render([MEMORY, RULES], "json"))
        assert body["title"] == "Memory of a model"
        assert body["rules"]["rows"][2] == {"rule": "b", "part": "z", "memory_bytes": None}

    def test_tables_without_a_key_become_a_list(self) -> None:
        bodies = json.loads(render([MEMORY, replace(RULES, key="")], "json"))
        assert [body["title"] for body in bodies] == ["Memory of a model", "Rules"]

    @pytest.mark.parametrize("value", [float("nan"), float("inf")])
    def test_json_refuses_what_is_no_number(self, value: float) -> None:
        with pytest.raises(ValueError, match="not JSON compliant"):
            render([replace(MEMORY, facts={"share": value})], "json")

    def test_csv_of_one_table_has_its_columns(self) -> None:
        assert rows_of_csv(render([MEMORY], "csv")) == [
            {"part": "weights", "memory_bytes": "2147483648", "source": "op table"},
            {"part": "cache", "memory_bytes": "", "source": ""},
        ]

    def test_csv_of_several_tables_names_the_table_of_each_row(self) -> None:
        rows = rows_of_csv(render([MEMORY, RULES], "csv"))
        assert [row["table"] for row in rows] == ["memory", "memory", "rules", "rules", "rules"]
        assert [row["rule"] for row in rows] == ["", "", "a", "a", "b"]
        assert rows[3]["part"] == "y"

    def test_csv_quotes_what_would_break_it(self) -> None:
        rows = rows_of_csv(render([replace(RULES, rows=[{"rule": 'a,"b"\nc', "part": "x"}])], "csv"))
        assert rows[0]["rule"] == 'a,"b"\nc'

    def test_a_frame_holds_raw_values(self) -> None:
        frame = MEMORY.to_frame()
        assert list(frame.columns) == ["part", "memory_bytes", "source"]
        assert frame["memory_bytes"].iloc[0] == 2**31


class TestDocuments:
    @pytest.mark.parametrize("style", RENDERERS)
    def test_every_format_has_title_conditions_cells_and_notes(self, style: str) -> None:
        rendered = render([MEMORY], style)
        assert "weights" in rendered
        for words in ("Memory of a model", "bf16", "One note.") if style != "csv" else ():
            assert words in rendered

    def test_markdown_escapes_the_bar(self) -> None:
        assert r"a\|b" in render([replace(RULES, rows=[{"rule": "a|b", "part": "x"}])], "md")

    def test_a_summary_for_github_shows_the_first_title_and_folds_all_else_away(self) -> None:
        shown, folded = render([MEMORY, RULES], "github").split("<details><summary>All figures</summary>\n\n")
        assert shown == f"### {MEMORY.title}\n\n{' · '.join(MEMORY.conditions)}\n\n"
        assert folded.endswith("\n\n</details>")
        assert f"### {RULES.title}" in folded
        assert "- One note." in folded
        assert MEMORY.title not in folded

    def test_a_summary_for_github_takes_no_markup_and_tells_nobody(self) -> None:
        hostile = "</details><script>&@someone"
        rendered = render(
            [replace(RULES, title=hostile, conditions=[hostile], notes=[hostile], rows=[{"rule": hostile, "part": "x"}])], "github"
        )
        assert rendered.count("</details>") == 1
        assert rendered.count("&lt;/details>&lt;script>&amp;&#64;someone") == 4
        assert "@" not in rendered

    def test_html_escapes_markup_everywhere(self) -> None:
        hostile = "<script>"
        rendered = render(
            [replace(RULES, title=hostile, conditions=[hostile], notes=[hostile], rows=[{"rule": hostile, "part": "x"}])], "html"
        )
        assert hostile not in rendered
        assert rendered.count("&lt;script&gt;") == 4

    def test_latex_escapes_its_own_characters_everywhere(self) -> None:
        hostile = "50 % of $5 & a_b #1 {x} ^ ~ \\ --flag"
        rendered = render([replace(RULES, title=hostile, notes=[hostile], rows=[{"rule": hostile, "part": "x"}])], "latex")
        assert r"50 \% of \$5 \& a\_b \#1 \{x\}" in rendered
        caption, note = (line for line in rendered.splitlines() if line.startswith((r"\caption", r"\par\noindent")))
        for line in (caption, note):
            assert r"\textasciicircum{} \textasciitilde{} \textbackslash{} -{}-flag" in line

    def test_latex_is_one_table_each(self) -> None:
        rendered = render([MEMORY, RULES], "latex")
        for mark in (r"\begin{longtable}", r"\bottomrule", r"\caption", r"\end{longtable}"):
            assert rendered.count(mark) == 2

    def test_people_do_not_see_raw_columns(self) -> None:
        for style in ("text", "md", "html", "latex"):
            assert "op table" not in render([MEMORY], style)

    def test_a_table_without_rows_is_title_and_notes(self) -> None:
        for style in RENDERERS:
            assert render([replace(MEMORY, rows=())], style)


def price(kind: str, low: float, median: float, high: float) -> Price:
    return Price(
        hardware_id="x",
        provider_kind=kind,
        low_usd_per_gpu_hour=low,
        median_usd_per_gpu_hour=median,
        high_usd_per_gpu_hour=high,
        num_quotes=3,
        providers=("a", "b", "c"),
        first_seen="2026-05-24",
        last_seen="2026-09-27",
        source=Source(title="quotes"),
    )


class TestPrices:
    def test_the_range_spans_all_kinds_and_the_median_is_the_middle_one(self) -> None:
        found = price_range([price("hyperscaler", 3, 4, 5), price("neocloud", 1, 1.5, 6), price("marketplace", 0.5, 1, 2)])
        assert found is not None
        assert (found.low, found.median, found.high) == (0.5, 1.5, 6)
        assert "3 neocloud (median $1.50)" in found.source

    def test_of_two_kinds_it_is_between_them(self) -> None:
        found = price_range([price("hyperscaler", 3, 4, 5), price("neocloud", 1, 2, 6)])
        assert found is not None
        assert found.median == 3

    def test_no_quote_is_no_price(self) -> None:
        assert price_range([]) is None

    def test_the_registry_s_prices_are_in_order(self) -> None:
        found = price_range(prices("a100-sxm4-80gb"))
        assert found is not None
        assert 0 < found.low < found.median < found.high < 20


class TestPeers:
    def test_they_are_on_the_architecture_dense_and_possible(self) -> None:
        a100 = hardware("a100-sxm4-80gb")
        percentile = peers(a100, tokens=1, device_s=1.0)
        assert len(percentile) > 10
        shares = [share for share, _, _ in percentile]
        assert shares == sorted(shares, reverse=True)
        assert all(0 < share <= 1 for share in shares)
        assert {hardware(run.hardware_id).architecture for _, _, run in percentile} == {a100.architecture}
        assert all(run.active_params is None for _, _, run in percentile)

    def test_a_claim_is_not_its_own_witness(self) -> None:
        # Touvron et al. 2023 (arXiv 2302.13971), table 15: LLaMA 7B, 82,432 GPU-hours on A100-80GB, 1T tokens.
        a100 = hardware("a100-sxm4-80gb")

        def names(**claim: Any) -> set[str]:
            return {run.name for _, _, run in peers(a100, **claim)}

        others = names(tokens=1, device_s=1.0)
        assert others - names(tokens=10**12, device_s=82_432 * 3600.0) == {"LLaMA 7B"}
