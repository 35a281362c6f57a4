"""One way in to Redis, Valkey, Sentinel and Cluster, and what is checked at the door.

| URL | what answers |
|---|---|
| `redis://host:6379/0`, `rediss://…` | one server; `rediss` is TLS |
| `redis+cluster://host:6379`, `rediss+cluster://…` | a Cluster, any node of it |
| `redis+sentinel://host:26379,host:26379/<service>/<db>` | the primary that the Sentinels name; `?sentinel_password=` (and `sentinel_username`) if they ask for one |
"""

import asyncio
import logging
import re
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import parse_qsl, unquote, urlsplit

from redis.asyncio import Redis, RedisCluster
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff
from redis.exceptions import NoPermissionError, ResponseError

from stormfold.fold.errors import StoreConfigError, StoreUnavailableError, store_errors
from stormfold.fold.pipelining import Pipelined, PipelinedCluster, to_server

log = logging.getLogger(__name__)

CONNECTIONS = 128
"""Sockets to each server, at most: a partition has one fold under way, and storms are worked on beside; one call too many would fail."""
TIMEOUT_SECONDS = 5.0
"""How long one call may take, connecting included, before it counts as failed."""
SENTINEL_SECONDS = 1.0
"""How long one Sentinel may take before the next is asked."""
SCHEME = re.compile(r"[a-z][a-z+]{0,31}")
OLDEST = (7, 0)
"""Scripts need `#!lua`, which Redis 7.0 brought; every Valkey has it."""


@dataclass(frozen=True, slots=True)
class Memory:
    """The fullest server's memory."""

    used_bytes: int
    limit_bytes: int
    """0: no limit is set."""

    @property
    def ratio(self) -> float:
        """Used share of the limit; 0 without one."""
        return self.used_bytes / self.limit_bytes if self.limit_bytes else 0.0


class Connection:
    """A client, and what differs between one server and a Cluster."""

    def __init__(
        self,
        client: Redis | RedisCluster,
        timeout_seconds: float = TIMEOUT_SECONDS,
        sentinels: Sentinel | None = None,
        *,
        where: str = "Redis",
    ) -> None:
        self.client: Any = client
        self._sentinels: Any = sentinels
        self._where = where
        self._timeout_seconds = timeout_seconds
        self.answered = 0.0
        """When a call last had its answer, by the monotonic clock; 0 if none had."""
        self.scripts: Pipelined | PipelinedCluster = (
            PipelinedCluster(client, timeout_seconds=timeout_seconds)
            if isinstance(client, RedisCluster)
            else Pipelined(to_server(client), timeout_seconds=timeout_seconds)
        )
        """Who runs scripts: calls that go to one server travel together."""

    @property
    def is_cluster(self) -> bool:
        """Whether keys are spread over several servers."""
        return isinstance(self.client, RedisCluster)

    @classmethod
    def from_url(cls, url: str, *, timeout_seconds: float = TIMEOUT_SECONDS) -> "Connection":
        """A client for the URL; nothing is sent yet.

        Raises:
            StoreConfigError: the URL has a form that is not in the table above.
        """
        options: dict[str, Any] = {
            "decode_responses": True,
            # `calling` bounds a whole call: a bound on each step of it costs a task each time, and in Python 3.11
            # such a step can swallow a cancellation.
            "socket_timeout": None,
            "socket_connect_timeout": None,
            "max_connections": CONNECTIONS,
        }
        scheme, _, rest = url.partition("://")
        where = rest.partition("/")[0].rpartition("@")[2]
        try:
            match scheme.split("+"):
                case ["redis" | "rediss" | "unix"]:
                    return cls(
                        Redis.from_url(url, retry=Retry(NoBackoff(), 0), **options),
                        timeout_seconds,
                        where=where,
                    )
                case ["redis" | "rediss" as plain, "cluster"]:
                    return cls(
                        RedisCluster.from_url(f"{plain}://{rest}", **options), timeout_seconds, where=where
                    )
                case ["redis" | "rediss" as plain, "sentinel"]:
                    sentinels, service = _sentinels(f"{plain}://{rest}", plain == "rediss", options)
                    return cls(
                        cast("Redis", sentinels.master_for(service)), timeout_seconds, sentinels, where=where
                    )
        except ValueError:
            # The words of a parser may be a piece of the password, and ours end in the log and in the pod's status.
            raise StoreConfigError(
                "STORMFOLD_REDIS_URL is not a URL of Redis: its host, port or options cannot be read; in a password, "
                "/ ? # [ and the like are written as %2F %3F %23 %5B"
            ) from None
        begins = (
            f"begins with {scheme!r}; it must begin" if SCHEME.fullmatch(scheme) and rest else "must begin"
        )
        raise StoreConfigError(
            f"STORMFOLD_REDIS_URL {begins} with redis://, rediss://, redis+cluster:// or redis+sentinel://"
        )

    @asynccontextmanager
    async def calling(self, doing: str) -> AsyncIterator[None]:
        """One call, within its time and with its errors as ours; `doing` names it for the message.

        Raises:
            StoreError: as in `store_errors`; no answer in time is a `StoreUnavailableError`.
        """
        with store_errors(doing):
            try:
                async with asyncio.timeout(self._timeout_seconds):
                    yield
                self.answered = time.monotonic()
            except TimeoutError as exc:
                raise StoreUnavailableError(
                    f"{doing}: no answer from {self._where} within {self._timeout_seconds:g} s"
                ) from exc

    async def _of_primaries(self, *command: str) -> list[Any]:
        if isinstance(self.client, RedisCluster):
            answers = await self.client.execute_command(*command, target_nodes=RedisCluster.PRIMARIES)
            return list(answers.values()) if isinstance(answers, Mapping) else [answers]
        return [await self.client.execute_command(*command)]

    async def check(self) -> None:
        """Refuse a server on which storms could be lost in silence.

        Raises:
            StoreUnavailableError: no answer.
            StoreConfigError: too old, or it evicts keys.
        """
        try:
            async with self.calling("asking Redis who it is"):
                for info in await self._of_primaries("INFO", "server"):
                    _check_version(info)
        except StoreUnavailableError as exc:
            reason = str(exc).rstrip(".")
            raise StoreUnavailableError(f"{reason}: check STORMFOLD_REDIS_URL and the network") from exc
        policies = await self._eviction_policies()
        if policies is None:
            log.warning(
                "Redis does not let us read maxmemory-policy: make sure that it is noeviction, or storms may be lost"
            )
            return
        for answer in policies:
            found = answer["maxmemory-policy"] if isinstance(answer, Mapping) else answer[1]
            if found != "noeviction":
                raise StoreConfigError(
                    f"Redis evicts keys (maxmemory-policy is {found}): a storm could vanish; "
                    "run CONFIG SET maxmemory-policy noeviction, and set it in the server's configuration"
                )

    async def _eviction_policies(self) -> list[Any] | None:
        async with self.calling("asking Redis for maxmemory-policy"):
            try:
                return await self._of_primaries("CONFIG GET", "maxmemory-policy")
            except NoPermissionError:
                return None
            except ResponseError as exc:
                if "unknown command" not in str(exc).lower():
                    raise
                return None

    async def memory(self) -> Memory:
        """How full the fullest server is."""
        async with self.calling("asking Redis for its memory"):
            infos = await self._of_primaries("INFO", "memory")
        return max(
            (Memory(int(i["used_memory"]), int(i.get("maxmemory", 0))) for i in infos),
            key=lambda memory: memory.ratio,
        )

    async def close(self) -> None:
        """Close all sockets."""
        await self.scripts.close()
        await self.client.aclose()
        if self._sentinels is not None:
            await self._sentinels.aclose()


def _check_version(info: Mapping[str, Any]) -> None:
    if "valkey_version" in info:
        return
    version = str(info.get("redis_version", "0"))
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST:
        raise StoreConfigError(f"Redis is {version}; stormfold needs Redis 7.0 or newer, or Valkey")


def _sentinels(url: str, tls: bool, options: dict[str, Any]) -> tuple[Sentinel, str]:
    parts = urlsplit(url)
    hosts = [host.rpartition(":") for host in parts.netloc.rpartition("@")[2].split(",")]
    path = parts.path.strip("/").split("/")
    if not path[0] or not all(port.isdigit() for _, _, port in hosts):
        raise StoreConfigError(
            "STORMFOLD_REDIS_URL is not a URL of Redis: redis+sentinel:// needs host:port,…/service"
        )
    query = dict(parse_qsl(parts.query))
    sentinels = Sentinel(  # type: ignore[no-untyped-call]
        [(host, int(port)) for host, _, port in hosts],
        sentinel_kwargs={
            "socket_timeout": SENTINEL_SECONDS,
            "ssl": tls,
            "username": query.get("sentinel_username"),
            "password": query.get("sentinel_password"),
        },
        username=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
        ssl=tls,
        db=int(path[1]) if len(path) > 1 else 0,
        retry=Retry(NoBackoff(), 0),
        **options,
    )
    return sentinels, path[0]
