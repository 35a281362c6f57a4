"""Kubeconfigs as people have them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

V1 = "client.authentication.k8s.io/v1"
"""The apiVersion of a credential plugin."""


def kubeconfig(path: Path, cluster: dict[str, Any], user: dict[str, Any]) -> Path:
    """Write one of these."""
    config = {
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    path.write_text(json.dumps(config))
    return path
