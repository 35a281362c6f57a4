"""Fairness: how namespaces, or parts of them, share what there is too little of: places by `FairShare`, and
turns by `FairQueue`."""

import math
from collections import Counter as Tally
from collections import deque
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
"""A namespace, or a part of one."""
T = TypeVar("T")


class FairShare(Generic[K]):
    """So many places. The first namespace that wants all gets half of the places, the next one half of what
    is then left, and so on.

    So there is always some room for one that has nothing yet, without a figure for each and without a place
    that stays empty for its sake alone.
    """

    def __init__(self, places: int) -> None:
        self.places = places
        self.taken = 0
        self._of: Tally[K] = Tally()

    def free(self, namespace: K) -> int:
        """How many more places a namespace may take now."""
        return max(0, (self.places - self.taken - self._of[namespace] + 1) // 2)

    def of(self, namespace: K) -> int:
        """How many places a namespace has."""
        return self._of[namespace]

    def take(self, namespace: K, places: int = 1) -> None:
        """Take places, also beyond what is `free`: who may not must ask before."""
        self.taken += places
        self._of[namespace] += places

    def give(self, namespace: K, places: int = 1) -> None:
        """Give them back."""
        self.taken -= places
        self._of[namespace] -= places
        if not self._of[namespace]:
            del self._of[namespace]


class FairQueue(Generic[K, T]):
    """What waits, `limit` at most; each namespace in its turn gives its oldest."""

    def __init__(self, limit: float = math.inf) -> None:
        self._limit = limit
        self._size = 0
        self._queues: dict[K, deque[T]] = {}
        """The namespace whose turn is next first."""

    def __len__(self) -> int:
        return self._size

    def add(self, namespace: K, item: T) -> bool:
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

    def put_back(self, namespace: K, item: T) -> None:
        """What could not be done is the next one of its namespace again."""
        self._queues.setdefault(namespace, deque()).appendleft(item)
        self._size += 1

    def pop(self) -> T:
        """The next one."""
        namespace = next(iter(self._queues))
        return self._pop_of(namespace)

    def pop_if(self, may: Callable[[K], bool]) -> tuple[K, T] | None:
        """The next one of a namespace that may have its turn now, and the namespace."""
        namespace = next(filter(may, self._queues), None)
        return None if namespace is None else (namespace, self._pop_of(namespace))

    def _pop_of(self, namespace: K) -> T:
        queue = self._queues.pop(namespace)
        self._size -= 1
        item = queue.popleft()
        if queue:
            self._queues[namespace] = queue
        return item
