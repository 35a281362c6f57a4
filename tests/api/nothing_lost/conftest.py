"""What the tests of alerts share: real Alertmanagers before two replicas, or one who posts as they do."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.api.conftest import NewOperator
from tests.harness.alert_sender import Sender
from tests.harness.api import Api
from tests.harness.front import Front
from tests.harness.operator import OperatorProcess
from tests.harness.redis_proxy import RedisProxy
from tests.harness.stage import Stage
from tests.harness.team import Team

NewReplica = Callable[..., Any]


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


@pytest.fixture
def sender(api: Api, namespace: str, tmp_path: Path) -> Sender:
    """Somebody who knows the shared secret."""
    return Sender(api, namespace, tmp_path / "secret")


@pytest.fixture
def replica(operator: NewOperator, sender: Sender) -> NewReplica:
    """Starts an operator that takes the sender's alerts."""

    async def make(identity: str = "replica-0", **options: Any) -> OperatorProcess:
        return await operator(identity=identity, webhook_token_file=sender.token_file, **options)

    return make


@pytest.fixture
async def proxied(replica: NewReplica, sender: Sender, stage: Stage, tmp_path: Path) -> OperatorProcess:
    """A replica between the proxies of `stage`, with the sender's policy in force."""
    process: OperatorProcess = await replica(
        kubeconfig=stage.api_proxy.kubeconfig(tmp_path / "alerts"), redis_url=stage.redis_proxy.url
    )
    await sender.policy()
    await sender.accepted()
    return process


@pytest.fixture
async def process(replica: NewReplica, sender: Sender) -> OperatorProcess:
    """A replica that obeys the sender's policy."""
    process: OperatorProcess = await replica()
    await sender.policy()
    await process.obeys(1)
    return process
