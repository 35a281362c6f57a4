#!/usr/bin/env python3
"""Writes what is generated from the models: crds/ and docs/reasons.md. With --check, only says what would change."""

from __future__ import annotations

import sys
from pathlib import Path

from stormfold.api.conditions import reasons_page
from stormfold.api.crd import crds, render

ROOT = Path(__file__).parent.parent


def main() -> int:
    """0 if every file is as it should be, or was written; 1 if `--check` found a difference."""
    wanted = {ROOT / "crds" / name: render(crd) for name, crd in crds().items()}
    wanted[ROOT / "docs" / "reasons.md"] = reasons_page()
    stale = {path: text for path, text in wanted.items() if not path.exists() or path.read_text() != text}
    unknown = set((ROOT / "crds").glob("*.yaml")) - wanted.keys()
    if "--check" in sys.argv[1:]:
        for path in sorted(stale.keys() | unknown):
            print(f"{path.relative_to(ROOT)} differs from the models: run `make generate`", file=sys.stderr)
        return 1 if stale or unknown else 0
    for path in unknown:
        path.unlink()
    for path, text in stale.items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        print(f"wrote {path.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
