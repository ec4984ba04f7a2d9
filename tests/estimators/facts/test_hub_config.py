"""The hub's cache as huggingface_hub lays it out, and the one file that is fetched when asked: from a server of this test's own."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from estimators.errors import UnavailableError
from estimators.facts import hub_config
from estimators.facts.hub_config import cached_config, fetch_config, is_repository, name_of

NAME = "Somebody/New-Model"
CONFIG = {"model_type": "gpt2"}


@pytest.fixture(autouse=True)
def caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A hub cache and a user's cache of nobody else, and an address that answers nobody."""
    for variable in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    return tmp_path


def _snapshot(hub: Path, revision: str, *, main: bool = False) -> Path:
    folder = hub / "models--Somebody--New-Model"
    (folder / "snapshots" / revision).mkdir(parents=True)
    (folder / "snapshots" / revision / "config.json").write_text(json.dumps(CONFIG), encoding="utf-8")
    if main:
        (folder / "refs").mkdir()
        (folder / "refs" / "main").write_text(revision, encoding="utf-8")
    return folder / "snapshots" / revision / "config.json"


@pytest.mark.parametrize("variable", ["HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "XDG_CACHE_HOME"])
def test_the_cache_is_where_huggingface_hub_has_it(variable: str, caches: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if variable == "XDG_CACHE_HOME":
        monkeypatch.delenv("HF_HOME")
    below = {"HF_HOME": "hub", "XDG_CACHE_HOME": "huggingface/hub"}.get(variable, "")
    monkeypatch.setenv(variable, str(caches / "here"))
    path = _snapshot(caches / "here" / below, "0a1b2c")
    assert cached_config(NAME) == str(path)
    assert cached_config(NAME.lower()) == str(path)
    assert name_of(str(path)) == NAME


def test_the_main_branch_is_taken_before_a_newer_snapshot(caches: Path) -> None:
    main = _snapshot(caches / "hf" / "hub", "aaaa", main=True)
    _snapshot(caches / "hf" / "hub", "bbbb")
    assert cached_config(NAME) == str(main)


@pytest.mark.parametrize("damage", ["no snapshots", "ref outside", "unreadable ref"])
def test_a_damaged_cache_holds_nothing(damage: str, caches: Path) -> None:
    folder = caches / "hf" / "hub" / "models--Somebody--New-Model"
    (folder / "refs").mkdir(parents=True)
    if damage != "no snapshots":
        (folder / "refs" / "main").write_bytes(b"../../.." if damage == "ref outside" else b"\xff\xfe")
    assert cached_config(NAME) is None


@pytest.mark.parametrize("text", ["gpt2", "../x", "a/b/c", "a/..", "/a/b", "a b/c", "", "a/", "a/b\n"])
def test_what_is_no_name_of_the_hub_is_not_looked_up(text: str) -> None:
    assert not is_repository(text)


class _Hub(http.server.BaseHTTPRequestHandler):
    body, status = json.dumps(CONFIG).encode(), 200
    asked: list[str] = []  # noqa: RUF012  # one server at a time

    def do_GET(self) -> None:
        type(self).asked.append(self.path)
        self.send_response(self.status)
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[_Hub]]:
    class Served(_Hub):
        asked: list[str] = []  # noqa: RUF012

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Served)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    yield Served
    server.shutdown()
    server.server_close()
    thread.join(5)


def test_the_configuration_alone_is_fetched_and_kept(hub: type[_Hub]) -> None:
    path = fetch_config(NAME)
    assert hub.asked == ["/Somebody/New-Model/resolve/main/config.json"]
    assert json.loads(Path(path).read_text(encoding="utf-8")) == CONFIG
    assert cached_config(NAME) == path
    assert name_of(path) == NAME
    assert [file.name for file in Path(path).parent.iterdir()] == ["config.json"]


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (404, b"", "404, no such file; elsewhere: `hf download Somebody/New-Model config.json`, then --config FILE"),
        (401, b"", "401, it does not exist, or is gated"),
        (403, b"", "403, it is gated"),
        (200, b"<html>", "is no configuration"),
        (200, b"[1]", "is no configuration"),
        (200, b"[" * 10**5, "is no configuration"),
        (200, b"x" * 3000, "has more than 2,000 bytes"),
    ],
)
def test_what_is_no_configuration_is_refused_and_not_kept(
    status: int, body: bytes, message: str, hub: type[_Hub], monkeypatch: pytest.MonkeyPatch
) -> None:
    if b"x" in body:
        monkeypatch.setattr(hub_config, "MAX_CONFIG_BYTES", 2000)
    hub.status, hub.body = status, body
    with pytest.raises(UnavailableError, match=message.replace("(", r"\(")) as caught:
        fetch_config(NAME)
    assert "\n" not in str(caught.value)
    assert cached_config(NAME) is None


@pytest.mark.parametrize("address", ["http://127.0.0.1:9", "http://nowhere.invalid"])
def test_without_a_network_the_way_on_is_said(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", address)
    with pytest.raises(UnavailableError, match=r"cannot fetch http://.*is there a network\? elsewhere: `hf download "):
        fetch_config(NAME)


def test_an_address_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "file:///etc")
    with pytest.raises(UnavailableError, match="HF_ENDPOINT is 'file:///etc'; expected an address that begins with https"):
        fetch_config(NAME)


def test_a_folder_that_cannot_be_written_is_one_line(hub: type[_Hub], caches: Path) -> None:
    (caches / "cache").write_text("a file", encoding="utf-8")
    with pytest.raises(UnavailableError, match=r"cannot keep .*; set XDG_CACHE_HOME to a folder that can be written"):
        fetch_config(NAME)
    assert hub.asked
