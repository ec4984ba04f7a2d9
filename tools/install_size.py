"""docs/install.md: what the base installation and each extra bring, and what the base takes on a disk.

    python -m tools.install_size > docs/install.md

Makes a fresh environment with this Python, installs the checkout into it and adds up what lies there: some seconds, and what pip downloads.
"""

from __future__ import annotations

import platform
import re
import subprocess
import sys
import tempfile
import tomllib
import venv
from pathlib import Path

from reports.render import render
from reports.table import Column, Table

ROOT = Path(__file__).resolve().parents[1]
LIMIT_MB = 200
PURPOSE = {
    "": "estimate, plan, compare, show, translate, check, validate and report",
    "run": "measure, calibrate, count a network of your own, watch a training",
    "plots": "draw the pictures of pages, and what `--plot` writes",
    "diffusion": "trace the op table of a class of diffusers that has none here",
    "timm": "count a network of timm with `sixnd.count`",
    "web": "ask in a browser: `sixnd web`",
    "browser": "open the pages of docs/gallery/ in Chromium, as their test does",
    "tuning": "measure LoRA and QLoRA by `run`",
    "all": "measure and draw",
    "test": "run the tests",
}
"""Extra, or nothing for the base installation -> what it is for."""

HEAD = """# What an installation brings

Written by `python docs/refresh.py --slow`. From a clone:

```bash
pip install .          # the base alone
pip install '.[run]'   # and what measures
uvx --from . sixnd list models   # with uv, nothing is installed for good; pipx run --spec . sixnd does the same
```

A command that needs a package which is not there says the line that installs it, and exits with 2. As a library likewise:
`sixnd.estimate` answers from the base alone, `sixnd.watch` raises an `ImportError` with that line.
Python 3.11 is the oldest that is supported.
"""


def brought() -> dict[str, list[str]]:
    """Extra, or nothing for the base -> the requirements of pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return {"": project["dependencies"], **project["optional-dependencies"]}


def extras_table() -> Table:
    """What pip is asked for, by extra."""
    columns = [Column(key="install", header="pip install"), Column(key="brings", header="brings"), Column(key="purpose", header="to")]
    rows = [
        {"install": f"'.[{extra}]'" if extra else ".", "brings": ", ".join(requirements), "purpose": PURPOSE[extra]}
        for extra, requirements in brought().items()
    ]
    return Table(title="The base and the extras", columns=columns, rows=rows, key="extras")


def disk_bytes(folder: Path) -> int:
    """What the files of a folder take on the disk, as `du` adds it up."""
    return sum(path.lstat().st_blocks * 512 for path in (folder, *folder.rglob("*")))


def base_table(folder: Path) -> Table:
    """A fresh environment with the base installation, made in a folder.

    Raises:
        subprocess.CalledProcessError: pip could not install it.
    """
    venv.create(folder, with_pip=True)
    python = str(folder / "bin" / "python")
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", str(ROOT)], check=True, stdout=sys.stderr)
    listed = subprocess.run([python, "-m", "pip", "list", "--format=freeze"], check=True, capture_output=True, text=True).stdout
    packages = [re.split("==| @ ", line)[0] for line in listed.split("\n") if line and not line.startswith(("pip=", "setuptools="))]
    total_mb = disk_bytes(folder) / 1e6
    return Table(
        title=f"The base in a fresh environment: {total_mb:.0f} MB on the disk, pip's own included; fewer than {LIMIT_MB} are allowed",
        conditions=[f"Python {platform.python_version()} on {platform.system()}", f"installed: {', '.join(packages)}"],
        columns=[],
        rows=[],
        key="base",
        facts={"total_mb": total_mb, "packages": packages},
    )


def main() -> int:
    """Print the page; 1 where the base is too large."""
    with tempfile.TemporaryDirectory() as folder:
        base = base_table(Path(folder) / "fresh")
    print(HEAD)
    print(render([extras_table(), base], "md"))
    return 0 if float(str(base.facts["total_mb"])) < LIMIT_MB else 1


if __name__ == "__main__":
    sys.exit(main())
