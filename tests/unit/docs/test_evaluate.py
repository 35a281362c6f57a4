"""What docs/evaluate.md says of costs follows from what was measured."""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path

ROOT = Path(__file__).parents[3]
COSTS = runpy.run_path(str(ROOT / "scripts" / "costs.py"))
PAGE = (ROOT / "docs" / "evaluate.md").read_text()


def test_largest_cluster_is_computed_as_the_page_says() -> None:
    (row,) = re.findall(r"^\| 2,000 \|.*$", PAGE, re.MULTILINE)
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    webhook = json.loads((ROOT / "docs/benchmarks/webhook.json").read_text())["raw"][
        "ack: request, new alerts"
    ]
    cpu = webhook["cpu_us_per_alert"]
    assert cells[1:6] == ["60,000", "9,000", "100", "128 MB", "230 KB"]
    assert cells[6] == (
        f"operator {9_000 * cpu['operator'] / 1e6:.2f} s, API server "
        f"{9_000 * cpu['kube-apiserver'] / 1e6:.2f} s"
    )


def test_sources_of_the_comparison_are_given() -> None:
    used = set(re.findall(r"\[(\d)\](?!:)", PAGE))
    assert used == set(re.findall(r"^\[(\d)\]: https://", PAGE, re.MULTILINE))


def test_table_keeps_what_stands_around_it() -> None:
    text = f"before\n{COSTS['BEGIN']}old\n{COSTS['END']}after\n"
    written = COSTS["page"](text, ROOT / "docs" / "benchmarks")
    assert written.startswith("before\n")
    assert written.endswith("after\n")
    assert "old" not in written
