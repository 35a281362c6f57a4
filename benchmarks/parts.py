"""The parts, in the order of the page."""

from benchmarks import growth, kopf_watch, signals, store, webhook

PARTS = (store.PART, signals.PART, webhook.PART, kopf_watch.PART, growth.PART)
