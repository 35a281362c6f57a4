"""Room: so many places, of which no namespace may have more than it leaves free."""

from collections import Counter as Tally


class Room:
    """The first namespace that wants all gets half of the places, the next one half of what is then left, and so on.

    So there is always some room for one that has nothing yet, without a figure for each and without a place that
    stays empty for its sake alone.
    """

    def __init__(self, places: int) -> None:
        self.places = places
        self.taken = 0
        self._of: Tally[str] = Tally()

    def left(self, namespace: str) -> int:
        """How many more places a namespace may take now."""
        return max(0, (self.places - self.taken - self._of[namespace] + 1) // 2)

    def of(self, namespace: str) -> int:
        """How many places a namespace has."""
        return self._of[namespace]

    def take(self, namespace: str, places: int = 1) -> None:
        """Take places, also beyond what is `left`: who may not must ask before."""
        self.taken += places
        self._of[namespace] += places

    def give(self, namespace: str, places: int = 1) -> None:
        """Give them back."""
        self.taken -= places
        self._of[namespace] -= places
        if not self._of[namespace]:
            del self._of[namespace]
