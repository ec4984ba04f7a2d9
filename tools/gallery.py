"""The gallery: a page for each of the answers that people show to one another, made by the command that its last line names.

    python -m tools.gallery [NAME ...]    writes docs/gallery/NAME.html, of all of them unless some are named
    python -m tools.gallery --readme      prints docs/gallery/README.md
    python -m tools.gallery --picture     prints docs/plan.svg, the picture of README.md

A page is put in by one row here: the test of pictures reads its pictures against their tables, and the browser's test opens it.
"""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

from bench.cli.main import main as answered
from bench.program import NAME
from tools.answered import answered as answer_of

ROOT = Path(__file__).resolve().parents[1]
FOLDER = "docs/gallery"

GALLERY: dict[str, tuple[str, str]] = {
    "plan": (
        "how many devices train a model within thirty days, what it costs on which, and what moves that",
        "plan llama-3-8b --tokens 1T --hardware h100-sxm5-80gb,h200-sxm-141gb,a100-sxm4-80gb,mi300x-192gb --deadline 30d --output",
    ),
    "estimate": (
        "what one training takes on a cluster that is there: days with their interval, money, what fills the memory",
        "estimate llama-3.1-70b --tokens 1.5T --hardware h100-sxm5-80gb --gpus 1024 --output",
    ),
    "compare-hardware": (
        "one training on every device whose ceiling was measured: the fastest, the cheapest, and those that others beat in both",
        "compare-hardware llama-3-8b --tokens 1T --hardware all --gpus 64 --output",
    ),
    "report": (
        "what a training step on this machine is spent on, and what to fix first: waterfall, samples, roofline, memory",
        "report results/cpu-amd-epyc/check/20261124T164229.990Z-gpt2-train-13137-530be911.json --output",
    ),
    "report-folder": (
        "fifteen runs side by side: what each reaches of the machine, how its step was predicted, what to fix first in each",
        "report results/cpu-amd-epyc/check --output",
    ),
    "compare": (
        "the same steps on two machines: both distributions, and every ratio with its interval",
        "compare results/cpu-amd-epyc/check results/cpu-intel-xeon/check --across device --output",
    ),
    "fit": (
        "whether a fine-tuning fits a card: its memory by part at the moment that decides, over the step, and what would make it fit",
        "fit llama-3.1-8b --method lora --batch 4 --seq-len 4096 --hardware rtx-4090-24gb --framework trl --output",
    ),
    "serve": (
        "how many users a served model has room for, how fast, and what their tokens cost",
        "serve llama-3.1-8b --hardware l40s-48gb --ttft 1s --itl 50ms --api-price 0.15,0.60 --out",
    ),
    "learner": (
        "from a straight line to GPT-3: what was measured, what is estimated, and overfitting from three sides",
        "report results/cpu-amd-epyc/suite --output",
    ),
}
"""Name of a page -> what it answers, and the words after the program's name, but for the file."""

PICTURE = "plan llama-3-8b --tokens 2T --hardware h100-sxm5-80gb --deadline 14d"
"""The question of README.md whose first picture stands there."""

MOST_BYTES = 400_000
"""Of one page."""


def file_of(name: str) -> str:
    """Where a page lies, from the repository's root."""
    return f"{FOLDER}/{name}.html"


def words_of(name: str) -> list[str]:
    """The words of its command."""
    return [*shlex.split(GALLERY[name][1]), file_of(name)]


def readme() -> str:
    """The gallery's own page: what there is, and the command of each."""
    lines = [
        "# Gallery",
        "",
        "Pages that `--format html` writes: each is one file that needs nothing else, for a screen, a phone, or A4. Open one in a browser.",
        "All of them are made by `python -m tools.gallery`; a picture alone comes from the same command with `--plot FILE.svg`.",
        "",
    ]
    for name, (what, words) in GALLERY.items():
        lines += [f"- [{name}.html]({name}.html): {what}", "", "  ```", f"  {NAME} {words} {file_of(name)}", "  ```", ""]
    return "\n".join(lines).rstrip()


def picture() -> str:
    """The picture of README.md, as SVG. Raises MissingPackageError where matplotlib is not installed."""
    kept = answer_of(shlex.split(PICTURE))
    return kept.pictures[0].svg([*kept.tables, *kept.data])


def main(argv: list[str]) -> int:
    """Write the pages, or print what there is."""
    if argv == ["--readme"]:
        print(readme())
        return 0
    if argv == ["--picture"]:
        print(picture())
        return 0
    unknown = [name for name in argv if name not in GALLERY]
    if unknown:
        print(f"error: {unknown[0]!r} is no page; expected --readme, --picture or some of: {', '.join(GALLERY)}", file=sys.stderr)
        return 2
    os.chdir(ROOT)
    Path(FOLDER).mkdir(exist_ok=True)
    for name in argv or GALLERY:
        if answered(words_of(name)) not in (0, 1):
            return 2
        print(f"{file_of(name)}: {Path(file_of(name)).stat().st_size:,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
