"""The parts, in the order of the page."""

from benchmarks import evidence, growth, kopf_watch, signals, store, webhook

PARTS = (store.PART, signals.PART, webhook.PART, evidence.PART, kopf_watch.PART, growth.PART)
