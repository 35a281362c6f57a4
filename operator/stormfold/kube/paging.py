"""How many objects the next page of a list has, so that no page is larger than what one may hold (pure).

An object may have 1.5 MB, and nobody knows before it is read. So the first page is small, the next ones are
sized by the bytes that came, and a page that turns out too large is let go while it is read and asked for
again with fewer objects.
"""

FIRST = 10
"""Objects in the first page."""
MOST = 500
"""Objects in a page, at most."""
GROWTH = 2
"""A page has at most so many times as many objects as the one before."""
SHRINK = 8
"""A page that was too large is asked for again with this fraction of its objects."""
PAGE_BYTES = 1 << 20
"""What a page should have."""
LONGEST_BYTES = 4 * PAGE_BYTES
"""A page that has more is let go, unless it is of one object."""


class PageSize:
    """The size of the pages of one list: it falls at once and rises slowly."""

    def __init__(self) -> None:
        self.limit = FIRST
        """Objects that the next page may have."""

    @property
    def longest(self) -> int | None:
        """Bytes that the next page may have; None: any number, since it cannot be less than one object."""
        return LONGEST_BYTES if self.limit > 1 else None

    def took(self, objects: int, size: int) -> None:
        """A page of so many objects came, and had so many bytes."""
        if objects:
            fitting = PAGE_BYTES * objects // max(size, 1)
            self.limit = max(1, min(fitting, GROWTH * self.limit, MOST))

    def too_long(self) -> None:
        """A page had more bytes than `longest`."""
        self.limit = max(1, self.limit // SHRINK)
