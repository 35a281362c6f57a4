"""Metrics of the product, as a scrape of this process would show them."""

from __future__ import annotations

from prometheus_client import REGISTRY


def sample(name: str, **labels: str) -> float:
    """The value of a metric, 0 if it has none yet; of a counter the name ends in `_total`."""
    return REGISTRY.get_sample_value(name, labels) or 0.0
