"""One run in every format: Llama 3 8B on 8 H100 SXM, sequences of 4,096, micro-batch 4, no accumulation, 1.93 s a step.

By hand: 4 x 8 x 4,096 = 131,072 tokens a step; over 1.93 s 67,912.95 tokens/s of the job, 8,489.12 of a GPU. Llama 3 8B has 51.47 GFLOP
a token with the whole attention square, 48.25 with half of it: 436.9 and 409.6 TFLOP/s of 989.5, 44.2 and 41.4 %. The lines are those
that each tool prints, in the versions that docs/diagnose.md names.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from estimators.diagnosis.answer import Diagnosis, diagnose
from estimators.diagnosis.observed import Observed, Setting
from estimators.diagnosis.question import question_of
from estimators.diagnosis.readers.formats import observed_in
from estimators.frozen import replace

RUNS = Path(__file__).parent / "runs"
TOKENS_PER_S = 4 * 8 * 4096 / 1.93
ALONE = Setting(model="llama-3-8b", hardware="h100-sxm5-80gb", num_devices=8, seq_len=4096, micro_batch=4, accumulation=1)

READ: dict[str, tuple[str, str, float]] = {
    "trainer_state.json": ("tokens_per_s", "job", 13107200 / 193.0),
    "trainer_log.jsonl": ("tokens_per_s", "job", 67913.0),
    "logging.jsonl": ("step_time_s", "job", 1.93),
    "axolotl.log": ("tokens_per_s", "device", 8489.14),
    "metrics.csv": ("tokens_per_s", "device", 8489.1),
    "composer.jsonl": ("tokens_per_s", "device", 8489.12),
    "nanogpt.log": ("step_time_s", "job", 1.93),
    "nanochat.log": ("tokens_per_s", "job", 67912.0),
    "torchtitan.log": ("tokens_per_s", "device", 8489.0),
    "megatron.log": ("step_time_s", "job", 1.93),
    "bridge.log": ("step_time_s", "job", 1.93),
    "deepspeed.log": ("samples_per_s", "job", 16.58),
    "tqdm.log": ("step_time_s", "job", 1.93),
    "wandb.csv": ("tokens_per_s", "job", 67912.0),
}
"""The figure that is asked about, as the format has it."""


def observed(name: str) -> Observed:
    return observed_in(str(RUNS / name))


def diagnosed(name: str, said: Setting = ALONE) -> Diagnosis:
    read = observed(name)
    return diagnose(question_of(replace(read, setting=said.filled(read.setting))))


def test_every_fixture_is_looked_at() -> None:
    assert {path.name for path in RUNS.iterdir()} == set(READ)


@pytest.mark.parametrize("name", READ)
def test_unit_and_scope_are_the_formats(name: str) -> None:
    main = observed(name).figures[0]
    assert (main.quantity, main.scope) == READ[name][:2]
    assert main.value == pytest.approx(READ[name][2], rel=1e-12)


@pytest.mark.parametrize("name", READ)
def test_all_say_the_same_run_to_the_last_digit_that_each_holds(name: str) -> None:
    """Half of the last printed digit is what a format leaves open; int() of nanochat and W&B cuts, which is a whole one, and
    axolotl's line, of another window of time, is off by two."""
    found = diagnosed(name)
    counts, peak, main = found.counts, found.question.peak_flop_per_s, found.question.main
    assert main is not None
    assert counts is not None
    assert peak is not None
    assert found.items_per_s is not None
    left_open = main.relative_error * {"nanochat.log": 2, "wandb.csv": 2, "axolotl.log": 5}.get(name, 1)
    assert main.digits >= 3
    assert found.items_per_s * 8 == pytest.approx(TOKENS_PER_S, rel=left_open)
    assert found.items_per_s == pytest.approx(8489.12, rel=left_open)
    assert round(100 * found.items_per_s * counts.full / peak, 1) == 44.2
    assert round(100 * found.items_per_s * counts.causal / peak, 1) == 41.4
    assert found.verdict == "NORMAL"


@pytest.mark.parametrize("name", READ)
def test_what_was_read_is_said(name: str) -> None:
    read = observed(name)
    assert read.read
    assert all(figure.source for figure in read.figures)
    assert read.notes


@pytest.mark.parametrize("name", [name for name, (_, scope, _) in READ.items() if scope == "job"])
def test_a_jobs_figure_is_no_devices_where_nobody_counts_the_devices(name: str) -> None:
    """What a device's figure beside it says is of the device; else there is none."""
    found = diagnosed(name, replace(ALONE, num_devices=None))
    beside = {figure.quantity for figure in found.question.observed.figures if figure.scope == "device"} - {"mfu_fraction"}
    if name in ("nanochat.log", *(["megatron.log", "bridge.log"] if beside else [])):
        assert found.items_per_s == pytest.approx(8489.12, rel=1e-3)
    else:
        assert (found.verdict, found.items_per_s, found.mfu) == ("UNKNOWN", None, None)
    assert any("--gpus" in each.flag for each in found.missing)


@pytest.mark.parametrize("name", [name for name, (_, scope, _) in READ.items() if scope == "device"])
def test_a_devices_figure_needs_no_count_of_them(name: str) -> None:
    assert diagnosed(name, replace(ALONE, num_devices=None, micro_batch=None, accumulation=None)).items_per_s == pytest.approx(
        8489.12, rel=1e-4
    )


def test_what_nanogpt_prints_is_impossible_though_the_run_is_normal() -> None:
    """312 TFLOP/s stand in its code; 148.62 % of them are 46.9 % of an H100's 989.5."""
    from reports.views.diagnosis.diagnosis import as_printed

    found = diagnosed("nanogpt.log")
    assert found.verdict == "NORMAL"
    (said,) = as_printed(found)
    assert "149 % of peak, as printed, is IMPOSSIBLE" in said
    assert "46.9 %" in said


def test_what_ms_swift_prints_of_a_peak_of_its_own_is_not_judged() -> None:
    read = observed("logging.jsonl")
    assert read.figure("mfu_fraction") is None
    assert any("MFU of 0.3863" in note for note in read.notes)


def test_the_batch_of_a_step_that_a_log_says_is_taken() -> None:
    assert observed("megatron.log").setting.global_batch == 32
    assert observed("trainer_state.json").setting.micro_batch == 4
