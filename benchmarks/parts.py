"""The parts, in the order of the page."""

from benchmarks import store

PARTS = (store.PART,)
