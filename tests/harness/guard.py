"""Keeps the tests away from clusters that they did not make: they delete what they find."""

from __future__ import annotations

from pathlib import Path

import yaml

_own: set[str] = set()


class ForeignClusterError(AssertionError):
    """A test was about to touch a cluster that this run did not start."""


def own(url: str) -> None:
    """Remember the address of an API server, or of a proxy of one, that this run started."""
    _own.add(url)


def disown(url: str) -> None:
    """Forget an address whose server has ended, since the port may go to somebody else."""
    _own.discard(url)


def refuse_foreign(kubeconfig: Path) -> Path:
    """The kubeconfig, if every cluster in it is one of this run.

    Raises:
        ForeignClusterError: one of them is not, or there is none.
    """
    config = yaml.safe_load(kubeconfig.read_text()) if kubeconfig.exists() else None
    urls = {entry["cluster"]["server"] for entry in (config or {}).get("clusters", [])}
    if not urls or not urls <= _own:
        raise ForeignClusterError(f"{kubeconfig} points at {sorted(urls)}, which this test run did not start")
    return kubeconfig
