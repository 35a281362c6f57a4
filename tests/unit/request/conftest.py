"""An index of requests for each test."""

from __future__ import annotations

import pytest
from tests.harness.heard import Heard


@pytest.fixture
def heard() -> Heard:
    return Heard()
