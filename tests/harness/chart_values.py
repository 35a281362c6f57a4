"""The values of the Helm chart that give the same objects as overlays and components of `manifests/`."""

from __future__ import annotations

import runpy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_VALUES = runpy.run_path(str(Path(__file__).parents[2] / "scripts" / "chart_values.py"))
OVERLAYS: Mapping[str, dict[str, Any]] = _VALUES["OVERLAYS"]
COMPONENTS: Mapping[str, dict[str, Any]] = _VALUES["COMPONENTS"]


def merged(*values: Mapping[str, Any]) -> dict[str, Any]:
    """One map of several, as Helm merges files of values: a later one goes before."""
    found: dict[str, Any] = _VALUES["merged"](*values)
    return found


def values_of(overlay: str, *components: str) -> dict[str, Any]:
    """The values of an overlay with its components."""
    return merged(OVERLAYS[overlay], *(COMPONENTS[name] for name in components))
