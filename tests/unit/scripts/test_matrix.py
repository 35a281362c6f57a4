"""The matrix of versions, as far as it goes without an API server."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from scripts.matrix import TESTS

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("versions", [(), ("1.32",), ("v1.32.13", "latest")])
def test_what_is_no_version_is_answered_by_the_usage(versions: tuple[str, ...]) -> None:
    command = [sys.executable, "-m", "scripts.matrix", *versions]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == 'usage: make matrix VERSIONS="v1.32.13 v1.35.4"\n'


def test_every_file_of_tests_is_there() -> None:
    assert [name for name in TESTS if not (ROOT / name).is_file()] == []
