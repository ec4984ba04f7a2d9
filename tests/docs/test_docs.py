"""The documents: every figure is what its command prints, every link leads somewhere, every committed record is shown."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import refresh
from refresh import DocumentError

from bench.records.record import read_folder
from tests.support.checkout import ROOT

BLOCK = "<!-- output of: {command} -->\nold\n<!-- end of output -->"
LINK = re.compile(r"\]\(([^)\s]+)\)")


def texts() -> list[Path]:
    return sorted({*refresh.documents(), *ROOT.glob("*.md")})


def test_every_document_is_fresh() -> None:
    assert [path.name for path in refresh.stale()] == [], "run: python docs/refresh.py"


def test_a_figure_that_no_command_prints_would_be_found() -> None:
    page = (ROOT / "docs" / "conventions.md").read_text(encoding="utf-8")
    # The forward and backward products of Phi-2 for 2,048 tokens: 36.66 TFLOP; no document may say otherwise.
    changed = page.replace("36.66 TFLOP", "36.67 TFLOP")
    assert changed != page
    assert refresh.fresh(changed) == page


def test_the_check_names_stale_documents_and_changes_none(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.read_bytes() for path in refresh.documents()}
    monkeypatch.setattr(refresh, "output_of", lambda command: "### other")
    monkeypatch.setattr(refresh, "part", lambda text, start, stop: text)
    assert refresh.main(["--check"]) == 1
    assert "README.md is stale; run: python docs/refresh.py" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in refresh.documents()} == before


@pytest.mark.parametrize(
    ("change", "stale"),
    [(("M 0 432", "M 0 431"), False), ((" rows, figures ", " rows, figures of old "), True), (("0.01 s<", "0.02 s<"), True)],
    ids=["other paths", "other points", "another label"],
)
def test_a_picture_is_stale_where_its_points_or_words_are_others_not_where_it_is_drawn_otherwise(
    monkeypatch: pytest.MonkeyPatch, change: tuple[str, str], stale: bool
) -> None:
    path = ROOT / "docs" / "accuracy.svg"
    drawn = path.read_text(encoding="utf-8")
    assert change[0] in drawn
    monkeypatch.setattr(refresh, "documents", lambda: [path])
    monkeypatch.setattr(refresh, "output_of", lambda command: drawn.replace(*change).rstrip("\n"))
    assert (path in refresh.stale()) == stale


def test_a_wrong_option_of_the_refresher_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert refresh.main(["--chek"]) == 2
    assert capsys.readouterr().err == "error: '--chek'; expected nothing, --check or --slow\n"


def test_slow_documents_are_written_when_asked_for_and_no_other(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    monkeypatch.setattr(refresh, "ROOT", tmp_path)
    monkeypatch.setattr(refresh, "output_of", lambda command: f"# What {command} prints")
    assert refresh.main(["--slow"]) == 0
    written = {path.relative_to(tmp_path).as_posix(): path.read_text() for path in tmp_path.rglob("*.*")}
    assert written == {name: f"# What {command} prints\n" for name, command in refresh.SLOW.items()}


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("python -m bench estimate --model gpt-9", r"exits 2: error: unknown model 'gpt-9'"),
        ("python -m bench list models (from: No such line)", "no line of the output starts with 'No such line'"),
        ("python -m bench list models (until: No such line)", "no line of the output starts with 'No such line'"),
        ("python -m bench report results/*-no-such-model-*.json", r"no file matches 'results/\*-no-such-model-\*\.json'"),
        ("rm README.md", r"'rm README\.md' is no command of this project"),
    ],
)
def test_a_block_that_cannot_be_filled_is_an_error(command: str, message: str) -> None:
    with pytest.raises(DocumentError, match=message):
        refresh.fresh(BLOCK.format(command=command))


def test_a_block_keeps_its_command_and_loses_what_was_in_it() -> None:
    text = refresh.fresh(BLOCK.format(command="python -m bench --version"))
    assert text.startswith("<!-- output of: python -m bench --version -->\n```console\n$ python -m bench --version\nsixnd ")
    assert "old" not in text
    assert refresh.fresh(text) == text


def test_a_part_begins_and_ends_where_it_says() -> None:
    output = "### One\na\n\n### Two\nb\n\n### Three\nc"
    assert refresh.part(output, None, None) == output
    assert refresh.part(output, "Two", "Three") == "…\n\n### Two\nb\n\n…"
    assert refresh.part(output, None, "Two") == "### One\na\n\n…"


@pytest.mark.parametrize("path", texts(), ids=lambda path: path.name)
def test_every_block_is_closed(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(refresh.BLOCK.findall(text)) == text.count("<!-- output of:") == text.count("<!-- end of output -->")


def anchors(page: str) -> set[str]:
    """What the headings of a page are linked by: lower case, blanks as hyphens, without punctuation, code blocks aside."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```$", "", page, flags=re.MULTILINE | re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.strip().casefold()).replace(" ", "-") for heading in headings}


def broken_links(text: str, folder: Path) -> list[str]:
    """Links of a page that lies in the folder, inside the project, to no file or to no heading of one."""
    broken = []
    for link in LINK.findall(text):
        name, _, anchor = link.partition("#")
        target = folder / name
        if "://" in link:
            continue
        page = text if not name else target.read_text(encoding="utf-8") if target.is_file() and anchor else ""
        if not target.exists() or (anchor and anchor not in anchors(page)):
            broken.append(link)
    return broken


@pytest.mark.parametrize("path", texts(), ids=lambda path: path.name)
def test_every_link_inside_the_project_leads_somewhere(path: Path) -> None:
    assert broken_links(path.read_text(encoding="utf-8"), path.parent) == []


def test_a_broken_link_would_be_found() -> None:
    page = "# A title\n```\n# no title\n```\n[a](README.md) [b](docs/none.md) [c](https://example.org/x#y) [d](#a-title) [e](#no-title) "
    assert broken_links(page + "[f](README.md#limits) [g](README.md#nothing)", ROOT) == ["docs/none.md", "#no-title", "README.md#nothing"]


def test_every_document_can_be_reached_from_the_readme() -> None:
    linked = set(LINK.findall((ROOT / "README.md").read_text(encoding="utf-8")))
    assert [path.name for path in ROOT.glob("docs/*.md") if f"docs/{path.name}" not in linked] == ["house.md"]  # of CONTRIBUTING.md


def devices() -> list[str]:
    return sorted(path.name for path in (ROOT / "results").iterdir() if path.is_dir())


@pytest.mark.parametrize("device", devices())
def test_every_committed_record_is_whole_and_shown(device: str) -> None:
    records, problems = read_folder(ROOT / "results" / device)
    assert problems == []
    assert {record.status for record in records} == {"complete"}
    page = (ROOT / "results" / "README.md").read_text(encoding="utf-8")
    assert f"<!-- output of: python -m bench report results/{device} --format md -->" in page
