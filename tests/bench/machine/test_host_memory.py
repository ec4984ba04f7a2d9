"""The host's memory and processors against hand-made control groups, and the peak of a process."""

import os
from pathlib import Path

import pytest

from bench.machine.meters import cgroup, memory


def write(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text + "\n")


def test_a_limit_of_version_2_leaves_what_is_not_held_and_the_cache_that_can_be_dropped(tmp_path: Path) -> None:
    write(tmp_path, self="0::/pod/box")
    write(tmp_path / "pod" / "box", memory__max="1000", memory__current="700", memory__stat="anon 500\ninactive_file 150\nactive_file 50")
    limit = cgroup.memory_limit(tmp_path, tmp_path / "self")
    assert limit == cgroup.MemoryLimit(limit_bytes=1000, available_bytes=450)


def test_a_parents_tighter_limit_binds(tmp_path: Path) -> None:
    write(tmp_path, self="0::/pod/box")
    write(tmp_path / "pod" / "box", memory__max="max", memory__current="700")
    write(tmp_path / "pod", memory__max="800", memory__current="700", memory__stat="inactive_file 0")
    limit = cgroup.memory_limit(tmp_path, tmp_path / "self")
    assert limit == cgroup.MemoryLimit(limit_bytes=800, available_bytes=100)


def test_a_limit_of_version_1_is_read_from_its_own_hierarchy(tmp_path: Path) -> None:
    write(tmp_path, self="9:name=systemd:/x\n4:memory:/box\n1:cpu,cpuacct:/box")
    box = tmp_path / "memory" / "box"
    write(box, memory__limit_in_bytes="5000", memory__usage_in_bytes="3000", memory__stat="inactive_file 10\ntotal_inactive_file 1000")
    write(tmp_path / "memory", memory__limit_in_bytes="9223372036854771712", memory__usage_in_bytes="9000")
    write(tmp_path / "cpu,cpuacct" / "box", **{"cpu.cfs_quota_us": "150000", "cpu.cfs_period_us": "100000"})
    assert cgroup.memory_limit(tmp_path, tmp_path / "self") == cgroup.MemoryLimit(limit_bytes=5000, available_bytes=3000)
    assert cgroup.cpu_limit(tmp_path, tmp_path / "self") == 1.5


def test_a_group_that_is_not_visible_inside_a_container_falls_back_to_the_visible_root(tmp_path: Path) -> None:
    write(tmp_path, self="0::/docker/0123", memory__max="4096", memory__current="96", cpu__max="50000 100000")
    limit = cgroup.memory_limit(tmp_path, tmp_path / "self")
    assert limit == cgroup.MemoryLimit(limit_bytes=4096, available_bytes=4000)
    assert cgroup.cpu_limit(tmp_path, tmp_path / "self") == 0.5


@pytest.mark.parametrize("mounted", ["cpu", "cpuacct,cpu", "cpu,cpuacct"])
def test_a_quota_of_version_1_is_found_however_its_hierarchy_is_mounted(tmp_path: Path, mounted: str) -> None:
    write(tmp_path, self="3:cpuset:/box\n1:cpu,cpuacct:/box")
    write(tmp_path / "cpuset" / "box", **{"cpu.cfs_quota_us": "1", "cpu.cfs_period_us": "1"})
    write(tmp_path / mounted / "box", **{"cpu.cfs_quota_us": "150000", "cpu.cfs_period_us": "100000"})
    assert cgroup.cpu_limit(tmp_path, tmp_path / "self") == 1.5


def test_a_limit_of_no_byte_is_a_limit(tmp_path: Path) -> None:
    write(tmp_path, self="0::/box")
    write(tmp_path / "box", memory__max="0", memory__current="0")
    assert cgroup.memory_limit(tmp_path, tmp_path / "self") == cgroup.MemoryLimit(limit_bytes=0, available_bytes=0)


@pytest.mark.parametrize("quota", ["max 100000", "-1", "nonsense", ""])
def test_no_limit_is_none_and_never_a_number(tmp_path: Path, quota: str) -> None:
    write(tmp_path, self="0::/", memory__max="max", cpu__max=quota)
    assert cgroup.memory_limit(tmp_path, tmp_path / "self") is None
    assert cgroup.cpu_limit(tmp_path, tmp_path / "self") is None
    assert cgroup.memory_limit(tmp_path, tmp_path / "no such file") is None


def test_the_memory_of_the_host_is_the_containers_where_that_is_less(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = memory.psutil.virtual_memory()
    monkeypatch.setattr(cgroup, "memory_limit", lambda: None)
    assert memory.host_memory().total_bytes == machine.total
    monkeypatch.setattr(cgroup, "memory_limit", lambda: cgroup.MemoryLimit(limit_bytes=2**20, available_bytes=2**19))
    assert memory.host_memory() == memory.HostMemory(total_bytes=2**20, available_bytes=2**19)
    monkeypatch.setattr(cgroup, "memory_limit", lambda: cgroup.MemoryLimit(limit_bytes=2**60, available_bytes=2**60))
    assert memory.host_memory().total_bytes == machine.total


def test_peak_rss_is_the_kernels_high_water_mark(tmp_path: Path) -> None:
    status = tmp_path / "status"
    status.write_text("Name:\tpython\nVmPeak:\t 9999 kB\nVmHWM:\t    2048 kB\nVmRSS:\t 1024 kB\n")
    assert memory.peak_rss(status).values == {"peak_rss": 2 * 2**20}


def test_peak_rss_sees_memory_that_was_given_back_and_can_be_started_anew() -> None:
    block = bytearray(256 * 2**20)
    block[:: 2**12] = b"x" * (len(block) // 2**12)
    del block
    with_block = memory.peak_rss().values["peak_rss"]
    if not memory.reset_peak_rss():
        pytest.skip("this system cannot reset the peak of a process")
    after_reset = memory.peak_rss().values["peak_rss"]
    assert with_block is not None
    assert after_reset is not None
    assert with_block - after_reset > 200 * 2**20


def test_without_proc_the_peak_comes_from_getrusage_and_cannot_be_reset(tmp_path: Path) -> None:
    import resource

    kibi = 1 if os.uname().sysname == "Darwin" else 1024  # getrusage(2): kilobytes on Linux, bytes on macOS
    assert memory.peak_rss(tmp_path / "none").values["peak_rss"] == resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * kibi
    assert memory.reset_peak_rss(tmp_path / "no" / "such" / "folder") is False


def test_a_system_without_a_peak_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_peak_of_process_bytes", lambda: None)
    readings = memory.peak_rss(tmp_path / "none")
    assert readings.values == {"peak_rss": None}
    assert readings.unavailable == {"peak_rss": "this system keeps no peak of a process's memory"}
