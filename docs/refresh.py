"""Every figure in the documents is what a command prints: write the outputs in, or say which are stale.

    python docs/refresh.py            rewrites README.md, docs/, results/README.md
    python docs/refresh.py --check    changes nothing; 1 and one line per stale document
    python docs/refresh.py --slow     rewrites docs/exactness.csv, docs/types.csv and docs/install.md alone, in hours, with torch and pip

A document holds blocks; what stands between the two comments is replaced by the command and its output:

    <!-- output of: python -m bench list conventions --format md -->
    <!-- end of output -->

`(from: TEXT)` and `(until: TEXT)` after the command keep the part that begins at the first line that starts with
TEXT, and the part before it; what was cut is marked by an ellipsis.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = ("README.md", "docs/*.md", "docs/*.svg", "docs/gallery/*.md", "docs/residuals.csv", "results/README.md")
WHOLE = {
    "docs/cli.md": "python -m tools.cli_page",
    "docs/exactness.md": "python -m tools.exactness_page",
    "docs/residuals.csv": "python -m tools.residuals_page --models",
    "docs/accuracy.svg": "python -m reports.pages.accuracy",
    "docs/gallery/README.md": "python -m tools.gallery --readme",
    "docs/plan.svg": "python -m tools.gallery --picture",
}
"""Documents that are one command's output from first to last line."""

SLOW = {
    "docs/exactness.csv": "python -m tools.exactness_rows",
    "docs/types.csv": "python -m tools.type_rows",
    "docs/install.md": "python -m tools.install_size",
}
"""Such documents whose command takes minutes: the check passes them by, and tests of their own hold them."""

FACTS = {
    "estimators/facts/data/track_record.json": "python -m tools.left_out",
    "estimators/facts/data/run_factors.json": "python -m tools.run_factors",
    "estimators/facts/data/tuning_record.json": "python -m tools.tuning_record",
}
"""Data that a command prints and that documents' commands read: written before them."""

TEXT_OF_PICTURE = re.compile(r">([^<>]*[^<>\s][^<>]*)<")
"""Labels, legend and the digest of the points: of a picture these are compared, because another matplotlib draws other bytes of them."""

BLOCK = re.compile(
    r"(?P<head><!-- output of: (?P<command>[^\n(]+?)(?: \(from: (?P<start>[^\n)]+)\))?(?: \(until: (?P<stop>[^\n)]+)\))? -->\n)"
    r".*?(?P<end><!-- end of output -->)",
    re.DOTALL,
)


class DocumentError(Exception):
    """A block that cannot be filled; one line says which and why."""


def documents() -> list[Path]:
    """Every document that may hold blocks."""
    return [path for pattern in DOCUMENTS for path in sorted(ROOT.glob(pattern))]


def output_of(command: str) -> str:
    """What the command prints on standard output, run in the repository's root by this Python; `*` stands for files there.

    Exit code 1 is let through where there is output: a table that shows a failed check is still the table.

    Raises:
        DocumentError: not a Python command, a wrong request, no such file, or no output.
    """
    words = [part for word in shlex.split(command) for part in (_matches(word) if "*" in word else [word])]
    if words[0] != "python":
        raise DocumentError(f"{command!r} is no command of this project; expected python ...")
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8", "COLUMNS": ""}
    done = subprocess.run(
        [sys.executable, *words[1:]], capture_output=True, text=True, encoding="utf-8", cwd=ROOT, env=environment, check=False
    )
    if done.returncode not in (0, 1) or not done.stdout.strip():
        raise DocumentError(f"{command!r} exits {done.returncode}: {' '.join(done.stderr.split())[-300:] or 'no output'}")
    return done.stdout.rstrip("\n")


def _matches(pattern: str) -> list[str]:
    names = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob(pattern))
    if not names:
        raise DocumentError(f"no file matches {pattern!r}")
    return names


def part(text: str, start: str | None, stop: str | None) -> str:
    """The lines from the first that starts with `start` to before the first that then starts with `stop`.

    Raises:
        DocumentError: no line starts so.
    """
    lines = text.splitlines()
    first = _find(lines, start, 0) if start else 0
    last = _find(lines, stop, first + 1) if stop else len(lines)
    return "\n".join([*(["…", ""] if start else []), *lines[first:last]]).rstrip() + ("\n\n…" if stop else "")


def _find(lines: list[str], beginning: str, first: int) -> int:
    for number, line in enumerate(lines[first:], first):
        if line.removeprefix("### ").startswith(beginning):
            return number
    raise DocumentError(f"no line of the output starts with {beginning!r}")


def fresh(text: str) -> str:
    """The document with every block filled anew. Markdown stays Markdown; other output stands in a code block under its command."""

    def filled(block: re.Match[str]) -> str:
        command = block["command"]
        shown = part(output_of(command), block["start"], block["stop"])
        is_markdown = shown.removeprefix("…").lstrip().startswith("###")
        body = f"\n{shown}\n\n" if is_markdown else f"```console\n$ {command}\n{shown}\n```\n"
        return block["head"] + body + block["end"]

    return BLOCK.sub(filled, text)


def stale() -> dict[Path, str]:
    """Document -> its fresh text, of those whose text is another."""
    outdated = _stale_facts()
    for path in documents():
        text = path.read_text(encoding="utf-8")
        whole = WHOLE.get(path.relative_to(ROOT).as_posix())
        try:
            new = output_of(whole) + "\n" if whole else fresh(text)
        except DocumentError as error:
            raise DocumentError(f"{path.relative_to(ROOT)}: {error}") from None
        if new != text and not (path.suffix == ".svg" and TEXT_OF_PICTURE.findall(new) == TEXT_OF_PICTURE.findall(text)):
            outdated[path] = new
    return outdated


def _stale_facts() -> dict[Path, str]:
    printed = {ROOT / name: output_of(command) + "\n" for name, command in FACTS.items()}
    return {path: text for path, text in printed.items() if path.read_text(encoding="utf-8") != text}


def main(argv: list[str]) -> int:
    """Rewrite stale documents, or with --check name them, or with --slow write those of SLOW."""
    if argv not in ([], ["--check"], ["--slow"]):
        print(f"error: {' '.join(argv)!r}; expected nothing, --check or --slow", file=sys.stderr)
        return 2
    try:
        if not argv:
            for path, text in _stale_facts().items():
                path.write_text(text, encoding="utf-8")
                print(f"{path.relative_to(ROOT)} rewritten")
        outdated = {ROOT / name: output_of(command) + "\n" for name, command in SLOW.items()} if argv == ["--slow"] else stale()
    except DocumentError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for path, text in outdated.items():
        name = path.relative_to(ROOT)
        if argv == ["--check"]:
            print(f"{name} is stale; run: python docs/refresh.py", file=sys.stderr)
        else:
            path.write_text(text, encoding="utf-8")
            print(f"{name} rewritten")
    return 1 if argv == ["--check"] and outdated else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
