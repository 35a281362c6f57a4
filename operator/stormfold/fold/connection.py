"""One way in to Redis, Valkey, Sentinel and Cluster, and what is checked at the door.

| URL | what answers |
|---|---|
| `redis://host:6379/0`, `rediss://…` | one server; `rediss` is TLS |
| `redis+cluster://host:6379`, `rediss+cluster://…` | a Cluster, any node of it |
| `redis+sentinel://host:26379,host:26379/<service>/<db>` | the primary that the Sentinels name |
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import urlsplit

from redis.asyncio import Redis, RedisCluster
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff
from redis.exceptions import NoPermissionError, RedisError, ResponseError

from stormfold.fold.errors import StoreConfigError, StoreUnavailableError, store_errors

log = logging.getLogger(__name__)

CONNECTIONS = 128
"""Sockets to each server, at most: a partition has one fold under way, and storms are worked on beside; one call too many would fail."""
TIMEOUT_SECONDS = 5.0
"""How long one call may take before it counts as failed."""
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

    def __init__(self, client: Redis | RedisCluster) -> None:
        self.client: Any = client

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
            "socket_timeout": timeout_seconds,
            "socket_connect_timeout": timeout_seconds,
            "max_connections": CONNECTIONS,
        }
        scheme, _, rest = url.partition("://")
        try:
            match scheme.split("+"):
                case ["redis" | "rediss" | "unix"]:
                    return cls(Redis.from_url(url, retry=Retry(NoBackoff(), 0), **options))
                case ["redis" | "rediss" as plain, "cluster"]:
                    return cls(RedisCluster.from_url(f"{plain}://{rest}", **options))
                case ["redis" | "rediss" as plain, "sentinel"]:
                    return cls(_sentinel(f"{plain}://{rest}", plain == "rediss", options))
        except ValueError as exc:
            raise StoreConfigError(f"STORMFOLD_REDIS_URL is not a URL of Redis: {exc}") from exc
        raise StoreConfigError(
            f"STORMFOLD_REDIS_URL begins with {scheme!r}; it must begin with redis://, rediss://, "
            "redis+cluster:// or redis+sentinel://"
        )

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
            with store_errors("asking Redis who it is"):
                for info in await self._of_primaries("INFO", "server"):
                    _check_version(info)
        except StoreUnavailableError as exc:
            reason = str(exc).rstrip(".")
            raise StoreUnavailableError(f"{reason}: check STORMFOLD_REDIS_URL and the network") from exc
        try:
            policies = await self._of_primaries("CONFIG GET", "maxmemory-policy")
        except NoPermissionError:
            policies = None
        except ResponseError as exc:
            if "unknown command" not in str(exc).lower():
                raise StoreConfigError(f"asking Redis for maxmemory-policy: {exc}") from exc
            policies = None
        except RedisError:
            with store_errors("asking Redis for maxmemory-policy"):
                raise
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

    async def memory(self) -> Memory:
        """How full the fullest server is."""
        with store_errors("asking Redis for its memory"):
            infos = await self._of_primaries("INFO", "memory")
        return max(
            (Memory(int(i["used_memory"]), int(i.get("maxmemory", 0))) for i in infos),
            key=lambda memory: memory.ratio,
        )

    async def close(self) -> None:
        """Close all sockets."""
        await cast("Any", self.client).aclose()


def _check_version(info: Mapping[str, Any]) -> None:
    if "valkey_version" in info:
        return
    version = str(info.get("redis_version", "0"))
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST:
        raise StoreConfigError(f"Redis is {version}; stormfold needs Redis 7.0 or newer, or Valkey")


def _sentinel(url: str, tls: bool, options: dict[str, Any]) -> Redis:
    parts = urlsplit(url)
    hosts = [host.rpartition(":") for host in parts.netloc.rpartition("@")[2].split(",")]
    path = parts.path.strip("/").split("/")
    if not path[0] or not all(port.isdigit() for _, _, port in hosts):
        raise ValueError("redis+sentinel:// needs host:port,…/service")
    sentinel = Sentinel(  # type: ignore[no-untyped-call]
        [(host, int(port)) for host, _, port in hosts],
        sentinel_kwargs={"socket_timeout": options["socket_timeout"], "ssl": tls},
        username=parts.username,
        password=parts.password,
        ssl=tls,
        db=int(path[1]) if len(path) > 1 else 0,
        retry=Retry(NoBackoff(), 0),
        **options,
    )
    return cast("Redis", sentinel.master_for(path[0]))
