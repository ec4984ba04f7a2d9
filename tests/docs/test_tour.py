"""What the tour and the plan say in sentences follows from their commands, and from the papers."""

from __future__ import annotations

import json
import shlex
from typing import Any

import pytest

from bench.cli.main import main
from estimators.counting.formulas import six_nd
from estimators.facts.registry import hardware
from estimators.units import DAY_S
from tests.support.checkout import ROOT

TOUR, PLANNING = ((ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("tour.md", "planning.md"))
SAYS = " ".join(TOUR.split())
"""The tour with its line breaks taken out."""


def answer(command: str, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    assert main([*shlex.split(command), "--format", "json"]) == 0
    return dict(json.loads(capsys.readouterr().out))


def in_powers(flop: int) -> str:
    return f"{flop:.3e}".replace("e+", "e")


GPT_3 = "estimate --model gpt-3 --tokens 300B --hardware a100-sxm4-80gb --gpus 1024 --utilization 0.45"


def test_what_is_said_of_gpt_3_follows_from_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    facts = answer(GPT_3, capsys)
    assert facts["params"] == 174_604_259_328
    flop = facts["training_flop_by_convention"]
    # Brown et al. 2020 (arXiv 2005.14165), table D.1, last row: 3.14E+23.
    assert f"The paper's table D.1 gives 3.14e23 FLOP: that is 6·N·D, which is {in_powers(flop['6nd'])}" in SAYS
    assert f"exact N of {facts['params']:,}. All matrix products together are {in_powers(flop['full'])}" in SAYS


def test_what_is_said_of_conventions_is_worth_a_week(capsys: pytest.CaptureFixture[str]) -> None:
    full, busy = (answer(f"{GPT_3} --convention {name}", capsys)["wall_days"] for name in ("full", "hardware"))
    assert f"(`--convention hardware`), 45 % gives {busy:.1f} days; counted full it gives {full:.1f}." in SAYS
    # Narayanan et al. 2021 (arXiv 2104.04473), section 5.1: 34 days at 140 TFLOP/s, which is 44.9 % of 312. The paper's 8·T·P/(n·X)
    # leaves out attention and head, so it is some percent lower than the exact count.
    assert busy == pytest.approx(34, rel=0.03)
    assert 7 < busy - full < 10


# Brown et al. 2020 (arXiv 2005.14165), table D.1: parameters in millions, total train compute in FLOP.
TABLE_D1 = {
    "gpt-3-small": (125, "2.250e+20"),
    "gpt-3-medium": (356, "6.410e+20"),
    "gpt-3-large": (760, "1.370e+21"),
    "gpt-3-xl": (1_320, "2.380e+21"),
    "gpt-3-2.7b": (2_650, "4.770e+21"),
    "gpt-3-6.7b": (6_660, "1.200e+22"),
    "gpt-3-13b": (12_850, "2.310e+22"),
    "gpt-3-175b": (174_600, "3.140e+23"),
}


def test_the_eight_rows_of_table_d1_are_the_papers_and_six_nd_agrees_to_their_digits() -> None:
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in TOUR.splitlines() if line.startswith("| gpt-3-")]
    assert [row[0] for row in rows] == list(TABLE_D1)
    for name, params, paper, six_nd_flop, ratio, *_ in rows:
        millions, printed = TABLE_D1[name]
        assert paper == printed
        # The paper's XL is 0.33 % above what its shape has; all others round to the printed million, or to the printed ten.
        assert int(params.replace(",", "")) == pytest.approx(millions * 10**6, rel=0.0035)
        # That 0.33 %, and up to 0.22 % by rounding to three digits.
        assert float(six_nd_flop) == pytest.approx(float(printed), rel=0.0055)
        assert float(ratio) == pytest.approx(float(six_nd_flop) / float(printed), abs=6e-4)


PHI_2 = "estimate --model phi-2 --tokens 1.4T --hardware a100-sxm4-80gb --gpus 96 --days 14"


def test_what_is_said_of_phi_2_follows_from_its_card(capsys: pytest.CaptureFixture[str]) -> None:
    facts = answer(PHI_2, capsys)
    assert facts["claimed_gpu_days"] == 96 * 14 == 1344
    assert "14 days on 96 A100-80G, which are 1,344 GPU-days" in SAYS
    device_flop = 1344 * DAY_S * hardware("a100-sxm4-80gb").peak("bf16")
    # The card's own figures: 2.7B parameters, 1.4T tokens.
    rounded, exact = (100 * six_nd(params, 1_400_000_000_000) / device_flop for params in (2_700_000_000, 2_779_683_840))
    assert f"6·N·D gives {rounded:.1f} % instead of {exact:.1f} %" in SAYS
    assert f"compare with the {100 * facts['implied_utilization_fraction_by_convention']['full']:.1f} %" in SAYS
    # "would be printed the same and imply 60 %"
    later = 100 * six_nd(2_779_683_840, 1_350_000_000_000) / (device_flop * 14.5 / 14)
    assert f"{later:.0f} %" == "60 %"


PLAN = "estimate --model llama-3-8b --tokens 2T --hardware h100-sxm5-80gb --gpus 256 --global-batch 4M"


def test_what_is_said_of_the_fortnight_follows_from_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert f"$ python -m bench {PLAN} -v\n" in PLANNING
    facts = answer(PLAN, capsys)
    # "The steady steps leave days to spare"
    assert facts["days_high"] < 12
    # "'plan with' ... is the whole fortnight, and the worst that it allows for half as long again"
    assert facts["plan_with_days"] == pytest.approx(14, abs=0.5)
    assert facts["plan_at_worst_days"] / facts["plan_with_days"] == pytest.approx(1.5, abs=0.1)
    # "the hours to sign for are those of the worst"
    assert facts["sign_for_gpu_hours"] == pytest.approx(facts["plan_at_worst_days"] * 24 * 256)
    # "A run that went as badly as OPT-175B's ... would pass it, too"
    (worst,) = (row for row in facts["allowance"]["rows"] if row["run"] == "OPT-175B")
    assert worst["wall_days"] > 14
    # "little is left to hide in communication, so more bandwidth buys little, and a lower precision much"
    exposed = sum(seconds for part, seconds in facts["ledger"].items() if part.endswith("_comm"))
    assert exposed < 0.1 * facts["step_time_s"]
    assert answer(f"{PLAN} --network 400GB/s", capsys)["days"] > 0.95 * facts["days"]
    assert answer(f"{PLAN} --dtype fp8", capsys)["days"] < 0.8 * facts["days"]


def test_the_range_of_published_runs_is_as_wide_as_said(capsys: pytest.CaptureFixture[str]) -> None:
    low, _, high = (
        row["utilization_fraction"] for row in answer("estimate --model t5-3b --tokens 300B --hardware a100-sxm4-80gb", capsys)["rows"]
    )
    assert "from under a quarter to over a half of the peak" in " ".join(PLANNING.split())
    assert low < 0.25 < 0.5 < high
