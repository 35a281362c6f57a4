"""What the tests with real Alertmanagers share."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

import pytest
from tests.api.conftest import NewOperator
from tests.harness.api import Api
from tests.harness.front import Front
from tests.harness.redis_proxy import RedisProxy
from tests.harness.team import Team


@pytest.fixture
def policy() -> dict[str, Any]:
    """Fields of the team's policy, for a test to set."""
    return {}


@pytest.fixture
async def front(
    *,
    api: Api,
    operator: NewOperator,
    redis_proxy: RedisProxy,
    namespace: str,
    tmp_path: Path,
    policy: dict[str, Any],
) -> Front:
    """Two replicas on one Redis, behind `redis_proxy`."""
    token = tmp_path / "token"
    token.write_text(secrets.token_hex(16))
    first, second = [
        await operator(identity=f"replica-{number}", redis_url=redis_proxy.url, webhook_token_file=token)
        for number in range(2)
    ]
    team = Team(api, namespace)
    await team.policy(**policy)
    for replica in (first, second):
        await replica.obeys(1)
    return Front((first, second), team, token)
