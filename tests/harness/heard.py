"""An index of requests, and what its listeners heard of them."""

from __future__ import annotations

from collections.abc import Collection

from stormfold.request.index import RequestIndex
from stormfold.request.reading import Request


class Heard:
    """An index, and who hears of it."""

    def __init__(self) -> None:
        self.versions: list[tuple[str, int, int]] = []
        """Group hash, epoch and folded signals of each version that was observed."""
        self.looks: list[str] = []
        """Groups that were to be looked at."""
        self.index = RequestIndex(self)
        self.index.subscribe(self)
        self.index.subscribe_to_deletions(self)
        self.gone: list[tuple[str, int]] = []
        """Group hash and epoch of each closed request of whose deletion was told."""

    def deleted(self, request: Request) -> None:
        """As who notes ends of alerts."""
        self.gone.append((request.group_hash, request.epoch))

    def observed(self, request: Request) -> None:
        """As who folds."""
        self.versions.append((request.group_hash, request.epoch, request.folded))

    def make_due(self, group_hashes: Collection[str]) -> None:
        """As the schedule."""
        self.looks += group_hashes
