"""What ran must fit: no measured step that says what it recomputes and offloads is said to be too large for its device."""

from __future__ import annotations

import functools

import pytest

from estimators.frozen import replace
from estimators.validation.case import MeasuredStep, measured_step
from estimators.validation.over_count import need_over_capacity, over_counts
from estimators.validation.table import LeftOutError, Record, read_table, shipped


def _steps(path: str) -> list[MeasuredStep]:
    found = []
    for record in read_table(path):
        try:
            found.append(measured_step(record))
        except LeftOutError:
            continue
    return found


@functools.cache
def ran() -> tuple[MeasuredStep, ...]:
    return tuple(step for path in shipped().values() for step in _steps(path))


def refused(steps: tuple[MeasuredStep, ...]) -> dict[str, float]:
    needs = {step.id: need_over_capacity(step) for step in steps if step.says_recompute}
    return {name: need for name, need in needs.items() if need > 1}


def test_no_step_that_says_what_it_recomputes_is_refused() -> None:
    assert sum(step.says_recompute for step in ran()) > 1000
    assert refused(ran()) == {}


def test_no_row_that_names_what_it_recomputes_is_refused_whatever_else_was_completed() -> None:
    from estimators.validation.stated import says_recompute

    named = []
    for record in read_table(shipped()["throughput"]):
        try:
            step = measured_step(record)
        except LeftOutError:
            continue
        if says_recompute(record):
            named.append(replace(step, says_recompute=True))
    assert len(named) > 300
    assert refused(tuple(named)) == {}


def test_a_step_that_is_too_large_would_show() -> None:
    step = next(step for step in ran() if step.source == "llm-foundry" and step.layout.recompute == "none")
    grown = replace(step.layout, micro_batch=4 * step.layout.micro_batch, global_batch=4 * step.layout.global_batch)
    assert list(refused((replace(step, layout=grown),))) == [step.id]


def test_refused_steps_are_counted_apart_by_what_they_say() -> None:
    fits = max((s for s in ran() if s.source == "llm-foundry" and s.layout.recompute == "none"), key=need_over_capacity)
    grown = replace(fits.layout, micro_batch=2 * fits.layout.micro_batch, global_batch=2 * fits.layout.global_batch)
    large = replace(fits, layout=grown)
    steps = [fits, large, *[replace(large, says_recompute=False)] * 2]
    (count,) = over_counts(steps)
    assert (count.rows, count.stated, count.refused, count.refused_unsaid) == (4, 2, 1, 2)
    assert 1 < count.most == need_over_capacity(large) < 2


def test_batches_that_were_raised_until_memory_was_full_nearly_fill_it() -> None:
    # llm-foundry's sweep took the largest micro-batch that fits: what is said of its fullest rows is not far below the device either
    fullest = sorted(need_over_capacity(step) for step in ran() if step.source == "llm-foundry" and step.layout.recompute == "none")[-10:]
    assert 0.85 < fullest[0] <= fullest[-1] <= 1


@pytest.mark.parametrize(
    ("cell", "says"),
    [
        ("none", True),
        ("selective (layernorm moe)", True),
        ("full + CPU AdamW offload", True),
        ("selective (remat_policy custom)", False),
        ("selective (remat custom, q k v and layer input offloaded to host)", True),
        ("", False),
        ("unstated", False),
    ],
)
def test_a_row_says_what_it_recomputes_in_its_cell(cell: str, says: bool) -> None:
    from estimators.validation.stated import says_recompute

    assert says_recompute(Record(kind="throughput", line=2, path="", cells={"recompute": cell})) is says


def test_what_is_offloaded_is_not_held() -> None:
    step = next(step for step in ran() if step.source == "llm-foundry" and step.layout.recompute == "none")
    assert need_over_capacity(replace(step, offloads_activations=True)) < 0.6 * need_over_capacity(step)


def test_the_single_node_tables_full_recomputation_is_known() -> None:
    from estimators.validation.stated import says_recompute

    assert says_recompute(Record(kind="single_node", line=2, path="", cells={}))


def test_counts_are_by_source_and_hold_every_step() -> None:
    counts = over_counts(ran())
    assert [count.source for count in counts] == sorted({step.source for step in ran()})
    assert sum(count.rows for count in counts) == len(ran())
    assert all(count.median <= count.most for count in counts)


def test_deepspeed_fits_on_640_devices_what_did_not_fit_on_560() -> None:
    # Narayanan et al. 2021 (arXiv 2104.04473), table 2: 529.6 B parameters by ZeRO-3 at a micro-batch of 4 did not fit on 560
    step = next(step for step in ran() if "529.6B" in step.model_name and step.layout.num_devices == 640)
    assert 0.9 < need_over_capacity(step) <= 1
