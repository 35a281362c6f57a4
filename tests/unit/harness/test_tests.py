"""What tests may know: nothing of one another, and of what they test no private names (ruff's SLF001 sees to
members)."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[2]
OURS = ("stormfold", "lab", "tests", "scripts", "benchmarks")


def imported(source: str) -> Iterator[str]:
    """The dotted names that a module imports of our own, with what it takes from each."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (name for name in names if name.split(".")[0] in OURS)


def forbidden(source: str) -> list[str]:
    """Imports of other tests, and of private names."""
    return [
        name for name in imported(source) if any(re.match("test_|_(?!_)", part) for part in name.split("."))
    ]


@pytest.mark.parametrize("path", sorted(TESTS.rglob("*.py")), ids=lambda path: str(path.relative_to(TESTS)))
def test_nothing_is_imported_from_tests_and_nothing_private(path: Path) -> None:
    assert forbidden(path.read_text()) == []


def test_imports_of_tests_and_of_private_names_are_seen() -> None:
    assert forbidden(
        "from tests.unit.test_app import App\nfrom stormfold.kube.lease import _encoded, Lease\n"
        "import tests.redis.test_fold\nfrom stormfold._private import x\nfrom re import _parser\n"
    ) == [
        "tests.unit.test_app.App",
        "stormfold.kube.lease._encoded",
        "tests.redis.test_fold",
        "stormfold._private.x",
    ]
