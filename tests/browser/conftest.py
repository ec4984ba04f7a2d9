"""Chromium, once for the files of this folder: that of the path, else the one that `playwright install chromium` brings."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture(scope="package")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api")
    own = shutil.which("chromium") or shutil.which("google-chrome")
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=own, args=["--no-sandbox"])
        yield chromium
        chromium.close()
