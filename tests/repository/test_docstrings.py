"""A public function whose own body raises an error of the package says so: by the error's name, or by that of a kind it belongs to."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from estimators import errors
from tests.support.checkout import ROOT

KINDS = {name: kind for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, errors.SixndError)}
OUT_OF_SIGHT = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda


def raised(node: ast.AST) -> Iterator[str]:
    """Errors of the package that leave a body by its own `raise`; what a `try` around it may catch is left out."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, OUT_OF_SIGHT):
            continue
        if isinstance(child, ast.Raise) and isinstance(child.exc, ast.Call) and isinstance(child.exc.func, ast.Name):
            if child.exc.func.id in KINDS:
                yield child.exc.func.id
        elif isinstance(child, ast.Try):
            for part in (*child.handlers, *child.orelse, *child.finalbody):
                yield from raised(part)
        yield from raised(child) if not isinstance(child, ast.Try) else ()


def untold(source: str) -> list[str]:
    """Public functions that raise what their docstring does not say."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_") and (said := ast.get_docstring(node)):
            missing = {
                name for name in raised(node) if not any(kind.__name__ in said for kind in KINDS[name].__mro__ if kind.__name__ in KINDS)
            }
            found += [f"line {node.lineno}: {node.name} raises {name}" for name in sorted(missing)]
    return found


@pytest.mark.parametrize("package", ["estimators", "bench", "reports"])
def test_what_a_public_function_raises_is_said(package: str) -> None:
    texts = {path: path.read_text(encoding="utf-8") for path in sorted((ROOT / package).rglob("*.py"))}
    assert [f"{path.relative_to(ROOT)} {line}" for path, text in texts.items() if "raise " in text for line in untold(text)] == []


def test_an_error_that_nobody_was_told_of_would_be_found() -> None:
    body = "    if x:\n        raise BadValueError('x')\n"
    assert untold(f"def f(x):\n    '''Read it.'''\n{body}") == ["line 1: f raises BadValueError"]
    assert untold(f"def f(x):\n    '''Read it. Raises BadValueError.'''\n{body}") == []
    assert untold(f"def f(x):\n    '''Raises:\n        RequestError: an x.'''\n{body}") == []
    assert (
        untold("def f(x):\n    '''Read it.'''\n    try:\n        raise BadValueError\n    except RequestError:\n        return None\n")
        == []
    )
