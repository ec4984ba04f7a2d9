"""What the base installation leaves out: which extra brings a package, and the one line that installs it.

Estimating needs numpy, tabulate and pyyaml; measuring and drawing need more, and import it where they use it. Where that package is
missing, `needed_by` says what to type.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from estimators.errors import MissingPackageError

PACKAGE = "sixnd"
EXTRA_OF = {
    **dict.fromkeys(("torch", "transformers", "huggingface_hub", "accelerate", "fvcore", "pynvml", "pandas", "psutil"), "run"),
    "matplotlib": "plots",
    **dict.fromkeys(("peft", "bitsandbytes"), "tuning"),
    "diffusers": "diffusion",
    "timm": "timm",
    **dict.fromkeys(("nicegui", "starlette"), "web"),
}
"""Name that is imported -> the extra that brings it."""


@contextmanager
def needed_by(asker: str) -> Iterator[None]:
    """A block that imports packages of the extras; one that is not installed is named, with the line that installs it.

    Args:
        asker: who needs it: a verb, or a function of the library.

    Raises:
        MissingPackageError: a package of EXTRA_OF is not installed. What else cannot be imported is passed on.

    >>> with needed_by("run"):
    ...     raise ModuleNotFoundError("No module named 'torch'", name="torch")  # doctest: +IGNORE_EXCEPTION_DETAIL
    Traceback (most recent call last):
    estimators.errors.MissingPackageError: run needs torch: pip install 'sixnd[run]'
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name not in EXTRA_OF:
            raise
        raise MissingPackageError(f"{asker} needs {error.name}: {install_line(error.name)}") from None


def expect(package: str) -> None:
    """Find out, before a word is said of what a package is about to do, that it is installed; it is not imported.

    Raises:
        ModuleNotFoundError: it is not; inside `needed_by` that is the line that installs it.
    """
    from importlib.util import find_spec

    if find_spec(package) is None:
        raise ModuleNotFoundError(f"No module named {package!r}", name=package)


def install_line(package: str) -> str:
    """What to type in this folder to install a package beside the sixnd that runs, by the extra that brings it.

    Args:
        package: the name that is imported; one of no extra comes with the base installation.
    """
    extra = EXTRA_OF.get(package)
    return f"{_installer()} '{_source()}{f'[{extra}]' if extra else ''}'"


def _source() -> str:
    """What an installer takes for this project: the folder or file that it was installed from, else its name.

    Source: PEP 610, direct_url.json.
    """
    here = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
    if os.path.exists(os.path.join(here, "pyproject.toml")):
        return _from_here(here)
    import json
    from importlib import metadata
    from urllib.parse import urlsplit
    from urllib.request import url2pathname

    try:
        told = metadata.distribution(PACKAGE).read_text("direct_url.json")
    except metadata.PackageNotFoundError:
        told = None
    url = urlsplit(json.loads(told)["url"] if told else "")
    path = url2pathname(url.path) if url.scheme == "file" else ""
    return _from_here(path) if path and os.path.exists(path) else PACKAGE


def _installer() -> str:
    """The command that installs into the environment of this Python: pip where that is the first one found, else by this Python's path."""
    import shutil
    from importlib.util import find_spec

    found = shutil.which("pip")
    if found and os.path.dirname(os.path.abspath(found)) == os.path.dirname(sys.executable):
        return "pip install"
    python = _from_here(sys.executable)
    return f"{python} -m pip install" if find_spec("pip") else f"uv pip install --python {python}"


def _from_here(path: str) -> str:
    """The path as it is typed in this folder."""
    inside = os.path.relpath(path)
    return path if inside.startswith(os.pardir) else inside
