"""Absences: since when the namespaces of requests are not there."""

NAMESPACE_SECONDS = 60.0
"""How long a request waits for its namespace to be made, and for how long an absence that nobody meets is
known."""
NAMESPACE_MISSING = (
    f"the namespace of the request was not there for {NAMESPACE_SECONDS:.0f} s: create it, or fix "
    "requestNamespace of the policy"
)
NAMESPACE_GONE = "the namespace of the request was deleted"
"""What is said of the signals of such requests."""


class Absences:
    """Namespaces that are not there. Each storm that waits for one asks about once a second."""

    def __init__(self) -> None:
        self._absent: dict[str, tuple[int, int]] = {}
        """Namespace → since when it is not there, and when that was last seen, Unix ms."""

    def since(self, namespace: str, now_ms: int) -> int:
        """The namespace is not there; gives since when that is known, Unix ms."""
        known = now_ms - NAMESPACE_SECONDS * 1000
        since, seen = self._absent.get(namespace, (now_ms, 0))
        if seen <= known:  # it may have been there meanwhile
            since = now_ms
            self._absent = {name: times for name, times in self._absent.items() if times[1] > known}
        self._absent[namespace] = (since, now_ms)
        return since

    def over(self, namespace: str) -> None:
        """The namespace is there."""
        self._absent.pop(namespace, None)

    def __len__(self) -> int:
        return len(self._absent)
