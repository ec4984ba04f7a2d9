"""The forms in a real browser: filled in, answered, compared with the command's json; no request leaves this machine."""

from __future__ import annotations

import json
import os
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from tests.support.checkout import ROOT

pytestmark = pytest.mark.browser
PHONE, DESKTOP = 390, 1280
START_S = 60


def alone() -> dict[str, str]:
    """The environment without pytest's word, at which NiceGUI would serve a test of its own."""
    return {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    pytest.importorskip("nicegui")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with subprocess.Popen([sys.executable, "-m", "bench", "web", "--port", str(port), "--no-browser"], cwd=ROOT, env=alone()) as server:
        for _ in range(10 * START_S):
            with socket.socket() as tried:
                if tried.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
        server.terminate()
        server.wait(START_S)


def opened(browser: Any, width: int, address: str) -> tuple[Any, list[str]]:
    page, said = browser.new_context(viewport={"width": width, "height": 900}).new_page(), []
    page.on("request", lambda request: None if request.url.startswith((address, "data:", "blob:")) else said.append(request.url))
    page.on("pageerror", lambda error: said.append(str(error)))
    return page, said


@pytest.mark.parametrize(
    ("verb", "values"),
    [
        ("estimate", {"model": "gpt2", "tokens": "1B", "hardware": "a100-sxm4-80gb", "gpus": "8"}),
        ("plan", {"model": "llama-3-8b", "tokens": "1T", "hardware": "h100-sxm5-80gb", "gpus": "8"}),
        ("fit", {"model": "llama-3.1-8b", "method": "qlora", "hardware": "4090"}),
        ("serve", {"model": "llama-3.1-8b", "hardware": "l40s-48gb", "users": "8"}),
        ("compare-hardware", {"model": "gpt2", "tokens": "1B", "hardware": "a100-sxm4-80gb,h100-sxm5-80gb", "gpus": "8"}),
    ],
)
def test_a_form_that_is_filled_in_answers_as_its_command_does(browser: Any, address: str, verb: str, values: dict[str, str]) -> None:
    page, said = opened(browser, DESKTOP, address)
    page.goto(f"{address}/{verb}")
    for name, value in values.items():
        page.get_by_label(f"--{name}", exact=True).fill(value)
    page.get_by_role("button", name="Answer").click()
    page.wait_for_selector("iframe.answer", timeout=1000 * START_S)
    answer = page.frame_locator("iframe.answer")
    answer.locator("h1").wait_for(timeout=1000 * START_S)
    typed = page.locator(".command").inner_text()
    command = [*shlex.split(typed)[3:], "--format", "json"]
    printed = subprocess.run([sys.executable, "-m", "bench", *command], cwd=ROOT, capture_output=True, text=True, check=False).stdout
    tables = json.loads(printed)
    first = tables[0] if isinstance(tables, list) else tables
    assert first["title"] in [text.strip() for text in answer.locator("h2").all_inner_texts()]
    assert all(f"{name}={value.replace(',', '%2C')}" in page.url for name, value in values.items())
    assert said == []
    page.context.close()


def test_a_link_fills_the_form_again_and_nothing_overflows_a_phone(browser: Any, address: str) -> None:
    page, said = opened(browser, PHONE, address)
    page.goto(f"{address}/estimate?model=gpt2&tokens=1B&hardware=a100-sxm4-80gb&gpus=8")
    page.wait_for_selector("iframe.answer", timeout=1000 * START_S)
    page.frame_locator("iframe.answer").locator("h1").wait_for()
    assert page.get_by_label("--model", exact=True).input_value() == "gpt2"
    assert page.evaluate("() => document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
    assert said == []
    page.context.close()


def test_a_wrong_question_is_one_line_in_the_page(browser: Any, address: str) -> None:
    page, _ = opened(browser, DESKTOP, address)
    page.goto(f"{address}/estimate?model=gpt22&tokens=1B")
    alert = page.locator("[role=alert]")
    alert.wait_for(timeout=1000 * START_S)
    assert "did you mean 'gpt2'" in alert.inner_text()
    page.goto(f"{address}/estimate?model=%3Cscript%3Ewindow.was%3D1%3C%2Fscript%3E&tokens=1B")
    alert.wait_for(timeout=1000 * START_S)
    assert page.evaluate("window.was") is None
    page.context.close()


def test_another_sites_name_for_this_machine_is_refused(address: str) -> None:
    with pytest.raises(HTTPError, match="400"):
        urlopen(Request(f"{address}/estimate", headers={"Host": "elsewhere.example"}), timeout=START_S)


@pytest.mark.parametrize("path", ["/nosuch", "/run?model=gpt2", "/answers/nosuch", "/answers", "/estimate/nosuch"])
def test_what_is_no_form_is_not_found_and_one_line_names_those_that_are(address: str, path: str) -> None:
    with pytest.raises(HTTPError, match="404") as refused:
        urlopen(f"{address}{path}", timeout=START_S)
    said = refused.value.read().decode()
    assert said.count("\n") == 1
    assert all(part in said for part in (path.partition("?")[0], "estimate, plan, fit, serve, compare-hardware"))


def test_a_port_in_use_is_one_line(address: str) -> None:
    port = address.rpartition(":")[2]
    typed = [sys.executable, "-m", "bench", "web", "--no-browser", "--port", port]
    run = subprocess.run(typed, cwd=ROOT, env=alone(), capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert run.stderr.count("\n") == 1
    assert f"port {port}" in run.stderr
