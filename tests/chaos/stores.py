"""Stores: Redis in its three forms, where operators find it, and what can be done to each. All calls
block."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self, cast

from tests.harness.folding import fields_of

from lab.process import Server, ServerError, free_port
from lab.valkey import Valkey, ValkeyCluster, embedded_valkey
from stormfold.fold import keys
from stormfold.model.group import partition

DURABLE = {"appendonly": "yes", "appendfsync": "everysec"}
"""What is acknowledged has been written to the kernel: a SIGKILL loses none of it."""
DOWN_MS = 2000
"""For so long a primary may be silent before the Sentinel takes it for lost: a busy machine is no fault."""
WAIT_SECONDS = 30.0
"""Within this a server must have become what it is to be."""
SERVICE = "storms"
MIGRATE_MS = 2000
UNHEARD_SECONDS = 0.2


def empty_disk(server: Valkey) -> None:
    """Take away what a server that has ended wrote to disk, so that it comes back empty."""
    for path in server.directory.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.suffix == ".rdb":
            path.unlink()


def copy_disk(server: Valkey, to: Path) -> None:
    """Copy what a running server has written to disk."""
    for path in server.directory.iterdir():
        if path.is_dir():
            shutil.copytree(path, to / path.name)


def wait_until(holds: Callable[[], bool], what: str) -> None:
    """Return once it holds.

    Raises:
        ServerError: it did not within `WAIT_SECONDS`.
    """
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        with contextlib.suppress(OSError, ServerError):
            if holds():
                return
        if time.monotonic() > deadline:
            raise ServerError(f"not within {WAIT_SECONDS:g} s: {what}")
        time.sleep(0.05)


def insisted(server: Valkey, *command: str | int) -> Any:
    """What the server replies, asked again while it does not answer or its cluster is down."""
    replies: list[Any] = []

    def asked() -> bool:
        replies.append(server.command(*command))
        return True

    wait_until(asked, f"{server.url} answers {command[0]}")
    return replies[0]


class Store(ABC):
    """What all forms have in common; `with` starts and removes the servers."""

    @property
    @abstractmethod
    def url(self) -> str:
        """What operators are given."""

    @abstractmethod
    def start(self) -> None:
        """Start all servers, and return when they can be used."""

    @abstractmethod
    def stop(self) -> None:
        """End all servers and remove their folders."""

    @abstractmethod
    def primaries(self) -> list[Valkey]:
        """Those that take writes now."""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def on_primaries(self, *command: str | int) -> None:
        """One command to each; who does not answer is passed over."""
        for server in self.primaries():
            with contextlib.suppress(OSError, ServerError):
                server.command(*command)

    def storm(self, group_hash: str) -> dict[str, str]:
        """The fields of a storm, none if it is not there or nobody answers."""
        for server in self.primaries():
            with contextlib.suppress(OSError, ServerError):
                return fields_of(server, keys.storm(partition(group_hash), group_hash))
        return {}


class Single(Store):
    """One server that writes to disk."""

    def __init__(self) -> None:
        self.server = Valkey(settings=DURABLE)

    @property
    def url(self) -> str:
        """See `Store`."""
        return self.server.url

    def start(self) -> None:
        """See `Store`."""
        self.server.start()

    def stop(self) -> None:
        """See `Store`."""
        self.server.stop()

    def primaries(self) -> list[Valkey]:
        """See `Store`."""
        return [self.server]


class WithSentinel(Store):
    """A primary, its replica, and a Sentinel that makes the one of the other."""

    def __init__(self) -> None:
        self._primary = Valkey(settings=DURABLE)
        self._replica = Valkey(settings=DURABLE | {"replicaof": f"127.0.0.1 {self._primary.port}"})
        self._folder = Path(tempfile.mkdtemp(prefix="stormfold-sentinel-"))
        self._port = free_port()
        self._sentinel: Server | None = None

    @property
    def url(self) -> str:
        """See `Store`."""
        return f"redis+sentinel://127.0.0.1:{self._port}/{SERVICE}/0"

    def start(self) -> None:
        """See `Store`."""
        self._primary.start()
        self._replica.start()
        config = self._folder / "sentinel.conf"
        config.write_text(
            f"port {self._port}\nbind 127.0.0.1\ndir {self._folder}\n"
            f"sentinel monitor {SERVICE} 127.0.0.1 {self._primary.port} 1\n"
            f"sentinel down-after-milliseconds {SERVICE} {DOWN_MS}\nsentinel failover-timeout {SERVICE} "
            f"2000\n"
        )
        self._sentinel = Server(
            "sentinel", [embedded_valkey(), config, "--sentinel"], self._folder / "sentinel.log"
        )
        # It asks the primary for its replicas every ten seconds.
        wait_until(
            lambda: f"known-replica {SERVICE} 127.0.0.1 {self._replica.port}" in config.read_text(),
            "the Sentinel knows the replica",
        )
        self._wait_for_replica()

    def stop(self) -> None:
        """See `Store`."""
        if self._sentinel is not None:
            self._sentinel.kill()
        for server in (self._primary, self._replica):
            server.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def primaries(self) -> list[Valkey]:
        """See `Store`."""
        return [self._primary]

    def fail_over(self, *, down: float, tail: float) -> None:
        """Kill the primary; the replica takes its place, without what was written in the last `tail` seconds,
        and the other one comes back as its replica after `down`."""
        until = time.monotonic() + tail
        while time.monotonic() < until:
            # It tries again each second, and is then told what it missed.
            with contextlib.suppress(OSError, ServerError):
                self._primary.command("CLIENT", "KILL", "TYPE", "replica")
            time.sleep(UNHEARD_SECONDS)
        self._primary.kill()
        wait_until(lambda: "role:master" in self._role(self._replica), "the replica is the primary")
        self._primary, self._replica = self._replica, self._primary
        for server in (self._primary, self._replica):
            server.settings.pop("replicaof", None)
        self._replica.settings["replicaof"] = f"127.0.0.1 {self._primary.port}"
        time.sleep(down)
        self._replica.start()
        self._wait_for_replica()

    def _wait_for_replica(self) -> None:
        wait_until(self._follows, "the replica follows")

    def _follows(self) -> bool:
        if "role:master" in self._role(self._replica) and "role:slave" in self._role(self._primary):
            # On a machine that stood still the Sentinel has made the other one the primary, unasked.
            self._primary, self._replica = self._replica, self._primary
        return "master_link_status:up" in self._role(self._replica)

    @staticmethod
    def _role(server: Valkey) -> str:
        return str(server.command("INFO", "replication"))


class Cluster(Store):
    """Three primaries that share the slots, and give them to each other."""

    def __init__(self) -> None:
        self._cluster = ValkeyCluster(settings=DURABLE)

    @property
    def url(self) -> str:
        """See `Store`."""
        return self._cluster.url.replace("redis://", "redis+cluster://").removesuffix("/0")

    def start(self) -> None:
        """See `Store`."""
        self._cluster.start()

    def stop(self) -> None:
        """See `Store`."""
        self._cluster.stop()

    def primaries(self) -> list[Valkey]:
        """See `Store`."""
        return self._cluster.nodes

    def move(self, partition: int, to: int, *, pause: float) -> None:
        """Give a partition's slot to another node, key by key, with a pause after each."""
        slot = int(cast("int", insisted(self._cluster.nodes[0], "CLUSTER", "KEYSLOT", keys.due(partition))))
        source, target = self._owner(slot), self._cluster.nodes[to % len(self._cluster.nodes)]
        if source is target:
            return
        source_id, target_id = (str(insisted(node, "CLUSTER", "MYID")) for node in (source, target))
        insisted(target, "CLUSTER", "SETSLOT", slot, "IMPORTING", source_id)
        insisted(source, "CLUSTER", "SETSLOT", slot, "MIGRATING", target_id)
        while found := cast("list[str]", insisted(source, "CLUSTER", "GETKEYSINSLOT", slot, 1)):
            insisted(source, "MIGRATE", "127.0.0.1", target.port, "", 0, MIGRATE_MS, "KEYS", *found)
            time.sleep(pause)
        for node in (target, source, *self._cluster.nodes):
            insisted(node, "CLUSTER", "SETSLOT", slot, "NODE", target_id)

    def _owner(self, slot: int) -> Valkey:
        ranges: Any = insisted(self._cluster.nodes[0], "CLUSTER", "SLOTS")
        port = next(node[1] for first, last, node, *_ in ranges if first <= slot <= last)
        return next(node for node in self._cluster.nodes if node.port == port)


def store_of(run: str) -> Store:
    """The one that a run is about: main, sentinel or cluster."""
    return {"main": Single, "sentinel": WithSentinel, "cluster": Cluster}[run]()
