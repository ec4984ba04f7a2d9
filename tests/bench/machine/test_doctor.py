"""The doctor: every room says what is there, what its absence costs and how to mend it; exit 1 only where figures would not hold."""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bench.cli import doctor as verb
from bench.cli.main import main
from bench.machine.doctor import gpu, machine, processor, software, storage
from bench.machine.doctor.item import Item
from bench.machine.meters.cgroup import MemoryLimit
from bench.machine.meters.memory import HostMemory
from reports.render import RENDERERS
from tests.support.checkout import ROOT
from tests.support.fake_nvml import FakeGpu, FakeNvml, NVMLError

GOOD, COSTS, UNTRUSTED = "good", "costs", "untrusted"


def named(items: list[Item]) -> dict[str, Item]:
    assert len({item.what for item in items}) == len(items)
    return {item.what: item for item in items}


def of_gpu(*gpus: FakeGpu, **environ: str) -> dict[str, Item]:
    return named(list(gpu.items(FakeNvml(*gpus), environ)))


def test_a_cost_has_a_verdict_and_a_remedy() -> None:
    with pytest.raises(AssertionError, match="a cost goes with a verdict"):
        Item(group="gpu", what="x", found="y", cost="much", mend="z")
    with pytest.raises(AssertionError, match="what costs has a remedy"):
        Item(group="gpu", what="x", found="y", verdict="costs", cost="much")


def test_a_sound_gpu_costs_nothing() -> None:
    items = of_gpu(FakeGpu("GPU-1", pids=(os.getpid(),)))
    assert {item.verdict for item in items.values()} == {GOOD}
    assert items["driver"].found == "570.86.15"
    assert items["GPU 0"].found == "NVIDIA H100 80GB HBM3, GPU-1, 79.6 GiB, limit 700 W, ECC on"
    assert items["GPU 0, energy"].found == "counter and power are read"


@pytest.mark.parametrize(
    ("device", "what", "verdict", "said"),
    [
        (FakeGpu("GPU-1", pids=(4_000_001, os.getpid())), "GPU 0, other processes", UNTRUSTED, "1 computing: pid 4000001"),
        (FakeGpu("GPU-1", pids=NVMLError("Not Supported")), "GPU 0, other processes", COSTS, "Not Supported"),
        (FakeGpu("GPU-1", event_reasons=0x40), "GPU 0, clocks", UNTRUSTED, "thermal (hardware), 60 C"),
        (FakeGpu("GPU-1", event_reasons=0x04), "GPU 0, clocks", GOOD, "free"),
        (FakeGpu("GPU-1", event_reasons=NVMLError("Not Supported")), "GPU 0, clocks", COSTS, "not told"),
        (FakeGpu("GPU-1", energy_mj=NVMLError("Not Supported")), "GPU 0, energy", COSTS, "no counter"),
        (FakeGpu("GPU-1", mig=(1, 1)), "GPU 0", COSTS, "divided (MIG)"),
    ],
)
def test_what_is_wrong_with_a_gpu_is_said(device: FakeGpu, what: str, verdict: str, said: str) -> None:
    item = of_gpu(device)[what]
    assert item.verdict == verdict
    assert said in item.found


@pytest.mark.parametrize(
    ("asked", "verdict", "said"),
    [
        ("1", GOOD, "1 seen with CUDA_VISIBLE_DEVICES=1"),
        ("GPU-b", GOOD, "1 seen"),
        ("MIG-1", COSTS, "is a slice of a GPU (MIG)"),
        ("", COSTS, "hides all"),
        ("7", COSTS, "hides all from '7' on"),
    ],
)
def test_the_mask_of_devices_is_understood(asked: str, verdict: str, said: str) -> None:
    item = of_gpu(FakeGpu("GPU-a"), FakeGpu("GPU-b"), CUDA_VISIBLE_DEVICES=asked)["visible GPUs"]
    assert item.verdict == verdict
    assert said in item.found


def test_no_driver_costs_the_gpu_and_not_the_trust() -> None:
    (item,) = gpu.items(FakeNvml(init_error=NVMLError("Driver Not Loaded")))
    assert (item.what, item.verdict) == ("NVML", COSTS)
    assert "Driver Not Loaded" in item.found


def test_a_driver_without_gpus_says_that_none_is_seen() -> None:
    assert of_gpu()["visible GPUs"].verdict == COSTS


@pytest.mark.parametrize(
    ("item", "verdict"),
    [
        (processor.governor("performance"), GOOD),
        (processor.governor("powersave"), COSTS),
        (processor.governor(None), COSTS),
        (processor.turbo(False), GOOD),
        (processor.turbo(True), COSTS),
        (processor.turbo(None), COSTS),
        (processor.affinity(2, 8), GOOD),
        (processor.threads(4, None, {}), GOOD),
        (processor.threads(4, 2.0, {"OMP_NUM_THREADS": "2"}), GOOD),
        (processor.threads(4, 2.0, {}), UNTRUSTED),
        (processor.threads(4, None, {"OMP_NUM_THREADS": "8"}), UNTRUSTED),
        (machine.clock_item(1e-7), GOOD),
        (machine.clock_item(0.016), UNTRUSTED),
        (machine.memory_item(HostMemory(total_bytes=2**34, available_bytes=2**33), None), GOOD),
        (machine.memory_item(HostMemory(total_bytes=2**34, available_bytes=2**30), MemoryLimit(limit_bytes=1, available_bytes=1)), COSTS),
    ],
)
def test_each_branch_of_processor_memory_and_clock(item: Item, verdict: str) -> None:
    assert item.verdict == verdict


@pytest.mark.parametrize(("others_s", "verdict"), [(0.2, GOOD), (0.6, UNTRUSTED)])
def test_what_other_programs_take_of_the_processors_decides_the_trust(others_s: float, verdict: str) -> None:
    # over 0.5 s, of 4 processors: 0.4 and 1.2 of them; a quarter is one
    script = iter([(100.0, 1.0), (100.3 + others_s, 1.3)])
    item = processor.others(4, read=script.__next__, sleep=lambda _: None, window_s=0.5)
    assert item.verdict == verdict
    assert item.found.startswith(f"{others_s / 0.5:.1f} of 4 processors")


def test_energy_counters_of_the_processor(tmp_path: Path) -> None:
    assert processor.energy(tmp_path).verdict == COSTS
    (tmp_path / "intel-rapl:0").mkdir()
    (tmp_path / "intel-rapl:0" / "name").write_text("package-0")
    (tmp_path / "intel-rapl:0" / "energy_uj").write_text("5")
    assert processor.energy(tmp_path).found == "1 counters are read"


def test_each_missing_package_says_what_it_costs() -> None:
    assert {item.verdict for item in software.items(lambda _: "1.0")} == {GOOD}
    missing = named(list(software.items(lambda _: None)))
    assert missing["torch"].verdict == UNTRUSTED
    assert missing["fvcore"].verdict == COSTS
    extras = {name: found[1] for name, item in missing.items() if (found := re.search(r" install '[^'\[]+\[(\w+)\]'$", item.mend))}
    assert extras.pop("matplotlib") == "plots"
    assert set(extras.values()) == {"run"}
    assert set(missing) - set(extras) == {"numpy", "matplotlib"}  # numpy comes with the base installation


def test_a_folder_that_can_be_made_is_good_and_is_not_made(tmp_path: Path) -> None:
    item = storage.writable(tmp_path / "a" / "b")
    assert item.verdict == GOOD
    assert "to be made in" in item.found
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_folder_s_place_costs_the_records(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("")
    item = storage.writable(tmp_path / "runs")
    assert (item.verdict, item.mend) == (UNTRUSTED, "name a writable folder with --out")


@pytest.mark.parametrize(("free", "verdict"), [(10**9, GOOD), (10**7, UNTRUSTED)])
def test_a_full_disk_costs_the_records(free: int, verdict: str, tmp_path: Path) -> None:
    assert storage.space(tmp_path, lambda _: free).verdict == verdict


def test_a_calibration_is_found_where_calibrate_writes_it(tmp_path: Path) -> None:
    environ = {"XDG_DATA_HOME": str(tmp_path)}
    assert storage.calibration(environ).verdict == COSTS
    folder = tmp_path / "sixnd" / "calibrations"
    folder.mkdir(parents=True)
    (folder / "amd-epyc-0123.json").write_text("{}")
    assert storage.calibration(environ).found == "amd-epyc-0123"


def of_verdicts(*verdicts: str) -> list[Item]:
    words = {GOOD: {}, COSTS: {"cost": "c", "mend": "m"}, UNTRUSTED: {"cost": "c", "mend": "m"}}
    numbers = itertools.count()
    return [Item(group="g", what=f"w{next(numbers)}", found="f", verdict=verdict, **words[verdict]) for verdict in verdicts]  # type: ignore[arg-type]


def test_the_exit_code_is_1_only_where_figures_would_not_hold(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for verdicts, code, title in (
        ((GOOD, COSTS), 0, "A measurement here can be trusted; 1 thing costs it something"),
        ((GOOD, COSTS, UNTRUSTED), 1, "A measurement here is not to be trusted: w2; 1 thing costs it something"),
    ):
        monkeypatch.setattr(verb, "items", lambda *_, verdicts=verdicts, **__: of_verdicts(*verdicts))
        assert main(["doctor"]) == code
        assert capsys.readouterr().out.startswith(title)


@pytest.mark.parametrize("form", RENDERERS)
def test_every_format_has_every_item(form: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(verb, "items", lambda *_, **__: of_verdicts(GOOD, UNTRUSTED))
    assert main(["doctor", "-v", "--format", form]) == 1
    out = capsys.readouterr().out
    assert "w0" in out
    assert "w1" in out


def test_it_looks_at_this_machine_without_importing_torch() -> None:
    code = (
        "import sys; from bench.cli.main import main; code = main(['doctor', '--format', 'json']);"
        "print({'torch', 'transformers', 'pandas'} & set(sys.modules), code, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    body = json.loads(done.stdout)
    assert done.stderr.split() == ["set()", "0" if body["trusted"] else "1"]
    assert {row["group"] for row in body["rows"]} == {"gpu", "processor", "memory", "clock", "software", "storage"}


def test_torch_is_asked_only_where_it_is_wanted(capsys: pytest.CaptureFixture[str]) -> None:
    items = named(list(verb.items(Path("runs"), ask_torch=True, device="cpu")))
    assert "kind cpu" in items["device"].found
    assert main(["doctor", "--device", "cpu"]) == 2
    assert capsys.readouterr().err == "error: --device cpu is torch's name for it; add --torch\n"
