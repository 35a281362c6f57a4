"""A file of Python is read in one sitting, wherever in the repository it lies; the example at a glance."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
MOST_LINES = 350
MADE = ("build", "dist")
"""Folders that `make` writes; those whose names begin with a dot are not ours either."""


def too_long(root: Path) -> dict[str, int]:
    """Files of Python with more lines than are read in one sitting, with how many each has."""
    ours = [
        folder for folder in root.iterdir() if not folder.name.startswith(".") and folder.name not in MADE
    ]
    files = [file for folder in ours for file in folder.rglob("*.py")]
    lines = {str(file.relative_to(root)): len(file.read_text().splitlines()) for file in files}
    return {name: many for name, many in lines.items() if many > MOST_LINES}


def test_no_file_is_too_long_for_one_sitting() -> None:
    assert too_long(ROOT) == {}


def test_file_that_is_too_long_is_seen(tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_long.py").write_text("pass\n" * (MOST_LINES + 1))
    (tmp_path / "tests" / "test_short.py").write_text("pass\n" * MOST_LINES)
    assert too_long(tmp_path) == {"tests/test_long.py": MOST_LINES + 1}


def code_lines(text: str) -> int:
    """Lines that are neither blank nor a comment nor part of a docstring."""
    said: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            said.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    lines = enumerate(text.splitlines(), 1)
    return sum(
        1 for number, line in lines if number not in said and line.strip(" #") and line.strip()[0] != "#"
    )


def test_example_of_a_consumer_takes_40_lines() -> None:
    assert code_lines((ROOT / "examples" / "consumer" / "consumer.py").read_text()) == 40


def test_what_is_no_code_is_not_counted() -> None:
    assert code_lines('"""Says\nsomething."""\n\n# a comment\nx = 1  # another\n') == 1
