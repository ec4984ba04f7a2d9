"""CUDA_VISIBLE_DEVICES against torch's own parser, over the values people write and over drawn ones."""

import os
import random
from collections.abc import Sequence

import pytest
from torch import cuda

from bench.machine.meters.cuda_mask import chosen

AAAA, AABB, CCCC = UUIDS = tuple(f"GPU-{start}-0000-0000-0000-000000000000" for start in ("aaaa1111", "aabb2222", "cccc3333"))

WORDS = (
    *("0", "1", "2", "3", "7", "-1", "-0", "+1", "00", "01", "1gpu2", "2ampere", "", " ", " 1", "1 ", "0x1", "1e3", "64", "99999999999"),
    *("GPU-", "GPU-a", "GPU-aa", "GPU-aaaa", "GPU-aab", "GPU-c", "GPU-cccc", "GPU-dddd", " GPU-c", "gpu-c", AAAA, CCCC, CCCC + "0"),
    *("MIG-", "MIG-aaaa1111", "MIG-GPU-aaaa1111/1/0", "all", "none", "void", "NoDevFiles", "٣"),
)


def torch_sees(asked: str, monkeypatch: pytest.MonkeyPatch, uuids: Sequence[str] = UUIDS) -> list[int]:
    """Ordinals by torch's own functions, cut to the machine's GPUs as torch.cuda._device_count_nvml cuts them."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", asked)
    named = cuda._parse_visible_devices()
    if named and isinstance(named[0], str):
        return [] if named[0].startswith("MIG-") else cuda._transform_uuid_to_ordinals(named, list(uuids))
    beyond = next((place for place, ordinal in enumerate(named) if ordinal >= len(uuids)), len(named))
    return named[:beyond]


@pytest.mark.parametrize(
    ("asked", "ordinals"),
    # by hand from torch 2.13's source: W69 of the public threads, and the forms that its comments name
    [
        ("0,0", []),
        (f"{AAAA},{AAAA}", []),
        ("GPU-aaaa,GPU-aaaa", []),
        (f"GPU-aaaa,{AAAA}", []),
        ("0,GPU-cccc", [0]),
        ("GPU-cccc,0", [2]),
        ("1gpu2,2ampere", [1, 2]),
        ("GPU-aa", []),
        ("GPU-cccc,GPU-aa,GPU-aaaa", [2]),
        ("GPU-dddd,GPU-cccc,GPU-cccc", []),
        ("2,1,0", [2, 1, 0]),
        ("1,-1,2", [1]),
        ("1,,2", [1]),
        ("7,0", []),
        ("7,0,0", []),
        ("-1,0,0", []),
        (" 1 , 2", [1, 2]),
        (" GPU-cccc", []),
        ("", []),
        ("MIG-aaaa1111", []),
        ("1,MIG-aaaa1111", [1]),
        ("NoDevFiles", []),
    ],
)
def test_a_mask_leaves_what_torch_sees(asked: str, ordinals: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    assert chosen(asked, UUIDS)[0] == ordinals == torch_sees(asked, monkeypatch)


def test_two_thousand_drawn_masks_leave_what_torch_sees(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = random.Random(69)
    seen: set[tuple[int, ...]] = set()
    for _ in range(2000):
        asked = ",".join(draw.choice(WORDS) for _ in range(draw.randint(1, 4)))
        ordinals, hidden = chosen(asked, UUIDS)
        assert ordinals == torch_sees(asked, monkeypatch), asked
        assert bool(hidden) == (len(ordinals) < len(asked.split(","))), asked
        seen.add(tuple(ordinals))
    assert len(seen) > 10


def test_drawn_characters_leave_what_torch_sees(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = random.Random(70)
    for _ in range(3000):
        asked = "".join(draw.choice("0123+-, GPUMIac\t.") for _ in range(draw.randint(0, 8)))
        try:
            right = torch_sees(asked, monkeypatch)
        except ValueError:  # torch does not read a sign without a number: then nothing can be held against it
            continue
        assert chosen(asked, UUIDS)[0] == right, asked


@pytest.mark.parametrize(("asked", "ordinals"), [("+", []), ("-", []), ("²", []), ("1,+", [1]), ("9" * 5000, [])])
def test_what_torch_itself_cannot_read_ends_the_list(asked: str, ordinals: list[int]) -> None:
    assert chosen(asked, UUIDS)[0] == ordinals


def test_a_mask_on_a_machine_without_a_gpu_leaves_none(monkeypatch: pytest.MonkeyPatch) -> None:
    for asked in WORDS:
        assert chosen(asked, ())[0] == torch_sees(asked, monkeypatch, ()) == []


def test_torchs_parser_is_asked_and_not_this_machines_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    assert torch_sees("1", monkeypatch) == [1]
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "1"
