"""Readiness: what keeps this process from being ready, and from taking posts."""

from typing import Protocol

from stormfold.fold.writes import Writes


class Part(Protocol):
    """A part of the process that can be unwell."""

    def not_ready(self) -> dict[str, str]:
        """What keeps the process from being ready: one sentence each by name."""


class Readiness:
    """The state of the process, as its parts see it."""

    def __init__(self, writes: Writes, client: Part, *parts: Part) -> None:
        """`parts` are asked once all is loaded; before that, they have nothing to say."""
        self._writes = writes
        self._client = client
        self._parts = parts
        self.loaded = False
        """Whether policies and requests have been read."""
        self.stopping = False

    def not_ready(self) -> dict[str, str]:
        """What keeps us from being ready, by the part."""
        problems = {}
        if trouble := self._writes.trouble():
            problems["redis"] = trouble
        problems |= self._client.not_ready()
        if not self.loaded:
            problems["start"] = "policies and requests have not been read yet"
            return problems
        for part in self._parts:
            problems |= part.not_ready()
        return problems

    def not_serving(self) -> str | None:
        """Why no post is taken now; None if posts are."""
        if self.stopping:
            return "this replica is stopping"
        if not self.loaded:
            return "this replica is starting"
        return self._writes.trouble()
