"""A watch whose API server has not been heard of."""

from __future__ import annotations

import time
from typing import Any, cast

import pytest

from stormfold.kube.client import KubeClient
from stormfold.kube.listwatch import ListWatch


def test_watch_that_was_never_heard_of_is_not_fresh_on_a_machine_that_has_just_started(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    watch: ListWatch[Any] = ListWatch(
        cast("KubeClient", None), "/signals", kind="Signal", parse=cast("Any", None)
    )
    monkeypatch.setattr(time, "monotonic", lambda: 5.0)
    assert not watch.fresh
