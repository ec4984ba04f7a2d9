"""What people type for a device, and which one it means; what means none is refused, and a near product is never taken for it."""

from __future__ import annotations

import itertools

import pytest

from estimators.errors import BadValueError, RequestError, UnknownNameError
from estimators.facts import instances
from estimators.facts.device_names import NO_MEANING, device_named, usual_forms, words
from estimators.facts.instances import _instances
from estimators.facts.registry import hardware, hardware_ids

# As written in model cards, forum posts, schedulers' and clouds' names; the id by the vendor's name of the product.
SPELLINGS = {
    "h100": "h100-sxm5-80gb",
    "H100 SXM": "h100-sxm5-80gb",
    "h100sxm5": "h100-sxm5-80gb",
    "H100-80GB": "h100-sxm5-80gb",
    "H100 SXM5 80 GB": "h100-sxm5-80gb",
    "NVIDIA H100 80GB HBM3": "h100-sxm5-80gb",
    "nvidia-h100-80gb": "h100-sxm5-80gb",
    "HGX H100": "h100-sxm5-80gb",
    "H100 PCIe": "h100-pcie-80gb",
    "h100pcie": "h100-pcie-80gb",
    "H100 NVL": "h100-nvl-94gb",
    "h100 94GB": "h100-nvl-94gb",
    "H200": "h200-sxm-141gb",
    "h200 141gb": "h200-sxm-141gb",
    "H200 NVL": "h200-nvl-141gb",
    "a100": "a100-sxm4-80gb",
    "A100 80GB": "a100-sxm4-80gb",
    "a100-80g": "a100-sxm4-80gb",
    "A100 SXM4 80GB": "a100-sxm4-80gb",
    "A100 80GiB SXM": "a100-sxm4-80gb",
    "a100-40gb": "a100-sxm4-40gb",
    "A100 PCIe": "a100-pcie-80gb",
    "A100-PCIE-40GB": "a100-pcie-40gb",
    "nvidia-tesla-a100": "a100-sxm4-80gb",
    "v100": "v100-sxm2-16gb",
    "Tesla V100 32GB": "v100-sxm2-32gb",
    "V100S": "v100s-pcie-32gb",
    "T4": "t4-16gb",
    "nvidia-tesla-t4": "t4-16gb",
    "P100": "p100-pcie-16gb",
    "L4": "l4-24gb",
    "L40": "l40-48gb",
    "l40s": "l40s-48gb",
    "L40 S": "l40s-48gb",
    "A10": "a10-24gb",
    "A10G": "a10g-24gb",
    "A6000": "rtx-a6000-48gb",
    "RTX A6000": "rtx-a6000-48gb",
    "RTX 6000 Ada": "rtx-6000-ada-48gb",
    "4090": "rtx-4090-24gb",
    "RTX4090": "rtx-4090-24gb",
    "GeForce RTX 4090": "rtx-4090-24gb",
    "4080 Super": "rtx-4080-super-16gb",
    "3090": "rtx-3090-24gb",
    "RTX 3090Ti": "rtx-3090-ti-24gb",
    "3080 12GB": "rtx-3080-12gb",
    "RTX5090": "rtx-5090-32gb",
    "rtx pro 6000": "rtx-pro-6000-bw-ws-96gb",
    "RTX PRO 6000 Blackwell Server Edition": "rtx-pro-6000-bw-server-96gb",
    "B200": "b200-sxm-180gb",
    "GB200": "gb200-186gb",
    "GB200 NVL72": "gb200-186gb",
    "GH200": "gh200-96gb",
    "DGX Spark": "gb10-dgx-spark-128gb",
    "MI300X": "mi300x-192gb",
    "AMD Instinct MI250X": "mi250x-128gb",
    "mi-355x": "mi355x-288gb",
    "7900 XTX": "rx-7900-xtx-24gb",
    "v5p": "tpu-v5p",
    "TPU v5e": "tpu-v5e",
    "TPUv4": "tpu-v4",
    "Trillium": "tpu-v6e",
    "Gaudi 2": "gaudi2-96gb",
    "Intel Gaudi3": "gaudi3-128gb",
    "Trainium 2": "trainium2",
    "inf2": "inferentia2",
    "M2 Ultra": "apple-m2-ultra",
    "Apple M3 Max": "apple-m3-max",
    "Max 1550": "gpu-max-1550",
    "Ponte Vecchio": "gpu-max-1550",
    "jetson agx orin": "jetson-agx-orin-64gb",
}

# Devices and their number: the clouds' own pages of machine types.
COUNTED = {
    "8xH100": ("h100-sxm5-80gb", 8),
    "8x h100": ("h100-sxm5-80gb", 8),
    "H100 x8": ("h100-sxm5-80gb", 8),
    "8 H100s": ("h100-sxm5-80gb", 8),
    "A100:8": ("a100-sxm4-80gb", 8),
    "gpu:a100:4": ("a100-sxm4-80gb", 4),
    "gpu_8x_h100_sxm5": ("h100-sxm5-80gb", 8),
    "2x RTX 4090": ("rtx-4090-24gb", 2),
    "4090x2": ("rtx-4090-24gb", 2),
    "16 V100": ("v100-sxm2-16gb", 16),
    "8×MI300X": ("mi300x-192gb", 8),
    "p4d.24xlarge": ("a100-sxm4-40gb", 8),
    "p4de.24xlarge": ("a100-sxm4-80gb", 8),
    "p5.48xlarge": ("h100-sxm5-80gb", 8),
    "4x p5.48xlarge": ("h100-sxm5-80gb", 32),
    "g5.xlarge": ("a10g-24gb", 1),
    "ml.g5.12xlarge": ("a10g-24gb", 4),
    "AWS p5.48xlarge": ("h100-sxm5-80gb", 8),
    "g6e.12xlarge": ("l40s-48gb", 4),
    "a2-highgpu-8g": ("a100-sxm4-40gb", 8),
    "a3-highgpu-8g": ("h100-sxm5-80gb", 8),
    "Standard_ND96asr_v4": ("a100-sxm4-40gb", 8),
    "ND96isr_H100_v5": ("h100-sxm5-80gb", 8),
    "BM.GPU.H100.8": ("h100-sxm5-80gb", 8),
    "trn2.48xlarge": ("trainium2", 128),
    "v5p-128": ("tpu-v5p", 64),
    "v5litepod-16": ("tpu-v5e", 16),
    "v3-8": ("tpu-v3", 8),
}

REFUSED = (
    *("4090 laptop", "RTX 4090 Laptop GPU", "4090 d", "4090D", "rtx 4090 super", "4070 ti", "gtx 980 ti", "5070"),
    *("rtx 5000", "rtx 6000", "quadro rtx 6000", "titan", "titan v", "orin", "gaudi", "trainium", "m4"),
    *("h100 96gb", "a100 64gb", "h200 80gb", "l40 24gb", "a10 40gb", "3080 16gb", "4090 48gb", "h100 sxm5 94gb", "h100 pcie sxm"),
    *("a1000", "h1000", "h100x", "a100x", "l4s", "t4g", "a2", "k80", "amd h100", "h100 mig", "intel 4090", "v4-7"),
    *("", " ", "gpu", "nvidia", "80gb", "sxm5", "8x", "xH100", "h100 x", "rtx", "h" * 10**5, "8x" * 200),
)


@pytest.mark.parametrize(("text", "hardware_id"), SPELLINGS.items())
def test_what_people_write_means_the_product(text: str, hardware_id: str) -> None:
    taken = device_named(text)
    assert (taken.hardware_id, taken.num_devices) == (hardware_id, None)


@pytest.mark.parametrize(("text", "meant"), COUNTED.items())
def test_a_count_and_a_rented_machine_say_how_many(text: str, meant: tuple[str, int]) -> None:
    taken = device_named(text)
    assert (taken.hardware_id, taken.num_devices) == meant
    assert taken.said


@pytest.mark.parametrize("text", REFUSED, ids=lambda text: text[:20] or "nothing")
def test_another_product_is_never_taken_for_a_known_one(text: str) -> None:
    with pytest.raises(RequestError, match=r"unknown GPU|may be short for|may be one of several|no device that can be priced") as caught:
        device_named(text)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("text", "mend"),
    [
        ("cpu", "a CPU has no datasheet peak: measure it with `python -m bench run`"),
        ("CUDA", "name the device, as `python -m bench doctor`"),
    ],
)
def test_what_is_no_device_that_can_be_priced_is_told_apart(text: str, mend: str) -> None:
    with pytest.raises(BadValueError, match=f"'{text}' is no device that can be priced; {mend}"):
        device_named(text)


def test_a_count_of_none_is_refused() -> None:
    with pytest.raises(BadValueError, match="'0xH100' names 0 devices; expected at least one"):
        device_named("0xH100")


@pytest.mark.parametrize(
    ("text", "near"),
    [
        ("4090 laptop", "'rtx-4090-24gb'"),
        ("h100 96gb", "'h100-sxm5-80gb'"),
        ("h100-smx5", "'h100-sxm5-80gb'"),
        ("titan v", "titan-rtx-24gb"),
        ("rtx 5000", "rtx-5000-ada-32gb"),
    ],
)
def test_what_shares_words_is_suggested(text: str, near: str) -> None:
    with pytest.raises(RequestError, match=near):
        device_named(text)


def test_what_shares_no_word_that_tells_is_not_suggested() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown GPU 'gtx 980 ti'\. .*own: --hardware FILE.json"):
        device_named("gtx 980 ti")


@pytest.mark.parametrize("hardware_id", hardware_ids())
def test_an_id_a_name_and_a_drivers_name_need_no_remark(hardware_id: str) -> None:
    device = hardware(hardware_id)
    for text in (hardware_id, hardware_id.upper()):
        assert device_named(text).said == ""
    for text in (device.name.partition(" (")[0], *device.device_names):
        found = device_named(text) if text not in ("Orin", "NVIDIA GeForce RTX 3080") else None
        assert found is None or found.hardware_id == hardware_id


def test_what_was_taken_is_said_with_what_else_it_might_be() -> None:
    assert device_named("H100 NVL").said == "taking 'H100 NVL' as h100-nvl-94gb"
    assert device_named("v100 32gb").said == "taking 'v100 32gb' as v100-sxm2-32gb, the usual form; others: v100-pcie-32gb, v100-sxm3-32gb"
    assert device_named("p4d.24xlarge").said.startswith("taking 'p4d.24xlarge' as 8 x a100-sxm4-40gb (AWS, ")


@pytest.mark.parametrize("text", SPELLINGS)
def test_case_punctuation_blanks_and_the_vendors_name_do_not_matter(text: str) -> None:
    said = device_named(text)
    vendor = hardware(said.hardware_id).vendor
    spelt = (" ".join(words(text)), "-".join(words(text)), "_".join(words(text)), f"{vendor} {text}", f"{text} GPU", f"  {text}\t")
    for other in itertools.chain(spelt, (text.upper(), text.lower(), text.title())):
        assert device_named(other).hardware_id == said.hardware_id, other


@pytest.mark.parametrize("vendor", ["NVIDIA", "AMD", "Google", "Intel", "Apple"])
def test_anothers_vendor_name_matters(vendor: str) -> None:
    for text in ("h100", "mi300x", "v5p", "gaudi2", "m2 ultra"):
        if hardware(device_named(text).hardware_id).vendor != vendor:
            with pytest.raises(UnknownNameError, match="unknown GPU"):
                device_named(f"{vendor} {text}")


def test_no_id_without_its_form_and_memory_is_left_undecided() -> None:
    """A new product whose short name others have too needs a line in usual_forms.csv."""
    for hardware_id in hardware_ids():
        short = " ".join(word for word in words(hardware_id) if not word.endswith("gb") and word not in ("pcie", "nvl", "bw", "ws", "sxm"))
        if not short.startswith(("p100 sxm", "v100 sxm", "a100 sxm", "h100 sxm", "a800 sxm", "h800 sxm")):
            assert hardware(device_named(short).hardware_id).architecture == hardware(hardware_id).architecture


def test_every_line_of_the_tables_of_names_is_of_known_devices() -> None:
    assert {device for ids in usual_forms() for device in ids} <= set(hardware_ids())
    assert len({ids[0] for ids in usual_forms()}) == len(usual_forms())
    for machine in _instances().values():
        device = hardware(machine.hardware_id)
        assert 1 <= machine.num_devices <= 128
        assert machine.num_devices <= 2 * (device.devices_per_node or 8) or device.vendor == "AWS"
    from estimators.facts import data
    from estimators.facts.device_names import NAME_COLUMNS

    assert {row.text("id") for row in data.read_rows(data.file("device_words.csv"), NAME_COLUMNS)} <= set(hardware_ids())


def test_a_series_whose_machines_hold_several_kinds_means_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instances, "_held_by_series", lambda: {"zz9": {"h100-sxm5-80gb", "a10g-24gb"}, "zz8": {"a10g-24gb"}})
    assert device_named("zz8").said == "taking 'zz8' as a10g-24gb, which every machine of that name holds"
    with pytest.raises(UnknownNameError, match="unknown GPU 'zz9'"):
        device_named("zz9")


def test_no_word_of_a_product_means_nothing() -> None:
    assert not NO_MEANING & {"x", "s", "ti", "super", "laptop", "d", "max", "pro"}
