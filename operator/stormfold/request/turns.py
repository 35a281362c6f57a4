"""Turns: what waits, by namespace; each namespace in its turn gives its oldest."""

import math
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Turns(Generic[T]):
    """What waits, `limit` at most."""

    def __init__(self, limit: float = math.inf) -> None:
        self._limit = limit
        self._size = 0
        self._queues: dict[str, deque[T]] = {}
        """The namespace whose turn is next first."""

    def __len__(self) -> int:
        return self._size

    def add(self, namespace: str, item: T) -> bool:
        """Whether all have room; if not, the newest of the namespace with the most gives way."""
        queue = self._queues.get(namespace, ())
        full = self._size >= self._limit
        if full:
            longest = max(self._queues.values(), key=len)
            if len(queue) + 1 >= len(longest):
                return False
            longest.pop()
            self._size -= 1
        self._queues.setdefault(namespace, deque()).append(item)
        self._size += 1
        return not full

    def put_back(self, namespace: str, item: T) -> None:
        """What could not be done is the next one of its namespace again."""
        self._queues.setdefault(namespace, deque()).appendleft(item)
        self._size += 1

    def pop(self) -> T:
        """The next one."""
        namespace = next(iter(self._queues))
        return self._pop_of(namespace)

    def pop_if(self, may: Callable[[str], bool]) -> tuple[str, T] | None:
        """The next one of a namespace that may have its turn now, and the namespace."""
        namespace = next(filter(may, self._queues), None)
        return None if namespace is None else (namespace, self._pop_of(namespace))

    def _pop_of(self, namespace: str) -> T:
        queue = self._queues.pop(namespace)
        self._size -= 1
        item = queue.popleft()
        if queue:
            self._queues[namespace] = queue
        return item
