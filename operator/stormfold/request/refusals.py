"""Refusals: what is said of requests that cannot be written, in the API server's words, and how often."""

import logging

from stormfold.fold.folder import Folder
from stormfold.kube.errors import ApiError, ConflictError, RefusedError, ThrottledError
from stormfold.model.evidence import cut
from stormfold.model.opening import Opening
from stormfold.model.seldom import Seldom
from stormfold.model.storm import Snapshot, request_name

log = logging.getLogger(__name__)

LOG_SECONDS = 60.0
"""How often the log says of a namespace that its requests are not written."""
LASTING = 8
"""After so many failures in a row, those of which the API server says that they may pass are told to people
too."""
LONGEST_WORDS = 1024
"""The most characters of the API server's words that are told: an admission webhook may send a megabyte."""


class Refusals:
    """Tells of writes that failed: the log, and through the folder those who wait."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._logged = Seldom()
        """Of each namespace."""

    def note(self, storm: Snapshot, namespace: str, exc: ApiError, failures: int) -> None:
        """A write of the storm's request has failed; it is the so-manyth failure of the namespace in a
        row."""
        # Another replica may have folded it, and then only the storm says where its request is to be.
        if not namespace and storm.opening:
            namespace = Opening.decoded(storm.opening).group.request_namespace
        name = f"{namespace}/{request_name(storm.group_hash, storm.epoch)}"
        if exc.status and not isinstance(exc, ConflictError | ThrottledError):
            sentence = not_written(name, exc.message)
            lasts = isinstance(exc, RefusedError) or failures >= LASTING
            self._folder.delayed(storm.group_hash, sentence, lasts=lasts)
        if not self._logged.tells(LOG_SECONDS, namespace):
            return
        log.warning(
            "requests of a namespace are not written, trying again",
            extra={
                "namespace": namespace,
                "request": name,
                "failures": failures,
                "error": cut(str(exc), LONGEST_WORDS),
            },
        )


def not_written(name: str, words: str) -> str:
    """What those hear who wait for a request that the API server refuses with these words."""
    return (
        f"RemediationRequest {name} is not written: {cut(words, LONGEST_WORDS)}. "
        "Its signals are kept, and stormfold tries again"
    )
