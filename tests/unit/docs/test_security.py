"""docs/security.md names a test for each answer, and the test is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[3] / "docs" / "security.md"
NAMED = re.compile(r"\[(test_\w+)\]\(([^)]+)\)")
TEXT = PAGE.read_text()
THREATS = [
    row.split(" | ")
    for row in TEXT.partition("\n## Threats\n")[2].partition("\n## ")[0].splitlines()[3:]
    if row
]


def functions_of(file: Path) -> set[str]:
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, functions)}


def test_threats_are_read_from_the_table() -> None:
    assert len(THREATS) > 20
    assert all(len(row) == 3 for row in THREATS)


@pytest.mark.parametrize("row", THREATS, ids=lambda row: str(row[0]).strip("| ")[:60])
def test_answer_to_a_threat_is_tested(row: list[str]) -> None:
    threat, answer, shown_by = row
    assert answer.strip()
    assert NAMED.findall(shown_by), threat


@pytest.mark.parametrize(("name", "path"), sorted(set(NAMED.findall(TEXT))))
def test_test_that_is_named_is_there(name: str, path: str) -> None:
    file = (PAGE.parent / path).resolve()
    assert file.is_file(), path
    assert name in functions_of(file)
