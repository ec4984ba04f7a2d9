"""A fine-tuning on a data set: means over lengths against sums written out, waiting between devices, what frameworks do with samples."""

from __future__ import annotations

from typing import Any

import pytest

from estimators.errors import BadValueError
from estimators.facts.registry import hardware
from estimators.frozen import replace
from estimators.lengths import Lengths, lengths_of, stated_lengths
from estimators.method import TrainingMethod
from estimators.tuning.batches import padded
from estimators.tuning.data_training import DATA_PARTS, DataAnswer, DataTraining, train_on_data
from estimators.tuning.interval import interval
from estimators.tuning.job import TuningJob
from estimators.tuning.recipes import recipe
from estimators.tuning.step import tuning_step
from estimators.validation.model import shipped_model

A100 = hardware("a100-sxm4-80gb")


def job(framework: str = "trl", **fields: Any) -> TuningJob:
    made = {"method": TrainingMethod(rank=16), "seq_len": 1} | fields
    return TuningJob(model=shipped_model("llama-3.2-1b"), recipe=recipe(framework), **made)


def asked(lengths: Lengths, framework: str = "trl", *, job_fields: dict[str, Any] | None = None, **fields: Any) -> DataAnswer:
    made = job(framework, **(job_fields or {}))
    return train_on_data(DataTraining(job=made, hardware=A100, lengths=lengths, **{"max_length": 4096} | fields))


def test_samples_of_one_length_take_the_step_of_that_length() -> None:
    found = asked(lengths_of([512] * 64, source="64 alike"), job_fields={"micro_batch": 2, "accumulation": 4})
    alone = tuning_step(job(seq_len=512, micro_batch=2, accumulation=4), A100)
    assert found.step_time_s == pytest.approx(alone.step_time_s)
    assert (found.data.num_steps, found.wall_s) == (8, pytest.approx(8 * alone.step_time_s))


def test_the_mean_step_is_the_sum_over_lengths_of_batches() -> None:
    """Four lengths, batches of two in random order: each length of a longest sample by its share of the batches."""
    lengths = lengths_of([100, 300, 700, 1500] * 20, source="four lengths")
    found = asked(lengths, job_fields={"micro_batch": 2})
    batches = padded(lengths, 2).longest
    steps = {length: tuning_step(job(seq_len=length, micro_batch=2), A100).step_time_s for length, _ in batches}
    mean = sum(steps[length] * count for length, count in batches) / sum(count for _, count in batches)
    assert found.step_time_s == pytest.approx(mean)


def test_many_lengths_are_priced_at_a_few_and_come_out_as_all_of_them_would() -> None:
    lengths = stated_lengths(200, 300, 800)
    found = asked(lengths, job_fields={"micro_batch": 4})
    batches = padded(lengths, 4).longest
    assert len(batches) > 100
    steps = [tuning_step(job(seq_len=length, micro_batch=4), A100).step_time_s for length, _ in batches]
    mean = sum(seconds * count for seconds, (_, count) in zip(steps, batches, strict=True)) / sum(count for _, count in batches)
    assert found.step_time_s == pytest.approx(mean, rel=0.01)  # straight lines between them


def test_devices_wait_for_the_longest_samples_less_where_passes_add_up() -> None:
    lengths = stated_lengths(4000, 300, 900)
    one = asked(lengths)
    several = {a: asked(lengths, job_fields={"num_gpus": 4, "sharding": "ddp", "accumulation": a}) for a in (1, 16)}
    assert one.parts["wait"] == 0
    assert several[16].parts["wait"] == pytest.approx(4 * several[1].parts["wait"], rel=1e-6)  # the root of 16 passes
    alike = asked(lengths_of([300] * 64, source="alike"), job_fields={"num_gpus": 4, "sharding": "ddp"})
    assert alike.parts["wait"] == pytest.approx(0, abs=1e-6)


def test_frameworks_pack_and_treat_long_samples_as_they_do() -> None:
    lengths = lengths_of([100, 200, 900, 3000] * 8, source="some are long")
    packed = {
        name: asked(lengths, name, packs=True, max_length=1000).data.batching for name in ("trl", "axolotl", "llama-factory", "ms-swift")
    }
    assert {name: (b.packing, b.long_samples, b.pads_rows) for name, b in packed.items()} == {
        "trl": ("bfd", "cut", False),
        "axolotl": ("ffd", "drop", True),
        "llama-factory": ("ffd", "cut", True),
        "ms-swift": ("bfd", "drop", False),
    }
    plain = {name: asked(lengths, name, max_length=1000).data.batching.long_samples for name in ("trl", "axolotl", "transformers")}
    assert plain == {"trl": "cut", "axolotl": "drop", "transformers": "cut"}
    assert asked(lengths, "axolotl", max_length=1000, long_samples="split").data.lost_tokens == 0


def test_money_energy_and_memory_are_those_of_the_whole_run() -> None:
    found = asked(stated_lengths(1000, 300, 900), usd_per_gpu_hour=2.0, epochs=2, job_fields={"num_gpus": 2, "sharding": "ddp"})
    assert found.gpu_hours == pytest.approx(2 * found.wall_s / 3600)
    assert found.price is not None
    assert found.price.median == 2
    assert found.energy_j == pytest.approx(0.76 * 400 * 2 * found.wall_s)
    assert found.fit.job.seq_len == found.data.longest_row == min(4096, found.data.lengths.longest)
    assert set(found.parts) == set(DATA_PARTS)


def test_an_assumed_framework_and_no_measured_step_widen_the_interval() -> None:
    named, assumed = job("trl"), replace(job("unknown"), is_recipe_assumed=True)
    widths = [high / low for low, high in (interval(named, calibrated=True), interval(named), interval(assumed))]
    assert interval(named)[0] < 1 < interval(named)[1]
    assert widths[1] < widths[2]
    with pytest.raises(BadValueError, match="a measured step of 0 s"):
        asked(stated_lengths(10, 300), measured_step_s=0.0)
