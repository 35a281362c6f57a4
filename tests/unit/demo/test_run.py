"""The demo's operator is for this machine alone."""

from __future__ import annotations

from stormfold.demo.run import operator_settings
from stormfold.settings import Settings


def test_everything_that_listens_does_so_on_loopback() -> None:
    hosts = [name for name in Settings.model_fields if name.endswith("_host")]
    assert hosts == ["http_host", "webhook_host"]
    told = operator_settings("redis://127.0.0.1:6379/0", 8080)
    assert [told[f"STORMFOLD_{name.upper()}"] for name in hosts] == ["127.0.0.1"] * 2
