"""What lies at a path that somebody names: a file, or one reason within seconds, never a wait without end."""

import errno
import os
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from estimators import text_file


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_file, "WAIT_S", 0.2)


def pipe(folder: Path, write: Callable[[Path], None] | None = None) -> Path:
    """A named pipe, and a thread that writes into it."""
    path = folder / "pipe.json"
    os.mkfifo(path)
    if write is not None:
        threading.Thread(target=write, args=(path,), daemon=True).start()
    return path


def reason(path: Path | str, **kwargs: int) -> str:
    began_s = time.monotonic()
    with pytest.raises(OSError, match=r".") as caught:
        text_file.read(path, **kwargs)
    assert time.monotonic() - began_s < 3
    assert caught.value.strerror is not None
    return caught.value.strerror


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_a_file_is_read_with_a_byte_order_mark_and_without(tmp_path: Path, mark: bytes) -> None:
    (tmp_path / "a").write_bytes(mark + "深 \r\n".encode())
    assert text_file.read(tmp_path / "a") == "深 \r\n"


def test_a_file_larger_than_one_part_is_read_whole(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x" * (2**20 + 7))
    assert len(text_file.read(tmp_path / "a")) == 2**20 + 7


def test_what_is_not_utf_8_is_told_apart(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x", encoding="utf-16")
    with pytest.raises(UnicodeDecodeError, match="utf-8"):
        text_file.read(tmp_path / "a")
    assert "x" in text_file.read(tmp_path / "a", errors="replace")


def test_a_pipe_without_a_writer_is_given_up(tmp_path: Path) -> None:
    assert reason(pipe(tmp_path)) == "it is a pipe, and nothing came through it for 0.2 s"


def test_a_pipe_is_read_to_its_writers_end(tmp_path: Path) -> None:
    text = "x" * 200_000  # more than a pipe holds
    assert text_file.read(pipe(tmp_path, lambda path: path.write_text(text) and None)) == text


def test_a_pipe_whose_writer_falls_silent_is_given_up(tmp_path: Path) -> None:
    def stall(path: Path) -> None:
        with open(path, "w") as file:
            file.write("x")
            file.flush()
            time.sleep(2)

    assert reason(pipe(tmp_path, stall)) == "it is a pipe, and nothing more came through it for 0.2 s"


def test_a_pipe_that_never_ends_is_given_up(tmp_path: Path) -> None:
    def pour(path: Path) -> None:
        with suppress(BrokenPipeError), open(path, "w") as file:
            while True:
                file.write("x" * 4096)

    assert reason(pipe(tmp_path, pour), max_bytes=100_000) == "it has more than 100,000 bytes"


@pytest.mark.parametrize("device", ["/dev/null", "/dev/zero", "/dev/random", "/dev/tty", "/dev/full"])
def test_a_device_is_no_file(device: str) -> None:
    if not Path(device).exists():
        pytest.skip("this system has no such device")
    assert reason(device) == "it is a device and no file"


def test_sockets_folders_holes_and_names_that_cannot_be(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "s"))
        assert reason(tmp_path / "s") == "it is a device and no file"
    assert reason(tmp_path) == os.strerror(errno.EISDIR)
    assert reason(tmp_path / "none") == os.strerror(errno.ENOENT)
    assert reason("a\0b") == "a name has no null byte in it"
    assert reason(tmp_path / ("x" * 5000)) == os.strerror(errno.ENAMETOOLONG)
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert reason(tmp_path / "loop") == os.strerror(errno.ELOOP)
    with open(tmp_path / "hole", "wb") as hole:
        hole.truncate(2**40)
    assert reason(tmp_path / "hole") == f"it has more than {2**30:,} bytes"


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"\xff")
    path = pipe(tmp_path)
    before = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0
    for bad in (tmp_path / "a", path, "/dev/null"):
        with pytest.raises((OSError, UnicodeDecodeError)):
            text_file.read(bad)
    assert (len(os.listdir("/proc/self/fd")) if before else 0) == before
