"""A device of one's own: read as a row of the table of devices is, and every fault is one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from estimators.errors import BadValueError
from estimators.facts.own_device import COLUMNS, EXAMPLE, own_device
from estimators.facts.registry import hardware, hardware_ids

GOOD = {"id": "mine", "bf16_flop_per_s": 250e12, "memory_bytes": 48e9, "memory_bytes_per_s": 1.2e12}


def test_a_described_device_has_what_was_said_and_nothing_else() -> None:
    mine = own_device(json.dumps(GOOD | {"link_bytes_per_s": "450GB/s", "power_w": 300}))
    assert mine.peak_flop_per_s == {"bf16": 250e12}
    assert (mine.memory_bytes, mine.memory_bytes_per_s, mine.link_bytes_per_s, mine.power_w) == (48 * 10**9, 1.2e12, 450e9, 300)
    assert (mine.name, mine.pcie_bytes_per_s, mine.devices_per_node) == ("mine", None, None)
    with pytest.raises(BadValueError, match="mine has no published dense peak for fp8"):
        mine.peak("fp8")


def test_a_file_says_the_same_as_its_text(tmp_path: Path) -> None:
    file = tmp_path / "mine.json"
    file.write_text(json.dumps(GOOD), encoding="utf-8")
    assert own_device(str(file)).memory_bytes == own_device(json.dumps(GOOD)).memory_bytes


def test_the_example_of_the_messages_is_a_device() -> None:
    assert own_device(EXAMPLE).id == "my-gpu"


@pytest.mark.parametrize("hardware_id", hardware_ids())
def test_a_shipped_device_can_be_described_anew(hardware_id: str) -> None:
    shipped = hardware(hardware_id)
    body = {column: getattr(shipped, column) for column in COLUMNS if hasattr(shipped, column)} | {"id": "copy"}
    body["device_names"] = list(shipped.device_names)
    peaks = {f"{dtype}_flop_per_s": peak for dtype, peak in shipped.peak_flop_per_s.items() if f"{dtype}_flop_per_s" in COLUMNS}
    copy = own_device(json.dumps(body | peaks))
    assert copy.memory_bytes_per_s == shipped.memory_bytes_per_s
    assert {name: copy.peak_flop_per_s[name] for name in ("bf16", "fp16", "fp32") if name in shipped.peak_flop_per_s} == {
        name: shipped.peak_flop_per_s[name] for name in ("bf16", "fp16", "fp32") if name in shipped.peak_flop_per_s
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bf16": 1e12}, "unknown key 'bf16'; expected: id, name"),
        ({"memory_bytes": None}, "memory_bytes is ''; expected a positive whole number"),
        ({"bf16_flop_per_s": 250}, "bf16_flop_per_s is '250'; expected .*250e12 for 250 TFLOP/s"),
        ({"memory_bytes": 80}, "memory_bytes is '80'; expected .*48e9 for 48 GB"),
        ({"memory_bytes": "80GB"}, "memory_bytes is '80GB'; expected a positive"),
        ({"memory_bytes_per_s": "fast/s"}, "'fast/s' is not a bandwidth"),
        ({"memory_bytes_per_s": 1.2}, "memory_bytes_per_s is '1.2'; expected"),
        ({"bf16_flop_per_s": -1}, "expected a positive number"),
        ({"bf16_flop_per_s": True}, "expected a number or a text"),
        ({"bf16_flop_per_s": float("nan")}, "expected a positive number"),
        ({"bf16_flop_per_s": float("inf")}, "expected a positive number"),
        ({"id": ""}, "id is ''; expected some text"),
        ({"id": {"a": 1}}, "expected a number or a text"),
        ({"id": "H100-SXM5-80GB"}, "expected one that no device"),
        ({"confidence": "sure"}, "expected one of: high, medium, low"),
        ({"devices_per_node": 7.5}, "devices_per_node is '7.5'"),
        ({"power_w": 0}, "power_w is '0'"),
    ],
)
def test_a_fault_is_one_line_that_names_the_column(change: dict[str, object], message: str) -> None:
    with pytest.raises(BadValueError, match=message) as caught:
        own_device(json.dumps(GOOD | change))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON; expected an object such as"),
        ("[1]", "holds a list; expected an object"),
        ("[" * 10**5, "is not JSON"),
        ("nothing.json", "no file 'nothing.json'; expected a JSON file"),
        ('{"id": "mine"}', "memory_bytes is missing"),
        ('{"id": "mine", "memory_bytes": 1e10, "memory_bytes_per_s": 1e12}', "no peak; expected at least one such as bf16_flop_per_s"),
    ],
)
def test_what_describes_no_device_is_refused(text: str, message: str) -> None:
    with pytest.raises(BadValueError, match=message):
        own_device(text)
