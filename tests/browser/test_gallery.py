"""The gallery in a real browser, at a phone's width and a desktop's, in the dark and on paper: nothing is fetched, nothing sticks out,
no words lie upon others, nothing is complained of.

It needs the extra `browser`, and Chromium.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.checkout import ROOT
from tools.gallery import FOLDER, GALLERY, MOST_BYTES, file_of

pytestmark = pytest.mark.browser
PHONE, DESKTOP, A4_IN = 390, 1280, 8.27
CSS_PIXELS_PER_INCH = 96

OVERLAPS = """() => {
  const found = [];
  for (const svg of document.querySelectorAll('svg')) {
    const texts = [...svg.querySelectorAll('text')].filter(text => text.textContent.trim())
      .map(text => [text.textContent, text.getBoundingClientRect()]);
    for (const [i, [a, one]] of texts.entries()) for (const [b, other] of texts.slice(i + 1)) {
      const wide = Math.min(one.right, other.right) - Math.max(one.left, other.left);
      const high = Math.min(one.bottom, other.bottom) - Math.max(one.top, other.top);
      if (wide > 1 && high > 2) found.push(a + ' | ' + b);
    }
  }
  return found;
}"""
"""Texts of one picture whose boxes share more than a pixel or two."""

CUT_OFF = """() => [...document.querySelectorAll('svg')].flatMap(svg => {
  const frame = svg.getBoundingClientRect();
  return [...svg.querySelectorAll('text')].filter(text => {
    const box = text.getBoundingClientRect();
    const beside = box.left < frame.left - 1 || box.right > frame.right + 1;
    return box.width && (beside || box.top < frame.top - 1 || box.bottom > frame.bottom + 1);
  }).map(text => text.textContent);
})"""
"""Texts that stick out of their picture."""

BROAD = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"


def opened(browser: Any, path: Path, *, width: int, dark: bool = False, paper: bool = False) -> tuple[Any, list[str]]:
    """A page of that width, and what it asked for or complained of."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme="dark" if dark else "light")
    page, said = context.new_page(), []
    page.on("request", lambda request: said.append(request.url) if request.url != path.as_uri() else None)
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    if paper:
        page.emulate_media(media="print")
    page.goto(path.as_uri())
    return page, said


@pytest.mark.parametrize("name", GALLERY)
@pytest.mark.parametrize("way", ["phone", "desktop", "dark", "paper"])
def test_a_page_of_the_gallery_is_whole_and_readable(browser: Any, name: str, way: str) -> None:
    width = {"phone": PHONE, "paper": int((A4_IN - 2 * 14 / 25.4) * CSS_PIXELS_PER_INCH)}.get(way, DESKTOP)
    page, said = opened(browser, ROOT / file_of(name), width=width, dark=way == "dark", paper=way == "paper")
    assert page.evaluate(OVERLAPS) == []
    assert page.evaluate(CUT_OFF) == []
    if way != "paper":
        assert page.evaluate(BROAD) <= 0
    else:
        assert page.evaluate(WIDE_UPRIGHT) == []
        assert len(page.pdf(prefer_css_page_size=True)) > 10_000
    assert page.locator("h1").inner_text()
    assert said == []
    page.context.close()


WIDE_UPRIGHT = """() => [...document.querySelectorAll('section:not(.lying) table')]
  .filter(table => table.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
  .map(table => table.closest('section').querySelector('h2').textContent)"""
"""Tables that pass the paper's edge and do not lie on their side."""


@pytest.mark.parametrize("name", GALLERY)
def test_a_tables_button_copies_it_with_a_tab_between_its_cells(browser: Any, name: str) -> None:
    page, _ = opened(browser, ROOT / file_of(name), width=DESKTOP)
    page.evaluate("() => { document.execCommand = () => { window.taken = document.querySelector('textarea').value }; }")
    page.locator("button").first.click()
    lines = page.evaluate("window.taken").split("\n")
    cells = page.locator("table").first.locator("tr")
    assert len(lines) == cells.count()
    assert {line.count("\t") + 1 for line in lines} == {cells.first.locator("th").count()}
    page.context.close()


def test_words_that_lie_upon_others_or_stick_out_would_be_found(browser: Any, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    words = '<text x="10" y="20">one</text><text x="14" y="22">other</text><text x="180" y="60">beyond the edge</text>'
    path.write_text(f'<body style="margin:0"><svg width="200" height="80">{words}</svg><p style="width:900px">a</p>', encoding="utf-8")
    page, _ = opened(browser, path, width=PHONE)
    assert page.evaluate(OVERLAPS) == ["one | other"]
    assert page.evaluate(CUT_OFF) == ["beyond the edge"]
    assert page.evaluate(BROAD) == 900 - PHONE
    page.context.close()


def test_a_request_would_be_seen(browser: Any, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text('<img src="http://127.0.0.1:9/picture.png">', encoding="utf-8")
    page, said = opened(browser, path, width=PHONE)
    page.wait_for_timeout(200)
    assert "http://127.0.0.1:9/picture.png" in said
    page.context.close()


def test_every_page_of_the_folder_has_a_row_and_is_small() -> None:
    pages = {path.name: path.stat().st_size for path in (ROOT / FOLDER).glob("*.html")}
    assert set(pages) == {f"{name}.html" for name in GALLERY}
    assert max(pages.values()) < MOST_BYTES
