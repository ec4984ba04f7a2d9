"""Layouts: parsed from text, counted, and refused in one line that names the rule and the nearest thing that works."""

from __future__ import annotations

import pytest

from estimators.cost.layout import Layout, parse_layout
from estimators.errors import BadValueError


def test_what_is_left_of_the_devices_is_data_parallel() -> None:
    """GPT-3 in Narayanan et al. 2021, table 1: 8 x 16 of 1,024 devices leave 8 replicas."""
    layout = parse_layout("tp=8,pp=16,micro_batch=1", num_devices=1024, global_batch=1536)
    assert (layout.tp, layout.pp, layout.dp, layout.num_micro_batches) == (8, 16, 8, 192)


def test_text_and_layout_are_the_same_thing() -> None:
    text = "tp=2,pp=4,vp=3,dp=8,ep=4,zero=2,micro_batch=2,sp=1,recompute=selective,schedule=zero-bubble"
    layout = parse_layout(text, num_devices=64, global_batch=64)
    assert str(layout) == text
    assert parse_layout(str(layout), num_devices=64, global_batch=64) == layout


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tp=8,pq=2", "layout part 'pq=2' is unknown; expected KEY=VALUE with one of: cp, dp, ep"),
        ("tp", "layout part 'tp' is unknown"),
        ("tp=two", "layout part 'tp=two': expected a whole number after tp="),
        ("tp=0", "tp is 0; expected a whole number from 1"),
        ("tp=3", "does not multiply to 64 devices; the nearest number of devices that works: 63"),
        ("tp=8,dp=9", "is 8 x 9 and does not multiply to 64 devices"),
        ("zero=4", "zero is 4; expected one of: 0, 1, 2, 3"),
        ("recompute=some", "recompute is 'some'; expected one of: none, selective, full"),
        ("schedule=gpipe", "schedule is 'gpipe'; expected one of: 1f1b, zero-bubble"),
        ("zero=3,shard=5", "shard=5 does not divide dp=64"),
        ("micro_batch=3", "a global batch of 1,024 sequences does not divide into dp=64 x micro_batch=3; the nearest that does: 960"),
    ],
)
def test_a_broken_rule_is_named_with_what_would_work(text: str, message: str) -> None:
    with pytest.raises(BadValueError, match=r"^[^\n]*$") as refused:
        parse_layout(text, num_devices=64, global_batch=1024)
    assert message in str(refused.value)


def test_more_devices_than_exist_are_refused() -> None:
    with pytest.raises(BadValueError, match="1,000,000,000 devices is out of range; expected at most 10,000,000"):
        Layout(dp=10**9, global_batch=10**9)
