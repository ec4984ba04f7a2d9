"""Every module that ships, and which others it imports: read from the texts, nothing is run."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

PACKAGES = ("estimators", "bench", "reports")


def modules(checkout: Path) -> Iterator[tuple[str, Path]]:
    """Dotted name and file of every module that ships."""
    face = checkout / "sixnd.py"
    if face.exists():
        yield "sixnd", face
    for package in PACKAGES:
        for path in sorted((checkout / package).rglob("*.py")):
            parts = path.relative_to(checkout).with_suffix("").parts
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def imported(source: str) -> set[str]:
    """Every module that a source text imports, at any level, inside functions and under TYPE_CHECKING too."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide where a name comes from"
            assert node.module is not None
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def is_in(module: str, *packages: str) -> bool:
    """Whether a module is one of the packages or lies in one."""
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def between_modules(sources: dict[str, str]) -> dict[str, set[str]]:
    """Module -> the modules of `sources` that its text imports, at any level."""

    def module_of(dotted: str) -> str | None:
        parent = dotted.rpartition(".")[0]
        return dotted if dotted in sources else parent if parent in sources else None

    return {name: {m for m in map(module_of, imported(text)) if m and m != name} for name, text in sources.items()}
