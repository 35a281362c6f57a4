"""A real Sentinel: it names the primary, wants a password of its own, and names another when the first is
gone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest
from tests.harness.eventually import eventually
from tests.harness.folding import CLUSTER, Group, signal

from lab.process import Server, free_port
from lab.valkey import Valkey
from stormfold.fold.connection import Connection
from stormfold.fold.errors import StoreConfigError, StoreUnavailableError
from stormfold.fold.store import StormStore

PASSWORD, OF_SENTINEL = "p:r/i@m%ary", "s/e?n&t"


@contextmanager
def sentinel(binary: Path, primary: Valkey, folder: Path) -> Iterator[str]:
    """A Sentinel of the primary's own; gives the URL through which stormfold asks it."""
    port = free_port()
    config = folder / "sentinel.conf"
    config.write_text(
        f"port {port}\nbind 127.0.0.1\ndir {folder}\nrequirepass {OF_SENTINEL}\n"
        f"sentinel monitor storms 127.0.0.1 {primary.port} 1\nsentinel auth-pass storms {PASSWORD}\n"
        "sentinel down-after-milliseconds storms 500\nsentinel failover-timeout storms 2000\n"
    )
    server = Server("sentinel", [binary, config, "--sentinel"], folder / "sentinel.log")
    login = f":{quote(PASSWORD, safe='')}@"
    try:
        password = quote(OF_SENTINEL, safe="")
        yield f"redis+sentinel://{login}127.0.0.1:{port}/storms/0?sentinel_password={password}"
    finally:
        server.kill()


@pytest.fixture
def primary(server_binary: Path) -> Iterator[Valkey]:
    """With a password."""
    with Valkey(server_binary, password=PASSWORD, settings={"masterauth": PASSWORD}) as running:
        yield running


async def test_storm_goes_on_with_the_primary_that_sentinel_names_next(
    server_binary: Path, primary: Valkey, tmp_path: Path
) -> None:
    replica_of = {"masterauth": PASSWORD, "replicaof": f"127.0.0.1 {primary.port}"}
    with (
        Valkey(server_binary, password=PASSWORD, settings=replica_of) as replica,
        sentinel(server_binary, primary, tmp_path) as url,
    ):
        connection = Connection.from_url(url)

        async def checked() -> bool:
            try:
                await connection.check()
            except StoreUnavailableError:
                return False
            return True

        await eventually(checked, what="the Sentinel answers")
        group = Group(StormStore(connection, cluster=CLUSTER))
        await group.fold(signal(1))

        async def knows_the_replica() -> bool:
            return "slave0:" in str(primary.command("INFO", "replication")) and replica.command("DBSIZE") == (
                primary.command("DBSIZE")
            )

        await eventually(knows_the_replica, what="the replica has what the primary has")
        # Sentinel asks the primary for its replicas every ten seconds.
        await eventually(lambda: str(replica.port) in (tmp_path / "sentinel.conf").read_text(), within=30)
        primary.kill()

        async def folded() -> str:
            try:
                return (await group.fold(signal(2), known=(1, 1))).word
            except StoreUnavailableError:
                return ""

        # It may lack the last words of the one before.
        assert await eventually(folded, within=30, what="the replica has become the primary") == "lost"
        assert (await group.fold(signal(1), signal(2))).ordinals == [1, 2]
        await connection.close()


async def test_wrong_password_for_the_sentinel_is_said(
    server_binary: Path, primary: Valkey, tmp_path: Path
) -> None:
    with sentinel(server_binary, primary, tmp_path) as url:
        connection = Connection.from_url(url.partition("?")[0] + "?sentinel_password=wrong")
        with pytest.raises((StoreUnavailableError, StoreConfigError)) as caught:
            await connection.check()
        assert "asking Redis who it is" in str(caught.value)
        await connection.close()
