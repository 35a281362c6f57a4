"""One way in to Redis, Valkey, Sentinel and Cluster, and what is checked at the door. `url` tells the forms
of the URL."""

import asyncio
import re
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, cast

from redis.asyncio import Redis, RedisCluster
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.connection import Connection as TcpConnection
from redis.asyncio.connection import ConnectionPool, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import MasterNotFoundError, Sentinel
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from stormfold.fold.errors import (
    StoreConfigError,
    StoreMovedError,
    StoreUnavailableError,
    chain_of,
    store_errors,
)
from stormfold.fold.pipelining import Pipelined, PipelinedCluster, to_server
from stormfold.fold.url import RedisUrl, parse

CONNECTIONS = 128
"""Sockets to each server, at most: a partition has one fold under way, and storms are worked on beside; one
call too many would fail."""
TIMEOUT_SECONDS = 5.0
"""How long one call may take, connecting included, before it counts as failed."""
SENTINEL_SECONDS = 1.0
"""How long one Sentinel, or one node that is to tell of its Cluster, may take before the next is asked."""
OLDEST = (7, 0)
"""Scripts need `#!lua`, which Redis 7.0 brought; every Valkey has it."""
NO_POLICY = "make sure that maxmemory-policy is noeviction, or storms may be lost"
ADVICE: Mapping[str, str] = {
    "cluster support disabled": "this is no Cluster: write redis:// in STORMFOLD_REDIS_URL",
    "'SENTINEL'": "this is no Sentinel: write redis:// in STORMFOLD_REDIS_URL",
}
"""What a server says that is not of the kind that the URL names, and what to do then."""


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


class Sentinels(Sentinel):
    """Sentinels of which each one says why it names no primary."""

    async def discover_master(self, service_name: str) -> Any:
        """Host and port of the primary; `MasterNotFoundError` for the first reason, with all of them."""
        try:
            return await super().discover_master(service_name)
        except MasterNotFoundError:
            errors = await asyncio.gather(*(each.ping() for each in self.sentinels), return_exceptions=True)
            reasons = [
                f"{options['host']}:{options['port']}: "
                f"{(isinstance(error, Exception) and error) or 'knows none'}"
                for options, error in zip(
                    (each.connection_pool.connection_kwargs for each in self.sentinels), errors, strict=True
                )
            ]
            cause = next((error for error in errors if isinstance(error, Exception)), None)
            raise MasterNotFoundError(
                f"no Sentinel names a primary {service_name!r} that is up ({', '.join(reasons)})"
            ) from cause


class Connection:
    """A client, and what differs between one server and a Cluster."""

    def __init__(
        self,
        client: Redis | RedisCluster,
        timeout_seconds: float = TIMEOUT_SECONDS,
        sentinels: Sentinel | None = None,
        *,
        where: str = "Redis",
        user: str = "",
        tls: bool = False,
    ) -> None:
        self.client: Any = client
        self._sentinels: Any = sentinels
        self._where = where
        self._user = user
        self._tls = tls
        self._timeout_seconds = timeout_seconds
        self._tells = True
        """Whether the server answers INFO."""
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

    def pipeline(self) -> Any:
        """Commands that travel together, without being one transaction."""
        return self.client.pipeline() if self.is_cluster else self.client.pipeline(transaction=False)

    @classmethod
    def from_url(cls, url: str, *, timeout_seconds: float = TIMEOUT_SECONDS) -> "Connection":
        """A client for the URL; nothing is sent yet.

        Raises:
            StoreConfigError: see `url.parse`.
        """
        address = parse(url)
        client, sentinels = _client(address)
        return cls(
            client, timeout_seconds, sentinels, where=address.where, user=address.username, tls=address.tls
        )

    @asynccontextmanager
    async def calling(self, doing: str) -> AsyncIterator[None]:
        """One call, within its time and with its errors as ours; `doing` names it for the message.

        Who has turned out not to have the keys any more is left: what comes next connects anew.

        Raises:
            StoreError: as in `store_errors`; no answer in time is a `StoreUnavailableError`.
        """
        try:
            with store_errors(doing, user=self._user):
                try:
                    async with asyncio.timeout(self._timeout_seconds):
                        yield
                except TimeoutError as exc:
                    raise StoreUnavailableError(
                        f"{doing}: no answer from {self._where} within {self._timeout_seconds:g} s"
                    ) from exc
        except StoreMovedError as exc:
            if exc.words.startswith(("MOVED", "ASK")) and not self.is_cluster:
                raise StoreConfigError(_other_kind("cluster"), words=exc.words) from exc
            await self._leave()
            raise

    async def _leave(self) -> None:
        """Close what is idle, and what is under way as soon as it is done."""
        with suppress(RedisError, OSError):
            if isinstance(self.client, RedisCluster):
                await self.client.aclose()
            else:
                await self.client.connection_pool.update_active_connections_for_reconnect()
                await self.client.connection_pool.disconnect(inuse_connections=False)

    async def _connect(self) -> None:
        """Log in, and learn who has the keys."""
        if isinstance(self.client, RedisCluster):
            await self.client.initialize()
        else:
            pool = self.client.connection_pool
            await pool.release(await pool.get_connection())

    async def _of_primaries(self, *command: str) -> list[Any]:
        if isinstance(self.client, RedisCluster):
            answers = await self.client.execute_command(*command, target_nodes=RedisCluster.PRIMARIES)
            return list(answers.values()) if isinstance(answers, Mapping) else [answers]
        return [await self.client.execute_command(*command)]

    async def one_of_each(self, keys: Mapping[int, str]) -> list[int]:
        """Of partitions, each with one of its keys, one for each server that has any."""
        if not isinstance(self.client, RedisCluster):
            return [next(iter(keys))]
        async with self.calling("asking for the nodes of the Cluster"):
            await self._connect()
            nodes: dict[Any, int] = {}
            for number, key in keys.items():
                nodes.setdefault(self.client.get_node_from_key(key), number)
            return list(nodes.values())

    async def check(self) -> list[str]:
        """Refuse a server on which storms could be lost in silence; gives a warning of what it does not tell.

        Raises:
            StoreUnavailableError: no answer, or not now.
            StoreConfigError: it is of another kind than the URL says, too old, or it evicts keys.
        """
        try:
            async with self.calling("asking Redis who it is"):
                await self._connect()
            infos = await self._infos("server", "asking Redis who it is")
        except (StoreUnavailableError, StoreConfigError) as exc:
            if advice := _advice(exc, self._tls):
                raise type(exc)(f"{str(exc).rstrip('.')}: {advice}", words=exc.words) from exc
            raise
        self._tells = infos is not None
        if infos is None:
            return [
                (
                    f"Redis does not let us run INFO, so that version, memory and fail-overs cannot be seen: "
                    f"{NO_POLICY}"
                )
            ]
        for info in infos:
            mode = info.get("redis_mode") or info.get("server_mode")
            if mode == "sentinel" or (mode == "cluster" and not self.is_cluster):
                raise StoreConfigError(_other_kind(mode))
            check_version(info)
        infos = await self._infos("memory", "asking Redis for maxmemory-policy") or [{}]
        for policy in (str(info.get("maxmemory_policy", "")) for info in infos):
            if policy not in {"", "noeviction"}:
                raise StoreConfigError(
                    f"Redis evicts keys (maxmemory-policy is {policy}): a storm could vanish; "
                    "run CONFIG SET maxmemory-policy noeviction, and set it in the server's configuration"
                )
        if not all("maxmemory_policy" in info for info in infos):
            return [f"Redis does not let us read maxmemory-policy: {NO_POLICY}"]
        return []

    async def _infos(self, section: str, doing: str) -> list[Mapping[str, Any]] | None:
        """What INFO says of each primary; None if it is refused or empty."""
        try:
            async with self.calling(doing):
                infos = await self._of_primaries("INFO", section)
        except StoreConfigError:
            return None
        return infos if all(infos) else None

    async def memory(self) -> Memory:
        """How full the fullest server is; all zero where servers do not tell."""
        infos = await self._infos("memory", "asking Redis for its memory") if self._tells else None
        return max(
            (Memory(int(i.get("used_memory", 0)), int(i.get("maxmemory", 0))) for i in infos or ({},)),
            key=lambda memory: memory.ratio,
        )

    async def close(self) -> None:
        """Close all sockets."""
        await self.scripts.close()
        await self.client.aclose()
        if self._sentinels is not None:
            await self._sentinels.aclose()


def check_version(info: Mapping[str, Any]) -> None:
    """Nothing, if the server that says this of itself in INFO is new enough.

    Raises:
        StoreConfigError: it is not.
    """
    if "valkey_version" in info:
        return
    version = str(info.get("redis_version", ""))
    found = re.match(r"(\d+)\.(\d+)", version)
    if found and (int(found[1]), int(found[2])) < OLDEST:
        raise StoreConfigError(f"Redis is {version}; stormfold needs Redis 7.0 or newer, or Valkey")


def _other_kind(mode: str) -> str:
    write = "redis+cluster://" if mode == "cluster" else "redis+sentinel://host:port/<service>/0"
    named = "a Cluster" if mode == "cluster" else "a Sentinel"
    return f"STORMFOLD_REDIS_URL names a node of {named}: write {write}"


def _advice(exc: StoreUnavailableError | StoreConfigError, tls: bool) -> str:
    """What to do about a server that could not be asked who it is; nothing where Redis says so itself."""
    for words, advice in ADVICE.items():
        if words in exc.words:
            return advice
    if exc.words:
        return ""
    causes = list(chain_of(exc))
    if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes):
        return "name its authority by ssl_ca_certs in STORMFOLD_REDIS_URL, or use the component redis-ca"
    if tls and any(isinstance(cause, ssl.SSLError | TimeoutError) for cause in causes):
        return "check the network, and that this port speaks TLS: without, the URL begins with redis"
    if any(isinstance(cause, MasterNotFoundError) for cause in causes):
        return (
            "check the addresses of the Sentinels, the service's name and sentinel_password in "
            "STORMFOLD_REDIS_URL"
        )
    return "check STORMFOLD_REDIS_URL and the network"


def _client(address: RedisUrl) -> tuple[Redis | RedisCluster, Sentinel | None]:
    """A client, and who tells it of the primary."""
    options: dict[str, Any] = {
        "decode_responses": True,
        # `calling` bounds a whole call: a bound on each step of it costs a task each time, and in Python 3.11
        # such a step can swallow a cancellation.
        "socket_timeout": None,
        "socket_connect_timeout": None,
        "max_connections": CONNECTIONS,
        "username": address.username or None,
        "password": address.password or None,
        # What the library is called is no business of the server, and may be against a user's rights.
        "driver_info": None,
    }
    tls: dict[str, Any] = dict(address.tls_options)
    if tls.get("ssl_cert_reqs") == "none":
        tls["ssl_check_hostname"] = False
    # What fails is tried again by who asked, who knows what Redis said.
    once = Retry(NoBackoff(), 0)
    if address.kind == "cluster":
        nodes = [ClusterNode(host, port) for host, port in address.hosts]
        options |= {"startup_nodes": nodes, "socket_connect_timeout": SENTINEL_SECONDS, "retry": once}
        return RedisCluster(**options, **({"ssl": True, **tls} if address.tls else {})), None
    options |= {"db": address.db, "retry": once}
    if address.kind == "sentinel":
        options |= {"ssl": address.tls, **tls}
        sentinels = Sentinels(  # type: ignore[no-untyped-call]
            list(address.hosts),
            sentinel_kwargs={
                "socket_timeout": SENTINEL_SECONDS,
                "retry": once,
                "ssl": address.tls,
                **tls,
                "username": address.sentinel_username or None,
                "password": address.sentinel_password or None,
                "driver_info": None,
            },
            **options,
        )
        return cast("Redis", sentinels.master_for(address.service)), sentinels
    if address.kind == "unix":
        options |= {"connection_class": UnixDomainSocketConnection, "path": address.path}
    else:
        ((host, port),) = address.hosts
        options |= {
            "connection_class": SSLConnection if address.tls else TcpConnection,
            "host": host,
            "port": port,
        }
    return Redis.from_pool(ConnectionPool(**options, **tls)), None
