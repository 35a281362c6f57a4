"""The parts, in the order of the page."""

from benchmarks import kopf_watch, store

PARTS = (store.PART, kopf_watch.PART)
