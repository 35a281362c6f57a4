"""docs/limits.md is short enough to be read before somebody decides."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path(__file__).parents[3] / "docs" / "limits.md"
LIMITS_AT_MOST = 8


def test_there_are_few_limits_and_each_links_to_its_reason() -> None:
    limits = re.split(r"^\* ", PAGE.read_text(), flags=re.MULTILINE)[1:]
    assert 0 < len(limits) <= LIMITS_AT_MOST
    assert [limit for limit in limits if "](" not in limit] == []
