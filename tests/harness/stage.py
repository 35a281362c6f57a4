"""The stage of a fault: an operator between two proxies, and a team that reports to it."""

from __future__ import annotations

from dataclasses import dataclass

from tests.harness.api import Api
from tests.harness.api_proxy import ApiProxy
from tests.harness.api_proxy import Rule as ApiRule
from tests.harness.eventually import eventually
from tests.harness.operator import OperatorProcess
from tests.harness.redis_proxy import RedisProxy
from tests.harness.redis_proxy import Rule as RedisRule
from tests.harness.team import Team

from lab.valkey import Valkey


@dataclass(frozen=True)
class Stage:
    """What the fixture `stage` gives; the marker `started` says whether the operator runs."""

    operator: OperatorProcess
    api: Api
    api_proxy: ApiProxy
    redis_proxy: RedisProxy
    valkey: Valkey
    team: Team

    async def kill_at(self, *rules: ApiRule | RedisRule) -> None:
        """SIGKILL as soon as each rule holds something; what is held is never passed on, what follows is."""
        for rule in rules:
            await eventually(rule.arrived.is_set, within=30, what=f"{rule} is met")
        self.kill()
        for rule in rules:
            rule.times = rule.hits

    def kill(self) -> None:
        """SIGKILL; a command that the proxy still held is dropped with its connection."""
        self.operator.kill()
        self.redis_proxy.disconnect()
        self.redis_proxy.reconnect()

    def lose(self, what: str) -> None:
        """Empty Redis if `what` says so: `kept` or `emptied`."""
        if what == "emptied":
            self.valkey.command("FLUSHALL")

    async def metric(self, name: str, **labels: str) -> float:
        """One figure of the operator's metrics."""
        return (await self.operator.metrics()).total(name, **labels)
