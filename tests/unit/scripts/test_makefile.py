"""`make help` names each verb."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_make_help_lists_every_verb_with_what_it_does() -> None:
    """Also one with a digit, such as e2e."""
    [phony] = re.findall(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    made = subprocess.run(["make", "--silent", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    told = dict(line.split(maxsplit=1) for line in made.stdout.splitlines())
    assert sorted(told) == sorted(phony.split())
    assert all(told.values())
